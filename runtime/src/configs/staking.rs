//! Whose stake secures the chain: validators and those who nominate them.

use frame_election_provider_support::{
    bounds::{ElectionBounds, ElectionBoundsBuilder},
    onchain, SequentialPhragmen, VoteWeight,
};
use frame_support::{
    parameter_types,
    traits::{tokens::imbalance::ResolveTo, ConstBool, ConstU32, EitherOf, Nothing},
};
use frame_system::EnsureRoot;
use polkadot_sdk::*;
use sp_runtime::Perbill;
use sp_staking::{currency_to_vote::U128CurrencyToVote, EraIndex, SessionIndex};

use super::{
    governance::{origins::GeneralAdmin, TreasuryAccount},
    token::ScheduledPayout,
};
use crate::{
    constants::time::period, AccountId, Balance, Balances, Runtime, RuntimeEvent,
    RuntimeHoldReason, Session, Staking, Timestamp, VoterList,
};

/// How often a nominator may name a validator.
pub const MAX_NOMINATIONS: u32 = 16;

parameter_types! {
    /// Six hours: an era is six sessions of an hour.
    pub const SessionsPerEra: SessionIndex = period(6, 3);
    /// A week, during which stake can still be slashed for what it did before.
    pub const BondingDuration: EraIndex = period(28, 4);
    /// Slashes wait as long as they can, so that governance has time to undo a mistaken one.
    pub const SlashDeferDuration: EraIndex = period(27, 2);
    /// Verifying every signature of a quorum on Ethereum stays affordable up to here.
    pub const MaxValidators: u32 = 300;
    pub const MaxExposurePageSize: u32 = 64;
    pub const HistoryDepth: u32 = 84;
    pub const MaxBackersPerWinner: u32 = 1_000;
    /// The election runs within one block, hence the bounds on who takes part: the voters with the
    /// most stake do.
    pub ElectionLimits: ElectionBounds =
        ElectionBoundsBuilder::default().voters_count(1_000.into()).targets_count(500.into()).build();
}

/// The election, at once and on chain.
pub struct OnChainPhragmen;
impl onchain::Config for OnChainPhragmen {
    type Sort = ConstBool<true>;
    type System = Runtime;
    type Solver = SequentialPhragmen<AccountId, Perbill>;
    type MaxBackersPerWinner = MaxBackersPerWinner;
    type MaxWinnersPerPage = MaxValidators;
    type DataProvider = Staking;
    type WeightInfo = frame_election_provider_support::weights::SubstrateWeight<Runtime>;
    type Bounds = ElectionLimits;
}

/// The sizes of the chains on which the pallet is benchmarked.
pub struct BenchmarkSizes;
impl pallet_staking::BenchmarkingConfig for BenchmarkSizes {
    type MaxValidators = ConstU32<300>;
    type MaxNominators = ConstU32<1_000>;
}

impl pallet_staking::Config for Runtime {
    type OldCurrency = Balances;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type CurrencyBalance = Balance;
    type UnixTime = Timestamp;
    type CurrencyToVote = U128CurrencyToVote;
    type ElectionProvider = onchain::OnChainExecution<OnChainPhragmen>;
    type GenesisElectionProvider = onchain::OnChainExecution<OnChainPhragmen>;
    type NominationsQuota = pallet_staking::FixedNominationsQuota<MAX_NOMINATIONS>;
    type HistoryDepth = HistoryDepth;
    type RewardRemainder = ResolveTo<TreasuryAccount, Balances>;
    type RuntimeEvent = RuntimeEvent;
    type Slash = ResolveTo<TreasuryAccount, Balances>;
    // Rewards are minted when they are claimed.
    type Reward = ();
    type SessionsPerEra = SessionsPerEra;
    type BondingDuration = BondingDuration;
    type SlashDeferDuration = SlashDeferDuration;
    type AdminOrigin = EitherOf<EnsureRoot<AccountId>, GeneralAdmin>;
    type SessionInterface = Self;
    type EraPayout = ScheduledPayout;
    type NextNewSession = Session;
    type MaxExposurePageSize = MaxExposurePageSize;
    type MaxValidatorSet = MaxValidators;
    type VoterList = VoterList;
    type TargetList = pallet_staking::UseValidatorsMap<Self>;
    type MaxUnlockingChunks = ConstU32<32>;
    type MaxControllersInDeprecationBatch = ConstU32<1>;
    type EventListeners = ();
    type Filter = Nothing;
    type BenchmarkingConfig = BenchmarkSizes;
    type WeightInfo = pallet_staking::weights::SubstrateWeight<Runtime>;
}

/// The number of bags into which voters are sorted by their stake.
const BAGS: usize = 200;

/// The upper bounds of the bags: from about one OPEN upwards, each a ninth above the one before, the
/// last without a bound.
const fn bag_thresholds() -> [VoteWeight; BAGS] {
    let mut thresholds = [VoteWeight::MAX; BAGS];
    let mut next: VoteWeight = 10_000_000_000;
    let mut i = 0;
    while i < BAGS - 1 {
        thresholds[i] = next;
        // 10^10 · (10/9)^198 is still below 2^64.
        next += next / 9;
        i += 1;
    }
    thresholds
}

static BAG_THRESHOLDS: [VoteWeight; BAGS] = bag_thresholds();

parameter_types! {
    pub const BagThresholds: &'static [VoteWeight] = &BAG_THRESHOLDS;
    pub const MaxAutoRebagPerBlock: u32 = 5;
}

impl pallet_bags_list::Config<pallet_bags_list::Instance1> for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_bags_list::weights::SubstrateWeight<Runtime>;
    type ScoreProvider = Staking;
    type BagThresholds = BagThresholds;
    type MaxAutoRebagPerBlock = MaxAutoRebagPerBlock;
    type Score = VoteWeight;
}
