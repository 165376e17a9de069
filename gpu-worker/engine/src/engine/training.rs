//! The training thread: all jobs that run make each step together, in one pass over the base.
//!
//! A job that is done goes to a thread of its own for its index and files, so that the others go
//! on. A job that fails, is cancelled or diverges leaves; the others do not notice.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::Receiver;

use tokio::sync::mpsc::UnboundedSender;

use super::{job, TrainEvent, TrainRequest};
use crate::error::{EngineError, Result};
use crate::model::BaseModel;
use crate::record::Record;
use crate::train::{step_together, Checkpoints, Progress, Trainer};

/// Jobs that share a pass, at most; later ones wait.
const TOGETHER: usize = 8;

/// A training that was asked for.
pub(super) struct Job {
    pub request: TrainRequest,
    pub events: UnboundedSender<TrainEvent>,
}

struct Running<'a> {
    job: Job,
    trainer: Trainer<'a>,
}

/// Where a job keeps its checkpoint.
pub(super) fn checkpoints(request: &TrainRequest) -> Checkpoints {
    Checkpoints { folder: request.out.join("checkpoint"), every: request.checkpoint_every.max(1) }
}

/// Trains until every handle is gone and every job has ended.
pub(super) fn run(base: &BaseModel, queue: &Receiver<Job>) {
    let mut waiting: VecDeque<Job> = VecDeque::new();
    let mut running: Vec<Running> = vec![];
    loop {
        if running.is_empty() && waiting.is_empty() {
            match queue.recv() {
                Ok(job) => waiting.push_back(job),
                Err(_) => return,
            }
        }
        while let Ok(job) = queue.try_recv() {
            waiting.push_back(job);
        }
        while running.len() < TOGETHER {
            let Some(job) = waiting.pop_front() else { break };
            running.extend(start(base, job));
        }
        running = step(base, running);
    }
}

/// Readies a job, or tells its owner why it cannot be.
fn start(base: &BaseModel, job: Job) -> Option<Running<'_>> {
    if job.events.is_closed() {
        return None;
    }
    let ready = guarded(|| {
        let out = &job.request.out;
        std::fs::create_dir_all(out).map_err(EngineError::io(out))?;
        let records: Vec<Record> =
            job.request.contributions.iter().flat_map(|(_, part)| part.iter().cloned()).collect();
        Trainer::new(base, &records, &job.request.spec, Some(&checkpoints(&job.request)))
    });
    match ready {
        Ok(trainer) => Some(Running { job, trainer }),
        Err(error) => {
            let _ = job.events.send(TrainEvent::Failed(error)); // nobody may be waiting any more
            None
        }
    }
}

/// One step of all; gives those that go on.
fn step<'a>(base: &BaseModel, running: Vec<Running<'a>>) -> Vec<Running<'a>> {
    let (done, mut running): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|r| r.trainer.is_done());
    for Running { job, trainer } in done {
        hand_over(base, job, trainer);
    }
    let results = step_all(&mut running);
    let mut left = vec![];
    for (one, result) in running.into_iter().zip(results) {
        let event = match result {
            Ok(Progress { step, steps, loss, lr, tokens_per_second, held_out }) => {
                TrainEvent::Progress { step, steps, loss, lr, tokens_per_second, held_out }
            }
            Err(error) => {
                let _ = one.job.events.send(TrainEvent::Failed(error));
                continue;
            }
        };
        // A receiver that is gone has cancelled its job.
        if one.job.events.send(event).is_ok() {
            left.push(one);
        }
    }
    left
}

fn step_all(running: &mut [Running]) -> Vec<Result<Progress>> {
    let mut together: Vec<&mut Trainer> = running.iter_mut().map(|r| &mut r.trainer).collect();
    if let Ok(results) = guarded(|| Ok(step_together(&mut together))) {
        return results;
    }
    // The pass as a whole failed, most likely for want of memory; a pass changes nobody's state. So
    // each tries alone, and only who fails alone leaves.
    running.iter_mut().map(|r| guarded(|| r.trainer.step())).collect()
}

fn hand_over(base: &BaseModel, job: Job, trainer: Trainer<'_>) {
    let trained = match guarded(|| trainer.finish()) {
        Ok(trained) => trained,
        Err(error) => {
            let _ = job.events.send(TrainEvent::Failed(error));
            return;
        }
    };
    let base = base.share();
    let threads = tch::get_num_threads();
    let events = job.events.clone();
    let spawned = std::thread::Builder::new().name("engine-index".into()).spawn(move || {
        tch::set_num_threads(threads);
        let last = match guarded(|| job::finish(&base, &job.request, trained, &job.events)) {
            Ok(done) => TrainEvent::Done(done),
            Err(error) => TrainEvent::Failed(error),
        };
        let _ = job.events.send(last);
    });
    if let Err(error) = spawned {
        let fault = EngineError::io(std::path::Path::new("engine-index"))(error);
        let _ = events.send(TrainEvent::Failed(fault));
    }
}

/// The tensor library panics where it runs out of memory; the caller is told all the same.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(EngineError::Stopped))
}
