//! The running sequences and their steps.
//!
//! A step holds one token of every sequence that writes an answer, and pieces of prompts as far
//! as the step's budget goes. Sequences in canonical scoring run by themselves, in pieces of fixed
//! size. A step that fails is tried again in halves, so that only the sequence at fault ends; one
//! that ran out of memory makes the following steps smaller.

use std::ops::Range;
use std::rc::Rc;

use super::score::{Scoring, SCORE_CHUNK};
use super::sequence::{pool, unit, Sequence, Work};
use super::{same, CacheUse, Chunk, Executor, Passed, Prepared};
use crate::decoding::{choose, Chosen, Row, Writer};
use crate::error::{EngineError, Result};
use crate::tokenizer::Tokenizer;

pub(crate) use super::sequence::{Job, Output};

/// Tokens of prompts that every step takes, however many answers run.
const PROMPT_MIN: usize = 16;
/// Steps without a fault before a lowered limit rises again.
const RECOVERY: usize = 64;

/// What the last step held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StepShape {
    pub tokens: usize,
    pub prompt_tokens: usize,
    pub adapters: usize,
}

/// Runs sequences of different adapters together.
pub(crate) struct Runner {
    executor: Box<dyn Executor>,
    vocabulary: i64,
    capacity: usize,
    slots: usize,
    step_tokens: usize,
    /// Lowered when memory runs out.
    slots_now: usize,
    step_tokens_now: usize,
    good_steps: usize,
    running: Vec<Sequence>,
    next_id: u64,
    shape: StepShape,
}

impl Runner {
    /// `slots` sequences of at most `capacity` tokens, steps of about `step_tokens` tokens.
    pub(crate) fn new(
        executor: Box<dyn Executor>,
        vocabulary: i64,
        slots: usize,
        capacity: usize,
        step_tokens: usize,
    ) -> Self {
        let step_tokens = step_tokens.max(1);
        Self {
            executor,
            vocabulary,
            capacity,
            slots,
            step_tokens,
            slots_now: slots,
            step_tokens_now: step_tokens,
            good_steps: 0,
            running: vec![],
            next_id: 0,
            shape: StepShape::default(),
        }
    }

    /// Whether another sequence may be taken in, if the cache has room for it.
    pub(crate) fn has_room(&self) -> bool {
        self.running.len() < self.slots_now
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences whose prompt is not in the cache yet.
    pub(crate) fn prefilling(&self) -> usize {
        self.running.iter().filter(|s| s.done + 1 < s.tokens.len()).count()
    }

    pub(crate) fn cache(&self) -> CacheUse {
        self.executor.cache()
    }

    /// Limits as they are now: sequences at once and tokens a step.
    pub(crate) fn limits(&self) -> (usize, usize) {
        (self.slots_now, self.step_tokens_now)
    }

    /// What the last step held.
    pub(crate) fn shape(&self) -> StepShape {
        self.shape
    }

    /// Says why a job can never run here.
    pub(crate) fn check(&self, job: &Job) -> Result<()> {
        let (prompt, answer): (&[i64], &[i64]) = match job {
            Job::Write(request) => (&request.prompt, &[]),
            Job::Embed(prompt, _) => (prompt, &[]),
            Job::Score(prompt, answer) => (prompt, answer),
        };
        if prompt.is_empty() {
            return Err(EngineError::Request("the prompt is empty".into()));
        }
        if matches!(job, Job::Score(..)) && answer.is_empty() {
            return Err(EngineError::Request("there is no answer to score".into()));
        }
        // An answer needs room for a token; its last token needs none.
        let (tokens, max) = match job {
            Job::Write(_) => (prompt.len(), self.capacity - 1),
            _ => (prompt.len() + answer.len(), self.capacity),
        };
        if tokens > max {
            return Err(EngineError::PromptTooLong { tokens, max });
        }
        let all = prompt.iter().chain(answer);
        if let Some(bad) = all.into_iter().find(|t| !(0..self.vocabulary).contains(*t)) {
            return Err(EngineError::Request(format!("token {bad} is not in the vocabulary")));
        }
        Ok(())
    }

    /// Takes a sequence in and gives its id, or gives the job back when there is no room now.
    pub(crate) fn admit(
        &mut self,
        tokenizer: &Tokenizer,
        job: Job,
        lora: Option<Rc<Prepared>>,
    ) -> Result<std::result::Result<u64, Job>> {
        self.check(&job)?;
        let reserve = match &job {
            Job::Write(request) => {
                let room = self.capacity - request.prompt.len();
                request.prompt.len() + request.max_tokens.min(room)
            }
            Job::Embed(prompt, _) => prompt.len(),
            Job::Score(prompt, answer) => prompt.len() + answer.len(),
        };
        if !self.has_room() {
            return Ok(Err(job));
        }
        let Some(place) = self.executor.open(reserve) else { return Ok(Err(job)) };
        let (tokens, work) = match self.begin(tokenizer, job) {
            Ok(begun) => begun,
            Err(error) => {
                self.executor.close(place);
                return Err(error);
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        self.running.push(Sequence { id, place, tokens, done: 0, lora, work });
        Ok(Ok(id))
    }

    fn begin(&self, tokenizer: &Tokenizer, job: Job) -> Result<(Vec<i64>, Work)> {
        Ok(match job {
            Job::Write(request) => {
                let room = self.capacity - request.prompt.len();
                let (prompt, manner) = request.into_manner();
                let writer = Writer::new(tokenizer, manner, room)?;
                (prompt, Work::Write(Box::new(writer)))
            }
            Job::Embed(prompt, pooling) => (prompt, Work::Embed(pooling, vec![])),
            Job::Score(mut prompt, answer) => {
                let scoring = Scoring::new(prompt.len(), &answer);
                prompt.extend(answer);
                (prompt, Work::Score(Box::new(scoring)))
            }
        })
    }

    /// Ends a sequence early; nothing happens if it does not run.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(at) = self.running.iter().position(|s| s.id == id) {
            let gone = self.running.remove(at);
            self.executor.close(gone.place);
        }
    }

    /// One step of everything that runs.
    pub(crate) fn step(&mut self) -> Vec<Output> {
        let mut outputs = self.step_of(|_| true);
        // Scoring is canonical: by itself, and in pieces of fixed size.
        if let Some(id) = self.running.iter().find(|s| s.scores()).map(|s| s.id) {
            let plan = self.running.iter().position(|s| s.id == id).map(|at| {
                let sequence = &self.running[at];
                (at, SCORE_CHUNK.min(sequence.tokens.len() - sequence.done))
            });
            outputs.extend(self.run(plan.into_iter().collect()));
        }
        outputs
    }

    /// Steps of one sequence alone until its first output: its prompt, whole.
    pub(crate) fn first_of(&mut self, id: u64) -> Vec<Output> {
        loop {
            let outputs = self.step_of(|s| s.id == id);
            if !outputs.is_empty() || !self.running.iter().any(|s| s.id == id) {
                return outputs;
            }
        }
    }

    fn step_of(&mut self, of: impl Fn(&Sequence) -> bool) -> Vec<Output> {
        let wanted = |s: &&Sequence| of(s) && !s.scores();
        let singles = self.running.iter().filter(wanted).filter(|s| s.done + 1 == s.tokens.len());
        let mut left = self.step_tokens_now.saturating_sub(singles.count());
        left = left.max(PROMPT_MIN.min(self.step_tokens_now));
        let mut plan: Vec<(usize, usize)> = vec![];
        for (at, sequence) in self.running.iter().enumerate().filter(|(_, s)| wanted(s)) {
            let open = sequence.tokens.len() - sequence.done;
            let count = if open == 1 { 1 } else { open.min(left) };
            if open > 1 {
                left -= count;
            }
            if count > 0 {
                plan.push((at, count));
            }
        }
        self.run(plan)
    }

    /// Runs pieces `(sequence, tokens)` and takes what they give.
    fn run(&mut self, mut plan: Vec<(usize, usize)>) -> Vec<Output> {
        if plan.is_empty() {
            return vec![];
        }
        // Rows of one adapter stand together; the sort is stable, so sequences keep their order.
        let adapter = |s: &Sequence| s.lora.as_ref().map_or(0, |l| Rc::as_ptr(l) as usize);
        plan.sort_by_key(|(at, _)| adapter(&self.running[*at]));
        let chunks: Vec<Chunk<'_>> = plan
            .iter()
            .map(|&(at, count)| {
                let sequence = &self.running[at];
                let end = sequence.done + count;
                Chunk {
                    place: sequence.place,
                    start: sequence.done,
                    tokens: &sequence.tokens[sequence.done..end],
                    lora: sequence.lora.as_ref(),
                    want: sequence.want(end == sequence.tokens.len()),
                }
            })
            .collect();
        self.shape = StepShape {
            tokens: plan.iter().map(|(_, n)| n).sum(),
            prompt_tokens: plan.iter().map(|(_, n)| n).filter(|n| **n > 1).sum(),
            adapters: distinct(&chunks),
        };
        let mut parts = vec![];
        attempt(&mut *self.executor, &chunks, 0, &mut parts);
        drop(chunks);

        let mut outputs = vec![];
        let mut short = false;
        for (range, passed) in parts {
            match passed {
                Ok(passed) => self.take(&plan[range], &passed, &mut outputs),
                Err(error) => {
                    let (at, count) = plan[range.start];
                    let memory = error.is_out_of_memory();
                    short |= memory;
                    // A piece that was too large is tried again in a smaller one.
                    if !(memory && count > PROMPT_MIN) {
                        outputs.push(Output::Failed(self.running[at].id, error));
                    }
                }
            }
        }
        self.adjust(short);
        for output in &outputs {
            if let Some(id) = output.ended() {
                self.remove(id);
            }
        }
        outputs
    }

    /// Lowers the limits when memory ran out, and raises them after a while without it.
    fn adjust(&mut self, short: bool) {
        if short {
            self.good_steps = 0;
            self.slots_now = (self.running.len().saturating_sub(1)).clamp(1, self.slots_now);
            self.step_tokens_now = (self.step_tokens_now / 2).max(1);
        } else {
            self.good_steps += 1;
            if self.good_steps >= RECOVERY {
                self.good_steps = 0;
                self.slots_now = (self.slots_now + 1).min(self.slots);
                self.step_tokens_now = (self.step_tokens_now * 2).min(self.step_tokens);
            }
        }
    }

    /// Takes what one pass gave for some pieces.
    fn take(&mut self, plan: &[(usize, usize)], passed: &Passed, outputs: &mut Vec<Output>) {
        for &(at, count) in plan {
            self.running[at].done += count;
        }
        let (mut row, mut state) = (0, 0);
        let mut writers: Vec<(usize, i64)> = vec![];
        for &(at, count) in plan {
            let sequence = &mut self.running[at];
            let whole = sequence.done == sequence.tokens.len();
            let id = sequence.id;
            match &mut sequence.work {
                Work::Write(_) if whole => {
                    writers.push((at, row));
                    row += 1;
                }
                Work::Write(_) => {}
                Work::Embed(pooling, sum) => {
                    let added = pool(passed, state, count, *pooling, sum);
                    state += count as i64;
                    match added {
                        Err(error) => outputs.push(Output::Failed(id, error)),
                        Ok(()) if whole => outputs.push(Output::Embedded(id, unit(sum))),
                        Ok(()) => {}
                    }
                }
                Work::Score(scoring) => {
                    let start = sequence.done - count;
                    let added = scoring.take(passed, row, start, count);
                    row += count as i64;
                    match added {
                        Err(error) => outputs.push(Output::Failed(id, error)),
                        Ok(()) if whole => outputs.push(Output::Scored(id, scoring.finish())),
                        Ok(()) => {}
                    }
                }
            }
        }
        self.write(&writers, passed, outputs);
    }

    /// Chooses the next token of some sequences, `(sequence, row of logits)`.
    fn write(&mut self, writers: &[(usize, i64)], passed: &Passed, outputs: &mut Vec<Output>) {
        let Some(logits) = passed.logits.as_ref().filter(|_| !writers.is_empty()) else { return };
        let rows: Vec<Row<'_>> = writers
            .iter()
            .filter_map(|(at, _)| self.running[*at].writer().map(|w| w.row()))
            .collect();
        // Pieces that write and pieces that score never share a pass, so the rows are all.
        let chosen: Vec<Result<Chosen>> = match choose(logits, &rows) {
            Ok(chosen) => chosen.into_iter().map(Ok).collect(),
            // One of them is at fault: each by itself.
            Err(_) => rows
                .into_iter()
                .zip(writers)
                .map(|(one, (_, row))| {
                    let chosen = choose(&logits.narrow(0, *row, 1), &[one])?;
                    chosen.into_iter().next().ok_or(EngineError::Stopped)
                })
                .collect(),
        };
        for ((at, _), chosen) in writers.iter().zip(chosen) {
            let sequence = &mut self.running[*at];
            let id = sequence.id;
            outputs.push(match chosen.and_then(|chosen| sequence.write(chosen)) {
                Ok(output) => Output::Token(output),
                Err(error) => Output::Failed(id, error),
            });
        }
    }
}

/// Runs pieces, in halves where together they fail. Parts are ranges of pieces with what they
/// gave; a part that failed is one piece.
fn attempt(
    executor: &mut dyn Executor,
    chunks: &[Chunk<'_>],
    first: usize,
    parts: &mut Vec<(Range<usize>, Result<Passed>)>,
) {
    match executor.step(chunks) {
        Err(_) if chunks.len() > 1 => {
            let (left, right) = chunks.split_at(chunks.len() / 2);
            attempt(executor, left, first, parts);
            attempt(executor, right, first + left.len(), parts);
        }
        passed => parts.push((first..first + chunks.len(), passed)),
    }
}

/// Different adapters among pieces of which those of one adapter stand together.
fn distinct(chunks: &[Chunk<'_>]) -> usize {
    let new = |(at, chunk): &(usize, &Chunk<'_>)| {
        chunk.lora.is_some() && (*at == 0 || !same(chunks[at - 1].lora, chunk.lora))
    };
    chunks.iter().enumerate().filter(new).count()
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
