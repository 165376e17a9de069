//! What parts HTTP from the engine: whoever can count tokens, generate and attribute can serve.

use crate::error::{Result, WorkerError};
use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::mpsc;
use tributary_primitives::{
    signing::Share,
    views::{ListingView, ModelView},
    ContributionId, ModelId, H256,
};

/// A model that can be asked: on chain, listed, on a base that this worker holds.
#[derive(Clone, Debug)]
pub struct Served {
    /// The model.
    pub model: ModelView,
    /// Its base model; the model itself if it is one.
    pub base: ModelId,
    /// What an answer costs; `None` if its owner does not sell any.
    pub listing: Option<ListingView>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What an answer is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, put into the base model's chat template.
    Chat(Vec<Message>),
    /// Plain text to go on from.
    Text(String),
}

/// How an answer is generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generate {
    /// What is asked.
    pub prompt: Prompt,
    /// Tokens of the answer at most.
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: f64,
    /// Share of the probability that is sampled from, above 0 and at most 1.
    pub top_p: f64,
    /// Seed of the sampling.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model or a stop text ended it.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

/// What comes back while an answer is generated.
#[derive(Debug)]
pub enum Event {
    /// One more token, and the text that it adds (possibly none).
    Token {
        /// The token.
        id: i64,
        /// Its text.
        text: String,
    },
    /// The answer is complete.
    Done {
        /// Why.
        ended: Ended,
        /// All its tokens.
        tokens: Vec<i64>,
        /// Its text.
        text: String,
    },
    /// It cannot be completed.
    Failed(WorkerError),
}

/// One training record's share of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordShare {
    /// The contribution that it belongs to.
    pub contribution: ContributionId,
    /// Its line in the contribution's shard, from 0.
    pub record: u32,
    /// Its share of the answer in parts per million.
    pub ppm: u32,
}

/// Whose records shaped an answer. Shares and the unattributed part add up to 1,000,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// By contribution.
    pub shares: Vec<Share>,
    /// What no record explains, in parts per million.
    pub unattributed_ppm: u32,
    /// The records that weigh most.
    pub records: Vec<RecordShare>,
    /// Root of the index that gave the shares.
    pub index_root: H256,
}

impl Attribution {
    /// Of a model without an index: nobody's records are known to have shaped the answer.
    pub fn none() -> Self {
        Self {
            shares: Vec::new(),
            unattributed_ppm: tributary_primitives::money::PPM,
            records: Vec::new(),
            index_root: H256::zero(),
        }
    }

    /// Whether the parts add up to the whole.
    pub fn check(&self) -> Result<()> {
        let sum = self.shares.iter().fold(u64::from(self.unattributed_ppm), |sum, share| {
            sum.saturating_add(share.ppm.into())
        });
        if sum != u64::from(tributary_primitives::money::PPM) {
            return Err(WorkerError::Engine(format!(
                "the shares of an answer add up to {sum} ppm"
            )));
        }
        Ok(())
    }
}

/// Whether the backend can answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Health {
    /// Whether it can.
    pub ready: bool,
    /// Base models that it holds and that are on chain.
    pub bases: usize,
    /// Adapters in memory.
    pub adapters: usize,
}

/// An engine behind the API.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Base models that can be asked, or whose adapters can.
    fn bases(&self) -> Vec<ModelId>;
    /// Whether it can answer now.
    fn health(&self) -> Health;
    /// Tokens of prompt and answer that fit into the model together.
    fn context(&self, model: &Served) -> Result<u32>;
    /// Tokens of a prompt. Needs the base model alone: nobody has paid yet.
    async fn count(&self, model: &Served, prompt: &Prompt) -> Result<u32>;
    /// Starts an answer, after fetching the adapter if need be. Dropping the receiver ends it.
    async fn schedule(&self, model: &Served, request: Generate) -> Result<mpsc::Receiver<Event>>;
    /// Whose records shaped an answer.
    async fn attribute(
        &self,
        model: &Served,
        prompt: &Prompt,
        answer: &[i64],
    ) -> Result<Attribution>;
}
