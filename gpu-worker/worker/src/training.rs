//! Training on the real engine: the chain's job in, the adapter's files out.

use crate::{
    engine::{engine_fault, index_id, Engines},
    error::{Result, WorkerError},
    jobs::{Task, Trained, Trainer},
    progress::{JobBoard, Step},
};
use async_trait::async_trait;
use serde_json::json;
use std::path::{Path, PathBuf};
use tributary_client::shards::Record;
use tributary_engine::{
    EngineError, IndexSpec, Projection, TrainDone, TrainEvent, TrainRequest, TrainSpec, INDEX_FILE,
};
use tributary_primitives::{
    jobs::{self, Targets},
    ModelId, H256,
};

/// Optimiser steps between two checkpoints.
const CHECKPOINT_EVERY: usize = 50;

fn engine_record(record: Record) -> tributary_engine::Record {
    match record {
        Record::Completion { prompt, completion } => {
            tributary_engine::Record::Pair { prompt, completion }
        }
        Record::Preference { prompt, chosen, rejected } => {
            tributary_engine::Record::Preference { prompt, chosen, rejected }
        }
        Record::Chat { messages } => tributary_engine::Record::Messages {
            messages: messages
                .into_iter()
                .map(|m| tributary_engine::Message { role: m.role, content: m.content })
                .collect(),
        },
        Record::Text { text } => tributary_engine::Record::Text { text },
    }
}

fn projections(targets: &Targets) -> Vec<Projection> {
    [
        (targets.q, Projection::Q),
        (targets.k, Projection::K),
        (targets.v, Projection::V),
        (targets.o, Projection::O),
        (targets.gate, Projection::Gate),
        (targets.up, Projection::Up),
        (targets.down, Projection::Down),
    ]
    .into_iter()
    .filter_map(|(on, projection)| on.then_some(projection))
    .collect()
}

/// The engine's form of the chain's specification. What the chain does not name is fixed here:
/// plain scaling, gradients clipped to norm 1, no weight decay.
fn engine_spec(spec: &jobs::TrainSpec) -> TrainSpec {
    TrainSpec {
        rank: spec.rank.into(),
        alpha: spec.alpha.into(),
        targets: projections(&spec.targets),
        rslora: false,
        epochs: spec.epochs.into(),
        batch: spec.batch.into(),
        lr: f64::from(spec.lr_nano) / 1e9,
        seq_len: spec.seq_len as usize,
        seed: spec.seed,
        warmup_ratio: f64::from(spec.warmup_permille) / 1e3,
        grad_clip: Some(1.0),
        weight_decay: 0.0,
        ..TrainSpec::default()
    }
}

fn micro(loss: f64) -> u32 {
    // Saturates; a loss is neither negative nor near 4,294 nats.
    (loss * 1e6).round() as u32
}

#[async_trait]
impl Trainer for Engines {
    fn bases(&self) -> Vec<ModelId> {
        self.named()
    }

    async fn train(&self, task: Task, board: &JobBoard) -> Result<Trained> {
        let Task { job, contributions, folder } = task;
        let engine = self.engine(job.base)?;
        let spec = engine_spec(&job.spec);
        let members: Vec<_> = contributions
            .iter()
            .map(|(id, records)| json!({"contribution": id, "records": records.len()}))
            .collect();
        let request = TrainRequest {
            contributions: contributions
                .into_iter()
                .map(|(id, records)| {
                    (index_id(id), records.into_iter().map(engine_record).collect())
                })
                .collect(),
            spec: spec.clone(),
            index: IndexSpec::default(),
            out: folder.join("out"),
            checkpoint_every: CHECKPOINT_EVERY,
            base_name: job.base.to_string(),
        };
        let index_spec = request.index;
        let mut events = engine.train(request).map_err(engine_fault)?;
        let done = loop {
            match events.recv().await {
                Some(TrainEvent::Progress {
                    step,
                    steps,
                    loss,
                    tokens_per_second,
                    held_out,
                    ..
                }) => {
                    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                    let (step, steps) = (count(step), count(steps));
                    board.step(
                        job.id,
                        Step {
                            step,
                            steps,
                            loss: loss as f32,
                            tokens_per_second: Some(tokens_per_second),
                            held_out: held_out.map(|loss| loss as f32),
                        },
                    );
                }
                Some(TrainEvent::Indexing { done, records }) => {
                    board.state(job.id, "indexing", &format!("{done} of {records} records"));
                }
                Some(TrainEvent::Done(done)) => break done,
                Some(TrainEvent::Failed(error)) => return Err(training_fault(&job, error)),
                None => return Err(WorkerError::Engine("the training stopped".into())),
            }
        };
        let transcript = json!({
            "job": job.id,
            "base": job.base,
            "versions": job.versions,
            "contributions": members,
            "spec": job.spec,
            "training": spec,
            "index": index_spec,
            "losses": done.metrics.losses,
            "loss_before": done.metrics.loss_before,
            "loss_after": done.metrics.loss_after,
            "steps": done.metrics.steps,
            "tokens": done.metrics.tokens,
            "engine": env!("CARGO_PKG_VERSION"),
        });
        let adapter = folder.join("adapter");
        let index = gather(&done, &adapter)?;
        self.keep_spans(&done.spans, &H256(done.index_root))?;
        Ok(Trained {
            adapter,
            index,
            index_root: H256(done.index_root),
            metrics: jobs::Metrics {
                loss_before_micro: micro(done.metrics.loss_before),
                loss_after_micro: micro(done.metrics.loss_after),
                steps: u32::try_from(done.metrics.steps).unwrap_or(u32::MAX),
                tokens: done.metrics.tokens,
            },
            transcript: transcript.to_string().into_bytes(),
        })
    }
}

/// Failures that the records or the specification cause come again at every attempt.
fn training_fault(job: &tributary_primitives::views::JobView, error: EngineError) -> WorkerError {
    match error {
        EngineError::Record { .. } | EngineError::Spec(_) | EngineError::NotFinite { .. } => {
            WorkerError::JobImpossible { job: job.id, reason: error.to_string() }
        }
        other => WorkerError::Engine(other.to_string()),
    }
}

/// Puts the adapter's files, and nothing else, into `adapter`; returns where the index is.
fn gather(done: &TrainDone, adapter: &Path) -> Result<PathBuf> {
    let failed = |what: &Path| WorkerError::io(format!("gathering {}", what.display()));
    std::fs::create_dir_all(adapter).map_err(failed(adapter))?;
    let mut index = None;
    for file in &done.files {
        let name = file.file_name().unwrap_or_default();
        if name == INDEX_FILE {
            index = Some(file.clone());
        } else {
            std::fs::copy(file, adapter.join(name)).map_err(failed(file))?;
        }
    }
    index.ok_or_else(|| WorkerError::Engine("the training wrote no index".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_translated_field_by_field() {
        let targets = Targets { k: false, ..Targets::ALL };
        let spec = engine_spec(&jobs::TrainSpec {
            rank: 16,
            alpha: 32,
            targets,
            epochs: 3,
            batch: 30,
            lr_nano: 4_000_000,
            warmup_permille: 50,
            seq_len: 128,
            seed: 9,
        });
        assert_eq!((spec.rank, spec.alpha, spec.lr), (16, 32.0, 0.004));
        assert_eq!((spec.epochs, spec.batch, spec.seq_len, spec.seed), (3, 30, 128, 9));
        assert_eq!(spec.warmup_ratio, 0.05);
        assert!(!spec.targets.contains(&Projection::K));
        assert_eq!(spec.targets.len(), 6);
    }
}
