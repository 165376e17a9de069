//! Datanets and the pots that sponsor contributing to them.

use frame_support::{
    dispatch::DispatchInfo, parameter_types, traits::ConstU32, weights::Weight, PalletId,
};
use pallet_datanets::{ContributionStakes, SponsorFees};
use polkadot_sdk::*;
use sp_runtime::DispatchResult;
use tributary_primitives::{ContributionId, Subject};

use crate::{
    constants::{
        money::OPEN,
        time::{period, DAYS},
    },
    AccountId, Balance, Balances, BlockNumber, Runtime, RuntimeHoldReason, Stakes, Token,
    TransactionPayment,
};

parameter_types! {
    pub const DatanetsPalletId: PalletId = PalletId(*b"tri/dtnt");
    /// What the owner of a datanet has on hold, so that names are not taken for nothing.
    pub const DatanetDeposit: Balance = 10 * OPEN;
    /// How long everybody can look at a contribution before an open datanet accepts it.
    pub const ReviewWindow: BlockNumber = period(DAYS, 4);
    pub const MaxShardBytes: u64 = 64 * 1024 * 1024;
    /// Pots pay for so many calls per day as their owner allows.
    pub const SponsorPeriod: BlockNumber = DAYS;
}

/// Contributions are staked behind in the pallet for stakes.
pub struct StakesOfContributions;
impl ContributionStakes for StakesOfContributions {
    fn bond(who: &AccountId, contribution: ContributionId, amount: Balance) -> DispatchResult {
        Stakes::do_bond(who, &Subject::Contribution(contribution), amount)
    }
}

/// Pots pay what a signed transaction of the same size and weight would, and their fees are split
/// as all others are.
pub struct FeesOfPots;
impl SponsorFees for FeesOfPots {
    fn fee(len: u32, weight: Weight) -> Balance {
        let info = DispatchInfo { call_weight: weight, ..Default::default() };
        TransactionPayment::compute_fee(len, &info, 0)
    }

    fn collect(from: &AccountId, amount: Balance) -> DispatchResult {
        Token::take_fee(from, amount)
    }
}

impl pallet_datanets::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Stakes = StakesOfContributions;
    type SponsorFees = FeesOfPots;
    type PalletId = DatanetsPalletId;
    type DatanetDeposit = DatanetDeposit;
    type ReviewWindow = ReviewWindow;
    type MaxPerBlock = ConstU32<64>;
    type MaxSpill = ConstU32<64>;
    type MaxShardBytes = MaxShardBytes;
    type SponsorPeriod = SponsorPeriod;
    type WeightInfo = ();
}
