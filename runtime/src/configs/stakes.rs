//! Stake behind datanets, contributions, models and workers.

use frame_support::{
    parameter_types,
    traits::{ConstU32, EitherOf},
    PalletId,
};
use frame_system::EnsureRoot;
use pallet_stakes::Subjects;
use polkadot_sdk::*;
use tributary_primitives::Subject;

use super::governance::{origins::GeneralAdmin, TreasuryAccount};
use crate::{
    constants::{
        money::OPEN,
        time::{period, DAYS},
    },
    AccountId, Attribution, Balance, Balances, BlockNumber, Compute, Datanets, Runtime,
    RuntimeHoldReason,
};

parameter_types! {
    pub const StakesPalletId: PalletId = PalletId(*b"tri/stak");
    pub const MinStake: Balance = OPEN;
    /// A week, during which stake can still be slashed for what it stood behind.
    pub const UnbondingPeriod: BlockNumber = period(7 * DAYS, 20);
    /// A tenth of a slash goes to who reported it, the rest to the treasury.
    pub const ReporterShare: u32 = 100_000;
}

/// Asks the pallets that know the subjects.
pub struct AllSubjects;
impl Subjects for AllSubjects {
    fn exists(subject: &Subject) -> bool {
        match subject {
            Subject::Datanet(id) => Datanets::datanet_exists(*id),
            Subject::Contribution(id) => Datanets::contribution_exists(*id),
            Subject::Model(id) => Attribution::owner_of(*id).is_some(),
            Subject::Worker(account) => Compute::is_registered(account),
        }
    }
}

impl pallet_stakes::Config for Runtime {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Subjects = AllSubjects;
    type SlashOrigin = EitherOf<EnsureRoot<AccountId>, GeneralAdmin>;
    type Treasury = TreasuryAccount;
    type PalletId = StakesPalletId;
    type MinStake = MinStake;
    type UnbondingPeriod = UnbondingPeriod;
    type ReporterShare = ReporterShare;
    type MaxStakers = ConstU32<64>;
    type MaxUnbonding = ConstU32<8>;
    type WeightInfo = ();
}
