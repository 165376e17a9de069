//! Gradients of single records with respect to an adapter.
//!
//! A batch in which every row has its own copy of the adapter gives, in one backward pass, each
//! row's own gradient: exactly what a batch of one would give, several times faster.

use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::error::{EngineError, Result};
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::Sample;

/// Numbers held as gradients at once, at most.
const BUDGET: i64 = 1 << 24;
const MAX_ROWS: i64 = 16;

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
    let net = base.transformer();
    let parameters = adapter.flat().numel() as i64;
    let rows = (BUDGET / parameters.max(1)).clamp(1, MAX_ROWS) as usize;
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&i| samples[i].tokens.len());
    let mut gradient = vec![0f32; parameters as usize];
    for chunk in order.chunks(rows) {
        let chosen: Vec<&Sample> = chunk.iter().map(|&i| &samples[i]).collect();
        let batch = Batch::weighted(&chosen, 0, options.prompt_weight, net.device());
        let mut totals = vec![0f32; chunk.len()];
        let weights: Vec<f32> = Vec::<f32>::try_from(&batch.weights)?;
        for (row, weight) in batch.rows.iter().zip(&weights) {
            totals[*row] += weight;
        }
        let scaled: Vec<f32> =
            batch.rows.iter().zip(&weights).map(|(row, weight)| weight / totals[*row]).collect();
        let weights = Tensor::from_slice(&scaled).to_device(net.device());

        let copies = adapter
            .flat()
            .detach()
            .unsqueeze(0)
            .repeat([chunk.len() as i64, 1])
            .set_requires_grad(true); // [rows, parameters]
        let lora = Adapter::views(adapter.config(), net.config(), &copies.to_kind(net.kind()));
        let hidden = net.hidden(&batch.ids, Some(&lora));
        let picked =
            hidden.reshape([-1, net.config().hidden_size]).index_select(0, &batch.positions);
        net.loss(&picked, &batch.targets, &weights).surrogate.backward();
        let all = copies.grad().to_kind(Kind::Float).to_device(tch::Device::Cpu).contiguous();
        for (row, &index) in chunk.iter().enumerate() {
            let one = all.get(row as i64);
            one.f_copy_data(&mut gradient, parameters as usize)?;
            if gradient.iter().any(|g| !g.is_finite()) {
                let reason = "its gradient is not finite".into();
                return Err(EngineError::Record { index, reason });
            }
            each(index, &gradient)?;
        }
    }
    Ok(())
}
