//! How far jobs are, for those who ask over HTTP.

use crate::{error::Result, journal::Journal};
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tributary_primitives::JobId;

/// Jobs that are remembered in memory; older ones are found in the journal.
const MAX_REMEMBERED: usize = 256;

/// Steps of one job that are remembered; of a longer training, the last ones.
const MAX_STEPS: usize = 10_000;

/// One optimiser step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Step {
    /// Its number, from 1.
    pub step: u32,
    /// Steps in all.
    #[serde(skip)]
    pub steps: u32,
    /// Loss of its batch, in nats per token.
    pub loss: f32,
    /// Tokens trained per second, when the engine tells.
    pub tokens_per_second: Option<f64>,
    /// Loss of the records that are held out, when this step looked at them.
    pub held_out: Option<f32>,
}

/// How far one job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
    /// `claiming`, `fetching`, `training`, `indexing`, `storing`, `submitted`, `done`, `given_up`.
    pub state: String,
    /// Optimiser steps taken.
    pub step: u32,
    /// Optimiser steps in all; 0 until they are known.
    pub steps: u32,
    /// Loss of the last step, in nats per token.
    pub loss: Option<f32>,
    /// Loss of the first step, in nats per token.
    pub loss_before: Option<f32>,
    /// Tokens trained per second at the last step, when the engine tells.
    pub tokens_per_second: Option<f64>,
    /// Last loss of the records that are held out, in nats per token.
    pub held_out: Option<f32>,
    /// Seconds until the last step, as the last ones went.
    pub eta_s: Option<u64>,
    /// What went wrong, if something did.
    pub note: String,
}

/// What is remembered of a job.
#[derive(Default)]
struct Remembered {
    progress: JobProgress,
    /// When training began in this process, and at which step.
    began: Option<(Instant, u32)>,
    steps: VecDeque<Step>,
}

/// The jobs of this worker.
#[derive(Clone, Default)]
pub struct JobBoard {
    jobs: Arc<Mutex<BTreeMap<JobId, Remembered>>>,
}

impl JobBoard {
    /// Notes what a job is doing now.
    pub fn state(&self, job: JobId, state: &str, note: &str) {
        self.change(job, |Remembered { progress, began, .. }| {
            progress.state = state.to_owned();
            progress.note = note.to_owned();
            progress.eta_s = None;
            if state != "training" {
                *began = None;
            }
        });
    }

    /// Notes a training step.
    pub fn step(&self, job: JobId, taken: Step) {
        self.change(job, |Remembered { progress, began, steps }| {
            progress.state = "training".to_owned();
            progress.step = taken.step;
            progress.steps = taken.steps;
            progress.loss = Some(taken.loss);
            progress.loss_before.get_or_insert(taken.loss);
            progress.tokens_per_second = taken.tokens_per_second;
            progress.held_out = taken.held_out.or(progress.held_out);
            // Training may go on from a checkpoint: only steps taken now tell the pace.
            let (since, first) = *began.get_or_insert((Instant::now(), taken.step));
            let done = f64::from(taken.step.saturating_sub(first));
            let left = f64::from(taken.steps.saturating_sub(taken.step));
            progress.eta_s =
                (done > 0.0).then(|| (since.elapsed().as_secs_f64() / done * left).ceil() as u64);
            // What is done over again after a fault replaces what was there.
            while steps.back().is_some_and(|last| last.step >= taken.step) {
                steps.pop_back();
            }
            if steps.len() >= MAX_STEPS {
                steps.pop_front();
            }
            steps.push_back(taken);
        });
    }

    /// The steps after `after` that are remembered, in order.
    pub fn steps(&self, job: JobId, after: u32) -> Vec<Step> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = jobs.get(&job).into_iter().flat_map(|job| &job.steps);
        steps.filter(|step| step.step > after).copied().collect()
    }

    fn change(&self, job: JobId, apply: impl FnOnce(&mut Remembered)) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MAX_REMEMBERED && !jobs.contains_key(&job) {
            jobs.pop_first();
        }
        let remembered = jobs.entry(job).or_default();
        remembered.progress.job = job;
        apply(remembered);
    }

    /// How far a job is: from memory, or else from the journal.
    pub fn get(&self, job: JobId, journal: &Journal) -> Result<Option<JobProgress>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = jobs.get(&job) {
            return Ok(Some(remembered.progress.clone()));
        }
        drop(jobs);
        Ok(journal.job(job)?.map(|row| {
            let micro = |loss: u32| (f64::from(loss) / 1e6) as f32;
            let metrics = row.result.map(|result| result.metrics);
            JobProgress {
                job,
                state: row.step.name().to_owned(),
                step: metrics.as_ref().map_or(0, |m| m.steps),
                steps: metrics.as_ref().map_or(0, |m| m.steps),
                loss: metrics.as_ref().map(|m| micro(m.loss_after_micro)),
                loss_before: metrics.as_ref().map(|m| micro(m.loss_before_micro)),
                note: row.note,
                ..JobProgress::default()
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_kept_and_a_pace_needs_two_steps() {
        let board = JobBoard::default();
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(
            &folder.path().join("j.db"),
            &Default::default(),
            &tributary_primitives::AccountId::new([1; 32]),
        )
        .unwrap();
        let job = JobId(3);
        assert_eq!(board.get(job, &journal).unwrap(), None);
        let step = |step, loss| Step { step, steps: 100, loss, ..Step::default() };
        board.step(job, step(11, 4.0));
        assert_eq!(board.get(job, &journal).unwrap().unwrap().eta_s, None);
        board.step(job, Step { tokens_per_second: Some(90.0), ..step(12, 3.0) });
        let progress = board.get(job, &journal).unwrap().unwrap();
        assert_eq!((progress.step, progress.steps), (12, 100));
        assert_eq!((progress.loss_before, progress.loss), (Some(4.0), Some(3.0)));
        assert_eq!(progress.tokens_per_second, Some(90.0));
        assert!(progress.eta_s.is_some());
        // The steps themselves; what is done over again is there once.
        board.step(job, step(13, 2.5));
        board.step(job, step(12, 2.9));
        let losses = |after| board.steps(job, after).iter().map(|s| s.loss).collect::<Vec<_>>();
        assert_eq!(losses(0), [4.0, 2.9]);
        assert_eq!(losses(11), [2.9]);
        for n in 13..13 + MAX_STEPS as u32 {
            board.step(job, step(n, 1.0));
        }
        assert_eq!(board.steps(job, 0).len(), MAX_STEPS);
        board.state(job, "done", "");
        assert_eq!(board.get(job, &journal).unwrap().unwrap().state, "done");
    }
}
