//! What is said to an engine and by it: options, requests, events, results.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tch::Device;
use tributary_attribution::{Attribution, ContributionId, Damping};

use crate::config::ModelConfig;
use crate::decoding::{FinishReason, Guidance, Sampling, TokenLogprobs};
use crate::error::{EngineError, Result};
use crate::generate::STEP_TOKENS;
use crate::model::Quantise;
use crate::record::Record;
use crate::serve::pool::{self, Limits};
use crate::tokenizer::Message;
use crate::train::{Metrics, TrainSpec};

/// Name of the influence index beside an adapter's two files.
pub const INDEX_FILE: &str = "influence.idx";
/// Name of the span index beside them. It holds the tokens of every record.
pub const SPANS_FILE: &str = "spans.idx";

/// How to start an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Folder of the base model.
    pub base: PathBuf,
    /// Where to compute.
    pub device: Device,
    /// Threads of the tensor library for one operation.
    pub threads: usize,
    /// Sequences that run at once.
    pub slots: usize,
    /// Longest prompt and answer together, in tokens; the model's context at most.
    pub capacity: usize,
    /// Requests that may wait for a slot; more are refused at once.
    pub waiting: usize,
    /// Tokens of a step at most: long prompts are read in pieces between the answers' tokens.
    pub step_tokens: usize,
    /// Memory for keys and values. A request is taken in when what it may need is free.
    pub kv_bytes: usize,
    /// Adapters that are ready to be computed with at once; others make room by turns.
    pub device_adapters: usize,
    /// Memory for them, on the device.
    pub device_bytes: usize,
    /// Memory for adapters on the host, from where they come back faster than from disk.
    pub host_bytes: usize,
    /// On the CPU, whether our own loops compute instead of the tensor library. They hold the
    /// weights a second time, are faster, and give every request the same bits whatever else
    /// runs beside it.
    pub cpu_loops: bool,
    /// How the base model is held in memory.
    pub quantise: Quantise,
}

impl EngineOptions {
    /// Defaults for the base model in `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            device: Device::Cpu,
            threads: 2,
            slots: 16,
            capacity: 1024,
            waiting: 256,
            step_tokens: STEP_TOKENS,
            kv_bytes: 8 << 30,
            device_adapters: 1024,
            device_bytes: 4 << 30,
            host_bytes: 8 << 30,
            cpu_loops: true,
            quantise: Quantise::None,
        }
    }

    /// Limits of the pool; says what is out of range.
    pub(super) fn check(&self) -> Result<Limits> {
        if self.slots == 0 || self.capacity < 2 {
            let reason = "an engine needs a slot and room for two tokens".into();
            return Err(EngineError::Request(reason));
        }
        let limits = Limits {
            device_adapters: self.device_adapters,
            device_bytes: self.device_bytes,
            host_bytes: self.host_bytes,
        };
        pool::check(&limits)?;
        Ok(limits)
    }

    /// `threads`, as the tensor library takes it.
    pub(super) fn tensor_threads(&self) -> i32 {
        self.threads.clamp(1, 1024) as i32
    }
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, written out by the model's chat template.
    Chat(Vec<Message>),
    /// Plain text to continue.
    Text(String),
}

/// A request for an answer.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// Id of a loaded adapter; `None` asks the base itself.
    pub adapter: Option<String>,
    /// What to answer.
    pub prompt: Prompt,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts at which to stop.
    pub stop: Vec<String>,
    /// How many of the likeliest tokens to name with their probabilities.
    pub logprobs: Option<usize>,
    /// What else the answer is held to; [`Engine::grammar`] compiles its grammar.
    pub guidance: Guidance,
}

/// What comes while an answer is made. The last event is `Done` or `Failed`.
#[derive(Debug)]
pub enum Event {
    /// One token; its text may be empty while a character or a stop text is incomplete.
    Token {
        /// Token id.
        id: i64,
        /// Text that became certain.
        text: String,
        /// The token's probabilities, if they were asked for.
        logprobs: Option<TokenLogprobs>,
    },
    /// The answer is whole.
    Done(Finished),
    /// There will be no answer.
    Failed(EngineError),
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The answer's tokens, the closing one too: what [`Engine::attribute`] needs.
    pub answer_tokens: Vec<i64>,
    /// The answer's text.
    pub text: String,
}

/// A request to attribute an answer.
#[derive(Debug, Clone)]
pub struct AttributeRequest {
    /// The adapter that answered; it was loaded with its influence index.
    pub adapter: String,
    /// What was asked.
    pub prompt: Prompt,
    /// [`Finished::answer_tokens`].
    pub answer_tokens: Vec<i64>,
    /// How many records to name.
    pub top: usize,
}

/// An attribution and what is needed to check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributed {
    /// Shares by contribution and the unattributed part.
    pub attribution: Attribution,
    /// The quantised query: with the index, anyone gets the same attribution from it.
    pub query: Vec<i8>,
}

/// How an influence index is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// Dimensions of the projected gradients.
    pub dims: u32,
    /// The damping of ρ, in millionths. The more, the more it takes for ρ to count an answer as
    /// explained: one record like it alone explains `1 / (1 + λ)`.
    pub lambda_millionths: u32,
    /// The damping of ρ's division among records, in millionths. The more, the more of it goes to
    /// those who say a thing several times, as the model learns more from them.
    pub mu_millionths: u32,
    /// Draws the projection.
    pub seed: u64,
}

impl IndexSpec {
    /// Both dampings.
    pub fn damping(&self) -> Damping {
        Damping { lambda: self.lambda_millionths, mu: self.mu_millionths }
    }
}

impl Default for IndexSpec {
    fn default() -> Self {
        Self { dims: 4096, lambda_millionths: 100_000, mu_millionths: 2_000_000, seed: 0 }
    }
}

/// A training job.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// Records by contribution.
    pub contributions: Vec<(ContributionId, Vec<Record>)>,
    /// How to train.
    pub spec: TrainSpec,
    /// How to index.
    pub index: IndexSpec,
    /// Folder for the adapter, its index and, until it is done, its checkpoint. A job that finds
    /// a checkpoint of its own there goes on from it.
    pub out: PathBuf,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// The base model's name, for the adapter's configuration.
    pub base_name: String,
}

/// What comes while an adapter is trained. The last event is `Done` or `Failed`.
#[derive(Debug)]
pub enum TrainEvent {
    /// An optimiser step was made.
    Progress {
        /// Steps done.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// Mean loss of the last batch.
        loss: f64,
        /// Learning rate of that step.
        lr: f64,
        /// Tokens of its batch per second.
        tokens_per_second: f64,
        /// Mean loss of the held-out records, when this step looked at them.
        held_out: Option<f64>,
    },
    /// The influence index is being built.
    Indexing {
        /// Records done.
        done: usize,
        /// Records in all.
        records: usize,
    },
    /// Adapter and index are written.
    Done(TrainDone),
    /// There will be no adapter.
    Failed(EngineError),
}

/// A finished training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainDone {
    /// What training showed.
    pub metrics: Metrics,
    /// Root of the influence index.
    pub index_root: [u8; 32],
    /// Root of the span index.
    pub spans_root: [u8; 32],
    /// The span index, in `out`. It is not among `files`: it holds the tokens of every record, so
    /// it is for whoever may read the records.
    pub spans: PathBuf,
    /// The files written, in `out`: adapter configuration, adapter weights, index.
    pub files: Vec<PathBuf>,
}

/// What an engine serves.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// The base model's shape.
    pub config: ModelConfig,
    /// Longest prompt and answer together, in tokens.
    pub capacity: usize,
    /// Sequences that run at once.
    pub slots: usize,
}
