//! What parts HTTP from the engine: whoever can count tokens, generate and attribute can serve.

use crate::error::{Result, WorkerError};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tributary_primitives::{
    signing::Share,
    views::{ListingView, ModelView},
    ContributionId, Digest, ModelId, H256,
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

/// What an answer has to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any JSON object.
    JsonObject,
    /// A JSON value that a schema accepts.
    JsonSchema(Value),
}

/// How an answer is generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generate {
    /// What is asked.
    pub prompt: Prompt,
    /// Tokens of the answer at most.
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// Share of the probability that is sampled from, above 0 and at most 1.
    pub top_p: f32,
    /// Number of likeliest tokens that are sampled from; 0 sets no limit.
    pub top_k: u32,
    /// Least probability that is sampled from, as a share of the likeliest token's.
    pub min_p: f32,
    /// Taken from a token's logit for each time that it stands in the answer.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once it stands in the answer.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens; sorted by token, each at most once.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the sampling; the worker draws one when nobody asks for one.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How many of the likeliest tokens to name beside each token; none are named without it.
    pub logprobs: Option<u32>,
    /// What the answer has to look like.
    pub format: Option<Format>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model or a stop text ended it, or it is all that its format allows.
    Stop,
    /// It has as many tokens as were asked for, or following its format any further would take
    /// more work than an answer may cause.
    Length,
}

/// A token and how likely it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihood {
    /// The bytes that it adds to the text, or the name of a special token.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, by the model alone.
    pub logprob: f32,
}

/// How likely a token of an answer was, and what stood beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token itself.
    pub chosen: Likelihood,
    /// The likeliest tokens at its place, likeliest first.
    pub top: Vec<Likelihood>,
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
        /// How likely it was, if that was asked and the token is not the closing one.
        logprobs: Option<TokenLogprobs>,
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

/// How near an answer lies to the nearest record of a contribution. Evidence; nothing is paid by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Influence {
    /// The contribution.
    pub contribution: ContributionId,
    /// The nearest record: its line in the contribution's shard, from 0.
    pub record: u32,
    /// Cosine of that record's gradient with the answer's, in parts per million: −1,000,000 to
    /// 1,000,000.
    pub ppm: i32,
}

/// A stretch of an answer that stands word for word in training records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// First token of the answer in it, from 0, and the one after its last.
    pub tokens: [u32; 2],
    /// First character of the answer's text in it, from 0, and the one after its last.
    pub characters: [u32; 2],
    /// How often it stands in the records.
    pub occurrences: u64,
    /// Contributions whose records have it.
    pub contributions: Vec<ContributionId>,
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
    /// How near the answer lies to each contribution that has a share, in the order of the shares.
    pub influences: Vec<Influence>,
    /// What stands word for word in training records, when the model has an index of that.
    pub spans: Option<Vec<Span>>,
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
            influences: Vec::new(),
            spans: None,
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

/// What fits into a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Tokens of the vocabulary; their ids are below it.
    pub vocabulary: u32,
}

/// What an answer is computed with, apart from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Digest of the base model's manifest.
    pub base: Digest,
    /// sha2-256 of its `tokenizer.json`.
    pub tokenizer: Digest,
    /// Version of the sampler.
    pub sampler: u32,
    /// Version of the engine.
    pub engine: String,
}

impl Identity {
    /// OpenAI's `system_fingerprint`: as long as it stays the same, so do answers with a seed.
    pub fn fingerprint(&self) -> String {
        let base = hex::encode(self.base.as_bytes().iter().take(6).copied().collect::<Vec<_>>());
        format!("fp_{}_s{}_{base}", self.engine, self.sampler)
    }
}

/// How busy an engine is, and where its adapters are. What an engine does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Answers that wait for a place.
    pub waiting: u64,
    /// Answers that run.
    pub running: u64,
    /// Adapters where the model computes.
    pub adapters_device: u64,
    /// Adapters in the host's memory.
    pub adapters_host: u64,
    /// Adapters on disk.
    pub adapters_disk: u64,
}

/// An engine behind the API.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Base models that can be asked, or whose adapters can.
    fn bases(&self) -> Vec<ModelId>;
    /// Whether it can answer now.
    fn health(&self) -> Health;
    /// What fits into a model.
    fn limits(&self, model: &Served) -> Result<ModelLimits>;
    /// What its answers are computed with.
    fn identity(&self, model: &Served) -> Result<Identity>;
    /// How busy it is.
    fn load(&self) -> Load {
        Load::default()
    }
    /// The tokens of a prompt. Needs the base model alone: nobody has paid yet.
    async fn read(&self, model: &Served, prompt: &Prompt) -> Result<Vec<u32>>;
    /// Whether answers can have this format; errors name what is wrong with it. What it takes to
    /// find out is remembered for the answer.
    async fn check_format(&self, model: &Served, format: &Format) -> Result<()>;
    /// Starts an answer, after fetching the adapter if need be. Dropping the receiver ends it.
    async fn schedule(&self, model: &Served, request: Generate) -> Result<mpsc::Receiver<Event>>;
    /// Texts, given as tokens, as vectors of length 1.
    async fn embed(&self, model: &Served, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>>;
    /// Whose records shaped an answer.
    async fn attribute(
        &self,
        model: &Served,
        prompt: &Prompt,
        answer: &[i64],
    ) -> Result<Attribution>;
}
