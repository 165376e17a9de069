//! The peer: PEFT on transformers, in a Python process of its own, given the same work.

use anyhow::{bail, Context, Result};
use serde::{de::DeserializeOwned, Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The script, kept beside the program's source and compiled in.
const SCRIPT: &str = include_str!("../peer.py");

/// What the peer is asked to serve.
#[derive(Serialize)]
pub struct Serve<'a> {
    /// Folder of the base model.
    pub base: &'a Path,
    /// Threads of one operation.
    pub threads: usize,
    /// Folders of the adapters.
    pub adapters: &'a [PathBuf],
    /// What is asked.
    pub questions: &'a [&'a str],
    /// Sequences in one batch.
    pub batch: usize,
    /// Batches.
    pub batches: usize,
    /// Tokens of each answer.
    pub tokens: usize,
    /// Numbers of different adapters in a batch that are tried; 0 is the base alone.
    pub mixes: &'a [usize],
}

/// What the peer served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Served {
    /// Different adapters in a batch.
    pub adapters: usize,
    /// Tokens in a second.
    pub tokens_per_second: f64,
}

/// What the peer is asked to train.
#[derive(Serialize)]
pub struct Train<'a> {
    /// Folder of the base model.
    pub base: &'a Path,
    /// Threads of one operation.
    pub threads: usize,
    /// File of records.
    pub data: &'a Path,
    /// Records in a step.
    pub batch: usize,
    /// Steps in a job.
    pub steps: usize,
    /// Rank of the adapter.
    pub rank: i64,
    /// Jobs, one after the other: PEFT trains one adapter at a time.
    pub jobs: usize,
}

/// The Python with torch, transformers and PEFT that the set-up made.
pub fn python() -> Result<PathBuf> {
    let path = std::env::var_os("TRIBUTARY_PYTHON")
        .map(PathBuf::from)
        .context("TRIBUTARY_PYTHON is not set: run this by `make bench-worker`")?;
    if !path.is_file() {
        bail!("{} is not there: run `make setup`", path.display());
    }
    Ok(path)
}

/// Runs one task and reads its answer.
pub fn ask<T: DeserializeOwned>(task: &str, what: &impl Serialize) -> Result<T> {
    let request = serde_json::to_string(what)?;
    let output = Command::new(python()?)
        .args(["-c", SCRIPT, task, &request])
        .env("HF_HUB_OFFLINE", "1")
        .env("TOKENIZERS_PARALLELISM", "false")
        .output()
        .context("the peer could not be started")?;
    if !output.status.success() {
        bail!("the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("the peer said nothing")?;
    serde_json::from_str(last).with_context(|| format!("the peer said: {last}"))
}
