//! Models with their lineage, and how what they earn is shared.

use frame_support::{parameter_types, traits::EitherOf, weights::Weight, PalletId};
use frame_system::EnsureRoot;
use pallet_attribution::{Contributions, ModelStakes, PlatformFees, ReservedNames, Sponsors};
use polkadot_sdk::*;
use sp_runtime::{DispatchError, DispatchResult};
use tributary_primitives::{ContributionId, DatanetId, ModelId, Subject};

use super::governance::origins::ParameterAdmin;
use crate::{
    constants::{
        money::{MICRO, OPEN},
        time::{period, HOURS},
    },
    AccountId, Balance, Balances, BlockNumber, Compute, Datanets, Runtime, RuntimeHoldReason,
    Stakes, Token,
};

parameter_types! {
    pub const AttributionPalletId: PalletId = PalletId(*b"tri/attr");
    /// What the owner of a base model has on hold.
    pub const ModelDeposit: Balance = OPEN;
    /// What an adapter weighs among the ancestors of what is trained from it.
    pub const AdapterRoyalty: u32 = 100_000;
    /// Pots pay for a claim only if it is worth more than dust.
    pub const MinSponsoredClaim: Balance = MICRO;
    /// How long a batch may be challenged.
    pub const BatchChallengeWindow: BlockNumber = period(6 * HOURS, 4);
}

/// Contributions are kept in the pallet for datanets.
pub struct KnownContributions;
impl Contributions for KnownContributions {
    fn payout_account(contribution: ContributionId) -> Option<AccountId> {
        Datanets::payout_account(contribution)
    }

    fn datanet_of(contribution: ContributionId) -> Option<DatanetId> {
        Datanets::datanet_of(contribution)
    }
}

/// Pots of datanets pay for claims from them.
pub struct Pots;
impl Sponsors for Pots {
    fn can_sponsor(datanet: DatanetId, len: u32, weight: Weight) -> bool {
        Datanets::can_sponsor(datanet, len, weight)
    }

    fn sponsor(datanet: DatanetId, len: u32, weight: Weight) -> DispatchResult {
        Datanets::sponsor(datanet, len, weight)
    }
}

/// The platform's share is a fee like any other.
pub struct FeesOfThePlatform;
impl PlatformFees for FeesOfThePlatform {
    fn take(from: &AccountId, amount: Balance) -> DispatchResult {
        Token::take_fee(from, amount)
    }
}

/// Models are staked behind in the pallet for stakes.
pub struct StakesOfModels;
impl ModelStakes for StakesOfModels {
    fn reward(from: &AccountId, model: ModelId, amount: Balance) -> Result<bool, DispatchError> {
        Stakes::reward(from, &Subject::Model(model), amount)
    }
}

/// Unfinished jobs have reserved the names of their models.
pub struct NamesOfJobs;
impl ReservedNames for NamesOfJobs {
    fn reserved(name: &[u8]) -> bool {
        Compute::name_reserved(name)
    }
}

impl pallet_attribution::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AdminOrigin = EitherOf<EnsureRoot<AccountId>, ParameterAdmin>;
    type Contributions = KnownContributions;
    type Sponsors = Pots;
    type PlatformFees = FeesOfThePlatform;
    type ModelStakes = StakesOfModels;
    type ReservedNames = NamesOfJobs;
    type WeightInfo = ();
    type PalletId = AttributionPalletId;
    type ModelDeposit = ModelDeposit;
    type AdapterRoyalty = AdapterRoyalty;
    type ChallengeWindow = BatchChallengeWindow;
    type MinSponsoredClaim = MinSponsoredClaim;
}
