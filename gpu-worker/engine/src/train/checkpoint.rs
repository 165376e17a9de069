//! The one checkpoint of a training: written whole or not at all, taken up only by its own job.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::examples::Example;
use super::TrainSpec;
use crate::error::{EngineError, Result};
use crate::model::BaseModel;
use crate::weights::{write_safetensors_with, WeightStore};

const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Where to keep checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// Folder of the one checkpoint that is kept; training resumes from it when it is there.
    pub folder: PathBuf,
    /// Steps between two.
    pub every: usize,
}

impl Checkpoints {
    fn path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT_FILE)
    }
}

/// What a training is after some step, apart from its tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub fingerprint: String,
    pub step: usize,
    pub losses: Vec<f64>,
    pub loss_before: f64,
    /// Step and loss of each look at the held-out records.
    #[serde(default)]
    pub held_out: Vec<(usize, f64)>,
}

/// The tensors of a training after some step, `[parameters]` each.
pub(super) struct Numbers {
    pub flat: Tensor,
    pub m: Tensor,
    pub v: Tensor,
    /// The adapter at its best held-out loss.
    pub best: Option<Tensor>,
}

/// Writes a checkpoint over the one before.
pub(super) fn save(checkpoints: &Checkpoints, state: &State, numbers: &Numbers) -> Result<()> {
    let folder = &checkpoints.folder;
    std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    let path = checkpoints.path();
    let json = serde_json::to_string(state)
        .map_err(|e| EngineError::Checkpoint { path: path.clone(), reason: e.to_string() })?;
    let mut tensors = vec![
        ("flat".to_string(), numbers.flat.shallow_clone()),
        ("m".to_string(), numbers.m.shallow_clone()),
        ("v".to_string(), numbers.v.shallow_clone()),
    ];
    tensors.extend(numbers.best.as_ref().map(|best| ("best".to_string(), best.shallow_clone())));
    write_safetensors_with(&path, &tensors, Kind::Float, &[("state", json)])
}

/// Reads the checkpoint, if there is one, of the job with this fingerprint and these parameters.
pub(super) fn load(
    checkpoints: &Checkpoints,
    fingerprint: &str,
    like: &Tensor,
) -> Result<Option<(State, Numbers)>> {
    let path = checkpoints.path();
    if !path.is_file() {
        return Ok(None);
    }
    let fail = |reason: String| EngineError::Checkpoint { path: path.clone(), reason };
    let store = WeightStore::open_file(&path)?;
    let text = store.metadata("state")?.ok_or_else(|| fail("it has no state".into()))?;
    let state: State = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
    if state.fingerprint != fingerprint {
        return Err(fail("it is of another specification, base model or data".into()));
    }
    if state.losses.len() != state.step {
        return Err(fail(format!("it has {} losses at step {}", state.losses.len(), state.step)));
    }
    let shape = like.size();
    let read = |name: &str| store.get(name, &shape, Kind::Float, like.device());
    let best = if store.shape("best")?.is_some() { Some(read("best")?) } else { None };
    let numbers = Numbers { flat: read("flat")?, m: read("m")?, v: read("v")?, best };
    Ok(Some((state, numbers)))
}

/// Deletes the checkpoint.
pub(super) fn remove(checkpoints: &Checkpoints) -> Result<()> {
    let path: &Path = &checkpoints.path();
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io(path)(error))
        }
        _ => Ok(()),
    }
}

/// Ties a checkpoint to a specification, base and data.
pub(super) fn fingerprint(
    base: &BaseModel,
    spec: &TrainSpec,
    examples: &[Example],
) -> Result<String> {
    let mut hash = Sha256::new();
    let spec = serde_json::to_vec(spec).map_err(|e| EngineError::Spec(e.to_string()))?;
    hash.update((spec.len() as u64).to_le_bytes());
    hash.update(&spec);
    hash.update(format!("{:?}", base.config()));
    // Extremes tell checkpoints apart and, unlike sums, do not depend on the number of threads.
    for (_, tensor) in base.transformer().named() {
        for extreme in [tensor.max(), tensor.min()] {
            hash.update(extreme.double_value(&[]).to_le_bytes());
        }
    }
    for sample in examples.iter().flat_map(Example::sequences) {
        hash.update((sample.tokens.len() as u64).to_le_bytes());
        for (token, learn) in sample.tokens.iter().zip(&sample.learn) {
            hash.update(token.to_le_bytes());
            hash.update([u8::from(*learn)]);
        }
    }
    Ok(hex::encode(hash.finalize()))
}
