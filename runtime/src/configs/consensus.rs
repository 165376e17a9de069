//! Who makes blocks, who finalises them, and what happens to those who say two things at once.

use alloc::vec::Vec;
use frame_support::parameter_types;
use pallet_session::disabling::UpToLimitWithReEnablingDisablingStrategy;
use polkadot_sdk::*;
use sp_consensus_beefy::ecdsa_crypto::AuthorityId as BeefyId;
use sp_runtime::traits::{ConvertInto, OpaqueKeys};

use super::staking::{BondingDuration, MaxExposurePageSize, MaxValidators, SessionsPerEra};
use crate::{
    constants::{
        money::deposit,
        time::{EPOCH_DURATION_IN_SLOTS, MILLISECS_PER_BLOCK},
    },
    AccountId, AuthorityDiscovery, Babe, Balance, Balances, Beefy, BeefyMmrLeaf, Grandpa,
    Historical, Offences, Runtime, RuntimeEvent, Session, Staking,
};

sp_runtime::impl_opaque_keys! {
    /// The keys with which a validator's node signs, one per protocol.
    pub struct SessionKeys {
        pub babe: Babe,
        pub grandpa: Grandpa,
        pub beefy: Beefy,
        pub authority_discovery: AuthorityDiscovery,
    }
}

parameter_types! {
    pub const EpochDuration: u64 = EPOCH_DURATION_IN_SLOTS as u64;
    pub const ExpectedBlockTime: u64 = MILLISECS_PER_BLOCK;
    /// An equivocation can be reported for as long as the stake behind it is bonded.
    pub const ReportLongevity: u64 =
        BondingDuration::get() as u64 * SessionsPerEra::get() as u64 * EpochDuration::get();
    /// For as many sessions the set that voted in them can be named by its id.
    pub const MaxSetIdSessionEntries: u64 =
        BondingDuration::get() as u64 * SessionsPerEra::get() as u64;
}

/// Proof that a key belonged to a validator of a session.
type KeyOwnerProof = sp_session::MembershipProof;

impl pallet_babe::Config for Runtime {
    type EpochDuration = EpochDuration;
    type ExpectedBlockTime = ExpectedBlockTime;
    type EpochChangeTrigger = pallet_babe::ExternalTrigger;
    type DisabledValidators = Session;
    type WeightInfo = ();
    type MaxAuthorities = MaxValidators;
    type MaxNominators = MaxExposurePageSize;
    type KeyOwnerProof = KeyOwnerProof;
    type EquivocationReportSystem =
        pallet_babe::EquivocationReportSystem<Self, Offences, Historical, ReportLongevity>;
}

impl pallet_grandpa::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
    type MaxAuthorities = MaxValidators;
    type MaxNominators = MaxExposurePageSize;
    type MaxSetIdSessionEntries = MaxSetIdSessionEntries;
    type KeyOwnerProof = KeyOwnerProof;
    type EquivocationReportSystem =
        pallet_grandpa::EquivocationReportSystem<Self, Offences, Historical, ReportLongevity>;
}

impl pallet_beefy::Config for Runtime {
    type BeefyId = BeefyId;
    type MaxAuthorities = MaxValidators;
    type MaxNominators = MaxExposurePageSize;
    type MaxSetIdSessionEntries = MaxSetIdSessionEntries;
    type OnNewValidatorSet = BeefyMmrLeaf;
    type AncestryHelper = BeefyMmrLeaf;
    type WeightInfo = ();
    type KeyOwnerProof = KeyOwnerProof;
    type EquivocationReportSystem =
        pallet_beefy::EquivocationReportSystem<Self, Offences, Historical, ReportLongevity>;
}

impl pallet_authorship::Config for Runtime {
    type FindAuthor = pallet_session::FindAccountFromAuthorIndex<Self, Babe>;
    type EventHandler = Staking;
}

impl pallet_offences::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type IdentificationTuple = pallet_session::historical::IdentificationTuple<Self>;
    type OnOffenceHandler = Staking;
}

parameter_types! {
    /// A validator's keys are 129 bytes in five storage items.
    pub const KeyDeposit: Balance = deposit(5, 129);
}

impl pallet_session::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type ValidatorId = AccountId;
    type ValidatorIdOf = ConvertInto;
    type ShouldEndSession = Babe;
    type NextSessionRotation = Babe;
    type SessionManager = pallet_session::historical::NoteHistoricalRoot<Self, Staking>;
    type SessionHandler = <SessionKeys as OpaqueKeys>::KeyTypeIdProviders;
    type Keys = SessionKeys;
    type DisablingStrategy = UpToLimitWithReEnablingDisablingStrategy;
    type WeightInfo = pallet_session::weights::SubstrateWeight<Runtime>;
    type Currency = Balances;
    type KeyDeposit = KeyDeposit;
}

impl pallet_session::historical::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type FullIdentification = ();
    type FullIdentificationOf = pallet_staking::UnitIdentificationOf<Self>;
}

impl pallet_authority_discovery::Config for Runtime {
    type MaxAuthorities = MaxValidators;
}
