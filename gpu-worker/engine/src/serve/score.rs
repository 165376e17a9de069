//! The canonical pass: what anyone who holds base, adapter and tokens computes again.
//!
//! Teacher-forced, one sequence by itself, in pieces of a fixed size. On a CPU the logits are the
//! same bits on every machine, whatever the number of threads, and the same that the answer was
//! drawn from; on other devices they agree within rounding.

use sha2::{Digest, Sha256};
use tch::Kind;

use super::runner::{Job, Output, Runner};
use super::{executor, Passed, Preparer, Setup};
use crate::error::{EngineError, Result};
use crate::lora::Adapter;
use crate::model::BaseModel;

/// Tokens of a piece.
pub(crate) const SCORE_CHUNK: usize = 64;

/// Begins everything that is hashed, so that a fingerprint is of this and of nothing else.
const DOMAIN: &[u8] = b"tributary/canonical-logits/1";

/// An answer's probabilities under teacher forcing.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Natural logarithm of each answer token's probability, at temperature 1.
    pub logprobs: Vec<f32>,
    /// Whether each answer token is the likeliest one, the first of several.
    pub likeliest: Vec<bool>,
    /// SHA-256 over the domain, the number of prompt tokens, all tokens (i64), and the logits
    /// (f32) from which each answer token is drawn, all little-endian.
    pub fingerprint: [u8; 32],
}

/// A scoring under way.
pub(crate) struct Scoring {
    prompt: usize,
    answer: Vec<i64>,
    logprobs: Vec<f32>,
    likeliest: Vec<bool>,
    hash: Sha256,
}

impl Scoring {
    pub(crate) fn new(prompt: usize, answer: &[i64]) -> Self {
        Self {
            prompt,
            answer: answer.to_vec(),
            logprobs: vec![],
            likeliest: vec![],
            hash: Sha256::new(),
        }
    }

    /// Takes the logits from row `row` on, of `count` tokens at positions from `start`.
    pub(crate) fn take(
        &mut self,
        passed: &Passed,
        row: i64,
        start: usize,
        count: usize,
    ) -> Result<()> {
        let Some(logits) = &passed.logits else { return Err(EngineError::Stopped) };
        for at in start..start + count {
            // The logits at a position are for the next token.
            let Some(index) = (at + 1).checked_sub(self.prompt) else { continue };
            let Some(&token) = self.answer.get(index) else { continue };
            let values = logits.f_get(row + (at - start) as i64)?.f_to_kind(Kind::Float)?;
            let values = Vec::<f32>::try_from(values)?;
            for value in &values {
                self.hash.update(value.to_le_bytes());
            }
            let (best, max) = likeliest(&values);
            let sum: f64 = values.iter().map(|v| (f64::from(*v) - f64::from(max)).exp()).sum();
            let own = usize::try_from(token).ok().and_then(|t| values.get(t)).copied();
            let own = own.ok_or_else(|| {
                EngineError::Request(format!("token {token} is not in the vocabulary"))
            })?;
            self.logprobs.push((f64::from(own) - f64::from(max) - sum.ln()) as f32);
            self.likeliest.push(best as i64 == token);
        }
        Ok(())
    }

    /// The result, when all tokens have been taken.
    pub(crate) fn finish(&mut self) -> Scored {
        let logits = std::mem::take(&mut self.hash).finalize();
        let mut all = Sha256::new();
        all.update(DOMAIN);
        all.update((self.prompt as u64).to_le_bytes());
        for token in &self.answer {
            all.update(token.to_le_bytes());
        }
        all.update(logits);
        Scored {
            logprobs: std::mem::take(&mut self.logprobs),
            likeliest: std::mem::take(&mut self.likeliest),
            fingerprint: all.finalize().into(),
        }
    }
}

fn likeliest(values: &[f32]) -> (usize, f32) {
    let better = |best: (usize, f32), (at, v): (usize, &f32)| match *v > best.1 {
        true => (at, *v),
        false => best,
    };
    values.iter().enumerate().fold((0, f32::NEG_INFINITY), better)
}

/// Scores `answer` after `prompt` in the canonical pass.
///
/// Errors when the tokens do not fit into the model's context or are not of its vocabulary.
pub fn score(
    base: &BaseModel,
    adapter: Option<&Adapter>,
    prompt: &[i64],
    answer: &[i64],
) -> Result<Scored> {
    let net = base.transformer();
    let capacity = (base.config().max_position as usize).min(prompt.len() + answer.len()).max(1);
    let setup = Setup::full(net, 1, capacity, tch::get_num_threads().max(1) as usize);
    let preparer = Preparer::new(net, setup.loops);
    let lora = adapter.map(|a| preparer.prepare(a)).transpose()?.map(std::rc::Rc::new);
    let executor = executor(base, setup)?;
    let mut runner = Runner::new(executor, base.config().vocab_size, 1, capacity, SCORE_CHUNK);
    let job = Job::Score(prompt.to_vec(), answer.to_vec());
    if runner.admit(base.tokenizer(), job, lora)?.is_err() {
        return Err(EngineError::Overloaded);
    }
    loop {
        for output in runner.step() {
            match output {
                Output::Scored(_, scored) => return Ok(scored),
                Output::Failed(_, error) => return Err(error),
                Output::Token(_) | Output::Embedded(..) => {}
            }
        }
    }
}
