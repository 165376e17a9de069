//! What follows a training: influence index, span index, files.

use tokio::sync::mpsc::UnboundedSender;

use super::training::checkpoints;
use crate::engine::{TrainDone, TrainEvent, TrainRequest, INDEX_FILE, SPANS_FILE};
use crate::error::{EngineError, Result};
use crate::indexing::{build_influence, build_spans, Corpus, GradientSpace};
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
    let _ = std::fs::remove_dir(checkpoints(request).folder); // empty by now, or kept for what it holds
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
