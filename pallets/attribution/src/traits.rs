//! What this pallet needs of the others.

use alloc::vec::Vec;
use polkadot_sdk::{
    frame_support::weights::Weight,
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{
    AccountId, Balance, ContributionId, DatanetId, Digest, JobId, ModelId, VersionRef, H256,
};

/// An adapter to be registered, as a finished job made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdapter {
    /// Who owns it.
    pub owner: AccountId,
    /// Its name: 1 to 64 of `a` to `z`, `0` to `9` and `-`.
    pub name: Vec<u8>,
    /// Model that it was trained from.
    pub parent: ModelId,
    /// Manifest of its files.
    pub content: Digest,
    /// Datanet versions that it was trained on, at most eight.
    pub versions: Vec<VersionRef>,
    /// Its attribution index.
    pub index: Digest,
    /// Root that the index commits to.
    pub index_root: H256,
    /// Job that made it.
    pub job: JobId,
}

/// Who is paid for a contribution.
pub trait Contributions {
    /// Account that is paid for it; `None` where there is no such contribution.
    fn payout_account(contribution: ContributionId) -> Option<AccountId>;

    /// Datanet that it was submitted to.
    fn datanet_of(contribution: ContributionId) -> Option<DatanetId>;
}

/// The datanets' pots, which pay the fees of claims.
pub trait Sponsors {
    /// Whether the datanet's pot would pay for a transaction of `len` bytes and this weight now.
    fn can_sponsor(datanet: DatanetId, len: u32, weight: Weight) -> bool;

    /// Pays for it out of the datanet's pot.
    fn sponsor(datanet: DatanetId, len: u32, weight: Weight) -> DispatchResult;
}

/// Where the platform's part of a fee goes.
pub trait PlatformFees {
    /// Takes `amount` units from the account.
    fn take(from: &AccountId, amount: Balance) -> DispatchResult;
}

/// Rewards of those who stake behind models.
pub trait ModelStakes {
    /// Moves `amount` units from the account to the stakers behind the model. `false`: nobody
    /// stakes behind it, and nothing was moved.
    fn reward(from: &AccountId, model: ModelId, amount: Balance) -> Result<bool, DispatchError>;
}

/// Names that are spoken for though no model has them yet.
pub trait ReservedNames {
    /// Whether an unfinished job has reserved the name.
    fn reserved(name: &[u8]) -> bool;
}
