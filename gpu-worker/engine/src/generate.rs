//! Generation: many sequences at once, each with its own adapter, sharing every step.

use std::rc::Rc;

use tch::Tensor;

use crate::decoding::{
    choose, Chosen, FinishReason, Guidance, Manner, Row, Sampling, TokenLogprobs, Writer, Written,
};
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraTensors};
use crate::model::{BaseModel, KvCache};

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

struct Sequence {
    id: u64,
    slot: i64,
    /// Position of `last` in the context.
    position: i64,
    last: i64,
    lora: Option<Rc<LoraTensors>>,
    writer: Writer,
}

/// Runs sequences of different adapters together, one token of each per step.
pub struct Batcher {
    cache: KvCache,
    capacity: usize,
    free: Vec<i64>,
    running: Vec<Sequence>,
    next_id: u64,
    /// Adapters of the running sequences, row by row, until the set changes.
    gathered: Option<Option<LoraTensors>>,
}

impl Batcher {
    /// Room for `slots` sequences of the model's whole context, or of `capacity` tokens.
    pub fn new(base: &BaseModel, slots: usize, capacity: usize) -> Self {
        let capacity = capacity.min(base.config().max_position as usize);
        let cache = base.transformer().new_cache(slots as i64, capacity as i64);
        Self {
            cache,
            capacity,
            free: (0..slots as i64).rev().collect(),
            running: vec![],
            next_id: 0,
            gathered: None,
        }
    }

    /// Whether another sequence can be taken in.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a sequence in and gives its id and first token.
    pub fn admit(
        &mut self,
        base: &BaseModel,
        request: Request,
        lora: Option<Rc<LoraTensors>>,
    ) -> Result<StepOutput> {
        let length = request.prompt.len();
        if length == 0 {
            return Err(EngineError::Request("the prompt is empty".into()));
        }
        if length >= self.capacity {
            return Err(EngineError::PromptTooLong { tokens: length, max: self.capacity - 1 });
        }
        let vocabulary = base.config().vocab_size;
        if let Some(bad) = request.prompt.iter().find(|t| !(0..vocabulary).contains(*t)) {
            return Err(EngineError::Request(format!("token {bad} is not in the vocabulary")));
        }
        let room = self.capacity - length;
        let manner = Manner {
            max_tokens: request.max_tokens,
            sampling: request.sampling,
            stop: request.stop,
            logprobs: request.logprobs,
            guidance: request.guidance,
        };
        let writer = Writer::new(base.tokenizer(), manner, room)?;
        let slot = self
            .free
            .pop()
            .ok_or_else(|| EngineError::Request("no free slot; try again".into()))?;
        let net = base.transformer();
        let logits = tch::no_grad(|| {
            let ids = Tensor::from_slice(&request.prompt).unsqueeze(0).to_device(net.device());
            let hidden = net.prefill(&ids, &[slot], &mut self.cache, lora.as_deref());
            net.logits(&hidden.select(1, length as i64 - 1)) // [1, vocab]
        });
        let mut sequence =
            Sequence { id: self.next_id, slot, position: length as i64 - 1, last: 0, lora, writer };
        self.next_id += 1;
        let output = match choose_all(&logits, std::slice::from_ref(&sequence))
            .and_then(|mut chosen| sequence.take(chosen.remove(0)))
        {
            Ok(output) => output,
            Err(error) => {
                self.free.push(slot);
                return Err(error);
            }
        };
        if output.finished.is_some() {
            self.free.push(slot);
        } else {
            self.running.push(sequence);
            self.gathered = None;
        }
        Ok(output)
    }

    /// The next token of every running sequence.
    pub fn step(&mut self, base: &BaseModel) -> Result<Vec<StepOutput>> {
        if self.running.is_empty() {
            return Ok(vec![]);
        }
        let net = base.transformer();
        let device = net.device();
        let gathered = self.gathered.get_or_insert_with(|| gather(&self.running));
        let column = |f: fn(&Sequence) -> i64| {
            Tensor::from_slice(&self.running.iter().map(f).collect::<Vec<_>>()).to_device(device)
        };
        let (ids, slots, positions) =
            (column(|s| s.last), column(|s| s.slot), column(|s| s.position));
        let longest = self.running.iter().map(|s| s.position).max().unwrap_or(0) + 1;
        let logits = tch::no_grad(|| {
            let hidden =
                net.decode(&ids, &slots, &positions, longest, &mut self.cache, gathered.as_ref());
            net.logits(&hidden) // [rows, vocab]
        });
        let tokens = choose_all(&logits, &self.running)?;
        let mut outputs = Vec::with_capacity(tokens.len());
        for (sequence, token) in self.running.iter_mut().zip(tokens) {
            outputs.push(sequence.take(token)?);
        }
        for output in outputs.iter().filter(|o| o.finished.is_some()) {
            self.remove(output.sequence);
        }
        Ok(outputs)
    }

    /// Ends a sequence early; nothing happens if it does not run.
    pub fn remove(&mut self, sequence: u64) {
        if let Some(at) = self.running.iter().position(|s| s.id == sequence) {
            let gone = self.running.swap_remove(at);
            self.free.push(gone.slot);
            self.gathered = None;
        }
    }
}

/// Adapters row by row; one shared set of matrices when all rows have the same adapter.
fn gather(running: &[Sequence]) -> Option<LoraTensors> {
    let same = running.windows(2).all(|pair| match (&pair[0].lora, &pair[1].lora) {
        (Some(a), Some(b)) => Rc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    });
    if same {
        return running.first().and_then(|s| s.lora.as_ref().map(|l| l.share()));
    }
    let rows: Vec<Option<&LoraTensors>> = running.iter().map(|s| s.lora.as_deref()).collect();
    LoraTensors::gather(&rows)
}

/// Chooses a token per row of `logits` `[rows, vocab]`.
fn choose_all(logits: &Tensor, sequences: &[Sequence]) -> Result<Vec<Chosen>> {
    let rows: Vec<Row<'_>> = sequences.iter().map(|s| s.writer.row()).collect();
    choose(logits, &rows)
}

impl Sequence {
    /// Notes the chosen token and what text it makes certain.
    fn take(&mut self, chosen: Chosen) -> Result<StepOutput> {
        self.last = chosen.token;
        self.position += 1;
        let Written { token, text, logprobs, finished } = self.writer.take(chosen)?;
        Ok(StepOutput { sequence: self.id, token, text, logprobs, finished })
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
    let longest = requests.iter().map(|(r, _)| r.prompt.len() + r.max_tokens).max().unwrap_or(1);
    let mut batcher = Batcher::new(base, slots, longest);
    let mut prepared: Vec<(*const Adapter, Rc<LoraTensors>)> = Vec::new();
    let mut answers: Vec<Answer> = Vec::new();
    let mut owner = std::collections::HashMap::new();
    let mut waiting = requests.into_iter().enumerate();
    let mut next = waiting.next();
    loop {
        let mut outputs = Vec::new();
        while batcher.has_room() {
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
