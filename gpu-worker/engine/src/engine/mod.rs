//! The engine as a service: one thread owns the serving tensors, one the trainings, both over the
//! same frozen weights, and everybody else talks to them over channels.
//!
//! A generation never waits for a training: they share weights, which nobody writes, and nothing
//! else.

mod attribute;
mod job;
mod messages;
mod serve;
mod training;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc as channel, oneshot};

use crate::decoding::{Format, Grammar};
use crate::error::{EngineError, Result};
use crate::model::{BaseModel, Quantise};
use crate::serve::pool::Pool;
use crate::serve::runner::Runner;
use crate::serve::score::Scored;
use crate::serve::stats::EngineStats;
use crate::serve::stock::LoraPath;
use crate::serve::{executor, loader, Pooling, Preparer, Setup};
use crate::tokenizer::Tokenizer;

pub use messages::{
    AttributeRequest, Attributed, EngineInfo, EngineOptions, Event, Finished, GenerateRequest,
    IndexSpec, Prompt, TrainDone, TrainEvent, TrainRequest, INDEX_FILE, SPANS_FILE,
};
pub use serve::Embedded;

/// Longest text, in bytes for each token that fits, that is looked at before it is refused.
const PROMPT_BYTES: usize = 1 << 10;
/// Stop texts of a request, and bytes of one, at most.
const STOP_TEXTS: usize = 64;
const STOP_BYTES: usize = 4 << 10;

/// A handle on a running engine. Its threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    commands: Sender<serve::Command>,
    trainings: Sender<training::Job>,
    tokenizer: Tokenizer,
    info: Arc<EngineInfo>,
    preparer: Arc<Preparer>,
    /// Requests inside, and how many may be.
    live: Arc<AtomicUsize>,
    limit: usize,
    stats: serve::SharedStats,
}

impl Engine {
    /// Loads the base model and starts serving. Blocks while it loads.
    pub fn start(options: EngineOptions) -> Result<Self> {
        options.check()?;
        tch::set_num_threads(options.tensor_threads());
        let base = BaseModel::load_with(&options.base, options.device, options.quantise)?;
        Self::start_with(base, options)
    }

    /// Starts serving a base model that is there already. `options.base` and `options.device` are
    /// not looked at; `options.quantise` says how `base` is held.
    pub fn start_with(base: BaseModel, options: EngineOptions) -> Result<Self> {
        let limits = options.check()?;
        let threads = options.tensor_threads();
        tch::set_num_threads(threads);
        let capacity = options.capacity.min(base.config().max_position as usize);
        let info =
            Arc::new(EngineInfo { config: base.config().clone(), capacity, slots: options.slots });
        let tokenizer = base.tokenizer().clone();
        let setup = Setup {
            // The loops hold weights in f32, which would undo a quantisation.
            loops: options.cpu_loops
                && options.quantise == Quantise::None
                && Setup::can_loop(base.transformer()),
            threads: threads as usize,
            slots: options.slots,
            capacity,
            kv_bytes: options.kv_bytes,
            path: LoraPath::default(),
        };
        let preparer = Preparer::new(base.transformer(), setup.loops);
        let (fetch, fetched) = loader::start(preparer.clone())?;
        let attributor = attribute::start(base.share(), threads)?;
        let stats = serve::SharedStats::default();

        let (commands, inbox) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let (shared, numbers) = (base.share(), stats.clone());
        let step_tokens = options.step_tokens;
        std::thread::Builder::new()
            .name("engine-serve".into())
            .spawn(move || {
                tch::set_num_threads(threads);
                // Made here: whoever makes tensors of the cache is the one who uses them.
                let executor = match executor(&shared, setup) {
                    Ok(executor) => executor,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let vocabulary = shared.config().vocab_size;
                let server = serve::Server {
                    tokenizer: shared.tokenizer().clone(),
                    runner: Runner::new(executor, vocabulary, setup.slots, capacity, step_tokens),
                    pool: Pool::new(limits, fetch),
                    fetched,
                    attributor,
                    shared: numbers,
                };
                drop(shared);
                let _ = ready.send(Ok(()));
                server.run(&inbox);
            })
            .map_err(EngineError::io(Path::new("engine-serve")))?;
        started.recv().map_err(|_| EngineError::Stopped)??;
        let (trainings, queue) = mpsc::channel();
        let shared = base.share();
        std::thread::Builder::new()
            .name("engine-train".into())
            .spawn(move || {
                tch::set_num_threads(threads);
                training::run(&shared, &queue);
            })
            .map_err(EngineError::io(Path::new("engine-train")))?;
        Ok(Self {
            commands,
            trainings,
            tokenizer,
            info,
            preparer: Arc::new(preparer),
            live: Arc::default(),
            limit: options.slots.saturating_add(options.waiting),
            stats,
        })
    }

    /// What is served.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// What the engine is doing. Never waits for a step.
    pub fn stats(&self) -> EngineStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads PEFT's files, and the influence index when it lies beside them, under the name `id`;
    /// replaces an adapter of that name. The folder must stay: an adapter that had to make room
    /// for others is read from there again.
    pub async fn load_adapter(
        &self,
        id: impl Into<String>,
        folder: impl Into<PathBuf>,
    ) -> Result<()> {
        let (id, folder) = (id.into(), folder.into());
        let (place, preparer) = (folder.clone(), self.preparer.clone());
        // Files are read on a thread of their own: neither answers nor the caller's runtime wait.
        let (done, loaded) = oneshot::channel();
        std::thread::spawn(move || {
            let read = || {
                let adapter = loader::read(&place, &preparer)?;
                let index = attribute::read_index(&place, &adapter, preparer.config())?;
                Ok((adapter, index))
            };
            let _ = done.send(read());
        });
        let read: Result<_> = loaded.await.map_err(|_| EngineError::Stopped)?;
        let (adapter, index) = read?;
        self.ask(|reply| serve::Command::Load { id, folder, adapter, index, reply }).await
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
        Ok(self.tokens(prompt)?.len())
    }

    /// The tokens of a prompt, as the model reads them.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<i64>> {
        self.tokens(prompt)
    }

    /// The bytes that a token adds to a text; special tokens give their names.
    pub fn token_text(&self, token: i64) -> Vec<u8> {
        self.tokenizer.token_bytes(token)
    }

    /// Whether a token ends an answer.
    pub fn is_closing(&self, token: i64) -> bool {
        self.tokenizer.eos().contains(&token)
    }

    /// Compiles a format, to be followed by any number of answers. Blocks for up to some seconds.
    pub fn grammar(&self, format: &Format) -> Result<Grammar> {
        self.tokenizer.grammar(format)
    }

    /// Starts an answer. Dropping the receiver ends it early. Where too many requests wait
    /// already, the first event says so.
    pub fn generate(&self, request: GenerateRequest) -> Result<channel::UnboundedReceiver<Event>> {
        let stop = &request.stop;
        if stop.len() > STOP_TEXTS || stop.iter().any(|s| s.len() > STOP_BYTES) {
            return Err(EngineError::Request(format!(
                "at most {STOP_TEXTS} stop texts of at most {STOP_BYTES} bytes can be given"
            )));
        }
        // At most one event per token is ever in it, so it is bounded by `max_tokens`.
        let (events, receiver) = channel::unbounded_channel();
        let Some(permit) = self.permit() else {
            let _ = events.send(Event::Failed(EngineError::Overloaded));
            return Ok(receiver);
        };
        let command = serve::Command::Run {
            adapter: request.adapter.clone(),
            prompt: self.tokens(&request.prompt)?,
            task: serve::Task::Generate(Box::new(request)),
            caller: serve::Caller::Answer(events),
            permit,
        };
        self.commands.send(command).map_err(|_| EngineError::Stopped)?;
        Ok(receiver)
    }

    /// A vector of length one for each prompt, in the order of the prompts: the base's or an
    /// adapter's final hidden states, pooled. Prompts run in one batch with everything else.
    pub async fn embed(
        &self,
        adapter: Option<String>,
        prompts: Vec<Prompt>,
        pooling: Pooling,
    ) -> Result<Vec<Embedded>> {
        let texts = prompts.iter().map(|p| self.tokens(p)).collect::<Result<_>>()?;
        self.embed_tokens(adapter, texts, pooling).await
    }

    /// Like [`Self::embed`], for texts that are tokens already ([`Self::prompt_tokens`]).
    pub async fn embed_tokens(
        &self,
        adapter: Option<String>,
        texts: Vec<Vec<i64>>,
        pooling: Pooling,
    ) -> Result<Vec<Embedded>> {
        let mut replies = Vec::with_capacity(texts.len());
        for prompt in texts {
            let (reply, answer) = oneshot::channel();
            let command = serve::Command::Run {
                adapter: adapter.clone(),
                prompt,
                task: serve::Task::Embed(pooling),
                caller: serve::Caller::Vector(reply),
                permit: self.permit().ok_or(EngineError::Overloaded)?,
            };
            self.commands.send(command).map_err(|_| EngineError::Stopped)?;
            replies.push(answer);
        }
        let mut all = Vec::with_capacity(replies.len());
        for reply in replies {
            all.push(reply.await.map_err(|_| EngineError::Stopped)??);
        }
        Ok(all)
    }

    /// The probabilities of an answer's tokens after a prompt, in the canonical pass, with a
    /// fingerprint of the logits. On the CPU these are the bits that the answer was drawn from.
    pub async fn score(
        &self,
        adapter: Option<String>,
        prompt: &Prompt,
        answer_tokens: Vec<i64>,
    ) -> Result<Scored> {
        let (reply, answer) = oneshot::channel();
        let command = serve::Command::Run {
            adapter,
            prompt: self.tokens(prompt)?,
            task: serve::Task::Score { answer: answer_tokens },
            caller: serve::Caller::Score(reply),
            permit: self.permit().ok_or(EngineError::Overloaded)?,
        };
        self.commands.send(command).map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// A place among the requests, or `None` when too many are inside; that is counted.
    fn permit(&self) -> Option<serve::Permit> {
        let permit = serve::Permit::take(&self.live, self.limit);
        if permit.is_none() {
            self.stats.lock().unwrap_or_else(PoisonError::into_inner).refused += 1;
        }
        permit
    }

    /// The tokens of a prompt; texts that cannot fit are refused before they are cut up.
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<i64>> {
        let bytes = match prompt {
            Prompt::Chat(messages) => messages.iter().map(|m| m.content.len()).sum(),
            Prompt::Text(text) => text.len(),
        };
        let max = self.info.capacity - 1;
        if bytes / PROMPT_BYTES > max {
            // At least so many, by the longest token that there could be.
            return Err(EngineError::PromptTooLong { tokens: bytes / PROMPT_BYTES, max });
        }
        prompt_tokens(&self.tokenizer, prompt)
    }

    /// Attributes an answer to the contributions that its adapter was trained on.
    pub async fn attribute(&self, request: AttributeRequest) -> Result<Attributed> {
        let prompt = self.tokens(&request.prompt)?;
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
