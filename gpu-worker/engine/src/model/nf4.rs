//! Matrices in 4 bits: the NF4 format of Dettmers et al. 2023, "QLoRA: Efficient Finetuning of
//! Quantized LLMs", section 3.
//!
//! Weights are taken in blocks of 64 as they lie in memory. A block is divided by the largest
//! magnitude in it, its scale, and each weight becomes the index of the nearest of 16 numbers: the
//! means of neighbouring quantiles of a normal distribution, so that each is used about equally
//! often. With double quantisation the scales themselves are held in 8 bits, in blocks of 256. (The
//! paper takes an 8-bit float there, after subtracting the mean. Here it is their logarithm, evenly
//! divided between the least and the greatest of the 256: the relative error is the same for small
//! scales as for large ones, so that an outlier does not coarsen its neighbours.)

use tch::{Device, Kind, Tensor};

use crate::error::{EngineError, Result};

/// Weights that share a scale.
pub(crate) const BLOCK: i64 = 64;
/// Scales that share a scale of theirs.
const SCALE_BLOCK: i64 = 256;

/// The 16 numbers, from appendix E of the paper.
pub(crate) const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Scales of the blocks.
enum Scales {
    /// `[blocks, 1]`, f32.
    Plain(Tensor),
    /// `codes` `[scale blocks, 256]` uint8, `least` and `steps` `[scale blocks, 1]` f32: a scale is
    /// `exp(least + code · step)`.
    Double { codes: Tensor, least: Tensor, steps: Tensor, blocks: i64 },
}

/// A matrix `[out, in]` in 4 bits a weight.
pub(crate) struct Nf4 {
    /// Two indices a byte, the first in the upper half; `[weights / 2]`, uint8.
    codes: Tensor,
    scales: Scales,
    /// Both numbers of each byte, `[256, 2]`, in the number format of the result.
    pairs: Tensor,
    shape: [i64; 2],
}

impl Nf4 {
    /// Quantises `matrix` `[out, in]`, whose size is a multiple of 64, where it is.
    pub(crate) fn new(matrix: &Tensor, double: bool) -> Result<Self> {
        let size = matrix.size();
        let count: i64 = size.iter().product();
        let (&[out, input], true) = (size.as_slice(), count % BLOCK == 0 && count > 0) else {
            return Err(EngineError::Quantise { shape: size, block: BLOCK });
        };
        let device = matrix.device();
        tch::no_grad(|| {
            let blocks = matrix.to_kind(Kind::Float).reshape([-1, BLOCK]); // [blocks, 64]
            let scales = Scales::new(blocks.abs().amax([1], true), double); // [blocks, 1]
            let values = scales.values();
            // A block of zeros has scale 0; any divisor will do.
            let nonzero = values.where_self(&values.gt(0.0), &values.ones_like());
            let between: Vec<f32> = CODE.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
            let between = Tensor::from_slice(&between).to_device(device);
            let index = (blocks / nonzero).bucketize(&between, true, false).view([-1, 2]);
            let codes = (index.select(1, 0) * 16 + index.select(1, 1)).to_kind(Kind::Uint8);
            let pairs: Vec<f32> =
                (0..256).flat_map(|byte| [CODE[byte >> 4], CODE[byte & 15]]).collect();
            let pairs = Tensor::from_slice(&pairs).view([256, 2]);
            Ok(Self {
                codes,
                scales,
                pairs: pairs.to_kind(matrix.kind()).to_device(device),
                shape: [out, input],
            })
        })
    }

    /// The matrix `[out, in]`, written out anew.
    pub(crate) fn dense(&self) -> Tensor {
        tch::no_grad(|| {
            let pairs = self.pairs.index_select(0, &self.codes.to_kind(Kind::Int)); // [weights / 2, 2]
            let mut blocks = pairs.view([-1, BLOCK]);
            blocks *= self.scales.values().to_kind(self.pairs.kind());
            blocks.view(self.shape)
        })
    }

    /// A second handle on the same numbers.
    pub(crate) fn share(&self) -> Self {
        Self {
            codes: self.codes.shallow_clone(),
            scales: self.scales.share(),
            pairs: self.pairs.shallow_clone(),
            shape: self.shape,
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.numel() * t.kind().elt_size_in_bytes();
        let scales = match &self.scales {
            Scales::Plain(values) => of(values),
            Scales::Double { codes, least, steps, .. } => of(codes) + of(least) + of(steps),
        };
        of(&self.codes) + scales + of(&self.pairs)
    }
}

impl Scales {
    /// From the largest magnitudes `[blocks, 1]`.
    fn new(largest: Tensor, double: bool) -> Self {
        if !double {
            return Self::Plain(largest);
        }
        let blocks = largest.size()[0];
        let room = (blocks + SCALE_BLOCK - 1) / SCALE_BLOCK * SCALE_BLOCK;
        // A block of zeros is coded as zeros whatever its scale, and the last block's empty places
        // are nobody's: both take the least scale that there is, so as not to widen the range.
        let positive = largest.gt(0.0);
        let least = largest.where_self(&positive, &largest.full_like(f64::INFINITY)).min();
        let least = least.where_self(&least.isfinite(), &least.ones_like());
        let logs = least.log().expand([room], false).contiguous();
        logs.narrow(0, 0, blocks).copy_(&largest.where_self(&positive, &least).log().view([-1]));
        let logs = logs.view([-1, SCALE_BLOCK]);
        let least = logs.amin([1], true); // [scale blocks, 1]
        let steps = (logs.amax([1], true) - &least) / 255.0;
        let divisor = steps.where_self(&steps.gt(0.0), &steps.ones_like());
        let codes = ((logs - &least) / divisor).round().to_kind(Kind::Uint8);
        Self::Double { codes, least, steps, blocks }
    }

    fn share(&self) -> Self {
        match self {
            Self::Plain(values) => Self::Plain(values.shallow_clone()),
            Self::Double { codes, least, steps, blocks } => Self::Double {
                codes: codes.shallow_clone(),
                least: least.shallow_clone(),
                steps: steps.shallow_clone(),
                blocks: *blocks,
            },
        }
    }

    /// `[blocks, 1]`, f32.
    fn values(&self) -> Tensor {
        match self {
            Self::Plain(values) => values.shallow_clone(),
            Self::Double { codes, least, steps, blocks } => {
                let all = (codes.to_kind(Kind::Float) * steps + least).exp();
                all.view([-1]).narrow(0, 0, *blocks).unsqueeze(1)
            }
        }
    }
}

/// Quantises `matrix` `[out, in]` (f32, CPU) and gives what it becomes, with the bytes held: to
/// see what 4 bits do to a matrix.
pub fn nf4_round_trip(matrix: &Tensor, double: bool) -> Result<(Tensor, usize)> {
    let packed = Nf4::new(&matrix.to_device(Device::Cpu), double)?;
    Ok((packed.dense(), packed.bytes()))
}
