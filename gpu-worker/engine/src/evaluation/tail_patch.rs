//! The tail patch: one more step of training on a record that a method names, and what it does to
//! the answer (Chang et al., "Scalable Influence and Fact Tracing for Large Language Model
//! Pretraining", 2024).

use std::collections::BTreeMap;

use tch::Tensor;

use super::methods::Scores;
use super::study::{gradient_matrix, losses, Study};
use super::Settings;
use crate::error::Result;
use crate::lora::Adapter;
use crate::record::Sample;

/// Part of the training's peak learning rate that the step is taken with.
const STEP: f64 = 0.1;

/// For each method and question, the mean gain in log-probability per token of the right answer
/// over the records that the method names first: `[method][question]`.
///
/// The step is Adam's with the second moment of the last snapshot and the record's gradient for
/// first moment: `θ − η g / (√v̂ + ε)`.
pub(super) fn gains(
    study: &Study,
    scores: &[Scores],
    settings: &Settings,
) -> Result<Vec<Vec<f64>>> {
    let named = |row: &Vec<f64>| -> Vec<usize> {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.truncate(settings.patched);
        order
    };
    let chosen: Vec<Vec<Vec<usize>>> =
        scores.iter().map(|s| s.matrix.iter().map(named).collect()).collect();
    // Every pair once, however many methods name it.
    let mut asked: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (query, record) in chosen.iter().flat_map(|of| {
        of.iter().enumerate().flat_map(|(query, records)| records.iter().map(move |r| (query, *r)))
    }) {
        let queries = asked.entry(record).or_default();
        if !queries.contains(&query) {
            queries.push(query);
        }
    }
    let before = losses(study.base, &study.adapter, &study.queries)?;
    let mut gain: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (record, queries) in asked {
        let Some(sample) = study.samples.get(record) else { continue };
        let gradient = gradient_matrix(study.base, &study.adapter, std::slice::from_ref(sample))?;
        let patched = step(study, &gradient.view([-1]), STEP * settings.spec.lr);
        let samples: Vec<Sample> =
            queries.iter().filter_map(|q| study.queries.get(*q).cloned()).collect();
        let after = losses(study.base, &patched, &samples)?;
        for (query, after) in queries.iter().zip(after) {
            gain.insert((*query, record), before.get(*query).map_or(0.0, |b| b - after));
        }
    }
    let mean = |query: usize, records: &Vec<usize>| {
        let of: Vec<f64> = records.iter().filter_map(|r| gain.get(&(query, *r)).copied()).collect();
        super::statistics::mean(&of)
    };
    Ok(chosen
        .iter()
        .map(|of| of.iter().enumerate().map(|(query, records)| mean(query, records)).collect())
        .collect())
}

fn step(study: &Study, gradient: &Tensor, lr: f64) -> Adapter {
    let flat = tch::no_grad(|| {
        study.adapter.flat().detach() - gradient / (study.second_moment.sqrt() + 1e-8) * lr
    });
    Adapter::from_flat(study.adapter.config().clone(), flat)
}
