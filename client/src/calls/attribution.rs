//! Calls of the pallet Attribution.

use super::calls;
use codec::{Decode, Encode};
use tributary_primitives::{
    payouts::Payout,
    tree::Proof,
    views::{SharesView, Text},
    AccountId, Balance, BatchId, Digest, ModelId, H256,
};

/// What one model earned in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
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
    /// Part of them that goes to contributors, in units.
    pub attributed: Balance,
}

/// A settlement batch to be submitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewBatch {
    /// Its number among the worker's batches, from 0.
    pub sequence: u32,
    /// What each model earned.
    pub models: Vec<ModelTotal>,
    /// Root over the payouts.
    pub payouts_root: H256,
    /// Number of payouts.
    pub payouts_count: u32,
    /// Sum of the payouts, in units.
    pub payouts_total: Balance,
    /// Blob that lists the payouts.
    pub payouts_blob: Digest,
    /// Goes to the commons, in units.
    pub unattributed_total: Balance,
    /// Root over the receipts.
    pub receipts_root: H256,
    /// Number of receipts.
    pub receipts_count: u64,
}

/// Shows that a payout belongs to a batch; the batch knows how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PayoutProof {
    /// Position of the payout, from 0.
    pub index: u32,
    /// Siblings from the leaf upwards.
    pub siblings: Vec<H256>,
}

impl From<Proof> for PayoutProof {
    /// Batches have less than 2^32 payouts; a larger index saturates and proves nothing.
    fn from(proof: Proof) -> Self {
        Self { index: u32::try_from(proof.index).unwrap_or(u32::MAX), siblings: proof.siblings }
    }
}

calls! { "Attribution":
    /// Registers a base model, owned by the signer.
    "register_base" RegisterBase {
        /// Its name: 1 to 64 of `a-z`, `0-9` and `-`, used by no other.
        name: Text,
        /// Manifest of its files.
        content: Digest,
        /// Its weight among the ancestors of a model trained from it, in parts per million.
        royalty: u32,
    }
    /// Gives a model to somebody else.
    "transfer_model" TransferModel {
        /// The model.
        model: ModelId,
        /// The new owner.
        to: AccountId,
    }
    /// Settles what was answered.
    "submit_batch" SubmitBatch {
        /// The batch.
        batch: NewBatch,
    }
    /// Pays everybody but the contributors, after the challenge window.
    "finalize_batch" FinalizeBatch {
        /// The batch.
        batch: BatchId,
    }
    /// Pays a contribution its payout; anybody may do it, and pays the transaction's fee.
    "claim" Claim {
        /// The batch.
        batch: BatchId,
        /// The payout.
        payout: Payout,
        /// Shows that it belongs to the batch.
        proof: PayoutProof,
    }
    /// Pays a contribution its payout without an account; the datanet's pot pays the fee.
    "claim_sponsored" ClaimSponsored {
        /// The batch.
        batch: BatchId,
        /// The payout.
        payout: Payout,
        /// Shows that it belongs to the batch.
        proof: PayoutProof,
    }
    /// Changes how fees are shared; by governance.
    "set_shares" SetShares {
        /// The new shares.
        shares: SharesView,
    }
}
