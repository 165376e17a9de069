//! Adapters with random numbers: what an adapter says does not bear on how fast it is served.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tributary_engine::{Adapter, LoraConfig, ModelConfig, Projection};

/// Rank of the adapters, unless a row says otherwise.
pub const RANK: i64 = 16;

/// Writes `count` different adapters of `rank` in PEFT's layout under `folder`.
pub fn make(folder: &Path, count: usize, rank: i64, model: &ModelConfig) -> Result<Vec<PathBuf>> {
    let config = LoraConfig {
        rank,
        alpha: 2.0 * rank as f64,
        targets: Projection::ALL.to_vec(),
        rslora: false,
    };
    (0..count)
        .map(|number| {
            let seed = number as u64 + 1;
            let adapter = Adapter::new(config.clone(), model, seed, tch::Device::Cpu)?;
            // B begins at zero, which would make every adapter alike.
            let noise = tch::Tensor::randn_like(adapter.flat()) * 0.01;
            let mut flat = adapter.flat().shallow_clone();
            flat += noise;
            let path = folder.join(format!("r{rank}-{number}"));
            adapter.save(&path, model, "tiny").with_context(|| path.display().to_string())?;
            Ok(path)
        })
        .collect()
}
