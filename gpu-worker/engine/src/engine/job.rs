//! A training job: adapter, influence index, files.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

use tokio::sync::mpsc::UnboundedSender;
use tributary_attribution::{Builder, Sketch};

use crate::engine::{TrainDone, TrainEvent, TrainRequest, INDEX_FILE};
use crate::error::{EngineError, Result};
use crate::gradients::{record_gradients, GradientOptions};
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
    let sketch = Sketch {
        seed: request.index.seed,
        input: adapter.flat().numel() as u64,
        dims: request.index.dims,
    };
    let ids = request.contributions.iter().map(|(id, _)| *id).collect();
    let lambda = request.index.lambda_millionths;
    let mut builder = Builder::new(sketch, lambda, ids, samples.len() as u32)?;
    let mut done = 0;
    let options = GradientOptions::default();
    record_gradients(base, adapter, &samples, options, &mut |row, gradient| {
        builder.set(row as u32, owners[row], gradient)?;
        done += 1;
        if done % INDEX_EVENT_EVERY == 0 || done == samples.len() {
            let event = TrainEvent::Indexing { done, records: samples.len() };
            events.send(event).map_err(|_| EngineError::Cancelled)?;
        }
        Ok(())
    })?;
    let index = builder.build()?;

    adapter.save(&request.out, base.config(), &request.base_name)?;
    let path = request.out.join(INDEX_FILE);
    index.save(&path)?;
    let _ = std::fs::remove_dir(&checkpoints.folder); // empty by now, or kept for what it holds
    Ok(TrainDone {
        metrics: trained.metrics,
        index_root: index.root(),
        files: vec![
            request.out.join("adapter_config.json"),
            request.out.join("adapter_model.safetensors"),
            path,
        ],
    })
}
