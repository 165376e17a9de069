//! The matrix of a linear map, however it is stored.

use tch::Tensor;

/// A frozen matrix `[out, in]` of a base model.
pub(crate) struct Weight(Tensor);

impl Weight {
    /// As it is, in the model's number format.
    pub(crate) fn dense(matrix: Tensor) -> Self {
        Self(matrix)
    }

    /// `x` `[.., in]` times the matrix: `[.., out]`. Differentiable with respect to `x`.
    pub(crate) fn linear(&self, x: &Tensor) -> Tensor {
        x.linear::<Tensor>(&self.0, None)
    }

    /// A second handle on the same numbers.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.shallow_clone())
    }

    /// The matrix `[out, in]` in the model's number format.
    pub(crate) fn dense_copy(&self) -> Tensor {
        self.0.shallow_clone()
    }
}
