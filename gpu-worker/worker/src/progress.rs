//! How far jobs are, for those who ask over HTTP.

use crate::{error::Result, journal::Journal};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tributary_primitives::JobId;

/// Jobs that are remembered in memory; older ones are found in the journal.
const MAX_REMEMBERED: usize = 256;

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
    /// Seconds until the last step, as the last ones went.
    pub eta_s: Option<u64>,
    /// What went wrong, if something did.
    pub note: String,
}

/// When training began in this process, and at which step.
type Began = Option<(Instant, u32)>;

/// The jobs of this worker.
#[derive(Clone, Default)]
pub struct JobBoard {
    jobs: Arc<Mutex<BTreeMap<JobId, (JobProgress, Began)>>>,
}

impl JobBoard {
    /// Notes what a job is doing now.
    pub fn state(&self, job: JobId, state: &str, note: &str) {
        self.change(job, |progress, began| {
            progress.state = state.to_owned();
            progress.note = note.to_owned();
            progress.eta_s = None;
            if state != "training" {
                *began = None;
            }
        });
    }

    /// Notes a training step.
    pub fn step(&self, job: JobId, step: u32, steps: u32, loss: f32) {
        self.change(job, |progress, began| {
            progress.state = "training".to_owned();
            progress.step = step;
            progress.steps = steps;
            progress.loss = Some(loss);
            progress.loss_before.get_or_insert(loss);
            // Training may go on from a checkpoint: only steps taken now tell the pace.
            let (since, first) = *began.get_or_insert((Instant::now(), step));
            let taken = f64::from(step.saturating_sub(first));
            let left = f64::from(steps.saturating_sub(step));
            progress.eta_s =
                (taken > 0.0).then(|| (since.elapsed().as_secs_f64() / taken * left).ceil() as u64);
        });
    }

    fn change(&self, job: JobId, apply: impl FnOnce(&mut JobProgress, &mut Began)) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MAX_REMEMBERED && !jobs.contains_key(&job) {
            jobs.pop_first();
        }
        let (progress, began) = jobs
            .entry(job)
            .or_insert_with(|| (JobProgress { job, ..JobProgress::default() }, None));
        apply(progress, began);
    }

    /// How far a job is: from memory, or else from the journal.
    pub fn get(&self, job: JobId, journal: &Journal) -> Result<Option<JobProgress>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((progress, _)) = jobs.get(&job) {
            return Ok(Some(progress.clone()));
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
                eta_s: None,
                note: row.note,
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
        board.step(job, 11, 100, 4.0);
        assert_eq!(board.get(job, &journal).unwrap().unwrap().eta_s, None);
        board.step(job, 12, 100, 3.0);
        let progress = board.get(job, &journal).unwrap().unwrap();
        assert_eq!((progress.step, progress.steps), (12, 100));
        assert_eq!((progress.loss_before, progress.loss), (Some(4.0), Some(3.0)));
        assert!(progress.eta_s.is_some());
        board.state(job, "done", "");
        assert_eq!(board.get(job, &journal).unwrap().unwrap().state, "done");
    }
}
