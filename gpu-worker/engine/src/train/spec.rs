//! What to train, and how.

use serde::{Deserialize, Serialize};

use crate::config::Projection;
use crate::error::{EngineError, Result};
use crate::lora::LoraConfig;

/// How an adapter is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSpec {
    /// Rank of the adapter's matrices.
    pub rank: i64,
    /// The product is scaled by `alpha / rank` (`alpha / sqrt(rank)` with `rslora`).
    pub alpha: f64,
    /// Projections to adapt.
    pub targets: Vec<Projection>,
    /// Rank-stabilised scaling.
    pub rslora: bool,
    /// Passes over all records.
    pub epochs: usize,
    /// Records of one optimiser step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Records are cut at this many tokens.
    pub seq_len: usize,
    /// Draws the adapter's start and the order of records.
    pub seed: u64,
    /// Part of the steps over which the learning rate rises.
    pub warmup_ratio: f64,
    /// Gradients are scaled down to this norm.
    pub grad_clip: Option<f64>,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Part of the records, in millionths, that are not trained on but measure the training. Drawn
    /// by `seed`. 0 holds none out.
    pub held_out_ppm: u32,
    /// Optimiser steps between two looks at the held-out records; 0 looks after each epoch.
    pub eval_every: usize,
    /// Looks in a row without a better held-out loss after which training ends; 0 goes to the end.
    pub patience: usize,
    /// How strongly preferences hold the adapter to the base: the β of Rafailov et al. 2023.
    pub dpo_beta: f64,
    /// Tokens that go through the model at once, at most (a single longer record still does): a
    /// larger batch is cut into several passes with the same result. Bounds memory.
    pub pass_tokens: usize,
    /// Compute parts of each block again in the backward instead of keeping them: less memory for
    /// about a sixth more work.
    pub recompute: bool,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            targets: Projection::ALL.to_vec(),
            rslora: false,
            epochs: 12,
            batch: 32,
            lr: 4e-3,
            seq_len: 256,
            seed: 1,
            warmup_ratio: 0.05,
            grad_clip: Some(1.0),
            weight_decay: 0.0,
            held_out_ppm: 0,
            eval_every: 0,
            patience: 0,
            dpo_beta: 0.1,
            pass_tokens: 16_384,
            recompute: false,
        }
    }
}

impl TrainSpec {
    /// Rank, scale and targets of the adapter that this trains.
    pub fn lora(&self) -> LoraConfig {
        LoraConfig {
            rank: self.rank,
            alpha: self.alpha,
            targets: self.targets.clone(),
            rslora: self.rslora,
        }
    }

    /// Says what is out of range.
    pub fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(EngineError::Spec(reason));
        self.lora().checked().map_err(EngineError::Spec)?;
        if !(1..=100_000).contains(&self.epochs) {
            return fail(format!("epochs {} is not within 1..=100000", self.epochs));
        }
        if !(1..=4096).contains(&self.batch) {
            return fail(format!("batch {} is not within 1..=4096", self.batch));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return fail(format!("lr {} is not positive", self.lr));
        }
        if self.seq_len < 2 {
            return fail(format!("seq_len {} leaves nothing to predict", self.seq_len));
        }
        if !(0.0..=1.0).contains(&self.warmup_ratio) {
            return fail(format!("warmup_ratio {} is not within 0..=1", self.warmup_ratio));
        }
        if self.grad_clip.is_some_and(|c| !(c.is_finite() && c > 0.0)) {
            return fail("grad_clip is not positive; leave it out to not clip".into());
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return fail(format!("weight_decay {} is negative", self.weight_decay));
        }
        if self.held_out_ppm > 900_000 {
            return fail(format!("held_out_ppm {} is above 900000", self.held_out_ppm));
        }
        if self.patience > 0 && self.held_out_ppm == 0 {
            return fail("patience needs held-out records; set held_out_ppm".into());
        }
        if !(self.dpo_beta.is_finite() && self.dpo_beta > 0.0) {
            return fail(format!("dpo_beta {} is not positive", self.dpo_beta));
        }
        if self.pass_tokens == 0 {
            return fail("pass_tokens is 0, so nothing could go through the model".into());
        }
        Ok(())
    }
}
