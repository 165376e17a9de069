//! A running sequence: what is done with it, and what its steps bring.

use std::rc::Rc;

use super::score::{Scored, Scoring};
use super::{Passed, Prepared, Want};
use crate::decoding::{Chosen, Manner, Writer, Written};
use crate::error::{EngineError, Result};
use crate::generate::{Request, StepOutput};

/// How hidden states become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The mean over all tokens.
    #[default]
    Mean,
    /// The last token's.
    Last,
}

/// What is done with a sequence.
pub(super) enum Work {
    /// An answer is written.
    Write(Box<Writer>),
    /// Its hidden states are pooled: their sum, or the last.
    Embed(Pooling, Vec<f64>),
    /// The probabilities of its last tokens are computed.
    Score(Box<Scoring>),
}

pub(super) struct Sequence {
    pub id: u64,
    pub place: usize,
    /// Prompt and answer so far.
    pub tokens: Vec<i64>,
    /// How many of them are in the cache.
    pub done: usize,
    pub lora: Option<Rc<Prepared>>,
    pub work: Work,
}

impl Sequence {
    pub(super) fn scores(&self) -> bool {
        matches!(self.work, Work::Score(_))
    }

    pub(super) fn want(&self, reaches_end: bool) -> Want {
        match self.work {
            Work::Write(_) if reaches_end => Want::Last,
            Work::Write(_) => Want::Nothing,
            Work::Embed(..) => Want::Hidden,
            Work::Score(_) => Want::All,
        }
    }
}

/// What a step brought for a sequence. All but a token that does not finish its answer are the
/// last of their sequence.
pub(crate) enum Output {
    Token(StepOutput),
    /// The pooled vector, of length one.
    Embedded(u64, Vec<f32>),
    Scored(u64, Scored),
    Failed(u64, EngineError),
}

/// A sequence to take in.
pub(crate) enum Job {
    Write(Request),
    Embed(Vec<i64>, Pooling),
    /// A prompt and the answer to be scored after it.
    Score(Vec<i64>, Vec<i64>),
}

impl Job {
    /// Tokens of the prompt.
    pub(crate) fn prompt_tokens(&self) -> usize {
        match self {
            Self::Write(request) => request.prompt.len(),
            Self::Embed(prompt, _) | Self::Score(prompt, _) => prompt.len(),
        }
    }
}

impl Sequence {
    pub(super) fn writer(&self) -> Option<&Writer> {
        match &self.work {
            Work::Write(writer) => Some(writer),
            _ => None,
        }
    }

    /// Notes the chosen token and what text it makes certain.
    pub(super) fn write(&mut self, chosen: Chosen) -> Result<StepOutput> {
        let Work::Write(writer) = &mut self.work else { return Err(EngineError::Stopped) };
        let Written { token, text, logprobs, finished } = writer.take(chosen)?;
        self.tokens.push(token);
        Ok(StepOutput { sequence: self.id, token, text, logprobs, finished })
    }
}

impl Output {
    /// The sequence that this output ends.
    pub(super) fn ended(&self) -> Option<u64> {
        match self {
            Self::Token(output) => output.finished.map(|_| output.sequence),
            Self::Embedded(id, _) | Self::Scored(id, _) | Self::Failed(id, _) => Some(*id),
        }
    }
}

impl Request {
    pub(super) fn into_manner(self) -> (Vec<i64>, Manner) {
        let Self { prompt, max_tokens, sampling, stop, logprobs, guidance } = self;
        (prompt, Manner { max_tokens, sampling, stop, logprobs, guidance })
    }
}

/// Adds hidden states from row `first` to a sum, or keeps the last.
pub(super) fn pool(
    passed: &Passed,
    first: i64,
    count: usize,
    pooling: Pooling,
    sum: &mut Vec<f64>,
) -> Result<()> {
    let Some(hidden) = &passed.hidden else { return Err(EngineError::Stopped) };
    let width = hidden.size2()?.1 as usize;
    let mine = hidden.f_narrow(0, first, count as i64)?.f_contiguous()?;
    let values = Vec::<f32>::try_from(mine.f_view([-1])?)?;
    sum.resize(width, 0.0);
    for row in values.chunks_exact(width) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum = f64::from(*value) + if pooling == Pooling::Mean { *sum } else { 0.0 };
        }
    }
    Ok(())
}

/// A vector's direction; pooling's division by the count falls out of it.
pub(super) fn unit(sum: &[f64]) -> Vec<f32> {
    let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    sum.iter().map(|v| (v * scale) as f32).collect()
}
