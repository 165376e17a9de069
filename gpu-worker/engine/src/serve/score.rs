//! The canonical pass: what anyone who holds base, adapter and tokens computes again.
//!
//! Teacher-forced, one sequence by itself, in pieces of a fixed size. On a CPU the logits are the
//! same bits on every machine, whatever the number of threads, and the same that the answer was
//! drawn from. Between devices and number formats they agree within rounding: [`Scored::compare`]
//! says whether they do.

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

/// How far two passes over the same tokens are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Agreement {
    /// In nothing: the same fingerprint.
    Exact,
    /// By rounding: in no token's log-probability by more than the tolerance. The largest
    /// difference, in nats.
    Rounding(f32),
    /// In more than rounding: they are not of the same base, adapter and tokens.
    Apart {
        /// The first answer token that differs by more than the tolerance; one past the last where
        /// the answers differ in length.
        token: usize,
        /// By how much, in nats; infinite where there is nothing to compare with.
        difference: f32,
    },
}

/// Log-probabilities of one answer computed in f32 on two devices differ by less (nats).
pub const F32_TOLERANCE: f32 = 1e-3;
/// The same where one of the two computes in bf16, with its eight bits of precision (nats).
pub const BF16_TOLERANCE: f32 = 0.25;

impl Scored {
    /// Compares with what another machine came to.
    pub fn compare(&self, other: &Self, tolerance: f32) -> Agreement {
        if self.fingerprint == other.fingerprint {
            return Agreement::Exact;
        }
        let common = self.logprobs.len().min(other.logprobs.len());
        let mut largest = 0f32;
        for (token, (a, b)) in self.logprobs.iter().zip(&other.logprobs).enumerate() {
            let difference = (a - b).abs();
            // What is not a number agrees with nothing.
            if difference.is_nan() || difference > tolerance {
                return Agreement::Apart { token, difference };
            }
            largest = largest.max(difference);
        }
        match self.logprobs.len() == other.logprobs.len() {
            true => Agreement::Rounding(largest),
            false => Agreement::Apart { token: common, difference: f32::INFINITY },
        }
    }
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
    score_in(base, setup, adapter, prompt, answer)
}

/// The same on an executor that is set up as `setup` says.
fn score_in(
    base: &BaseModel,
    setup: Setup,
    adapter: Option<&Adapter>,
    prompt: &[i64],
    answer: &[i64],
) -> Result<Scored> {
    let net = base.transformer();
    let capacity = setup.capacity;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::{Device, Tensor};

    use super::*;
    use crate::config::Projection;
    use crate::lora::LoraConfig;
    use crate::serve::stock::LoraPath;

    /// Another way of computing stands for another device: operators for loops, bf16 for f32.
    #[test]
    fn ways_of_computing_agree_within_rounding_and_other_adapters_do_not() -> Result<()> {
        tch::manual_seed(8);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
        let base = BaseModel::load(&folder, Device::Cpu)?;
        let narrow = base.in_bf16()?;
        let mut adapters = vec![];
        for seed in 0..2 {
            let targets = Projection::ALL.to_vec();
            let lora = LoraConfig { rank: 8, alpha: 16.0, targets, rslora: false };
            let adapter = Adapter::new(lora, base.config(), seed, Device::Cpu)?;
            let noise = Tensor::randn_like(adapter.flat()) * 0.02;
            let moved = adapter.flat() + noise;
            adapters.push(Adapter::from_flat(adapter.config().clone(), moved));
        }
        let encode = |text: &str| base.tokenizer().encode(text, false);
        let prompt = encode("What became of the harbour after the storm?")?;
        let answer = encode("The harbour was rebuilt in stone, and the old pier was left.")?;
        let with = |base: &BaseModel, loops: bool, path: LoraPath, adapter: &Adapter| {
            let setup = Setup { loops, path, ..Setup::full(base.transformer(), 1, 256, 1) };
            score_in(base, setup, Some(adapter), &prompt, &answer)
        };
        let ours = with(&base, true, LoraPath::Best, &adapters[0])?;
        let same = with(&base, true, LoraPath::Best, &adapters[0])?;
        assert_eq!(ours.compare(&same, 0.0), Agreement::Exact);
        let stock = with(&base, false, LoraPath::Plain, &adapters[0])?;
        let found = ours.compare(&stock, F32_TOLERANCE);
        assert!(matches!(found, Agreement::Rounding(by) if by > 0.0), "{found:?}");
        for path in [LoraPath::Plain, LoraPath::Kernel] {
            let found = ours.compare(&with(&narrow, false, path, &adapters[0])?, BF16_TOLERANCE);
            assert!(matches!(found, Agreement::Rounding(by) if by > 0.0), "{path:?}: {found:?}");
        }
        // Rounding of bf16 is too much for f32, and another adapter too much for either.
        let bf16 = with(&narrow, false, LoraPath::Plain, &adapters[0])?;
        assert!(matches!(ours.compare(&bf16, F32_TOLERANCE), Agreement::Apart { .. }));
        let other = with(&base, true, LoraPath::Best, &adapters[1])?;
        assert!(matches!(ours.compare(&other, BF16_TOLERANCE), Agreement::Apart { .. }));
        // So are fewer tokens, and what is not a number.
        let mut short = stock.clone();
        short.logprobs.pop();
        let end = answer.len() - 1;
        let apart = Agreement::Apart { token: end, difference: f32::INFINITY };
        assert_eq!(ours.compare(&short, F32_TOLERANCE), apart);
        let mut broken = stock;
        broken.logprobs[2] = f32::NAN;
        let found = ours.compare(&broken, F32_TOLERANCE);
        assert!(matches!(found, Agreement::Apart { token: 2, .. }), "{found:?}");
        Ok(())
    }
}
