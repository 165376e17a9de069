//! Generation: many sequences at once, each with its own adapter, sharing every step.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use crate::decoding::{FinishReason, Guidance, Sampling, TokenLogprobs};
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraTensors};
use crate::model::BaseModel;
use crate::serve::runner::{Job, Output, Runner};
use crate::serve::stock::LoraPath;
use crate::serve::{executor, Prepared, Preparer, Setup};

/// Tokens of a step when nothing else is said: prompts are cut into pieces of about this size.
pub(crate) const STEP_TOKENS: usize = 256;

/// What to continue, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Prompt tokens.
    pub prompt: Vec<i64>,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Texts at which to stop; they are not part of the answer.
    pub stop: Vec<String>,
    /// How many of the likeliest tokens to name with their probabilities.
    pub logprobs: Option<usize>,
    /// What else the answer is held to.
    pub guidance: Guidance,
}

/// One step of one sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutput {
    /// Which sequence.
    pub sequence: u64,
    /// The token chosen, the closing one too.
    pub token: i64,
    /// Text that became certain; may be empty.
    pub text: String,
    /// The token's probabilities, if they were asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Set on the last step.
    pub finished: Option<FinishReason>,
}

/// How a [`Batcher`] is set up.
#[derive(Debug, Clone, Copy)]
pub struct BatchOptions {
    /// Sequences at once.
    pub slots: usize,
    /// Tokens of one sequence at most; the model's context at most.
    pub capacity: usize,
    /// Tokens of a step at most, one for each running answer apart.
    pub step_tokens: usize,
    /// Memory for keys and values.
    pub kv_bytes: usize,
    /// Threads of the CPU's own loops.
    pub threads: usize,
    /// Whether these loops run, where the model is in f32 on the CPU.
    pub cpu_loops: bool,
    /// How the tensor library's operators add adapters, where they run instead.
    pub lora: LoraPath,
}

impl BatchOptions {
    /// `slots` sequences of `capacity` tokens, and memory for all of them.
    pub fn new(slots: usize, capacity: usize) -> Self {
        Self {
            slots,
            capacity,
            step_tokens: STEP_TOKENS,
            kv_bytes: usize::MAX,
            threads: tch::get_num_threads().max(1) as usize,
            cpu_loops: true,
            lora: LoraPath::default(),
        }
    }
}

/// Runs sequences of different adapters together, one token of each per step.
pub struct Batcher {
    /// Or why there is none.
    runner: std::result::Result<Runner, String>,
    preparer: Preparer,
    /// Adapters in the executor's form, as long as somebody holds the tensors.
    prepared: HashMap<*const LoraTensors, (Weak<LoraTensors>, Rc<Prepared>)>,
}

impl Batcher {
    /// Room for `slots` sequences of the model's whole context, or of `capacity` tokens.
    pub fn new(base: &BaseModel, slots: usize, capacity: usize) -> Self {
        Self::with_options(base, BatchOptions::new(slots, capacity))
    }

    /// A batcher that is set up in detail. What cannot be is said when something is admitted.
    pub fn with_options(base: &BaseModel, options: BatchOptions) -> Self {
        let net = base.transformer();
        let capacity = options.capacity.min(base.config().max_position as usize).max(1);
        let setup = Setup {
            loops: options.cpu_loops && Setup::can_loop(net),
            threads: options.threads,
            slots: options.slots,
            capacity,
            kv_bytes: options.kv_bytes,
            path: options.lora,
        };
        let vocabulary = base.config().vocab_size;
        let runner = executor(base, setup).map_err(|e| e.to_string()).map(|executor| {
            Runner::new(executor, vocabulary, options.slots, capacity, options.step_tokens)
        });
        Self { runner, preparer: Preparer::new(net, setup.loops), prepared: HashMap::new() }
    }

    /// Whether another sequence can be taken in.
    pub fn has_room(&self) -> bool {
        self.runner.as_ref().is_ok_and(Runner::has_room)
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.runner.as_ref().is_ok_and(Runner::is_idle)
    }

    /// Takes a sequence in and gives its id and first token.
    pub fn admit(
        &mut self,
        base: &BaseModel,
        request: Request,
        lora: Option<Rc<LoraTensors>>,
    ) -> Result<StepOutput> {
        let id = self.start(base, request, lora)?;
        let runner = self.runner.as_mut().map_err(|e| EngineError::Request(e.clone()))?;
        for output in runner.first_of(id) {
            match output {
                Output::Token(output) => return Ok(output),
                Output::Failed(_, error) => return Err(error),
                Output::Embedded(..) | Output::Scored(..) => {}
            }
        }
        Err(EngineError::Stopped)
    }

    /// Takes a sequence in and gives its id; the following steps read its prompt, in pieces,
    /// beside everything else.
    pub fn start(
        &mut self,
        base: &BaseModel,
        request: Request,
        lora: Option<Rc<LoraTensors>>,
    ) -> Result<u64> {
        let lora = lora.map(|lora| self.prepare(&lora)).transpose()?;
        let runner = self.runner.as_mut().map_err(|e| EngineError::Request(e.clone()))?;
        let admitted = runner.admit(base.tokenizer(), Job::Write(request), lora)?;
        admitted.map_err(|_| EngineError::Request("no free slot; try again".into()))
    }

    fn prepare(&mut self, lora: &Rc<LoraTensors>) -> Result<Rc<Prepared>> {
        self.prepared.retain(|_, (held, _)| held.strong_count() > 0);
        let key = Rc::as_ptr(lora);
        if let Some((_, prepared)) = self.prepared.get(&key) {
            return Ok(prepared.clone());
        }
        let prepared = Rc::new(self.preparer.adopt(lora)?);
        self.prepared.insert(key, (Rc::downgrade(lora), prepared.clone()));
        Ok(prepared)
    }

    /// The next token of every running sequence.
    pub fn step(&mut self, _base: &BaseModel) -> Result<Vec<StepOutput>> {
        let runner = self.runner.as_mut().map_err(|e| EngineError::Request(e.clone()))?;
        let mut tokens = Vec::new();
        for output in runner.step() {
            match output {
                Output::Token(output) => tokens.push(output),
                Output::Failed(_, error) => return Err(error),
                Output::Embedded(..) | Output::Scored(..) => {}
            }
        }
        Ok(tokens)
    }

    /// Ends a sequence early; nothing happens if it does not run.
    pub fn remove(&mut self, sequence: u64) {
        if let Ok(runner) = &mut self.runner {
            runner.remove(sequence);
        }
    }
}

/// An answer generated as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its tokens, the closing one too.
    pub tokens: Vec<i64>,
    /// Its text.
    pub text: String,
    /// Why it ended.
    pub finished: FinishReason,
}

/// Answers requests, each with its adapter, as many at once as `slots` allow. Answers stand in
/// the order of the requests.
pub fn generate(
    base: &BaseModel,
    requests: Vec<(Request, Option<&Adapter>)>,
    slots: usize,
) -> Result<Vec<Answer>> {
    let longest = requests
        .iter()
        .map(|(r, _)| r.prompt.len().saturating_add(r.max_tokens))
        .max()
        .unwrap_or(1);
    let mut batcher = Batcher::new(base, slots, longest);
    let mut prepared: Vec<(*const Adapter, Rc<LoraTensors>)> = Vec::new();
    let mut answers: Vec<Answer> = Vec::new();
    let mut owner = HashMap::new();
    let mut waiting = requests.into_iter().enumerate();
    let mut next = waiting.next();
    loop {
        let mut outputs = Vec::new();
        // Where nothing runs, a request that finds no room is told why.
        while next.is_some() && (batcher.has_room() || batcher.is_idle()) {
            let Some((index, (request, adapter))) = next.take() else { break };
            next = waiting.next();
            let lora = adapter.map(|a| {
                let key = a as *const Adapter;
                match prepared.iter().find(|(k, _)| *k == key) {
                    Some((_, lora)) => lora.clone(),
                    None => {
                        let lora = Rc::new(a.tensors(base.config(), base.transformer().kind()));
                        prepared.push((key, lora.clone()));
                        lora
                    }
                }
            });
            answers.push(Answer {
                tokens: vec![],
                text: String::new(),
                finished: FinishReason::Length,
            });
            let output = batcher.admit(base, request, lora)?;
            owner.insert(output.sequence, index);
            outputs.push(output);
        }
        outputs.extend(batcher.step(base)?);
        if outputs.is_empty() && next.is_none() {
            return Ok(answers);
        }
        for output in outputs {
            let answer = &mut answers[owner[&output.sequence]];
            answer.tokens.push(output.token);
            answer.text.push_str(&output.text);
            if let Some(reason) = output.finished {
                answer.finished = reason;
            }
        }
    }
}
