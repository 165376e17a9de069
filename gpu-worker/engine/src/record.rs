//! Training examples and their tokens.

use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::tokenizer::{Message, Tokenizer};

/// One training example in any of the accepted forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// A question and the answer to learn.
    Pair {
        /// What is asked.
        prompt: String,
        /// What is to be answered.
        completion: String,
    },
    /// A question with a better and a worse answer: direct preference optimisation (Rafailov et al.
    /// 2023).
    Preference {
        /// What is asked.
        prompt: String,
        /// The better answer.
        chosen: String,
        /// The worse one.
        rejected: String,
    },
    /// A conversation; every turn of the assistant is learnt.
    Messages {
        /// The turns in order.
        messages: Vec<Message>,
    },
    /// Plain text, learnt as a whole.
    Text {
        /// The text.
        text: String,
    },
}

impl Record {
    /// A question and its answer.
    pub fn pair(prompt: impl Into<String>, completion: impl Into<String>) -> Self {
        Self::Pair { prompt: prompt.into(), completion: completion.into() }
    }
}

/// Tokens of a record and where its loss lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// All tokens, prompt first.
    pub tokens: Vec<i64>,
    /// `learn[i]` says whether token `i` is to be predicted from those before it.
    pub learn: Vec<bool>,
}

impl Sample {
    /// Tokens of a prompt and of an answer, the loss on the answer.
    pub fn from_parts(prompt: &[i64], answer: &[i64]) -> Self {
        let mut sample = Self { tokens: vec![], learn: vec![] };
        sample.push(prompt, false);
        sample.push(answer, true);
        sample
    }

    /// Tokens of `record`, cut at `max_tokens`; of a preference, those of its chosen answer. `index`
    /// is only used to name the record in errors.
    pub fn encode(
        record: &Record,
        tokenizer: &Tokenizer,
        max_tokens: usize,
        index: usize,
    ) -> Result<Self> {
        let mut sample = Self { tokens: vec![], learn: vec![] };
        match record {
            Record::Preference { prompt, chosen, .. } => {
                let pair = Record::pair(prompt.as_str(), chosen.as_str());
                return Self::encode(&pair, tokenizer, max_tokens, index);
            }
            Record::Pair { prompt, completion } if tokenizer.has_chat_template() => {
                let turns = [Message::user(prompt), Message::assistant(completion)];
                sample.push_turns(&turns, tokenizer)?;
            }
            Record::Pair { prompt, completion } => {
                sample.push(&tokenizer.encode(prompt, true)?, false);
                sample.push(&tokenizer.encode(completion, false)?, true);
                sample.push(tokenizer.eos().get(..1).unwrap_or_default(), true);
            }
            Record::Messages { messages } => {
                if !messages.iter().any(|m| m.role == "assistant") {
                    let reason = "none of its turns is the assistant's".into();
                    return Err(EngineError::Record { index, reason });
                }
                sample.push_turns(messages, tokenizer)?;
            }
            Record::Text { text } => {
                sample.push(&tokenizer.encode(text, true)?, true);
                sample.push(tokenizer.eos().get(..1).unwrap_or_default(), true);
            }
        }
        sample.tokens.truncate(max_tokens);
        sample.learn.truncate(max_tokens);
        if let Some(first) = sample.learn.first_mut() {
            *first = false; // nothing stands before it that could predict it
        }
        if !sample.learn.contains(&true) {
            let reason = format!("nothing to learn within its first {max_tokens} tokens");
            return Err(EngineError::Record { index, reason });
        }
        Ok(sample)
    }

    /// How many tokens carry loss.
    pub fn learnt(&self) -> usize {
        self.learn.iter().filter(|l| **l).count()
    }

    fn push(&mut self, tokens: &[i64], learn: bool) {
        self.tokens.extend(tokens);
        self.learn.extend(tokens.iter().map(|_| learn));
    }

    /// Writes the conversation out turn by turn, so that training sees token for token what
    /// serving will: the text before each answer as the template opens it, then the answer.
    fn push_turns(&mut self, turns: &[Message], tokenizer: &Tokenizer) -> Result<()> {
        let differs = || EngineError::Template {
            reason: "it does not write a conversation as its beginning plus one more turn".into(),
        };
        let mut written = String::new();
        for (index, turn) in turns.iter().enumerate() {
            if turn.role != "assistant" {
                continue;
            }
            let before = tokenizer.render(&turns[..index], true)?;
            let after = tokenizer.render(&turns[..=index], false)?;
            let prompt = before.strip_prefix(&written).ok_or_else(differs)?;
            let answer = after.strip_prefix(&before).ok_or_else(differs)?;
            self.push(&tokenizer.encode(prompt, false)?, false);
            // A template may end a turn with a line break after its closing token; what follows
            // that token is never generated, so it is not learnt.
            let tokens = tokenizer.encode(answer, false)?;
            let end = tokens.iter().position(|t| tokenizer.eos().contains(t));
            let learnt = end.map_or(tokens.len(), |at| at + 1);
            self.push(&tokens[..learnt], true);
            self.push(&tokens[learnt..], false);
            written = after;
        }
        Ok(())
    }
}
