//! LoRA training on a frozen base: epochs, schedule, checkpoints, resume, several jobs at once.

mod checkpoint;
mod examples;
mod plan;
mod spec;
mod together;
mod trainer;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::{Record, Sample};

pub use checkpoint::Checkpoints;
pub use spec::TrainSpec;
pub use together::step_together;
pub use trainer::Trainer;

/// How far a training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean loss of the last batch: per learnt token, or per pair of preferences.
    pub loss: f64,
    /// Learning rate of that step.
    pub lr: f64,
    /// Tokens of its batch per second, the step as a whole.
    pub tokens_per_second: f64,
    /// Mean loss of the held-out records, when this step looked at them.
    pub held_out: Option<f64>,
}

/// What a training showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss of each step's batch, before its update: per learnt token, or per pair.
    pub losses: Vec<f64>,
    /// Mean loss on a sample of the records, untrained.
    pub loss_before: f64,
    /// The same, trained.
    pub loss_after: f64,
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens of all records trained on, over all epochs.
    pub tokens: u64,
    /// Step and mean loss of each look at the held-out records; the first, at step 0, is the base.
    #[serde(default)]
    pub held_out: Vec<(usize, f64)>,
    /// The step whose adapter was kept, when records were held out.
    #[serde(default)]
    pub best_step: Option<usize>,
    /// Whether it ended before its last step because the held-out loss no longer fell.
    #[serde(default)]
    pub stopped_early: bool,
}

/// A trained adapter.
pub struct Trained {
    /// The adapter.
    pub adapter: Adapter,
    /// What training it showed.
    pub metrics: Metrics,
    /// Numbers of the records that were held out, in order.
    pub held_out: Vec<usize>,
}

/// Tokens of all records; errors name the record. A preference gives its chosen answer.
pub fn encode_records(base: &BaseModel, records: &[Record], seq_len: usize) -> Result<Vec<Sample>> {
    let limit = seq_len.min(base.config().max_position as usize);
    let encode = |(i, r)| Sample::encode(r, base.tokenizer(), limit, i);
    records.iter().enumerate().map(encode).collect()
}

/// Trains an adapter on `records`. `on_progress` is called after each step and may end it, which
/// gives [`EngineError::Cancelled`].
pub fn train(
    base: &BaseModel,
    records: &[Record],
    spec: &TrainSpec,
    checkpoints: Option<&Checkpoints>,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained> {
    let mut trainer = Trainer::new(base, records, spec, checkpoints)?;
    while !trainer.is_done() {
        let progress = trainer.step()?;
        if on_progress(progress).is_break() {
            return Err(EngineError::Cancelled);
        }
    }
    trainer.finish()
}
