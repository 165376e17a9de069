//! The serving thread: takes commands between steps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tributary_attribution::Index;

use crate::engine::{AttributeRequest, Attributed, Event, Finished, GenerateRequest};
use crate::error::{EngineError, Result};
use crate::generate::{Batcher, Request, StepOutput};
use crate::indexing::{queries, GradientSpace};
use crate::lora::{Adapter, LoraTensors};
use crate::model::BaseModel;
use crate::record::Sample;

pub(super) enum Command {
    Load {
        id: String,
        adapter: Adapter,
        index: Option<Index>,
        reply: oneshot::Sender<Result<()>>,
    },
    Unload {
        id: String,
        reply: oneshot::Sender<bool>,
    },
    List {
        reply: oneshot::Sender<Vec<String>>,
    },
    Generate {
        request: GenerateRequest,
        prompt: Vec<i64>,
        events: UnboundedSender<Event>,
    },
    Attribute {
        request: AttributeRequest,
        prompt: Vec<i64>,
        reply: oneshot::Sender<Result<Attributed>>,
    },
}

struct Loaded {
    adapter: Adapter,
    tensors: Rc<LoraTensors>,
    index: Option<Index>,
}

struct Waiting {
    request: GenerateRequest,
    prompt: Vec<i64>,
    events: UnboundedSender<Event>,
}

/// An answer under way.
struct Answering {
    events: UnboundedSender<Event>,
    prompt_tokens: usize,
    tokens: Vec<i64>,
    text: String,
}

pub(super) struct Server {
    base: BaseModel,
    adapters: BTreeMap<String, Loaded>,
    batcher: Batcher,
    waiting: VecDeque<Waiting>,
    max_waiting: usize,
    answering: HashMap<u64, Answering>,
}

impl Server {
    pub(super) fn new(base: BaseModel, slots: usize, capacity: usize, max_waiting: usize) -> Self {
        let batcher = Batcher::new(&base, slots, capacity);
        Self {
            base,
            adapters: BTreeMap::new(),
            batcher,
            waiting: VecDeque::new(),
            max_waiting,
            answering: HashMap::new(),
        }
    }

    /// Serves until every handle is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            if self.batcher.is_idle() && self.waiting.is_empty() {
                match inbox.recv() {
                    Ok(command) => self.handle(command),
                    Err(_) => return,
                }
            }
            loop {
                match inbox.try_recv() {
                    Ok(command) => self.handle(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.admit();
            self.step();
        }
    }

    fn handle(&mut self, command: Command) {
        // A reply that nobody waits for any more is dropped.
        match command {
            Command::Load { id, adapter, index, reply } => {
                let _ = reply.send(self.load(id, adapter, index));
            }
            Command::Unload { id, reply } => {
                let _ = reply.send(self.adapters.remove(&id).is_some());
            }
            Command::List { reply } => {
                let _ = reply.send(self.adapters.keys().cloned().collect());
            }
            Command::Generate { request, prompt, events } => {
                if self.waiting.len() >= self.max_waiting {
                    let _ = events.send(Event::Failed(EngineError::Overloaded));
                } else {
                    self.waiting.push_back(Waiting { request, prompt, events });
                }
            }
            Command::Attribute { request, prompt, reply } => {
                let _ = reply.send(self.attribute(&request, &prompt));
            }
        }
    }

    fn load(&mut self, id: String, adapter: Adapter, index: Option<Index>) -> Result<()> {
        if let Some(index) = &index {
            GradientSpace::of(index, &adapter, self.base.config())?;
        }
        let tensors = adapter.tensors(self.base.config(), self.base.transformer().kind());
        self.adapters.insert(id, Loaded { adapter, tensors: Rc::new(tensors), index });
        Ok(())
    }

    fn admit(&mut self) {
        while self.batcher.has_room() {
            let Some(Waiting { request, prompt, events }) = self.waiting.pop_front() else {
                return;
            };
            if events.is_closed() {
                continue;
            }
            let lora = match &request.adapter {
                None => None,
                Some(id) => match self.adapters.get(id) {
                    Some(loaded) => Some(loaded.tensors.clone()),
                    None => {
                        let _ = events.send(Event::Failed(EngineError::UnknownAdapter(id.clone())));
                        continue;
                    }
                },
            };
            let prompt_tokens = prompt.len();
            let request = Request {
                prompt,
                max_tokens: request.max_tokens,
                sampling: request.sampling,
                stop: request.stop,
            };
            match self.batcher.admit(&self.base, request, lora) {
                Err(error) => {
                    let _ = events.send(Event::Failed(error));
                }
                Ok(output) => {
                    let answering =
                        Answering { events, prompt_tokens, tokens: vec![], text: String::new() };
                    self.answering.insert(output.sequence, answering);
                    self.deliver(output);
                }
            }
        }
    }

    fn step(&mut self) {
        match self.batcher.step(&self.base) {
            Ok(outputs) => outputs.into_iter().for_each(|output| self.deliver(output)),
            // A failed step leaves no sequence in a known state: all of them end.
            Err(error) => {
                let reason = error.to_string();
                for (sequence, answering) in self.answering.drain() {
                    self.batcher.remove(sequence);
                    let failed = EngineError::Request(format!("generation failed: {reason}"));
                    let _ = answering.events.send(Event::Failed(failed));
                }
            }
        }
    }

    fn deliver(&mut self, output: StepOutput) {
        let Some(answering) = self.answering.get_mut(&output.sequence) else { return };
        answering.tokens.push(output.token);
        answering.text.push_str(&output.text);
        let token = Event::Token { id: output.token, text: output.text };
        let gone = answering.events.send(token).is_err();
        if let Some(reason) = output.finished {
            if let Some(done) = self.answering.remove(&output.sequence) {
                let _ = done.events.send(Event::Done(Finished {
                    reason,
                    prompt_tokens: done.prompt_tokens,
                    answer_tokens: done.tokens,
                    text: done.text,
                }));
            }
        } else if gone {
            self.batcher.remove(output.sequence);
            self.answering.remove(&output.sequence);
        }
    }

    fn attribute(&self, request: &AttributeRequest, prompt: &[i64]) -> Result<Attributed> {
        let loaded = self
            .adapters
            .get(&request.adapter)
            .ok_or_else(|| EngineError::UnknownAdapter(request.adapter.clone()))?;
        let index = loaded.index.as_ref().ok_or_else(|| {
            EngineError::Request(format!(
                "adapter `{}` has no influence index; train it again",
                request.adapter
            ))
        })?;
        let vocabulary = self.base.config().vocab_size;
        if request.answer_tokens.is_empty()
            || request.answer_tokens.iter().any(|t| !(0..vocabulary).contains(t))
        {
            let reason = "the answer's tokens are empty or not of this vocabulary".into();
            return Err(EngineError::Request(reason));
        }
        let length = prompt.len() + request.answer_tokens.len();
        let max = self.base.config().max_position as usize;
        if prompt.is_empty() || length > max {
            return Err(EngineError::PromptTooLong { tokens: length, max });
        }
        let sample = Sample::from_parts(prompt, &request.answer_tokens);
        let found = queries(&self.base, &loaded.adapter, index, &[sample])?;
        let query = found.first().ok_or(tributary_attribution::IndexError::NoQuery)?;
        let attribution = index.score(query, request.top)?;
        Ok(Attributed { attribution, query: query.integers().to_vec() })
    }
}
