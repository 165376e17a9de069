//! One pass forwards and backwards for many records, and their gradients from its factors.

use tch::{Device, Kind, Tensor};

use super::projection::{Sides, TwoSided};
use super::GradientOptions;
use crate::batch::Batch;
use crate::config::Projection;
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraTensors, Tapped};
use crate::model::BaseModel;
use crate::record::Sample;

/// Numbers held as gradients at once, at most.
const BUDGET: i64 = 1 << 24;
/// Tokens of one pass, padding included, at most: its activations are what takes memory.
const MAX_TOKENS: usize = 4096;
const MAX_ROWS: usize = 32;

pub(super) fn run(
    base: &BaseModel,
    adapter: &Adapter,
    samples: &[Sample],
    options: GradientOptions,
    projection: Option<&TwoSided>,
    each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let net = base.transformer();
    if let Some(projection) = projection {
        projection.check(adapter, net.config())?;
    }
    let numbers = projection.map_or(adapter.flat().numel(), |p| p.dims() as usize);
    let flat = adapter.flat().detach().to_kind(net.kind()).set_requires_grad(true);
    let lora = Adapter::views(adapter.config(), net.config(), &flat).tapped();
    let sides = projection.map(|p| p.sides(net.device())).transpose()?;
    let mut gradient = vec![0f32; numbers];
    for chunk in plan(samples, (BUDGET / numbers.max(1) as i64).max(1) as usize) {
        let chosen: Vec<&Sample> = chunk.iter().map(|&i| &samples[i]).collect();
        let batch = Batch::weighted(&chosen, 0, options.prompt_weight, net.device());
        let weights = record_means(&batch, chunk.len())?.to_device(net.device());
        let hidden = net.hidden(&batch.ids, Some(&lora));
        let picked =
            hidden.reshape([-1, net.config().hidden_size]).index_select(0, &batch.positions);
        let surrogate = net.loss(&picked, &batch.targets, &weights).surrogate;
        let taps = lora.drain();
        let deltas: Vec<&Tensor> = taps.iter().map(|t| &t.delta).collect();
        // Towards the outputs alone: no weight's gradient is made on the way.
        let errors = Tensor::f_run_backward(&[surrogate], &deltas, false, false)?;
        let all = tch::no_grad(|| {
            join(
                &lora,
                &adapter.config().targets,
                net.config().layers,
                &taps,
                &errors,
                sides.as_deref(),
            )
        })?; // [rows, numbers]
        let all = all.to_kind(Kind::Float).to_device(Device::Cpu).contiguous();
        for (row, &index) in chunk.iter().enumerate() {
            all.get(row as i64).f_copy_data(&mut gradient, numbers)?;
            if gradient.iter().any(|g| !g.is_finite()) {
                let reason = "its gradient is not finite".into();
                return Err(EngineError::Record { index, reason });
            }
            each(index, &gradient)?;
        }
    }
    Ok(())
}

/// Records of like length together, within the limits of a pass.
fn plan(samples: &[Sample], max_rows: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&i| samples[i].tokens.len());
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    for i in order {
        let length = samples[i].tokens.len(); // the longest so far
        match chunks.last_mut() {
            Some(chunk)
                if chunk.len() < max_rows.min(MAX_ROWS)
                    && (chunk.len() + 1) * length <= MAX_TOKENS =>
            {
                chunk.push(i);
            }
            _ => chunks.push(vec![i]),
        }
    }
    chunks
}

/// Weights with which the batch's loss is the sum of its records' mean losses, `[n]`.
fn record_means(batch: &Batch, rows: usize) -> Result<Tensor> {
    let weights: Vec<f32> = Vec::<f32>::try_from(&batch.weights)?;
    let mut totals = vec![0f32; rows];
    for (row, weight) in batch.rows.iter().zip(&weights) {
        totals[*row] += weight;
    }
    let scaled: Vec<f32> =
        batch.rows.iter().zip(&weights).map(|(row, weight)| weight / totals[*row]).collect();
    Ok(Tensor::from_slice(&scaled))
}

/// The gradients `[rows, numbers]` in the order of the flat layout: for each block and target A,
/// then B.
fn join(
    lora: &LoraTensors,
    targets: &[Projection],
    layers: i64,
    taps: &[Tapped],
    errors: &[Tensor],
    sides: Option<&[Sides]>,
) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(2 * taps.len());
    for layer in 0..layers as usize {
        for target in targets {
            let found =
                taps.iter().zip(errors).find(|(t, _)| t.layer == layer && t.projection == *target);
            let Some(((tap, error), (_, b))) = found.zip(lora.pair(layer, *target)) else {
                let reason = format!("block {layer} has no {target:?} to take a gradient of");
                return Err(EngineError::Request(reason));
            };
            let back = error.matmul(b) * lora.scale(); // [rows, seq, rank]
            for (left, right) in [(&back, &tap.input), (error, &tap.low)] {
                let part = match sides.and_then(|s| s.get(parts.len())) {
                    Some(side) => outer(&side.left(left), &side.right(right)),
                    None => outer(left, right),
                };
                parts.push(part.flatten(1, 2));
            }
        }
    }
    Ok(Tensor::f_cat(&parts, 1)?)
}

/// `Σ_t left_t right_tᵀ` of each row: `[rows, seq, m]` and `[rows, seq, n]` to `[rows, m, n]`.
fn outer(left: &Tensor, right: &Tensor) -> Tensor {
    left.transpose(1, 2).bmm(right)
}
