//! One job's training, a step at a time: what it trains on, its optimiser, its records of progress.

use std::time::Instant;

use tch::Tensor;

use super::checkpoint::{self, Checkpoints, Numbers, State};
use super::examples::{passes, weigh, Example};
use super::plan::{hold_out, plan_epoch};
use super::{Metrics, Progress, TrainSpec, Trained};
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraConfig};
use crate::model::tuning::{Manner, Packed, TunedAdapter};
use crate::model::BaseModel;
use crate::optim::{clip_factor, learning_rate, AdamW};
use crate::record::{Record, Sample};

/// Records that the loss before and after is measured on, at most.
const MEASURED_RECORDS: usize = 128;

/// A training, one step at a time.
pub struct Trainer<'a> {
    pub(super) base: &'a BaseModel,
    pub(super) spec: TrainSpec,
    pub(super) lora: LoraConfig,
    checkpoints: Option<Checkpoints>,
    pub(super) examples: Vec<Example>,
    /// Records to train on and records held out.
    kept: Vec<usize>,
    held_out: Vec<usize>,
    /// The adapter's numbers, f32.
    pub(super) flat: Tensor,
    optimiser: AdamW,
    /// Record indices of each batch of the present epoch.
    plan: Vec<Vec<usize>>,
    planned_epoch: Option<usize>,
    batches_per_epoch: usize,
    state: State,
    best: Option<Tensor>,
    /// What it was before the last step, to go back to when that step led astray.
    previous: Option<Before>,
}

/// A training before its last step.
struct Before {
    step: usize,
    looks: usize,
    numbers: Numbers,
}

impl<'a> Trainer<'a> {
    /// Encodes the records and makes a fresh adapter, or takes up a checkpoint.
    pub fn new(
        base: &'a BaseModel,
        records: &[Record],
        spec: &TrainSpec,
        checkpoints: Option<&Checkpoints>,
    ) -> Result<Self> {
        spec.check()?;
        if records.is_empty() {
            return Err(EngineError::Spec("there are no records to train on".into()));
        }
        let lora = spec.lora().checked().map_err(EngineError::Spec)?;
        let examples = Example::encode_all(base, records, spec.seq_len)?;
        let device = base.transformer().device();
        let flat = Adapter::new(lora.clone(), base.config(), spec.seed, device)?;
        let flat = flat.flat().shallow_clone();
        let (kept, held_out) = hold_out(examples.len(), spec.held_out_ppm, spec.seed);
        let fingerprint = checkpoint::fingerprint(base, spec, &examples)?;
        let mut trainer = Self {
            base,
            spec: spec.clone(),
            lora,
            checkpoints: checkpoints.cloned(),
            batches_per_epoch: kept.len().div_ceil(spec.batch),
            examples,
            kept,
            held_out,
            optimiser: AdamW::new(&flat, spec.weight_decay),
            flat,
            plan: vec![],
            planned_epoch: None,
            state: State { fingerprint, ..State::default() },
            best: None,
            previous: None,
        };
        trainer.refer_to_base()?;
        let found = match checkpoints {
            Some(c) => checkpoint::load(c, &trainer.state.fingerprint, &trainer.flat)?,
            None => None,
        };
        match found {
            Some((state, _)) if state.step > trainer.steps() => {
                let reason = format!("step {} is beyond this training's end", state.step);
                let path = checkpoints.map(|c| c.folder.clone()).unwrap_or_default();
                return Err(EngineError::Checkpoint { path, reason });
            }
            Some((state, numbers)) => trainer.restore(state, numbers),
            None => {
                trainer.state.loss_before = trainer.measure(&trainer.flat)?;
                if !trainer.held_out.is_empty() {
                    trainer.look()?;
                }
            }
        }
        Ok(trainer)
    }

    /// Steps in all, unless it ends early.
    pub fn steps(&self) -> usize {
        self.batches_per_epoch * self.spec.epochs
    }

    /// Record numbers of each batch of an epoch, a function of seed and epoch alone.
    pub fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |i: usize| self.examples.get(i).map_or(0, Example::length);
        plan_epoch(&self.kept, length, self.spec.batch, self.spec.seed, epoch)
    }

    /// Numbers of the records that are held out, in order.
    pub fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    /// The adapter as it is now, a copy.
    pub fn adapter(&self) -> Adapter {
        Adapter::from_flat(self.lora.clone(), self.flat.copy())
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.state.step
    }

    /// Whether all steps are done, or the held-out loss has not fallen for long enough.
    pub fn is_done(&self) -> bool {
        self.state.step >= self.steps() || self.is_stopped_early()
    }

    fn is_stopped_early(&self) -> bool {
        let looks = &self.state.held_out;
        let since = best_look(looks).map_or(0, |best| looks.len() - 1 - best);
        self.spec.patience > 0 && since >= self.spec.patience
    }

    /// One optimiser step.
    ///
    /// Errors when it is done, and with [`EngineError::NotFinite`] when loss or gradient are not
    /// finite. Then the adapter is as the last step left it that had a finite loss, and so is the
    /// checkpoint, if there is to be one.
    pub fn step(&mut self) -> Result<Progress> {
        super::step_together(&mut [self])
            .pop()
            .unwrap_or_else(|| Err(EngineError::Spec("no step was made".into())))
    }

    /// The examples of the next batch.
    pub(super) fn next_batch(&mut self) -> Result<Vec<usize>> {
        if self.is_done() {
            return Err(EngineError::Spec("all its steps are done; call finish".into()));
        }
        let epoch = self.state.step / self.batches_per_epoch;
        if self.planned_epoch != Some(epoch) {
            self.plan = self.plan(epoch);
            self.planned_epoch = Some(epoch);
        }
        Ok(self.plan.get(self.state.step % self.batches_per_epoch).cloned().unwrap_or_default())
    }

    /// Updates the adapter by the gradient of a batch with this mean loss and so many tokens, whose
    /// pass began at `began`.
    pub(super) fn apply(
        &mut self,
        gradient: &Tensor,
        loss: f64,
        tokens: usize,
        began: Instant,
    ) -> Result<Progress> {
        let (norm, factor) = clip_factor(gradient, self.spec.grad_clip);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(self.went_astray());
        }
        if self.checkpoints.is_some() {
            self.previous = Some(Before {
                step: self.state.step,
                looks: self.state.held_out.len(),
                numbers: self.numbers(true),
            });
        }
        let (step, steps) = (self.state.step, self.steps());
        let warmup = (self.spec.warmup_ratio * steps as f64).round() as usize;
        let lr = learning_rate(step, steps, warmup, self.spec.lr, 0.0);
        self.optimiser.step_scaled(&mut self.flat, gradient, factor, lr, None);
        self.state.losses.push(loss);
        self.state.step += 1;
        let held_out = if self.is_time_to_look() { Some(self.look()?) } else { None };
        if let Some(c) = &self.checkpoints {
            if self.state.step.is_multiple_of(c.every.max(1)) && !self.is_done() {
                checkpoint::save(c, &self.state, &self.numbers(false))?;
            }
        }
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        let tokens_per_second = tokens as f64 / seconds;
        Ok(Progress { step: self.state.step, steps, loss, lr, tokens_per_second, held_out })
    }

    /// Goes back to before the step that led here, keeps that as the checkpoint and says what
    /// happened.
    fn went_astray(&mut self) -> EngineError {
        let step = self.state.step;
        let Some(before) = self.previous.take() else {
            return EngineError::NotFinite { step };
        };
        let mut state = std::mem::take(&mut self.state);
        state.step = before.step;
        state.losses.truncate(before.step);
        state.held_out.truncate(before.looks);
        self.restore(state, before.numbers);
        if let Some(c) = &self.checkpoints {
            if let Err(error) = checkpoint::save(c, &self.state, &self.numbers(false)) {
                return error;
            }
        }
        EngineError::NotFinite { step }
    }

    fn is_time_to_look(&self) -> bool {
        let every = match self.spec.eval_every {
            0 => self.batches_per_epoch,
            every => every,
        };
        let due = self.state.step.is_multiple_of(every) || self.state.step == self.steps();
        !self.held_out.is_empty() && due
    }

    /// Measures the held-out records and keeps the adapter if it is the best so far.
    fn look(&mut self) -> Result<f64> {
        let chosen: Vec<&Example> =
            self.held_out.iter().filter_map(|&i| self.examples.get(i)).collect();
        let loss = self.mean_loss(&self.flat, &chosen)?;
        if !loss.is_finite() {
            return Err(self.went_astray());
        }
        self.state.held_out.push((self.state.step, loss));
        if best_look(&self.state.held_out) == Some(self.state.held_out.len() - 1) {
            self.best = Some(self.flat.copy());
        }
        Ok(loss)
    }

    /// The adapter and its figures; removes the checkpoint. With held-out records it is the adapter
    /// that was best on them.
    pub fn finish(self) -> Result<Trained> {
        let flat = self.best.as_ref().unwrap_or(&self.flat).shallow_clone();
        let loss_after = self.measure(&flat)?;
        if !loss_after.is_finite() {
            return Err(EngineError::NotFinite { step: self.state.step });
        }
        if let Some(c) = &self.checkpoints {
            checkpoint::remove(c)?;
        }
        let best = best_look(&self.state.held_out).and_then(|at| self.state.held_out.get(at));
        let metrics = Metrics {
            steps: self.state.step,
            tokens: self.tokens_seen(),
            best_step: best.map(|(step, _)| *step),
            stopped_early: self.is_stopped_early() && self.state.step < self.steps(),
            losses: self.state.losses,
            loss_before: self.state.loss_before,
            loss_after,
            held_out: self.state.held_out,
        };
        let adapter = Adapter::from_flat(self.lora, flat);
        Ok(Trained { adapter, metrics, held_out: self.held_out })
    }

    /// Tokens of all batches so far.
    fn tokens_seen(&self) -> u64 {
        let length = |i: &usize| self.examples.get(*i).map_or(0, Example::length) as u64;
        let whole = self.state.step / self.batches_per_epoch.max(1);
        let rest = self.state.step % self.batches_per_epoch.max(1);
        let per_epoch: u64 = self.kept.iter().map(length).sum();
        let begun = if rest == 0 { vec![] } else { self.plan(whole) };
        per_epoch * whole as u64 + begun.iter().take(rest).flatten().map(length).sum::<u64>()
    }

    /// Mean loss over evenly spaced records that are trained on.
    fn measure(&self, flat: &Tensor) -> Result<f64> {
        let stride = self.kept.len().div_ceil(MEASURED_RECORDS).max(1);
        let chosen: Vec<&Example> =
            self.kept.iter().step_by(stride).filter_map(|&i| self.examples.get(i)).collect();
        self.mean_loss(flat, &chosen)
    }

    fn mean_loss(&self, flat: &Tensor, chosen: &[&Example]) -> Result<f64> {
        let net = self.base.transformer();
        let adapter = TunedAdapter::new(&self.lora, net.config(), flat, net.kind());
        let total = chosen.iter().map(|e| e.share()).sum();
        let mut loss = 0.0;
        for run in passes(chosen, Example::tokens, self.spec.pass_tokens) {
            let (packed, losses) = self.token_losses(&run, Some(&adapter))?;
            loss += weigh(&run, &packed.records, &losses, total, self.spec.dpo_beta).loss;
        }
        Ok(loss)
    }

    /// Loss of each learnt token of `run`, without a backward.
    fn token_losses(
        &self,
        run: &[&Example],
        adapter: Option<&TunedAdapter>,
    ) -> Result<(Packed, Vec<f32>)> {
        let net = self.base.transformer();
        let sequences: Vec<&Sample> = run.iter().flat_map(|e| e.sequences()).collect();
        let packed = Packed::new(&[sequences], net.device());
        let manner = Manner { keep: false, recompute: false };
        let losses = net.tune(&packed, &[adapter], manner).per_token;
        let losses = Vec::<f32>::try_from(losses)?;
        Ok((packed, losses))
    }

    /// Notes what the base alone says of each preference.
    fn refer_to_base(&mut self) -> Result<()> {
        if self.examples.iter().all(|e| e.rejected.is_none()) {
            return Ok(());
        }
        let all: Vec<&Example> = self.examples.iter().collect();
        let mut said = Vec::with_capacity(all.len());
        for run in passes(&all, Example::tokens, self.spec.pass_tokens) {
            let (packed, losses) = self.token_losses(&run, None)?;
            for pair in packed.records.chunks(2) {
                let sum = |at: usize| {
                    let rows = pair.get(at)?;
                    let start = rows.start as usize;
                    let part = losses.get(start..start + rows.len as usize)?;
                    Some(-part.iter().map(|l| f64::from(*l)).sum::<f64>())
                };
                said.push(sum(0).zip(sum(1)));
            }
        }
        for (example, reference) in self.examples.iter_mut().zip(said) {
            example.reference = reference;
        }
        Ok(())
    }

    /// Its tensors; copies with `copy`, else the ones in use.
    fn numbers(&self, copy: bool) -> Numbers {
        let of = |t: &Tensor| if copy { t.copy() } else { t.shallow_clone() };
        Numbers {
            flat: of(&self.flat),
            m: of(&self.optimiser.m),
            v: of(&self.optimiser.v),
            // Replaced as a whole, never written to.
            best: self.best.as_ref().map(Tensor::shallow_clone),
        }
    }

    fn restore(&mut self, state: State, numbers: Numbers) {
        self.optimiser.steps = state.step as i64;
        self.state = state;
        self.flat = numbers.flat;
        self.optimiser.m = numbers.m;
        self.optimiser.v = numbers.v;
        self.best = numbers.best;
    }
}

/// Which look had the lowest loss; the first of equals.
fn best_look(looks: &[(usize, f64)]) -> Option<usize> {
    (0..looks.len()).reduce(|best, at| if looks[at].1 < looks[best].1 { at } else { best })
}
