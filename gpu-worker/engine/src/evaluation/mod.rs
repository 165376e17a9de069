//! How good attribution is, measured against retrained models and in two other ways; the protocol
//! stands in docs/attribution.md.

mod data;
mod gradient;
mod methods;
mod report;
mod statistics;
mod study;
mod tail_patch;
mod text;
mod truth;

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::BaseModel;
use crate::train::TrainSpec;

pub use data::{DataSet, Item};
pub use report::{Report, Row};

use methods::{score, Scores, PAYS};
use study::Study;

/// What is measured, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Facts of every shard that are left out before the first one that is taken.
    #[serde(default)]
    pub skip: usize,
    /// Facts taken from every shard.
    pub facts: usize,
    /// Training wordings of each fact.
    pub wordings: usize,
    /// Models retrained on random halves of the records.
    pub subsets: usize,
    /// Part of the records that get a wrong answer.
    pub mislabelled: f64,
    /// Records that each method names per question for the tail patch.
    pub patched: usize,
    /// Adapters kept on the way, for TracIn.
    pub snapshots: usize,
    /// Draws subsets, wrong answers and the random method.
    pub seed: u64,
    /// How every adapter is trained.
    pub spec: TrainSpec,
}

impl Default for Settings {
    /// 96 records of 24 facts, 64 subsets, adapters of rank 8 trained for ten epochs.
    fn default() -> Self {
        let spec = TrainSpec { rank: 8, alpha: 16.0, epochs: 10, batch: 8, ..TrainSpec::default() };
        Self {
            skip: 0,
            facts: 8,
            wordings: 4,
            subsets: 64,
            mislabelled: 0.1,
            patched: 5,
            snapshots: 5,
            seed: 1,
            spec,
        }
    }
}

/// Runs the whole evaluation. `work` is a folder for intermediate files: with `resume`, retrained
/// models' losses found there under the same settings are taken instead of being made again.
/// `say` is told what is under way.
pub fn evaluate(
    base: &BaseModel,
    data_folder: &Path,
    settings: &Settings,
    work: &Path,
    resume: bool,
    say: &mut dyn FnMut(String),
) -> Result<Report> {
    let start = Instant::now();
    std::fs::create_dir_all(work).map_err(crate::EngineError::io(work))?;
    let data = DataSet::read(data_folder, settings.skip, settings.facts, settings.wordings)?;
    let count = data.records.len();
    say(format!("{count} records, {} questions", data.queries.len()));
    let checkpoint = work.join("checkpoint");
    let train = |records: &[Item]| {
        let spec = &settings.spec;
        Study::train(base, records, &data.queries, spec, settings.snapshots, &checkpoint)
    };

    let study = train(&data.records)?;
    let scores = score(&study, &data.records, &data.queries, settings.seed, work)?;
    say("adapter trained, all methods scored".into());
    let gains = tail_patch::gains(&study, &scores, settings)?;
    say("tail patches measured".into());

    let wrong_count = (settings.mislabelled * count as f64).round() as usize;
    let (changed, wrong) = data.mislabelled(wrong_count, settings.seed + 4);
    let changed_study = train(&changed.records)?;
    let changed_scores =
        score(&changed_study, &changed.records, &data.queries, settings.seed, work)?;
    say("adapter with wrong answers trained, all methods scored".into());

    let subsets = data.subsets(settings.subsets, count / 2, settings.seed);
    let truth = truth::losses(base, &data, &subsets, settings, work, resume, say)?;
    let rows = scores.iter().zip(&changed_scores).zip(gains);
    let rows = rows
        .map(|((scores, changed), gain)| {
            let auc = statistics::auc(&harm(changed), &wrong);
            let own = changed.own.as_ref().map(|own| statistics::auc(own, &wrong));
            Row::new(
                scores.method.to_string(),
                (agreements(scores, &subsets, &truth), gain),
                (auc, own),
            )
        })
        .collect();
    let losses = study::losses(base, &study.adapter, &study.queries)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report {
        settings: settings.clone(),
        records: count,
        queries: data.queries.len(),
        mislabelled: wrong_count,
        loss_full: statistics::mean(&losses),
        loss_subsets: statistics::mean(&truth.iter().flatten().copied().collect::<Vec<_>>()),
        rows,
        seconds,
    })
}

/// The linear datamodeling score of each question: the rank correlation over subsets between the
/// sum of a subset's scores and how well the model trained on it answers.
fn agreements(scores: &Scores, subsets: &[Vec<usize>], truth: &[Vec<f64>]) -> Vec<f64> {
    let of = |(query, row): (usize, &Vec<f64>)| {
        let predicted: Vec<f64> =
            subsets.iter().map(|s| s.iter().filter_map(|&i| row.get(i)).sum()).collect();
        let found: Vec<f64> =
            truth.iter().map(|losses| -losses.get(query).copied().unwrap_or(0.0)).collect();
        statistics::spearman(&predicted, &found)
    };
    scores.matrix.iter().enumerate().map(of).collect()
}

/// How much each record speaks against the right answers to the held-out questions, in the mean.
fn harm(scores: &Scores) -> Vec<f64> {
    let records = scores.matrix.first().map_or(0, Vec::len);
    let mean = |i: usize| -> f64 {
        let column: Vec<f64> = scores.matrix.iter().filter_map(|row| row.get(i).copied()).collect();
        -statistics::mean(&column)
    };
    (0..records).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_knows_the_truth_scores_one() {
        let subsets = vec![vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]];
        // Losses fall by what each record adds.
        let adds = [[3.0, 1.0, 0.5], [0.0, 2.0, 5.0]];
        let truth: Vec<Vec<f64>> = subsets
            .iter()
            .map(|s| adds.iter().map(|a| 10.0 - s.iter().map(|&i| a[i]).sum::<f64>()).collect())
            .collect();
        let matrix: Vec<Vec<f64>> = adds.iter().map(|a| a.to_vec()).collect();
        let knows = Scores { method: "it", matrix: matrix.clone(), own: None };
        assert_eq!(agreements(&knows, &subsets, &truth), [1.0, 1.0]);
        let opposite = matrix.iter().map(|r| r.iter().map(|v| -v).collect()).collect();
        let opposite = Scores { method: "it", matrix: opposite, own: None };
        assert_eq!(agreements(&opposite, &subsets, &truth), [-1.0, -1.0]);
        assert_eq!(harm(&knows), [-1.5, -1.5, -2.75]);
    }
}
