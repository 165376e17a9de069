//! What the pallet stores and takes.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::frame_support::{traits::ConstU32, BoundedVec};
use scale_info::TypeInfo;
use tributary_primitives::{
    tree, views::SharesView, AccountId, Balance, BlockNumber, Digest, JobId, ModelId, VersionRef,
    H256,
};

/// Longest name of a model, in bytes.
pub const MAX_NAME: u32 = 64;
/// Most datanet versions that one model was trained on.
pub const MAX_VERSIONS: u32 = 8;
/// Most models in one batch.
pub const MAX_MODELS: u32 = 64;
/// Most ancestors of a model.
pub const MAX_ANCESTORS: u8 = 8;
/// Longest proof of a payout: as many levels as a 32-bit count of payouts can have.
pub const MAX_PROOF: u32 = 32;

/// Name of a model: 1 to 64 of `a` to `z`, `0` to `9` and `-`.
pub type Name = BoundedVec<u8, ConstU32<MAX_NAME>>;
/// Datanet versions that a model was trained on.
pub type ModelVersions = BoundedVec<VersionRef, ConstU32<MAX_VERSIONS>>;
/// What a batch settles, by model.
pub type ModelTotals = BoundedVec<ModelTotal, ConstU32<MAX_MODELS>>;

macro_rules! stored {
    ($($(#[$doc:meta])* pub $kind:ident $name:ident $body:tt)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen,
            TypeInfo,
        )]
        pub $kind $name $body
    )*};
}

stored! {
    /// A model: a base model where it has no parent, an adapter where it has one.
    pub struct Model {
        /// Who owns it.
        pub owner: AccountId,
        /// Its unique name.
        pub name: Name,
        /// Model that it was trained from.
        pub parent: Option<ModelId>,
        /// Number of its ancestors.
        pub depth: u8,
        /// Manifest of its files.
        pub content: Digest,
        /// Datanet versions that it was trained on; none for a base model.
        pub versions: ModelVersions,
        /// Its attribution index; zero for a base model.
        pub index: Digest,
        /// Root that the index commits to; zero for a base model.
        pub index_root: H256,
        /// Its weight among the ancestors of a model trained from it, in parts per million.
        pub royalty: u32,
        /// Job that made it.
        pub job: Option<JobId>,
        /// Block in which it was registered.
        pub registered: BlockNumber,
        /// Who has a deposit on hold for it, and how much. It stays, whoever owns the model: a
        /// model is never removed, since others descend from it.
        pub deposit: Option<(AccountId, Balance)>,
    }

    /// What one model earned in a batch.
    pub struct ModelTotal {
        /// The model.
        pub model: ModelId,
        /// Answers.
        pub requests: u64,
        /// Tokens of the prompts.
        pub tokens_in: u64,
        /// Tokens of the answers.
        pub tokens_out: u64,
        /// Fees, in units.
        pub fees: Balance,
        /// What contributions are paid of the fees, in units; at most the contributors' part.
        pub attributed: Balance,
    }

    /// What a worker settles.
    pub struct NewBatch {
        /// Its number among the worker's batches, from 0.
        pub sequence: u32,
        /// Totals by model; each model once.
        pub models: ModelTotals,
        /// Root over the payouts.
        pub payouts_root: H256,
        /// Number of payouts.
        pub payouts_count: u32,
        /// Sum of the payouts, in units: that of `attributed` over the models.
        pub payouts_total: Balance,
        /// Blob that lists the payouts.
        pub payouts_blob: Digest,
        /// Sum of what is left of the contributors' parts, in units.
        pub unattributed_total: Balance,
        /// Root over the receipts.
        pub receipts_root: H256,
        /// Number of receipts: that of `requests` over the models.
        pub receipts_count: u64,
    }

    /// A settlement batch.
    pub struct Batch {
        /// Who settled.
        pub worker: AccountId,
        /// Its number among the worker's batches, from 0.
        pub sequence: u32,
        /// Fees that it settles, in units.
        pub fees: Balance,
        /// Root over the payouts.
        pub payouts_root: H256,
        /// Number of payouts.
        pub payouts_count: u32,
        /// Sum of the payouts, in units.
        pub payouts_total: Balance,
        /// Sum of the payouts not yet claimed, in units.
        pub unclaimed: Balance,
        /// Blob that lists the payouts.
        pub payouts_blob: Digest,
        /// Goes to the commons, in units.
        pub unattributed_total: Balance,
        /// Root over the receipts.
        pub receipts_root: H256,
        /// Number of receipts.
        pub receipts_count: u64,
        /// Where it stands.
        pub stage: BatchStage,
    }

    /// Where a batch stands.
    pub enum BatchStage {
        /// May be challenged.
        Pending {
            /// Block from which it can be finalised.
            final_at: BlockNumber,
        },
        /// Its payouts can be claimed.
        Final,
    }

    /// What a pending batch is paid out by.
    pub struct Pending {
        /// The shares when it was submitted.
        pub shares: Shares,
        /// Totals by model.
        pub models: ModelTotals,
    }

    /// How fees are shared, in parts per million.
    pub struct Shares {
        /// Of the whole fee, before the others.
        pub platform: u32,
        /// The worker's, of the net fee.
        pub worker: u32,
        /// The model owner's, of the net fee.
        pub owner: u32,
        /// The ancestors', of the net fee.
        pub ancestors: u32,
        /// Of those who stake behind the model, of the net fee.
        pub stakers: u32,
        /// The contributors', of the net fee.
        pub contributors: u32,
    }

    /// Proof that a payout belongs to a batch. The number of payouts comes from the batch.
    pub struct PayoutProof {
        /// Position of the payout in the batch, from 0.
        pub index: u32,
        /// Siblings from the leaf upwards.
        pub siblings: BoundedVec<H256, ConstU32<MAX_PROOF>>,
    }

    /// Who a part of a batch's fees was meant for.
    pub enum Recipient {
        /// The platform.
        Platform,
        /// Those who stake behind the model.
        Stakers(ModelId),
        /// The worker, an owner or an ancestor's owner, by account.
        Account(AccountId),
    }
}

impl Default for Shares {
    /// 5 % to the platform; of the rest 40 % to the worker, 35 % to contributors, 15 % to the
    /// model's owner, 5 % each to ancestors and stakers.
    fn default() -> Self {
        Self {
            platform: 50_000,
            worker: 400_000,
            owner: 150_000,
            ancestors: 50_000,
            stakers: 50_000,
            contributors: 350_000,
        }
    }
}

impl From<Shares> for SharesView {
    fn from(shares: Shares) -> Self {
        let Shares { platform, worker, owner, ancestors, stakers, contributors } = shares;
        Self { platform, worker, owner, ancestors, stakers, contributors }
    }
}

impl From<SharesView> for Shares {
    fn from(shares: SharesView) -> Self {
        let SharesView { platform, worker, owner, ancestors, stakers, contributors } = shares;
        Self { platform, worker, owner, ancestors, stakers, contributors }
    }
}

impl PayoutProof {
    /// The proof in a tree of `count` payouts.
    pub fn in_tree_of(&self, count: u32) -> tree::Proof {
        tree::Proof {
            index: u64::from(self.index),
            count: u64::from(count),
            siblings: self.siblings.to_vec(),
        }
    }
}
