//! What follows a training: influence index and files.

use tokio::sync::mpsc::UnboundedSender;
use tributary_attribution::{Builder, Sketch};

use super::training::checkpoints;
use crate::engine::{TrainDone, TrainEvent, TrainRequest, INDEX_FILE};
use crate::error::{EngineError, Result};
use crate::gradients::{record_gradients, GradientOptions};
use crate::model::BaseModel;
use crate::record::Record;
use crate::train::{encode_records, Trained};

/// Records between two events of the indexing.
const INDEX_EVENT_EVERY: usize = 32;

/// Builds the influence index of a trained adapter and writes all files.
pub(super) fn finish(
    base: &BaseModel,
    request: &TrainRequest,
    trained: Trained,
    events: &UnboundedSender<TrainEvent>,
) -> Result<TrainDone> {
    // Held-out records shaped nothing, so nothing is owed to them.
    let (mut records, mut owners): (Vec<Record>, Vec<u32>) = (vec![], vec![]);
    let mut index = 0usize;
    for (number, (_, part)) in request.contributions.iter().enumerate() {
        for record in part {
            if trained.held_out.binary_search(&index).is_err() {
                records.push(record.clone());
                owners.push(number as u32);
            }
            index += 1;
        }
    }
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
    let _ = std::fs::remove_dir(checkpoints(request).folder); // empty by now, or kept for what it holds
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
