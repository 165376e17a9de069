//! Training: tokens in a second, for one job and for eight at once.

use crate::machine::{forget_peak, resident_mib};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Instant};
use tributary_engine::{encode_records, step_together, BaseModel, Record, TrainSpec, Trainer};

/// What was trained, and how fast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Jobs in one pass.
    pub jobs: usize,
    /// Tokens of all jobs in a second, padding left out.
    pub tokens_per_second: f64,
    /// Most memory in RAM while training, beyond what was there with the base loaded, in MiB.
    pub extra_mib: f64,
}

/// Steps that are measured.
pub const STEPS: usize = 12;
/// Records in a step.
pub const BATCH: usize = 32;

/// The records that are trained on: the first `count` of the example data.
pub fn records(data: &Path, count: usize) -> Result<Vec<Record>> {
    let path = data.join("shard-0.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().take(count).map(serde_json::from_str);
    lines.collect::<std::result::Result<_, _>>().with_context(|| path.display().to_string())
}

/// How the jobs are trained.
pub fn spec(seed: u64) -> TrainSpec {
    TrainSpec { epochs: 1, batch: BATCH, seed, ..TrainSpec::default() }
}

/// One job.
pub fn one(base: &BaseModel, records: &[Record]) -> Result<Row> {
    many(base, records, 1)
}

/// Several jobs on one base in one pass. Preparing, and measuring the loss before and after, is not
/// training; nor is the first step, which pays for warming up.
pub fn many(base: &BaseModel, records: &[Record], jobs: usize) -> Result<Row> {
    forget_peak();
    let before = resident_mib().0;
    let specs: Vec<TrainSpec> = (1..=jobs as u64).map(spec).collect();
    let mut trainers = Vec::with_capacity(jobs);
    for spec in &specs {
        trainers.push(Trainer::new(base, records, spec, None)?);
    }
    let tokens_of = encode_records(base, records, specs[0].seq_len)?;
    let (mut counted, mut seconds, mut number) = (0usize, 0.0, 0usize);
    while trainers.iter().any(|trainer| !trainer.is_done()) {
        let start = Instant::now();
        let mut all: Vec<&mut Trainer<'_>> = trainers.iter_mut().collect();
        for progress in step_together(&mut all) {
            progress?;
        }
        if number > 0 {
            seconds += start.elapsed().as_secs_f64();
            for trainer in &trainers {
                let rows = trainer.plan(0).into_iter().nth(number).unwrap_or_default();
                counted += rows.iter().map(|row| tokens_of[*row].tokens.len()).sum::<usize>();
            }
        }
        number += 1;
    }
    let tokens_per_second = counted as f64 / f64::max(seconds, 1e-9);
    Ok(Row { jobs, tokens_per_second, extra_mib: resident_mib().1 - before })
}
