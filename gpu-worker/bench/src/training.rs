//! Training: tokens in a second, for one job and for eight at once.

use crate::machine::resident_mib;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{ops::ControlFlow, path::Path, time::Instant};
use tributary_engine::{train, BaseModel, Record, TrainSpec};

/// What was trained, and how fast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Jobs in one pass.
    pub jobs: usize,
    /// Tokens of all jobs in a second, padding left out.
    pub tokens_per_second: f64,
    /// Most memory that the process ever had in RAM, in MiB.
    pub peak_mib: f64,
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
    let tokens = std::cell::Cell::new(0u64);
    // Preparing and measuring the loss before and after is not training: the clock runs from the
    // first step's end to the last one's.
    let (mut start, mut end, mut steps) = (None, Instant::now(), 0usize);
    let trained = train(base, records, &spec(1), None, &mut |progress| {
        end = Instant::now();
        steps = progress.steps;
        start.get_or_insert(end);
        ControlFlow::Continue(())
    })?;
    tokens.set(trained.metrics.tokens);
    let seconds = start.map_or(0.0, |start: Instant| end.duration_since(start).as_secs_f64());
    let counted = tokens.get() as f64 * (steps.saturating_sub(1)) as f64 / steps.max(1) as f64;
    Ok(Row { jobs: 1, tokens_per_second: counted / seconds.max(1e-9), peak_mib: resident_mib().1 })
}
