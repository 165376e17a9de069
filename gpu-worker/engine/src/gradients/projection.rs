//! A random projection from both sides of every gradient matrix.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use crate::config::ModelConfig;
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraConfig};

/// Replaces each gradient matrix `G` `[m, n]` by `Lᵀ G R` `[l, r]`, with random signs in `L`
/// `[m, l]` and `R` `[n, r]`, scaled by `1/√l` and `1/√r`, so that inner products are kept on
/// average: `E⟨LᵀGR, LᵀHR⟩ = ⟨G, H⟩` (Johnson and Lindenstrauss 1984 in the Kronecker form of Choe et
/// al., "What is Your Data Worth to GPT?", 2024, and of Chang et al., "Scalable Influence and Fact
/// Tracing", 2024). A side that is not larger than asked for stays as it is. Signs are drawn by
/// ChaCha8, so the same seed gives the same projection on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoSided {
    seed: u64,
    /// Sizes of the gradient matrices, in the order of the flat layout.
    shapes: Vec<[i64; 2]>,
    /// Sizes after projection.
    sides: Vec<[i64; 2]>,
}

/// Both projections of one matrix; `None` where a side stays as it is.
pub(super) struct Sides {
    left: Option<Tensor>,
    right: Option<Tensor>,
}

impl TwoSided {
    /// A projection of an adapter's gradients: the side of length `rank` to `rank_side` numbers, the
    /// other side to `wide_side`.
    pub fn new(
        lora: &LoraConfig,
        model: &ModelConfig,
        rank_side: i64,
        wide_side: i64,
        seed: u64,
    ) -> Result<Self> {
        if rank_side < 1 || wide_side < 1 {
            let reason = "a projected gradient needs a number on either side".into();
            return Err(EngineError::Request(reason));
        }
        let shapes = lora.shapes(model);
        let sides = shapes
            .iter()
            .enumerate()
            .map(|(i, [m, n])| match i % 2 {
                0 => [rank_side.min(*m), wide_side.min(*n)], // A: [rank, in]
                _ => [wide_side.min(*m), rank_side.min(*n)], // B: [out, rank]
            })
            .collect();
        Ok(Self { seed, shapes, sides })
    }

    /// What draws it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Numbers of a projected gradient.
    pub fn dims(&self) -> i64 {
        self.sides.iter().map(|[l, r]| l * r).sum()
    }

    /// Numbers of each projected matrix, in order.
    pub(crate) fn blocks(&self) -> Vec<usize> {
        self.sides.iter().map(|[l, r]| (l * r) as usize).collect()
    }

    pub(super) fn check(&self, adapter: &Adapter, model: &ModelConfig) -> Result<()> {
        match self.shapes == adapter.config().shapes(model) {
            true => Ok(()),
            false => Err(EngineError::Request(
                "the projection was made for an adapter of another shape".into(),
            )),
        }
    }

    /// The random matrices, drawn matrix by matrix, left before right.
    pub(super) fn sides(&self, device: Device) -> Result<Vec<Sides>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = |from: i64, to: i64| -> Result<Option<Tensor>> {
            if from == to {
                return Ok(None);
            }
            let size = 1.0 / (to as f32).sqrt();
            let count = (from * to) as usize;
            let mut signs: Vec<f32> = Vec::with_capacity(count + 63);
            while signs.len() < count {
                let bits = rng.next_u64();
                signs.extend((0..64).map(|i| if bits >> i & 1 == 0 { size } else { -size }));
            }
            signs.truncate(count);
            Ok(Some(Tensor::f_from_slice(&signs)?.view([from, to]).to_device(device)))
        };
        let sizes = self.shapes.iter().zip(&self.sides);
        sizes
            .map(|([m, n], [l, r])| Ok(Sides { left: draw(*m, *l)?, right: draw(*n, *r)? }))
            .collect()
    }
}

impl Sides {
    /// `[rows, seq, m]` to `[rows, seq, l]`.
    pub(super) fn left(&self, x: &Tensor) -> Tensor {
        Self::apply(self.left.as_ref(), x)
    }

    /// `[rows, seq, n]` to `[rows, seq, r]`.
    pub(super) fn right(&self, x: &Tensor) -> Tensor {
        Self::apply(self.right.as_ref(), x)
    }

    fn apply(side: Option<&Tensor>, x: &Tensor) -> Tensor {
        match side {
            Some(p) => x.matmul(&p.to_kind(x.kind())),
            None => x.shallow_clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn numbers(t: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(t.contiguous().view([-1])).unwrap()
    }

    #[test]
    fn inner_products_are_kept_on_average() {
        // GIVEN two matrices with an inner product, WHEN both are projected with many seeds
        tch::manual_seed(5);
        let g = Tensor::randn([4, 30], (Kind::Float, Device::Cpu));
        let h = &g + Tensor::randn([4, 30], (Kind::Float, Device::Cpu));
        let exact = (&g * &h).sum(Kind::Double).double_value(&[]);
        let (mut sum, rounds) = (0.0, 4000);
        for seed in 0..rounds {
            let projection = TwoSided { seed, shapes: vec![[4, 30]], sides: vec![[2, 3]] };
            let sides = projection.sides(Device::Cpu).unwrap();
            // `left` and `right` act on the last dimension.
            let project = |m: &Tensor| {
                let right = sides[0].right(&m.unsqueeze(0)); // [1, 4, 3]
                sides[0].left(&right.transpose(1, 2)) // [1, 3, 2]
            };
            sum += (project(&g) * project(&h)).sum(Kind::Double).double_value(&[]);
        }
        // THEN the mean is the inner product itself
        let mean = sum / rounds as f64;
        assert!((mean - exact).abs() < 0.1 * exact.abs(), "{mean} {exact}");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let make =
            |seed| TwoSided { seed, shapes: vec![[4, 30], [20, 4]], sides: vec![[4, 3], [5, 2]] };
        let drawn = |seed| {
            let sides = make(seed).sides(Device::Cpu).unwrap();
            assert!(sides[0].left.is_none(), "a side that is small enough stays");
            sides.iter().flat_map(|s| s.right.as_ref().map(numbers)).flatten().collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(make(1).dims(), 12 + 10);
    }
}
