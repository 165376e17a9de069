//! The matrix of a linear map, however it is stored.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::nf4::Nf4;
use crate::error::Result;

/// How the matrices of a base model are held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Quantise {
    /// As they are: f32 on the CPU, bf16 on CUDA.
    #[default]
    None,
    /// The seven projections of each block in 4 bits (Dettmers et al. 2023, "QLoRA"): one number
    /// of the NF4 code book per weight and one f32 per 64 weights; 4.5 bits a weight.
    Nf4,
    /// [`Self::Nf4`] with the scales in 8 bits too ("double quantisation"); 4.13 bits a weight.
    Nf4Double,
}

/// A frozen matrix `[out, in]` of a base model.
pub(crate) enum Weight {
    /// In the model's number format.
    Dense(Tensor),
    /// In 4 bits; written out in the model's number format for as long as a product needs it.
    Nf4(Box<Nf4>),
}

impl Weight {
    /// As it is, in the model's number format.
    pub(crate) fn dense(matrix: Tensor) -> Self {
        Self::Dense(matrix)
    }

    /// `matrix` `[out, in]` held as `how` says.
    pub(crate) fn quantised(matrix: Tensor, how: Quantise) -> Result<Self> {
        Ok(match how {
            Quantise::None => Self::Dense(matrix),
            Quantise::Nf4 => Self::Nf4(Box::new(Nf4::new(&matrix, false)?)),
            Quantise::Nf4Double => Self::Nf4(Box::new(Nf4::new(&matrix, true)?)),
        })
    }

    /// `x` `[.., in]` times the matrix: `[.., out]`. Differentiable with respect to `x`.
    pub(crate) fn linear(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Dense(matrix) => x.linear::<Tensor>(matrix, None),
            Self::Nf4(packed) => x.linear::<Tensor>(&packed.dense(), None),
        }
    }

    /// A second handle on the same numbers.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Dense(matrix) => Self::Dense(matrix.shallow_clone()),
            Self::Nf4(packed) => Self::Nf4(Box::new(packed.share())),
        }
    }

    /// The matrix `[out, in]` in the model's number format.
    pub(crate) fn dense_copy(&self) -> Tensor {
        match self {
            Self::Dense(matrix) => matrix.shallow_clone(),
            Self::Nf4(packed) => packed.dense(),
        }
    }

    /// Bytes that the matrix takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.numel() * matrix.kind().elt_size_in_bytes(),
            Self::Nf4(packed) => packed.bytes(),
        }
    }

    /// Puts dense matrices of one width `[out_i, in]` under each other in one block of memory, of
    /// which they become views: one product can then serve all of them. Gives the block, or `None`
    /// when one of them is not dense.
    pub(crate) fn join(parts: &mut [Weight]) -> Option<Tensor> {
        let dense: Option<Vec<&Tensor>> = parts
            .iter()
            .map(|part| match part {
                Self::Dense(matrix) => Some(matrix),
                Self::Nf4(_) => None,
            })
            .collect();
        let block = Tensor::cat(&dense?, 0); // [sum of out_i, in]
        let mut start = 0;
        for part in parts {
            if let Self::Dense(matrix) = part {
                let rows = matrix.size()[0];
                *matrix = block.narrow(0, start, rows);
                start += rows;
            }
        }
        Some(block)
    }
}
