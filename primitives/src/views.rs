//! What the runtime APIs answer: read-only pictures of the chain's state for dApps and tools.
//!
//! Lists are paged: `from` is the first id, `limit` at most [`MAX_PAGE`]. Amounts are in units and
//! are written as decimal strings in JSON.

use crate::{
    jobs::{JobResult, Progress, TrainSpec},
    AccountId, Balance, BatchId, BlockNumber, ChannelId, ContributionId, DatanetId, Digest, JobId,
    ModelId, VersionRef,
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use scale_info::TypeInfo;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most rows that one call returns.
pub const MAX_PAGE: u32 = 256;

/// Bytes that people read as UTF-8 text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, TypeInfo)]
pub struct Text(pub Vec<u8>);

impl core::fmt::Display for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(from)?.into_bytes()))
    }
}

/// What a contributor allows to be done with the records, in a form that machines read.
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
pub struct Consent {
    /// Adapters may be trained on the records.
    pub train: bool,
    /// Adapters trained on them may be sold.
    pub commercial: bool,
    /// Spans of a record may be quoted in answers' attributions.
    pub quote: bool,
}

macro_rules! views {
    ($($(#[$doc:meta])* pub $kind:ident $name:ident $body:tt)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Serialize, Deserialize)]
        pub $kind $name $body
    )*};
}

views! {
    /// How contributions to a datanet are accepted.
    pub enum PolicyView {
        /// After a review window, unless disputed.
        Open,
        /// When this many curators have voted for it.
        Curated {
            /// Votes needed.
            quorum: u32,
            /// Who may vote.
            curators: Vec<AccountId>,
        },
    }

    /// A datanet.
    pub struct DatanetView {
        /// Its id.
        pub id: DatanetId,
        /// Its unique name.
        pub name: Text,
        /// Who runs it.
        pub owner: AccountId,
        /// How contributions are accepted.
        pub policy: PolicyView,
        /// Licence of its records, as an SPDX expression.
        pub licence: Text,
        /// What may be done with its records.
        pub consent: Consent,
        /// Stake that a contribution needs, in units.
        #[serde(with = "crate::money::as_string")]
        pub min_stake: Balance,
        /// Contributions ever submitted.
        pub contributions: u32,
        /// Contributions accepted and not retired.
        pub live: u32,
        /// Number of the latest version; 0 when there is none.
        pub versions: u32,
        /// Length of its log.
        pub log_length: u32,
        /// Account of the sponsor pot.
        pub pot: AccountId,
        /// Balance of the sponsor pot, in units.
        #[serde(with = "crate::money::as_string")]
        pub pot_balance: Balance,
    }

    /// Where a contribution stands.
    pub enum ContributionState {
        /// Under review; an open datanet accepts it at `due`.
        Pending {
            /// Block of its acceptance; `None` where curators decide.
            due: Option<BlockNumber>,
        },
        /// Part of the datanet.
        Accepted {
            /// Block in which it was accepted.
            at: BlockNumber,
        },
        /// Voted down by the curators.
        Rejected,
        /// Taken out of later versions.
        Retired {
            /// Block in which it was retired.
            at: BlockNumber,
        },
    }

    /// A contribution.
    pub struct ContributionView {
        /// Its id.
        pub id: ContributionId,
        /// Its datanet.
        pub datanet: DatanetId,
        /// Account that is paid for it.
        pub payout: AccountId,
        /// Digest of the shard.
        pub content: Digest,
        /// Root over the salted records.
        pub records_root: H256,
        /// Number of records.
        pub records: u32,
        /// Size of the shard in bytes.
        pub bytes: u64,
        /// Block in which it was submitted.
        pub submitted: BlockNumber,
        /// Where it stands.
        pub state: ContributionState,
    }

    /// A version of a datanet.
    pub struct VersionView {
        /// Which version.
        pub version: VersionRef,
        /// Entries of the log that it covers.
        pub length: u32,
        /// Root over them.
        pub root: H256,
        /// Contributions in it.
        pub contributions: u32,
        /// Records in it.
        pub records: u64,
        /// Bytes in it.
        pub bytes: u64,
        /// Block in which it was cut.
        pub cut: BlockNumber,
    }

    /// A worker.
    pub struct WorkerView {
        /// Its account.
        pub account: AccountId,
        /// URL of its API.
        pub endpoint: Text,
        /// Key that signs its receipts.
        pub signing_key: AccountId,
        /// Largest LoRA rank that it trains.
        pub max_rank: u16,
        /// Whether it has a GPU.
        pub gpu: bool,
        /// Price of training per 1,000 tokens, in units.
        #[serde(with = "crate::money::as_string")]
        pub train_price: Balance,
        /// Stake behind it, in units.
        #[serde(with = "crate::money::as_string")]
        pub stake: Balance,
        /// Jobs that it holds a lease for.
        pub active_jobs: u32,
        /// Jobs that it completed.
        pub completed: u32,
    }

    /// Where a job stands.
    pub enum JobState {
        /// Waiting for a worker.
        Open,
        /// Being trained.
        Leased {
            /// Who holds the lease.
            worker: AccountId,
            /// Last block of the lease.
            until: BlockNumber,
            /// How far the worker says it is, if it has said anything.
            progress: Option<Progress>,
        },
        /// A result is there and may be challenged.
        Submitted {
            /// Who trained it.
            worker: AccountId,
            /// Block from which it can be finalised.
            final_at: BlockNumber,
            /// The result.
            result: JobResult,
            /// What the worker is to be paid, in units.
            #[serde(with = "crate::money::as_string")]
            fee: Balance,
        },
        /// Paid, and the model registered.
        Completed {
            /// Who trained it.
            worker: AccountId,
            /// The model.
            model: ModelId,
            /// The result.
            result: JobResult,
            /// What the worker was paid, in units.
            #[serde(with = "crate::money::as_string")]
            fee: Balance,
        },
        /// Cancelled by its owner, or past its deadline; the escrow went back.
        Cancelled,
    }

    /// A training job.
    pub struct JobView {
        /// Its id.
        pub id: JobId,
        /// Who asked for it; owner of the model.
        pub owner: AccountId,
        /// Name that the model gets.
        pub name: Text,
        /// Base model.
        pub base: ModelId,
        /// Datanet versions that are trained on.
        pub versions: Vec<VersionRef>,
        /// How it is trained.
        pub spec: TrainSpec,
        /// Escrow, in units.
        #[serde(with = "crate::money::as_string")]
        pub max_fee: Balance,
        /// Last block in which a worker may claim it.
        pub deadline: BlockNumber,
        /// Where it stands.
        pub state: JobState,
    }

    /// What a model is.
    pub enum ModelKind {
        /// All weights.
        Base,
        /// A LoRA adapter on a base model.
        Adapter,
    }

    /// A model with its lineage.
    pub struct ModelView {
        /// Its id.
        pub id: ModelId,
        /// Its unique name.
        pub name: Text,
        /// Who owns it.
        pub owner: AccountId,
        /// What it is.
        pub kind: ModelKind,
        /// Model that it was trained from.
        pub parent: Option<ModelId>,
        /// Manifest of its files.
        pub content: Digest,
        /// Datanet versions that it was trained on.
        pub versions: Vec<VersionRef>,
        /// Its attribution index; zero for a base model.
        pub index: Digest,
        /// Root that the index commits to.
        pub index_root: H256,
        /// Its weight among the ancestors of a model trained from it, in parts per million.
        pub royalty: u32,
        /// Job that made it.
        pub job: Option<JobId>,
        /// Block in which it was registered.
        pub registered: BlockNumber,
    }

    /// How net fees are shared, in parts per million that add up to 1,000,000.
    pub struct SharesView {
        /// Share of the fee that the platform keeps, before the others.
        pub platform: u32,
        /// Worker's share of the net fee.
        pub worker: u32,
        /// Model owner's share of the net fee.
        pub owner: u32,
        /// Share of the model's ancestors.
        pub ancestors: u32,
        /// Share of those who stake behind the model.
        pub stakers: u32,
        /// Share of the contributors; what attribution cannot explain of it goes to the commons.
        pub contributors: u32,
    }

    /// Where a batch stands.
    pub enum BatchState {
        /// May be challenged.
        Pending {
            /// Block from which it can be finalised.
            final_at: BlockNumber,
        },
        /// Its payouts can be claimed.
        Final,
    }

    /// A settlement batch.
    pub struct BatchView {
        /// Its id.
        pub id: BatchId,
        /// Who settled.
        pub worker: AccountId,
        /// Its number among the worker's batches, from 0.
        pub sequence: u32,
        /// Fees that it settles, in units.
        #[serde(with = "crate::money::as_string")]
        pub fees: Balance,
        /// Root over the payouts.
        pub payouts_root: H256,
        /// Number of payouts.
        pub payouts_count: u32,
        /// Sum of the payouts, in units.
        #[serde(with = "crate::money::as_string")]
        pub payouts_total: Balance,
        /// Sum of the payouts not yet claimed, in units.
        #[serde(with = "crate::money::as_string")]
        pub unclaimed: Balance,
        /// Goes to the commons, in units.
        #[serde(with = "crate::money::as_string")]
        pub unattributed_total: Balance,
        /// Blob that lists the payouts, from which anyone can prove one.
        pub payouts_blob: Digest,
        /// Root over the receipts.
        pub receipts_root: H256,
        /// Number of answers that it settles.
        pub receipts_count: u64,
        /// Where it stands.
        pub state: BatchState,
    }

    /// A model's listing.
    pub struct ListingView {
        /// The model.
        pub model: ModelId,
        /// Price per 1,000 prompt tokens, in units.
        #[serde(with = "crate::money::as_string")]
        pub price_in: Balance,
        /// Price per 1,000 answer tokens, in units.
        #[serde(with = "crate::money::as_string")]
        pub price_out: Balance,
    }

    /// A payment channel.
    pub struct ChannelView {
        /// Its id.
        pub id: ChannelId,
        /// Who pays.
        pub consumer: AccountId,
        /// Who is paid.
        pub worker: AccountId,
        /// Everything ever put in, in units.
        #[serde(with = "crate::money::as_string")]
        pub deposit: Balance,
        /// Everything redeemed so far, in units.
        #[serde(with = "crate::money::as_string")]
        pub redeemed: Balance,
        /// Block from which a closing channel can be settled.
        pub closes_at: Option<BlockNumber>,
    }

    /// Stake of one account behind one subject.
    pub struct PositionView {
        /// Stake that counts, in units.
        #[serde(with = "crate::money::as_string")]
        pub active: Balance,
        /// Stake on its way out, in units, with the block from which it can be withdrawn.
        pub unbonding: Vec<(Balance, BlockNumber)>,
        /// Rewards that can be claimed, in units.
        #[serde(with = "crate::money::as_string")]
        pub claimable: Balance,
    }

    /// How much OPEN there is and may be.
    pub struct SupplyView {
        /// No more than this, ever.
        #[serde(with = "crate::money::as_string")]
        pub cap: Balance,
        /// What exists now.
        #[serde(with = "crate::money::as_string")]
        pub issuance: Balance,
        /// What existed at genesis.
        #[serde(with = "crate::money::as_string")]
        pub genesis: Balance,
        /// Emitted to validators so far, unclaimed rewards included.
        #[serde(with = "crate::money::as_string")]
        pub emitted: Balance,
        /// Burnt from fees and by holders so far.
        #[serde(with = "crate::money::as_string")]
        pub burnt: Balance,
        /// Minted against OPEN locked on Ethereum so far.
        #[serde(with = "crate::money::as_string")]
        pub bridged_in: Balance,
        /// Burnt to be released on Ethereum so far.
        #[serde(with = "crate::money::as_string")]
        pub bridged_out: Balance,
        /// What circulates on Ethereum.
        #[serde(with = "crate::money::as_string")]
        pub outside: Balance,
    }
}
