//! One step of several jobs in one pass over the base.

use std::time::Instant;

use tch::Tensor;

use super::examples::{passes, weigh, Example};
use super::{Progress, Trainer};
use crate::error::{EngineError, Result};
use crate::model::tuning::{Manner, Packed, TunedAdapter};
use crate::record::Sample;

/// What a job gathers during a step.
struct Gathered {
    adapter: TunedAdapter,
    /// Shares in the batch's mean.
    total: usize,
    tokens: usize,
    loss: f64,
}

/// Makes one optimiser step of each training, all of them in one pass over their common base:
/// products with the base run over the rows of all, each job's matrices over its own. Rank,
/// targets, learning rate and batch may differ. Every adapter comes out as if trained alone.
///
/// Gives each its progress or its error, in order; an error of one does not touch the others.
pub fn step_together(trainers: &mut [&mut Trainer<'_>]) -> Vec<Result<Progress>> {
    let began = Instant::now();
    let Some(base) = trainers.first().map(|t| t.base) else { return vec![] };
    let net = base.transformer();
    let mut batches = Vec::with_capacity(trainers.len());
    for trainer in trainers.iter_mut() {
        batches.push(match std::ptr::eq(trainer.base, base) {
            true => trainer.next_batch(),
            false => Err(EngineError::Spec("jobs in one pass need the same base model".into())),
        });
    }
    let mut gathered: Vec<Gathered> = Vec::with_capacity(trainers.len());
    let mut all: Vec<(usize, &Example)> = vec![];
    for (job, (trainer, batch)) in trainers.iter().zip(&batches).enumerate() {
        let chosen = batch.iter().flatten().filter_map(|&i| trainer.examples.get(i));
        let before = all.len();
        all.extend(chosen.map(|e| (job, e)));
        let own = all.get(before..).unwrap_or_default();
        gathered.push(Gathered {
            adapter: TunedAdapter::new(&trainer.lora, net.config(), &trainer.flat, net.kind()),
            total: own.iter().map(|(_, e)| e.share()).sum(),
            tokens: own.iter().map(|(_, e)| e.length()).sum(),
            loss: 0.0,
        });
    }
    let limit = trainers.iter().map(|t| t.spec.pass_tokens).min().unwrap_or(usize::MAX);
    let manner = Manner { keep: true, recompute: trainers.iter().any(|t| t.spec.recompute) };
    for run in passes(&all, |(_, e)| e.tokens(), limit) {
        let sequences: Vec<Vec<&Sample>> = (0..gathered.len())
            .map(|job| of_job(&run, job).flat_map(Example::sequences).collect())
            .collect();
        let packed = Packed::new(&sequences, net.device());
        let adapters: Vec<_> = gathered.iter().map(|g| Some(&g.adapter)).collect();
        let forward = net.tune(&packed, &adapters, manner);
        let losses = match Vec::<f32>::try_from(&forward.per_token) {
            Ok(losses) => losses,
            Err(error) => {
                let reason = error.to_string();
                let fail = |_| Err(EngineError::Spec(format!("reading the losses: {reason}")));
                return trainers.iter().map(fail).collect();
            }
        };
        let mut weights = Vec::with_capacity(losses.len());
        let mut parts = vec![];
        let mut first = 0;
        for (job, (trainer, own)) in trainers.iter().zip(&gathered).enumerate() {
            let examples: Vec<&Example> = of_job(&run, job).collect();
            let records = packed.records.get(first..).unwrap_or_default();
            first += sequences.get(job).map_or(0, Vec::len);
            let weighed = weigh(&examples, records, &losses, own.total, trainer.spec.dpo_beta);
            weights.extend(weighed.weights);
            parts.push(weighed.loss);
        }
        let weights = Tensor::from_slice(&weights).to_device(net.device());
        net.tune_back(forward, &packed, &adapters, &weights);
        gathered.iter_mut().zip(parts).for_each(|(own, part)| own.loss += part);
    }
    let each = trainers.iter_mut().zip(batches).zip(gathered);
    each.map(|((trainer, batch), own)| {
        batch?;
        trainer.apply(own.adapter.gradient(), own.loss, own.tokens, began)
    })
    .collect()
}

fn of_job<'e>(
    run: &'e [(usize, &'e Example)],
    job: usize,
) -> impl Iterator<Item = &'e Example> + 'e {
    run.iter().filter(move |(of, _)| *of == job).map(|(_, example)| *example)
}
