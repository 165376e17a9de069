//! Training jobs: what is asked for and what comes back.

use crate::{Balance, Digest};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Which linear projections of each layer get a low-rank pair.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Targets {
    /// Query projection.
    pub q: bool,
    /// Key projection.
    pub k: bool,
    /// Value projection.
    pub v: bool,
    /// Output projection of the attention.
    pub o: bool,
    /// Gate projection of the feed-forward part.
    pub gate: bool,
    /// Up projection of the feed-forward part.
    pub up: bool,
    /// Down projection of the feed-forward part.
    pub down: bool,
}

impl Targets {
    /// All seven projections.
    pub const ALL: Self =
        Self { q: true, k: true, v: true, o: true, gate: true, up: true, down: true };

    /// Whether nothing is targeted.
    pub fn is_empty(&self) -> bool {
        !(self.q || self.k || self.v || self.o || self.gate || self.up || self.down)
    }
}

/// How an adapter is trained. Together with the base model and the versions it determines the
/// result.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct TrainSpec {
    /// Rank of each pair, 1 to 256.
    pub rank: u16,
    /// LoRA's alpha; the update is scaled by `alpha / rank`.
    pub alpha: u16,
    /// Projections that get a pair.
    pub targets: Targets,
    /// Passes over the data, 1 to 1,000.
    pub epochs: u16,
    /// Records in a step, 1 to 4,096.
    pub batch: u16,
    /// Peak learning rate in billionths: `4_000_000` is 4e-3.
    pub lr_nano: u32,
    /// Share of the steps in which the learning rate warms up, in thousandths.
    pub warmup_permille: u16,
    /// Longest record in tokens, 8 to 131,072; longer ones are cut.
    pub seq_len: u32,
    /// Seed of initialisation and shuffling.
    pub seed: u64,
}

/// Why a [`TrainSpec`] cannot be trained.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, Serialize,
)]
pub enum SpecError {
    /// The rank is not in 1 to 256.
    Rank,
    /// Alpha is zero.
    Alpha,
    /// No projection is targeted.
    Targets,
    /// The number of epochs is not in 1 to 1,000.
    Epochs,
    /// The batch is not in 1 to 4,096 records.
    Batch,
    /// The learning rate is not above 0 and at most 1.
    LearningRate,
    /// More than all steps are warm-up.
    Warmup,
    /// The sequence length is not in 8 to 131,072 tokens.
    SeqLen,
}

impl core::fmt::Display for SpecError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Rank => "the rank must be 1 to 256",
            Self::Alpha => "alpha must be above 0",
            Self::Targets => "at least one projection must be targeted",
            Self::Epochs => "the epochs must be 1 to 1,000",
            Self::Batch => "the batch must be 1 to 4,096 records",
            Self::LearningRate => "the learning rate must be above 0 and at most 1",
            Self::Warmup => "the warm-up must be at most 1,000 thousandths",
            Self::SeqLen => "the sequence length must be 8 to 131,072 tokens",
        })
    }
}

impl TrainSpec {
    /// Checks every field against its range.
    pub fn check(&self) -> Result<(), SpecError> {
        let rules = [
            ((1..=256).contains(&self.rank), SpecError::Rank),
            (self.alpha > 0, SpecError::Alpha),
            (!self.targets.is_empty(), SpecError::Targets),
            ((1..=1_000).contains(&self.epochs), SpecError::Epochs),
            ((1..=4_096).contains(&self.batch), SpecError::Batch),
            ((1..=1_000_000_000).contains(&self.lr_nano), SpecError::LearningRate),
            (self.warmup_permille <= 1_000, SpecError::Warmup),
            ((8..=131_072).contains(&self.seq_len), SpecError::SeqLen),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// What a worker measured while it trained.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Metrics {
    /// Mean loss over the records before training, in millionths of a nat.
    pub loss_before_micro: u32,
    /// Mean loss over the records after training, in millionths of a nat.
    pub loss_after_micro: u32,
    /// Optimiser steps.
    pub steps: u32,
    /// Tokens that passed forward and backward, over all epochs.
    pub tokens: u64,
}

/// How far a training is, as its worker says.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Progress {
    /// Optimiser steps taken.
    pub step: u32,
    /// Optimiser steps in all.
    pub steps: u32,
    /// Mean loss of the last step, in millionths of a nat.
    pub loss_micro: u32,
}

/// What a worker submits for a job.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct JobResult {
    /// Manifest of the adapter's files.
    pub adapter: Digest,
    /// The attribution index.
    pub index: Digest,
    /// Root that the index commits to.
    pub index_root: H256,
    /// Transcript of the training: specification, data order and losses.
    pub transcript: Digest,
    /// What was measured.
    pub metrics: Metrics,
}

/// Tokens that a chat template may add to a record, for the bound on what can be charged.
const TEMPLATE_TOKENS: u64 = 64;

/// Most tokens that a training may charge for: those of its records, of which each has a byte at
/// least, and of the template around them; saturates.
pub fn token_bound(records: u64, bytes: u64, epochs: u16) -> u64 {
    bytes.saturating_add(records.saturating_mul(TEMPLATE_TOKENS)).saturating_mul(u64::from(epochs))
}

/// Fee for `tokens` at a price per 1,000 tokens, rounded up to the unit; saturates.
pub fn token_fee(tokens: u64, price_per_1k: Balance) -> Balance {
    price_per_1k.saturating_mul(Balance::from(tokens)).div_ceil(1_000)
}
