//! The serving thread: takes commands between steps, admits, steps, delivers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tributary_attribution::Index;

use super::attribute;
use crate::engine::{AttributeRequest, Attributed, Event, Finished, GenerateRequest};
use crate::error::{EngineError, Result};
use crate::generate::{Request, StepOutput};
use crate::lora::Adapter;
use crate::serve::loader::Fetched;
use crate::serve::pool::{repeat, Pin, Pool};
use crate::serve::queue::{Key, Queue, ANSWER_WEIGHT};
use crate::serve::runner::{Job, Output, Runner};
use crate::serve::score::Scored;
use crate::serve::stats::EngineStats;
use crate::serve::Pooling;
use crate::tokenizer::Tokenizer;

/// Lines whose adapters are sent for before it is their turn.
const LOOK_AHEAD: usize = 8;
/// Requests of other adapters that go before one whose adapter is not there, at most: after
/// that, an adapter in use gets no new requests until its place is free.
const PATIENCE: usize = 16;
/// How long the thread waits for an adapter before it looks at its commands again.
const GLANCE: Duration = Duration::from_millis(1);

/// A place among the requests that an engine holds; freed when dropped.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// A place, or `None` when `limit` are taken.
    pub(super) fn take(live: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let taken = |n: usize| (n < limit).then_some(n + 1);
        live.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).ok()?;
        Some(Self(live.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where a request's result goes.
pub(super) enum Caller {
    Answer(UnboundedSender<Event>),
    Vector(oneshot::Sender<Result<Embedded>>),
    Score(oneshot::Sender<Result<Scored>>),
}

/// A prompt's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Pooled hidden states, of length one: `[hidden]`.
    pub vector: Vec<f32>,
    /// Tokens of the prompt.
    pub tokens: usize,
}

/// What is to be done for a caller.
pub(super) enum Task {
    Generate(Box<GenerateRequest>),
    Embed(Pooling),
    Score { answer: Vec<i64> },
}

pub(super) enum Command {
    Load {
        id: String,
        folder: PathBuf,
        adapter: Adapter,
        index: Option<Index>,
        reply: oneshot::Sender<()>,
    },
    Unload {
        id: String,
        reply: oneshot::Sender<bool>,
    },
    List {
        reply: oneshot::Sender<Vec<String>>,
    },
    Run {
        adapter: Option<String>,
        prompt: Vec<i64>,
        task: Task,
        caller: Caller,
        permit: Permit,
    },
    Attribute {
        request: AttributeRequest,
        prompt: Vec<i64>,
        reply: oneshot::Sender<Result<Attributed>>,
    },
}

struct Waiting {
    job: Job,
    caller: Caller,
    permit: Permit,
}

/// A sequence under way.
struct Running {
    key: Key,
    pin: Option<Pin>,
    caller: Caller,
    prompt_tokens: usize,
    tokens: Vec<i64>,
    text: String,
    permit: Option<Permit>,
}

/// Numbers that anyone may read at any time.
pub(super) type SharedStats = Arc<Mutex<EngineStats>>;

pub(super) struct Server {
    pub tokenizer: Tokenizer,
    pub runner: Runner,
    pub pool: Pool,
    pub fetched: Receiver<Fetched>,
    pub attributor: Sender<attribute::Order>,
    pub shared: SharedStats,
}

impl Server {
    /// Serves until every handle is gone.
    pub(super) fn run(self, inbox: &Receiver<Command>) {
        Serving {
            server: self,
            queue: Queue::default(),
            running: HashMap::new(),
            stats: EngineStats::default(),
        }
        .run(inbox);
    }
}

struct Serving {
    server: Server,
    queue: Queue<Waiting>,
    running: HashMap<u64, Running>,
    stats: EngineStats,
}

impl Caller {
    fn is_gone(&self) -> bool {
        match self {
            Self::Answer(events) => events.is_closed(),
            Self::Vector(reply) => reply.is_closed(),
            Self::Score(reply) => reply.is_closed(),
        }
    }

    fn fail(self, error: EngineError) {
        // A caller that is gone needs no reason.
        match self {
            Self::Answer(events) => drop(events.send(Event::Failed(error))),
            Self::Vector(reply) => drop(reply.send(Err(error))),
            Self::Score(reply) => drop(reply.send(Err(error))),
        }
    }
}

impl Serving {
    fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            self.publish();
            if self.server.runner.is_idle() && !self.wait(inbox) {
                return;
            }
            loop {
                match inbox.try_recv() {
                    Ok(command) => self.handle(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            while let Ok(fetched) = self.server.fetched.try_recv() {
                self.arrived(fetched);
            }
            self.sweep();
            self.admit();
            self.step();
        }
    }

    /// Waits for a command, or for an adapter when requests wait for one. Says whether to go on.
    fn wait(&mut self, inbox: &Receiver<Command>) -> bool {
        if self.queue.is_empty() {
            return match inbox.recv() {
                Ok(command) => {
                    self.handle(command);
                    true
                }
                Err(_) => false,
            };
        }
        match self.server.fetched.recv_timeout(GLANCE) {
            Ok(fetched) => self.arrived(fetched),
            Err(RecvTimeoutError::Timeout) => {}
            // The loader is gone: requests fail when their turn comes.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(GLANCE),
        }
        true
    }

    fn handle(&mut self, command: Command) {
        // A reply that nobody waits for any more is dropped.
        match command {
            Command::Load { id, folder, adapter, index, reply } => {
                let _ =
                    self.server.attributor.send(attribute::Order::Keep { id: id.clone(), index });
                self.server.pool.register(id, folder, adapter);
                let _ = reply.send(());
            }
            Command::Unload { id, reply } => {
                let known = self.server.pool.forget(&id);
                let order = attribute::Order::Keep { id: id.clone(), index: None };
                let _ = self.server.attributor.send(order);
                self.fail_waiting(&id, Pool::unknown);
                let _ = reply.send(known);
            }
            Command::List { reply } => {
                let _ = reply.send(self.server.pool.names());
            }
            Command::Run { adapter, prompt, task, caller, permit } => {
                self.enqueue(adapter, prompt, task, caller, permit);
            }
            Command::Attribute { request, prompt, reply } => {
                let Some((folder, adapter)) = self.server.pool.source(&request.adapter) else {
                    let _ = reply.send(Err(Pool::unknown(&request.adapter)));
                    return;
                };
                let order = attribute::Order::Attribute(attribute::Asked {
                    folder,
                    adapter,
                    request,
                    prompt,
                    reply,
                });
                // Without that thread the order is dropped, and its reply with it.
                let _ = self.server.attributor.send(order);
            }
        }
    }

    fn enqueue(
        &mut self,
        adapter: Option<String>,
        prompt: Vec<i64>,
        task: Task,
        caller: Caller,
        permit: Permit,
    ) {
        let job = match task {
            Task::Generate(request) => Job::Write(Request {
                prompt,
                max_tokens: request.max_tokens,
                sampling: request.sampling,
                stop: request.stop,
                logprobs: request.logprobs,
                guidance: request.guidance,
            }),
            Task::Embed(pooling) => Job::Embed(prompt, pooling),
            Task::Score { answer } => Job::Score(prompt, answer),
        };
        let checked = match &adapter {
            Some(id) if !self.server.pool.knows(id) => Err(Pool::unknown(id)),
            _ => self.server.runner.check(&job),
        };
        if let Err(error) = checked {
            self.stats.failed += 1;
            drop(permit);
            caller.fail(error);
            return;
        }
        if let Some(id) = &adapter {
            self.server.pool.count(id);
        }
        self.queue.push(adapter, Waiting { job, caller, permit });
    }

    /// Ends the requests that wait for an adapter.
    fn fail_waiting(&mut self, id: &str, error: impl Fn(&str) -> EngineError) {
        for waiting in self.queue.remove(|key, _| key.as_deref() == Some(id)) {
            self.stats.failed += 1;
            drop(waiting.permit);
            waiting.caller.fail(error(id));
        }
    }

    fn arrived(&mut self, fetched: Fetched) {
        if let Some((id, error)) = self.server.pool.arrived(fetched) {
            self.fail_waiting(&id, |id| repeat(id, &error));
        }
    }

    /// Drops what nobody waits for any more, whether it runs or not.
    fn sweep(&mut self) {
        let gone = self.queue.remove(|_, waiting| waiting.caller.is_gone());
        self.stats.cancelled += gone.len() as u64;
        let gone: Vec<u64> =
            self.running.iter().filter(|(_, r)| r.caller.is_gone()).map(|(id, _)| *id).collect();
        for id in gone {
            self.server.runner.remove(id);
            self.end(id);
            self.stats.cancelled += 1;
        }
    }

    /// Frees what a sequence held, so that whoever hears of its end finds room.
    fn end(&mut self, id: u64) -> Option<Running> {
        let mut running = self.running.remove(&id)?;
        if let Some(pin) = running.pin.take() {
            self.server.pool.unpin(pin);
        }
        drop(running.permit.take());
        self.queue.ended(&running.key);
        Some(running)
    }

    /// Takes in whom there is room for: the least served line first whose adapter is there.
    fn admit(&mut self) {
        while self.server.runner.has_room() && !self.queue.is_empty() {
            let order = self.queue.order();
            self.look_ahead(&order);
            let pool = &self.server.pool;
            let ready = |key: &&Key| key.as_ref().is_none_or(|id| pool.is_ready(id));
            let Some(key) = order.iter().find(ready) else { return };
            let Some(waiting) = self.queue.pop(key) else { return };
            if !self.start(key.clone(), waiting) {
                return;
            }
            for before in order.iter().take_while(|other| *other != key) {
                self.queue.pass_over(before);
            }
        }
    }

    /// Sends for the adapters that are needed next.
    fn look_ahead(&mut self, order: &[Key]) {
        self.server.pool.begin_round();
        let ids = order.iter().filter_map(|key| key.as_deref());
        let missing: Vec<&str> =
            ids.take(LOOK_AHEAD).filter(|id| !self.server.pool.is_ready(id)).collect();
        let queue = &self.queue;
        let wanted = |id: &str| queue.waits(&Some(id.to_string()));
        for (rank, id) in missing.iter().enumerate() {
            let key = Some((*id).to_string());
            // The first of them gets a place even from one that others wait for: when it has
            // waited long, or when nothing else could run.
            let first = rank == 0 && order.first() == Some(&key);
            let alone = self.server.runner.is_idle();
            let must = first && (alone || queue.passed_over(&key) >= PATIENCE);
            self.server.pool.request(id, &wanted, must);
        }
    }

    /// Starts a request; says whether there was room for it.
    fn start(&mut self, key: Key, waiting: Waiting) -> bool {
        let Waiting { job, caller, permit } = waiting;
        let held = match &key {
            None => None,
            Some(id) => match self.server.pool.pin(id) {
                Some(held) => Some(held),
                None => {
                    self.queue.put_back(&key, Waiting { job, caller, permit });
                    return false;
                }
            },
        };
        let (lora, pin): (Option<Rc<_>>, Option<Pin>) = held.unzip();
        let prompt_tokens = job.prompt_tokens();
        match self.server.runner.admit(&self.server.tokenizer, job, lora) {
            Ok(Ok(id)) => {
                self.queue.charge(&key, prompt_tokens as u64);
                self.stats.prompt_tokens += prompt_tokens as u64;
                let running = Running {
                    key,
                    pin,
                    caller,
                    prompt_tokens,
                    tokens: vec![],
                    text: String::new(),
                    permit: Some(permit),
                };
                self.running.insert(id, running);
                true
            }
            Ok(Err(job)) => {
                pin.into_iter().for_each(|pin| self.server.pool.unpin(pin));
                self.queue.put_back(&key, Waiting { job, caller, permit });
                false
            }
            Err(error) => {
                pin.into_iter().for_each(|pin| self.server.pool.unpin(pin));
                self.queue.ended(&key);
                self.stats.failed += 1;
                drop(permit);
                caller.fail(error);
                true
            }
        }
    }

    fn step(&mut self) {
        if self.server.runner.is_idle() {
            return;
        }
        let outputs = self.server.runner.step();
        self.stats.steps += 1;
        self.stats.adapters_in_steps += self.server.runner.shape().adapters as u64;
        for output in outputs {
            match output {
                Output::Token(output) => self.deliver(output),
                Output::Embedded(id, vector) => {
                    if let Some(done) = self.end(id) {
                        self.stats.finished += 1;
                        if let Caller::Vector(reply) = done.caller {
                            let _ = reply.send(Ok(Embedded { vector, tokens: done.prompt_tokens }));
                        }
                    }
                }
                Output::Scored(id, scored) => {
                    if let Some(done) = self.end(id) {
                        self.stats.finished += 1;
                        if let Caller::Score(reply) = done.caller {
                            let _ = reply.send(Ok(scored));
                        }
                    }
                }
                Output::Failed(id, error) => {
                    if let Some(failed) = self.end(id) {
                        self.stats.failed += 1;
                        failed.caller.fail(error);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, output: StepOutput) {
        let Some(running) = self.running.get_mut(&output.sequence) else { return };
        let Caller::Answer(events) = &running.caller else { return };
        running.tokens.push(output.token);
        running.text.push_str(&output.text);
        self.stats.answer_tokens += 1;
        self.queue.charge(&running.key, ANSWER_WEIGHT);
        let token = Event::Token { id: output.token, text: output.text, logprobs: output.logprobs };
        let gone = events.send(token).is_err();
        if let Some(reason) = output.finished {
            if let Some(done) = self.end(output.sequence) {
                self.stats.finished += 1;
                if let Caller::Answer(events) = done.caller {
                    let _ = events.send(Event::Done(Finished {
                        reason,
                        prompt_tokens: done.prompt_tokens,
                        answer_tokens: done.tokens,
                        text: done.text,
                    }));
                }
            }
        } else if gone {
            self.server.runner.remove(output.sequence);
            self.end(output.sequence);
            self.stats.cancelled += 1;
        }
    }

    /// Puts the numbers where anyone can read them.
    fn publish(&mut self) {
        let runner = &self.server.runner;
        let (cache, shape, limits) = (runner.cache(), runner.shape(), runner.limits());
        let (device, host, disk) = self.server.pool.stats();
        let now = EngineStats {
            waiting: self.queue.len(),
            running: runner.running(),
            prefilling: runner.prefilling(),
            slots: limits.0,
            step_limit: limits.1,
            step_tokens: shape.tokens,
            step_adapters: shape.adapters,
            kv_total: cache.total,
            kv_used: cache.used,
            device,
            host,
            disk,
            ..self.stats
        };
        let mut shared = self.server.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Refusals are counted at the door.
        *shared = EngineStats { refused: shared.refused, ..now };
    }
}
