//! LoRA training on a frozen base: epochs, schedule, checkpoints, resume.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::config::Projection;
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraConfig};
use crate::model::BaseModel;
use crate::optim::{clip, learning_rate, AdamW};
use crate::record::{Record, Sample};
use crate::weights::{write_safetensors_with, WeightStore};

const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// Records that the loss before and after is measured on, at most.
const MEASURED_RECORDS: usize = 128;
/// Batches whose records are sorted by length together, so that rows of a batch are alike.
const SORTED_BATCHES: usize = 8;

/// How an adapter is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        Ok(())
    }
}

/// Where to keep checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// Folder of the one checkpoint that is kept; training resumes from it when it is there.
    pub folder: PathBuf,
    /// Steps between two.
    pub every: usize,
}

/// How far a training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean loss per learnt token of the last batch.
    pub loss: f64,
    /// Learning rate of that step.
    pub lr: f64,
}

/// What a training showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss per learnt token of each step's batch, before its update.
    pub losses: Vec<f64>,
    /// Mean loss per learnt token on a sample of the records, untrained.
    pub loss_before: f64,
    /// The same, trained.
    pub loss_after: f64,
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens that went through the model, padding left out, over all epochs.
    pub tokens: u64,
}

/// A trained adapter.
pub struct Trained {
    /// The adapter.
    pub adapter: Adapter,
    /// What training it showed.
    pub metrics: Metrics,
}

/// Tokens of all records; errors name the record.
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

/// A training, one step at a time.
pub struct Trainer<'a> {
    base: &'a BaseModel,
    spec: &'a TrainSpec,
    checkpoints: Option<&'a Checkpoints>,
    samples: Vec<Sample>,
    /// Ties a checkpoint to this specification, base and data.
    fingerprint: String,
    /// The adapter's numbers, a leaf.
    flat: Tensor,
    optimiser: AdamW,
    /// Record indices of each batch of the present epoch.
    plan: Vec<Vec<usize>>,
    planned_epoch: Option<usize>,
    batches_per_epoch: usize,
    step: usize,
    losses: Vec<f64>,
    loss_before: f64,
}

impl<'a> Trainer<'a> {
    /// Encodes the records and makes a fresh adapter, or takes up a checkpoint.
    pub fn new(
        base: &'a BaseModel,
        records: &[Record],
        spec: &'a TrainSpec,
        checkpoints: Option<&'a Checkpoints>,
    ) -> Result<Self> {
        spec.check()?;
        if records.is_empty() {
            return Err(EngineError::Spec("there are no records to train on".into()));
        }
        let samples = encode_records(base, records, spec.seq_len)?;
        let device = base.transformer().device();
        let adapter = Adapter::new(spec.lora(), base.config(), spec.seed, device)?;
        let flat = adapter.flat().shallow_clone().set_requires_grad(true);
        let optimiser = AdamW::new(&flat, spec.weight_decay);
        let mut trainer = Self {
            base,
            spec,
            checkpoints,
            fingerprint: fingerprint(base, spec, &samples)?,
            batches_per_epoch: samples.len().div_ceil(spec.batch),
            samples,
            flat,
            optimiser,
            plan: vec![],
            planned_epoch: None,
            step: 0,
            losses: vec![],
            loss_before: 0.0,
        };
        let resumed = match checkpoints {
            Some(c) if c.folder.join(CHECKPOINT_FILE).is_file() => trainer.resume(&c.folder)?,
            _ => false,
        };
        if !resumed {
            trainer.loss_before = trainer.measure()?;
        }
        Ok(trainer)
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.batches_per_epoch * self.spec.epochs
    }

    /// Record numbers of each batch of an epoch, a function of seed and epoch alone.
    pub fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        plan_epoch(&self.samples, self.spec.batch, self.spec.seed, epoch)
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps()
    }

    /// One optimiser step.
    pub fn step(&mut self) -> Result<Progress> {
        let epoch = self.step / self.batches_per_epoch;
        if self.planned_epoch != Some(epoch) {
            self.plan = self.plan(epoch);
            self.planned_epoch = Some(epoch);
        }
        let chosen = &self.plan[self.step % self.batches_per_epoch];
        let rows: Vec<&Sample> = chosen.iter().map(|&i| &self.samples[i]).collect();
        let net = self.base.transformer();
        let batch = Batch::new(&rows, 0, net.device());

        let lora = Adapter::views(&self.spec.lora(), net.config(), &self.flat.to_kind(net.kind()));
        let hidden = net.hidden(&batch.ids, Some(&lora)); // [rows, seq, hidden]
        let picked =
            hidden.reshape([-1, net.config().hidden_size]).index_select(0, &batch.positions); // [n, hidden]
        let weights = &batch.weights / batch.rows.len() as f64;
        let loss = net.loss(&picked, &batch.targets, &weights);
        let value = (loss.per_token * weights).sum(Kind::Double).double_value(&[]);
        if !value.is_finite() {
            return Err(EngineError::NotFinite { step: self.step });
        }
        loss.surrogate.backward();
        let mut gradient = self.flat.grad();
        if !clip(&mut gradient, self.spec.grad_clip).is_finite() {
            return Err(EngineError::NotFinite { step: self.step });
        }
        let warmup = (self.spec.warmup_ratio * self.steps() as f64).round() as usize;
        let lr = learning_rate(self.step, self.steps(), warmup, self.spec.lr, 0.0);
        self.optimiser.step(&mut self.flat, &gradient, lr, None);
        self.flat.zero_grad();
        self.losses.push(value);
        self.step += 1;
        if let Some(c) = self.checkpoints {
            if self.step.is_multiple_of(c.every.max(1)) && !self.is_done() {
                self.save(&c.folder)?;
            }
        }
        Ok(Progress { step: self.step, steps: self.steps(), loss: value, lr })
    }

    /// The adapter and its figures; removes the checkpoint.
    pub fn finish(self) -> Result<Trained> {
        let loss_after = self.measure()?;
        if !loss_after.is_finite() {
            return Err(EngineError::NotFinite { step: self.step });
        }
        if let Some(c) = self.checkpoints {
            let path = c.folder.join(CHECKPOINT_FILE);
            if path.exists() {
                std::fs::remove_file(&path).map_err(EngineError::io(&path))?;
            }
        }
        let per_epoch: usize = self.samples.iter().map(|s| s.tokens.len()).sum();
        let metrics = Metrics {
            losses: self.losses,
            loss_before: self.loss_before,
            loss_after,
            steps: self.step,
            tokens: (per_epoch * self.spec.epochs) as u64,
        };
        let flat = self.flat.detach();
        Ok(Trained {
            adapter: Adapter::from_flat(
                self.spec.lora().checked().map_err(EngineError::Spec)?,
                flat,
            ),
            metrics,
        })
    }

    /// Mean loss per learnt token over evenly spaced records.
    fn measure(&self) -> Result<f64> {
        let stride = self.samples.len().div_ceil(MEASURED_RECORDS);
        let chosen: Vec<&Sample> = self.samples.iter().step_by(stride).collect();
        let net = self.base.transformer();
        let (mut sum, mut count) = (0.0, 0usize);
        tch::no_grad(|| {
            let flat = self.flat.detach().to_kind(net.kind());
            let lora = Adapter::views(&self.spec.lora(), net.config(), &flat);
            for rows in chosen.chunks(self.spec.batch.min(32)) {
                let batch = Batch::new(rows, 0, net.device());
                let hidden = net.hidden(&batch.ids, Some(&lora));
                let picked = hidden
                    .reshape([-1, net.config().hidden_size])
                    .index_select(0, &batch.positions);
                let loss = net.loss(&picked, &batch.targets, &batch.weights);
                sum += loss.per_token.sum(Kind::Double).double_value(&[]);
                count += batch.rows.len();
            }
        });
        Ok(sum / count.max(1) as f64)
    }

    fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        let state = State {
            fingerprint: self.fingerprint.clone(),
            step: self.step,
            losses: self.losses.clone(),
            loss_before: self.loss_before,
        };
        let path = folder.join(CHECKPOINT_FILE);
        let json = serde_json::to_string(&state)
            .map_err(|e| EngineError::Checkpoint { path: path.clone(), reason: e.to_string() })?;
        let tensors = [
            ("flat".to_string(), self.flat.detach()),
            ("m".to_string(), self.optimiser.m.shallow_clone()),
            ("v".to_string(), self.optimiser.v.shallow_clone()),
        ];
        write_safetensors_with(&path, &tensors, Kind::Float, &[("state", json)])
    }

    fn resume(&mut self, folder: &Path) -> Result<bool> {
        let path = folder.join(CHECKPOINT_FILE);
        let fail = |reason: String| EngineError::Checkpoint { path: path.clone(), reason };
        let store = WeightStore::open_file(&path)?;
        let text = store.metadata("state")?.ok_or_else(|| fail("it has no state".into()))?;
        let state: State = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        if state.fingerprint != self.fingerprint {
            return Err(fail("it is of another specification, base model or data".into()));
        }
        if state.step > self.steps() || state.losses.len() != state.step {
            return Err(fail(format!("step {} does not fit this training", state.step)));
        }
        let shape = self.flat.size();
        let read = |name: &str| store.get(name, &shape, Kind::Float, self.flat.device());
        let (flat, m, v) = (read("flat")?, read("m")?, read("v")?);
        self.flat = flat.set_requires_grad(true);
        self.optimiser.m = m;
        self.optimiser.v = v;
        self.optimiser.steps = state.step as i64;
        self.step = state.step;
        self.losses = state.losses;
        self.loss_before = state.loss_before;
        Ok(true)
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    fingerprint: String,
    step: usize,
    losses: Vec<f64>,
    loss_before: f64,
}

/// Batches of one epoch: shuffled, then sorted by length
/// within groups of batches, then the batches shuffled.
fn plan_epoch(samples: &[Sample], batch: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64 + 1);
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.shuffle(&mut rng);
    let mut batches = Vec::new();
    for group in order.chunks_mut(batch * SORTED_BATCHES) {
        group.sort_by_key(|&i| samples[i].tokens.len());
        batches.extend(group.chunks(batch).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

fn fingerprint(base: &BaseModel, spec: &TrainSpec, samples: &[Sample]) -> Result<String> {
    let mut hash = Sha256::new();
    let spec = serde_json::to_vec(spec).map_err(|e| EngineError::Spec(e.to_string()))?;
    hash.update((spec.len() as u64).to_le_bytes());
    hash.update(&spec);
    hash.update(format!("{:?}", base.config()));
    // Extremes tell checkpoints apart and, unlike sums, do not depend on the number of threads.
    for (_, tensor) in base.transformer().named() {
        for extreme in [tensor.max(), tensor.min()] {
            hash.update(extreme.double_value(&[]).to_le_bytes());
        }
    }
    for sample in samples {
        hash.update((sample.tokens.len() as u64).to_le_bytes());
        for (token, learn) in sample.tokens.iter().zip(&sample.learn) {
            hash.update(token.to_le_bytes());
            hash.update([u8::from(*learn)]);
        }
    }
    Ok(hex::encode(hash.finalize()))
}
