//! The text of one answer: tokens in, certain text out, until it ends.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::grammar::{Followed, Follower};
use super::sampling::{Chosen, Guidance, Row, Sampling, TokenLogprobs};
use crate::error::{EngineError, Result};
use crate::tokenizer::{TextStream, Tokenizer};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model closed its answer, a stop text came, or its grammar was complete.
    Stop,
    /// The limit of tokens or of the context was reached.
    Length,
    /// The grammar became too complex to be followed any further; what stands is the start of an
    /// answer that it allows.
    Grammar,
}

/// How an answer is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
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

/// What one token added.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    /// The token, the closing one too.
    pub token: i64,
    /// Text that became certain; may be empty.
    pub text: String,
    /// The token's probabilities, if they were asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Set on the last token.
    pub finished: Option<FinishReason>,
}

/// The state of one answer between tokens.
pub(crate) struct Writer {
    sampling: Sampling,
    logprobs: Option<usize>,
    bias: Vec<(i64, f32)>,
    /// How often each token stands in the answer, as far as penalties need it.
    counts: HashMap<i64, u32>,
    follower: Option<Follower>,
    limit: usize,
    written: usize,
    text: TextStream,
    eos: Vec<i64>,
    /// Text that may turn out to be the start of a stop text.
    held: String,
    stop: Vec<String>,
}

impl Writer {
    /// An answer of at most `room` tokens, whatever `manner` asks.
    pub(crate) fn new(tokenizer: &Tokenizer, manner: Manner, room: usize) -> Result<Self> {
        if manner.max_tokens == 0 {
            return Err(EngineError::Request("max_tokens is 0".into()));
        }
        manner.sampling.check()?;
        let Guidance { bias, grammar } = manner.guidance;
        if bias.iter().any(|(_, added)| !added.is_finite()) {
            return Err(EngineError::Request("logit_bias must be numbers".into()));
        }
        Ok(Self {
            sampling: manner.sampling,
            logprobs: manner.logprobs,
            bias,
            counts: HashMap::new(),
            follower: grammar.map(Follower::new).transpose()?,
            limit: manner.max_tokens.min(room),
            written: 0,
            text: TextStream::new(tokenizer.clone()),
            eos: tokenizer.eos().to_vec(),
            held: String::new(),
            stop: manner.stop.into_iter().filter(|s| !s.is_empty()).collect(),
        })
    }

    /// How the next token is to be chosen.
    pub(crate) fn row(&self) -> Row<'_> {
        Row {
            sampling: &self.sampling,
            index: self.written as u64,
            bias: &self.bias,
            counts: &self.counts,
            allowed: self.follower.as_ref().map(Follower::allowed),
            logprobs: self.logprobs,
        }
    }

    /// Notes the chosen token and says what text it makes certain.
    pub(crate) fn take(&mut self, chosen: Chosen) -> Result<Written> {
        let Chosen { token, logprobs } = chosen;
        self.written += 1;
        let closed = self.eos.contains(&token);
        let full = self.written >= self.limit;
        if self.sampling.penalises() {
            *self.counts.entry(token).or_default() += 1;
        }
        let followed = match &mut self.follower {
            Some(follower) if !closed => follower.take(token),
            _ => Followed::Open,
        };
        if !closed {
            let fresh = self.text.push(token)?;
            self.held.push_str(&fresh);
        }
        let stopped = self.stop.iter().filter_map(|s| self.held.find(s.as_str())).min();
        let finished = match (closed || stopped.is_some(), followed) {
            (true, _) | (_, Followed::Whole) => Some(FinishReason::Stop),
            (_, Followed::Lost) => Some(FinishReason::Grammar),
            (_, Followed::Open) => full.then_some(FinishReason::Length),
        };
        let text = match (stopped, finished) {
            (Some(at), _) => self.held.drain(..).collect::<String>()[..at].to_string(),
            (None, Some(_)) => {
                self.held.push_str(&self.text.finish()?);
                std::mem::take(&mut self.held)
            }
            (None, None) => {
                let keep = self.stop.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
                self.held.drain(..self.held.len() - keep).collect()
            }
        };
        Ok(Written { token, text, logprobs, finished })
    }
}

/// Length of the longest end of `text` that is a proper start of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(at, _)| at)
        .filter(|&at| at > 0 && text.ends_with(&stop[..at]))
        .max()
        .unwrap_or(0)
}
