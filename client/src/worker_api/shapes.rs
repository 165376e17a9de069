//! What a worker answers with, apart from text.

use codec::Decode;
use serde::{Deserialize, Serialize};
use tributary_primitives::{
    commitment::{Commitment, SamplingTerms},
    money::as_string,
    signing::{Receipt, Share, Signable},
    AccountId, Balance, ContributionId, JobId, MultiSignature, H256,
};

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
    /// What the worker is doing.
    pub state: String,
    /// Steps done.
    #[serde(default)]
    pub step: u64,
    /// Steps in all.
    #[serde(default)]
    pub steps: u64,
    /// Loss now.
    #[serde(default)]
    pub loss: Option<f64>,
    /// Loss before the training.
    #[serde(default)]
    pub loss_before: Option<f64>,
    /// Tokens trained per second.
    #[serde(default)]
    pub tokens_per_second: Option<f64>,
    /// Loss of the records that are held out.
    #[serde(default)]
    pub held_out: Option<f64>,
    /// Seconds that are left, as far as is known.
    #[serde(default)]
    pub eta_s: Option<f64>,
    /// What went wrong, if something did.
    #[serde(default)]
    pub note: String,
}

/// One record's share of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordShare {
    /// Contribution that the record is from.
    pub contribution: ContributionId,
    /// Position of the record in its shard, from 0.
    pub record: u64,
    /// Its share, in parts per million.
    pub ppm: u32,
}

/// How near an answer lies to the nearest record of a contribution. Evidence; nothing is paid by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Influence {
    /// The contribution.
    pub contribution: ContributionId,
    /// Position of the nearest record in its shard, from 0.
    pub record: u64,
    /// Cosine of that record's gradient with the answer's, in parts per million: −1,000,000 to
    /// 1,000,000.
    pub ppm: i32,
}

/// A stretch of an answer that stands word for word in training records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What an answer can be computed again from: what the worker adds to the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCommitment {
    /// What the receipt names.
    pub digest: H256,
    /// Digest of the base model's manifest.
    pub base: H256,
    /// Digest of the adapter's manifest; none when the base itself answered.
    pub adapter: Option<H256>,
    /// sha2-256 of the base model's `tokenizer.json`.
    pub tokenizer: H256,
    /// Digest of the index that gave the shares.
    pub index: Option<H256>,
    /// How many tokens the prompt has; they follow from the request and the tokenizer.
    pub prompt_tokens: u64,
    /// Tokens of the answer, the closing one too.
    pub answer: Vec<u32>,
    /// Seed of the sampling.
    pub seed: u64,
    /// Version of the sampler.
    pub sampler: u32,
    /// How the tokens were chosen.
    pub sampling: SamplingTerms,
}

impl ShownCommitment {
    /// The whole commitment of an answer to a prompt with these tokens. Its digest is the one that
    /// the receipt names, if the worker says what it did.
    pub fn whole(&self, prompt: Vec<u32>) -> Commitment {
        Commitment {
            base: self.base,
            adapter: self.adapter,
            tokenizer: self.tokenizer,
            index: self.index,
            prompt,
            answer: self.answer.clone(),
            seed: self.seed,
            sampler: self.sampler,
            sampling: self.sampling.clone(),
        }
    }
}

/// Whose records shaped an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// By contribution.
    pub shares: Vec<Share>,
    /// Share that no record explains, in parts per million.
    pub unattributed_ppm: u32,
    /// Share that records explain, in parts per million.
    pub explained_ppm: u32,
    /// The records that weighed most.
    #[serde(default)]
    pub records: Vec<RecordShare>,
    /// How near the answer lies to each contribution that has a share.
    #[serde(default)]
    pub influences: Vec<Influence>,
    /// What stands word for word in training records, when the worker looked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<Vec<Span>>,
    /// Root of the index.
    pub index_root: H256,
    /// What the answer can be computed again from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<ShownCommitment>,
}

impl Attribution {
    /// How near the answer lies to a contribution, when the worker says so.
    pub fn influence_of(&self, contribution: ContributionId) -> Option<&Influence> {
        self.influences.iter().find(|influence| influence.contribution == contribution)
    }
}

/// A receipt with the worker's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// SCALE form of a `MultiSignature`, hexadecimal.
    pub signature: String,
}

impl SignedReceipt {
    /// The signature, read.
    pub fn multi_signature(&self) -> Option<MultiSignature> {
        let digits = self.signature.strip_prefix("0x").unwrap_or(&self.signature);
        let bytes = hex::decode(digits).ok()?;
        let mut rest = bytes.as_slice();
        MultiSignature::decode(&mut rest).ok().filter(|_| rest.is_empty())
    }

    /// Whether `signing_key` signed it for the chain of this genesis hash.
    pub fn verify(&self, genesis: &H256, signing_key: &AccountId) -> bool {
        self.multi_signature()
            .is_some_and(|signature| self.receipt.verify(genesis, &signature, signing_key))
    }
}

/// What an answer cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The answer's fee, in units.
    #[serde(with = "as_string")]
    pub fee: Balance,
    /// Everything spent through the channel so far, in units.
    #[serde(with = "as_string")]
    pub spent: Balance,
    /// What the best voucher promises, in units.
    #[serde(with = "as_string")]
    pub cumulative: Balance,
}
