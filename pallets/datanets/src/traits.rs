//! What the pallet needs of others.

use polkadot_sdk::{frame_support::weights::Weight, sp_runtime::DispatchResult};
use tributary_primitives::{AccountId, Balance, ContributionId};

/// Stake behind contributions.
pub trait ContributionStakes {
    /// Puts `amount` units of `who` behind a contribution, which exists already.
    fn bond(who: &AccountId, contribution: ContributionId, amount: Balance) -> DispatchResult;
}

/// Fees of the calls that sponsor pots pay for.
pub trait SponsorFees {
    /// What an extrinsic of `len` bytes and this weight costs, in units.
    fn fee(len: u32, weight: Weight) -> Balance;

    /// Takes a fee of `amount` units from an account, which keeps its existential deposit.
    fn collect(from: &AccountId, amount: Balance) -> DispatchResult;
}
