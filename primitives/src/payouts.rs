//! The payouts of a batch: one leaf for each contribution that is paid.

use crate::{tree, Balance, ContributionId};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// What one contribution is paid in one batch.
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
pub struct Payout {
    /// Whose data it was.
    pub contribution: ContributionId,
    /// Amount in units.
    #[serde(with = "crate::money::as_string")]
    pub amount: Balance,
}

impl Payout {
    /// Leaf hash in the batch's payout tree.
    pub fn leaf(&self) -> H256 {
        tree::leaf_hash(&(b"tributary/payout:v1", self).encode())
    }
}

/// Root over the payouts of a batch, in their order.
pub fn root(payouts: &[Payout]) -> H256 {
    let leaves: alloc::vec::Vec<H256> = payouts.iter().map(Payout::leaf).collect();
    tree::root(&leaves)
}

/// Proof for the payout at `index`; `None` if there is none.
pub fn prove(payouts: &[Payout], index: u64) -> Option<tree::Proof> {
    let leaves: alloc::vec::Vec<H256> = payouts.iter().map(Payout::leaf).collect();
    tree::prove(&leaves, index)
}
