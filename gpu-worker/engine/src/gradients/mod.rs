//! Gradients of single records with respect to an adapter.
//!
//! For one adapted projection `y = W x + s·B A x` the gradient of a record's loss is a sum over its
//! tokens `t`, with `δ_t` the gradient at the projection's output:
//!
//! ```text
//! ∂/∂B = Σ_t δ_t (s·A x_t)ᵀ     [out, rank]
//! ∂/∂A = Σ_t (s·Bᵀ δ_t) x_tᵀ    [rank, in]
//! ```
//!
//! Both are products of two thin factors. So records share one pass forwards and one backwards,
//! which carries `δ` alone and makes no gradient of a weight; then the factors of each record are
//! multiplied by themselves. Exactly what a batch of one would give, several times faster.
//!
//! With a [`TwoSided`] projection the factors are projected *before* they are multiplied, so that a
//! record's gradient is never written out.

mod pass;
mod projection;

use crate::error::Result;
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::Sample;

pub use projection::TwoSided;

/// What of a sample the gradient is taken of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientOptions {
    /// Weight of a prompt's tokens in the mean, beside 1 for an answer's.
    pub prompt_weight: f32,
}

impl Default for GradientOptions {
    /// The answer's tokens alone.
    fn default() -> Self {
        Self { prompt_weight: 0.0 }
    }
}

/// Calls `each(index, gradient)` for every sample, in no given order: the gradient of the mean
/// loss over its weighted tokens with respect to all of the adapter's numbers, laid out like
/// [`Adapter::flat`].
pub fn record_gradients(
    base: &BaseModel,
    adapter: &Adapter,
    samples: &[Sample],
    options: GradientOptions,
    each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    pass::run(base, adapter, samples, options, None, each)
}

/// Like [`record_gradients`], but every gradient comes projected: [`TwoSided::dims`] numbers.
pub fn projected_gradients(
    base: &BaseModel,
    adapter: &Adapter,
    samples: &[Sample],
    options: GradientOptions,
    projection: &TwoSided,
    each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    pass::run(base, adapter, samples, options, Some(projection), each)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Projection;
    use crate::lora::LoraConfig;
    use tch::{Device, Kind, Tensor};

    fn whole(base: &BaseModel, adapter: &Adapter, samples: &[Sample]) -> Vec<Vec<f32>> {
        let mut rows = vec![vec![]; samples.len()];
        record_gradients(base, adapter, samples, GradientOptions::default(), &mut |i, g| {
            rows[i] = g.to_vec();
            Ok(())
        })
        .unwrap();
        rows
    }

    /// An adapter whose B is not zero, and records of several lengths.
    fn setting() -> (BaseModel, Adapter, Vec<Sample>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
        let base = BaseModel::load(&folder, Device::Cpu).unwrap();
        let targets = vec![Projection::Q, Projection::V, Projection::Down];
        let lora = LoraConfig { rank: 6, alpha: 12.0, targets, rslora: false };
        let adapter = Adapter::new(lora, base.config(), 3, Device::Cpu).unwrap();
        tch::manual_seed(7);
        let size = adapter.flat().size();
        let noise = Tensor::randn(size.as_slice(), (Kind::Float, Device::Cpu)) * 0.05;
        let adapter = Adapter::from_flat(adapter.config().clone(), adapter.flat() + noise);
        let samples = (1..6)
            .map(|i| {
                let tokens: Vec<i64> =
                    (0..4 + 3 * i).map(|t| 20 + (t * 37 + i * 101) % 900).collect();
                Sample::from_parts(&tokens[..3], &tokens[3..])
            })
            .collect();
        (base, adapter, samples)
    }

    #[test]
    fn company_does_not_change_a_gradient() {
        let (base, adapter, samples) = setting();
        let together = whole(&base, &adapter, &samples);
        for (sample, row) in samples.iter().zip(&together) {
            let alone = &whole(&base, &adapter, std::slice::from_ref(sample))[0];
            let largest = alone.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.0);
            for (a, b) in alone.iter().zip(row) {
                assert!((a - b).abs() < 1e-4 * largest, "{a} {b}");
            }
        }
    }

    #[test]
    fn projecting_factors_is_projecting_gradients() {
        let (base, adapter, samples) = setting();
        let projection = TwoSided::new(adapter.config(), base.config(), 2, 5, 9).unwrap();
        let sides = projection.sides(Device::Cpu).unwrap();
        let mut seen = 0;
        let rows = whole(&base, &adapter, &samples);
        let each = &mut |i: usize, found: &[f32]| {
            let mut expected = vec![];
            let mut at = 0usize;
            for ([m, n], side) in adapter.config().shapes(base.config()).iter().zip(&sides) {
                let count = (m * n) as usize;
                let g = Tensor::from_slice(&rows[i][at..at + count]).view([1, *m, *n]);
                let right = side.right(&g); // [1, m, r]
                let both = side.left(&right.transpose(1, 2)).transpose(1, 2); // [1, l, r]
                expected.extend(Vec::<f32>::try_from(both.contiguous().view([-1])).unwrap());
                at += count;
            }
            assert_eq!(expected.len(), found.len());
            let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (a, b) in expected.iter().zip(found) {
                assert!((a - b).abs() < 1e-4 * largest, "{a} {b}");
            }
            seen += 1;
            Ok(())
        };
        let options = GradientOptions::default();
        projected_gradients(&base, &adapter, &samples, options, &projection, each).unwrap();
        assert_eq!(seen, samples.len());

        // A projection made for another adapter is refused.
        let other = LoraConfig { rank: 7, ..adapter.config().clone() };
        let other = TwoSided::new(&other, base.config(), 2, 5, 9).unwrap();
        let refused =
            projected_gradients(&base, &adapter, &samples, options, &other, &mut |_, _| Ok(()));
        assert!(matches!(refused, Err(crate::EngineError::Request(_))));
        assert!(TwoSided::new(adapter.config(), base.config(), 0, 5, 9).is_err());
    }
}
