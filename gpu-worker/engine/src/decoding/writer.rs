//! The text of one answer: tokens in, certain text out, until it ends.

use serde::{Deserialize, Serialize};

use super::sampling::{Chosen, Row, Sampling, TokenLogprobs};
use crate::error::{EngineError, Result};
use crate::tokenizer::{TextStream, Tokenizer};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model closed its answer, or a stop text came.
    Stop,
    /// The limit of tokens or of the context was reached.
    Length,
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
        Ok(Self {
            sampling: manner.sampling,
            logprobs: manner.logprobs,
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
            allowed: None,
            logprobs: self.logprobs,
        }
    }

    /// Notes the chosen token and says what text it makes certain.
    pub(crate) fn take(&mut self, chosen: Chosen) -> Result<Written> {
        let Chosen { token, logprobs } = chosen;
        self.written += 1;
        let closed = self.eos.contains(&token);
        let full = self.written >= self.limit;
        if !closed {
            let fresh = self.text.push(token)?;
            self.held.push_str(&fresh);
        }
        let stopped = self.stop.iter().filter_map(|s| self.held.find(s.as_str())).min();
        let finished = match (closed || stopped.is_some(), full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
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
