//! The engine as a service: one thread owns the serving tensors, one the trainings, both over the
//! same frozen weights, and everybody else talks to them over channels.
//!
//! A generation never waits for a training: they share weights, which nobody writes, and nothing
//! else.

mod job;
mod serve;
mod training;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tch::Device;
use tokio::sync::{mpsc as channel, oneshot};
use tributary_attribution::{Attribution, ContributionId, Index};

use crate::config::ModelConfig;
use crate::decoding::{FinishReason, Sampling, TokenLogprobs};
use crate::error::{EngineError, Result};
use crate::lora::Adapter;
use crate::model::{BaseModel, Quantise};
use crate::record::Record;
use crate::tokenizer::{Message, Tokenizer};
use crate::train::{Metrics, TrainSpec};

/// Name of the influence index beside an adapter's two files.
pub const INDEX_FILE: &str = "influence.idx";

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
            quantise: Quantise::None,
        }
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
    /// Damping, in millionths.
    pub lambda_millionths: u32,
    /// Draws the projection.
    pub seed: u64,
}

impl Default for IndexSpec {
    fn default() -> Self {
        Self { dims: 4096, lambda_millionths: 10_000, seed: 0 }
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

/// A handle on a running engine. Its threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    commands: Sender<serve::Command>,
    trainings: Sender<training::Job>,
    /// Locked only to share the weights with a new training.
    base: Arc<Mutex<BaseModel>>,
    tokenizer: Tokenizer,
    info: Arc<EngineInfo>,
}

impl Engine {
    /// Loads the base model and starts serving. Blocks while it loads.
    pub fn start(options: EngineOptions) -> Result<Self> {
        if options.slots == 0 || options.capacity < 2 {
            let reason = "an engine needs a slot and room for two tokens".into();
            return Err(EngineError::Request(reason));
        }
        let threads = options.threads.clamp(1, 1024) as i32;
        tch::set_num_threads(threads);
        let base = BaseModel::load_with(&options.base, options.device, options.quantise)?;
        let capacity = options.capacity.min(base.config().max_position as usize);
        let info =
            Arc::new(EngineInfo { config: base.config().clone(), capacity, slots: options.slots });
        let tokenizer = base.tokenizer().clone();
        let (commands, inbox) = mpsc::channel();
        let shared = base.share();
        let (slots, waiting) = (options.slots, options.waiting);
        std::thread::Builder::new()
            .name("engine-serve".into())
            .spawn(move || {
                tch::set_num_threads(threads);
                serve::Server::new(shared, slots, capacity, waiting).run(&inbox);
            })
            .map_err(EngineError::io(Path::new("engine-serve")))?;
        let (trainings, queue) = mpsc::channel();
        let shared = base.share();
        std::thread::Builder::new()
            .name("engine-train".into())
            .spawn(move || {
                tch::set_num_threads(threads);
                training::run(&shared, &queue);
            })
            .map_err(EngineError::io(Path::new("engine-train")))?;
        Ok(Self { commands, trainings, base: Arc::new(Mutex::new(base)), tokenizer, info })
    }

    /// What is served.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Loads PEFT's files, and the influence index when it lies beside them, under the name `id`;
    /// replaces an adapter of that name.
    pub async fn load_adapter(
        &self,
        id: impl Into<String>,
        folder: impl Into<PathBuf>,
    ) -> Result<()> {
        let (id, folder) = (id.into(), folder.into());
        let (config, device) = {
            let base = self.base.lock().map_err(|_| EngineError::Stopped)?;
            (base.config().clone(), base.transformer().device())
        };
        // Files are read on a thread of their own: neither answers nor the caller's runtime wait.
        let (done, loaded) = oneshot::channel();
        std::thread::spawn(move || {
            let read = || -> Result<(Adapter, Option<Index>)> {
                let adapter = Adapter::load(&folder, &config, device)?;
                let path = folder.join(INDEX_FILE);
                let index = if path.is_file() { Some(Index::open(&path)?) } else { None };
                Ok((adapter, index))
            };
            let _ = done.send(read());
        });
        let (adapter, index) = loaded.await.map_err(|_| EngineError::Stopped)??;
        self.ask(|reply| serve::Command::Load { id, adapter, index, reply }).await?
    }

    /// Forgets an adapter; running answers keep it until they end. Says whether it was loaded.
    pub async fn unload_adapter(&self, id: impl Into<String>) -> Result<bool> {
        let id = id.into();
        self.ask(|reply| serve::Command::Unload { id, reply }).await
    }

    /// Names of the loaded adapters.
    pub async fn adapters(&self) -> Result<Vec<String>> {
        self.ask(|reply| serve::Command::List { reply }).await
    }

    /// How many tokens a prompt has.
    pub fn count_tokens(&self, prompt: &Prompt) -> Result<usize> {
        Ok(prompt_tokens(&self.tokenizer, prompt)?.len())
    }

    /// Starts an answer. Dropping the receiver ends it early.
    pub fn generate(&self, request: GenerateRequest) -> Result<channel::UnboundedReceiver<Event>> {
        let prompt = prompt_tokens(&self.tokenizer, &request.prompt)?;
        // At most one event per token is ever in it, so it is bounded by `max_tokens`.
        let (events, receiver) = channel::unbounded_channel();
        let command = serve::Command::Generate { request, prompt, events };
        self.commands.send(command).map_err(|_| EngineError::Stopped)?;
        Ok(receiver)
    }

    /// Attributes an answer to the contributions that its adapter was trained on.
    pub async fn attribute(&self, request: AttributeRequest) -> Result<Attributed> {
        let prompt = prompt_tokens(&self.tokenizer, &request.prompt)?;
        self.ask(|reply| serve::Command::Attribute { request, prompt, reply }).await?
    }

    /// Starts a training; it shares its passes over the base with others that run. Dropping the
    /// receiver cancels it; its checkpoint stays, so that the same request goes on from there.
    pub fn train(&self, request: TrainRequest) -> Result<channel::UnboundedReceiver<TrainEvent>> {
        let (events, receiver) = channel::unbounded_channel();
        let job = training::Job { request, events };
        self.trainings.send(job).map_err(|_| EngineError::Stopped)?;
        Ok(receiver)
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> serve::Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)
    }
}

/// Servers keep the engine in shared state and hand it to their tasks.
const _: () = {
    const fn shareable<T: Clone + Send + Sync>() {}
    shareable::<Engine>();
};

fn prompt_tokens(tokenizer: &Tokenizer, prompt: &Prompt) -> Result<Vec<i64>> {
    match prompt {
        Prompt::Chat(messages) => tokenizer.encode_chat(messages),
        Prompt::Text(text) => tokenizer.encode(text, true),
    }
}
