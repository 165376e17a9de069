//! OPEN: what is emitted to validators, and where fees go.

use frame_support::{
    parameter_types,
    traits::{EitherOf, Get},
};
use frame_system::EnsureRoot;
use polkadot_sdk::*;

use super::governance::{origins::ParameterAdmin, TreasuryAccount};
use crate::{
    configs::staking::SessionsPerEra,
    constants::{
        money::OPEN,
        time::{DAYS, EPOCH_DURATION_IN_SLOTS, MILLISECS_PER_BLOCK},
    },
    AccountId, Authorship, Balance, Balances, Runtime, Token,
};

parameter_types! {
    /// Everything that validators and nominators will ever earn by emission.
    pub const EmissionBudget: Balance = 250_000_000 * OPEN;
    /// The emission halves every four years.
    pub const HalvingPeriod: u64 = 4 * 365 * DAYS as u64 * MILLISECS_PER_BLOCK;
    /// Eras may last twice as long as planned; what goes beyond is a clock that jumped.
    pub const MaxEraMillis: u64 =
        2 * SessionsPerEra::get() as u64 * EPOCH_DURATION_IN_SLOTS as u64 * MILLISECS_PER_BLOCK;
}

/// The author of the block that is being made or executed.
pub struct BlockAuthor;
impl Get<Option<AccountId>> for BlockAuthor {
    fn get() -> Option<AccountId> {
        Authorship::author()
    }
}

impl pallet_token::Config for Runtime {
    type Currency = Balances;
    type AdminOrigin = EitherOf<EnsureRoot<AccountId>, ParameterAdmin>;
    type Treasury = TreasuryAccount;
    type Author = BlockAuthor;
    type Emission = pallet_token::Halving<EmissionBudget, HalvingPeriod>;
    type MaxEraMillis = MaxEraMillis;
    type WeightInfo = ();
}

/// Pays validators and nominators out of the schedule.
pub struct ScheduledPayout;
impl sp_staking::EraPayout<Balance> for ScheduledPayout {
    fn era_payout(staked: Balance, issuance: Balance, millis: u64) -> (Balance, Balance) {
        Token::era_payout(staked, issuance, millis)
    }
}
