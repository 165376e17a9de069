//! What attribution is measured against: models retrained on subsets.

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data::{DataSet, Item};
use super::study::{encode, losses as sample_losses};
use super::Settings;
use crate::error::{EngineError, Result};
use crate::files::write_json;
use crate::model::BaseModel;
use crate::record::Record;
use crate::train::train;

/// Losses of retrained models, and what they were made from.
#[derive(Serialize, Deserialize)]
struct Kept {
    settings: Settings,
    records: Vec<String>,
    /// `[subset][question]`.
    losses: Vec<Vec<f64>>,
}

/// Losses on every question of the model trained on each subset, `[subset][question]`. Written to
/// `truth.json` in `work` after every model.
pub(super) fn losses(
    base: &BaseModel,
    data: &DataSet,
    subsets: &[Vec<usize>],
    settings: &Settings,
    work: &Path,
    resume: bool,
    say: &mut dyn FnMut(String),
) -> Result<Vec<Vec<f64>>> {
    let path = work.join("truth.json");
    let records: Vec<String> = data.records.iter().map(Item::text).collect();
    let mut kept = Kept { settings: settings.clone(), records, losses: vec![] };
    if resume && path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let found: Kept = serde_json::from_str(&text)
            .map_err(|e| EngineError::Checkpoint { path: path.clone(), reason: e.to_string() })?;
        // More subsets may be asked for than before: the first ones stay the same.
        let comparable = Settings { subsets: settings.subsets, ..found.settings.clone() };
        if comparable != *settings || found.records != kept.records {
            let reason = "it was made with other settings or records".into();
            return Err(EngineError::Checkpoint { path, reason });
        }
        kept.losses = found.losses;
        kept.losses.truncate(subsets.len());
        say(format!("{} retrained models taken from {}", kept.losses.len(), path.display()));
    }
    let queries = encode(base, &data.queries, settings.spec.seq_len)?;
    for (number, subset) in subsets.iter().enumerate().skip(kept.losses.len()) {
        let records: Vec<Record> =
            subset.iter().filter_map(|&i| data.records.get(i)).map(Item::record).collect();
        let trained =
            train(base, &records, &settings.spec, None, &mut |_| ControlFlow::Continue(()))?;
        kept.losses.push(sample_losses(base, &trained.adapter, &queries)?);
        write_json(&path, &kept)?;
        say(format!("model {} of {} retrained", number + 1, subsets.len()));
    }
    Ok(kept.losses)
}
