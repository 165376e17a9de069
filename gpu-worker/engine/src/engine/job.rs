//! A training job: adapter, influence index, span index, files.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{TrainDone, TrainEvent, TrainRequest, INDEX_FILE, SPANS_FILE};
use crate::error::{EngineError, Result};
use crate::indexing::{build_influence, build_spans, Corpus, GradientSpace};
use crate::model::BaseModel;
use crate::record::Record;
use crate::train::{encode_records, train, Checkpoints};

/// Records between two events of the indexing.
const INDEX_EVENT_EVERY: usize = 32;

pub(super) fn run(base: &BaseModel, request: &TrainRequest, events: &UnboundedSender<TrainEvent>) {
    // The tensor library panics where it runs out of memory; the caller is told all the same.
    let work = AssertUnwindSafe(|| train_and_index(base, request, events));
    let last = match std::panic::catch_unwind(work) {
        Ok(Ok(done)) => TrainEvent::Done(done),
        Ok(Err(error)) => TrainEvent::Failed(error),
        Err(_) => TrainEvent::Failed(EngineError::Stopped),
    };
    let _ = events.send(last); // nobody may be waiting any more
}

fn train_and_index(
    base: &BaseModel,
    request: &TrainRequest,
    events: &UnboundedSender<TrainEvent>,
) -> Result<TrainDone> {
    let (mut records, mut owners): (Vec<Record>, Vec<u32>) = (vec![], vec![]);
    for (number, (_, part)) in request.contributions.iter().enumerate() {
        records.extend(part.iter().cloned());
        owners.extend(part.iter().map(|_| number as u32));
    }
    std::fs::create_dir_all(&request.out).map_err(EngineError::io(&request.out))?;
    let checkpoints = Checkpoints {
        folder: request.out.join("checkpoint"),
        every: request.checkpoint_every.max(1),
    };
    let trained = train(base, &records, &request.spec, Some(&checkpoints), &mut |p| {
        let event = TrainEvent::Progress { step: p.step, steps: p.steps, loss: p.loss };
        match events.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;

    let samples = encode_records(base, &records, request.spec.seq_len)?;
    let adapter = &trained.adapter;
    let ids: Vec<_> = request.contributions.iter().map(|(id, _)| *id).collect();
    let corpus = Corpus { samples: &samples, owners: &owners, contributions: &ids };
    let space = GradientSpace::choose(adapter, base.config(), request.index.seed)?;
    let path = request.out.join(INDEX_FILE);
    let on_record = &mut |done: usize| {
        if done.is_multiple_of(INDEX_EVENT_EVERY) || done == samples.len() {
            let event = TrainEvent::Indexing { done, records: samples.len() };
            events.send(event).map_err(|_| EngineError::Cancelled)?;
        }
        Ok(())
    };
    let index = build_influence(base, adapter, corpus, &request.index, &space, &path, on_record)?;
    let spans = build_spans(corpus)?;

    adapter.save(&request.out, base.config(), &request.base_name)?;
    let spans_path = request.out.join(SPANS_FILE);
    spans.save(&spans_path)?;
    let _ = std::fs::remove_dir(&checkpoints.folder); // empty by now, or kept for what it holds
    Ok(TrainDone {
        metrics: trained.metrics,
        index_root: index.root(),
        spans_root: spans.root(),
        spans: spans_path,
        files: vec![
            request.out.join("adapter_config.json"),
            request.out.join("adapter_model.safetensors"),
            path,
        ],
    })
}
