//! A runtime of balances and stakes.

use crate as pallet_stakes;
use crate::{Pallet, Subjects};
use polkadot_sdk::{
    frame_support::{
        self, derive_impl, parameter_types,
        traits::{ConstU128, ConstU32},
        PalletId,
    },
    frame_system::{self, EnsureRoot},
    pallet_balances,
    sp_io::TestExternalities,
    sp_runtime::{traits::IdentityLookup, BuildStorage},
};
use tributary_primitives::{AccountId, Balance, ContributionId, DatanetId, ModelId, Subject};

pub const ADA: AccountId = AccountId::new([1; 32]);
pub const BEN: AccountId = AccountId::new([2; 32]);
pub const CLEO: AccountId = AccountId::new([3; 32]);
pub const DAN: AccountId = AccountId::new([4; 32]);
pub const EVE: AccountId = AccountId::new([5; 32]);
/// Has money and no stake: pays rewards.
pub const PAYER: AccountId = AccountId::new([9; 32]);
/// Has no account.
pub const NOBODY: AccountId = AccountId::new([66; 32]);
pub const TREASURY: AccountId = AccountId::new([100; 32]);

/// Existential deposit.
pub const ED: Balance = 10;
/// What each account begins with.
pub const ENDOWMENT: Balance = 1_000_000;
pub const MIN_STAKE: Balance = 100;
pub const PERIOD: u32 = 10;
pub const MAX_STAKERS: u32 = 4;
pub const MAX_UNBONDING: u32 = 3;
/// Reporter's share: 10 %.
pub const REPORTER_SHARE: u32 = 100_000;

pub fn model() -> Subject {
    Subject::Model(ModelId(7))
}

pub fn datanet() -> Subject {
    Subject::Datanet(DatanetId(7))
}

pub fn contribution() -> Subject {
    Subject::Contribution(ContributionId(7))
}

type Block = frame_system::mocking::MockBlock<Test>;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system::Pallet<Test>;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances::Pallet<Test>;
    #[runtime::pallet_index(52)]
    pub type Stakes = pallet_stakes::Pallet<Test>;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<ED>;
    type AccountStore = System;
}

/// Ids below 100 exist, and all workers.
pub struct LowIds;

impl Subjects for LowIds {
    fn exists(subject: &Subject) -> bool {
        match subject {
            Subject::Datanet(id) => id.0 < 100,
            Subject::Contribution(id) => id.0 < 100,
            Subject::Model(id) => id.0 < 100,
            Subject::Worker(_) => true,
        }
    }
}

parameter_types! {
    pub const StakesPalletId: PalletId = PalletId(*b"tr/stake");
    pub const Treasury: AccountId = TREASURY;
}

impl crate::Config for Test {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Subjects = LowIds;
    type SlashOrigin = EnsureRoot<AccountId>;
    type Treasury = Treasury;
    type PalletId = StakesPalletId;
    type MinStake = ConstU128<MIN_STAKE>;
    type UnbondingPeriod = ConstU32<PERIOD>;
    type ReporterShare = ConstU32<REPORTER_SHARE>;
    type MaxStakers = ConstU32<MAX_STAKERS>;
    type MaxUnbonding = ConstU32<MAX_UNBONDING>;
    type WeightInfo = ();
}

/// Builds the state that a test begins with.
pub struct ExtBuilder {
    stakes: Vec<(AccountId, Subject, Balance)>,
    treasury: Balance,
}

impl Default for ExtBuilder {
    fn default() -> Self {
        Self { stakes: Vec::new(), treasury: ED }
    }
}

impl ExtBuilder {
    /// With a stake in place.
    pub fn with_stake(mut self, who: AccountId, subject: Subject, amount: Balance) -> Self {
        self.stakes.push((who, subject, amount));
        self
    }

    /// With a treasury account that does not exist.
    pub fn without_treasury(mut self) -> Self {
        self.treasury = 0;
        self
    }

    /// Runs a test from block 1 on and ends it in `try_state`, with no unit of OPEN made or lost.
    pub fn build_and_execute(self, test: impl FnOnce()) {
        let mut storage = frame_system::GenesisConfig::<Test>::default()
            .build_storage()
            .expect("the default configuration builds");
        let mut balances: Vec<_> =
            [ADA, BEN, CLEO, DAN, EVE, PAYER].map(|who| (who, ENDOWMENT)).into();
        balances.push((Pallet::<Test>::pot(), ED));
        if self.treasury > 0 {
            balances.push((TREASURY, self.treasury));
        }
        pallet_balances::GenesisConfig::<Test> { balances, ..Default::default() }
            .assimilate_storage(&mut storage)
            .expect("the balances are above the existential deposit");
        TestExternalities::new(storage).execute_with(|| {
            System::set_block_number(1);
            for (who, subject, amount) in self.stakes {
                Stakes::do_bond(&who, &subject, amount).expect("the stake is allowed");
            }
            let issuance = Balances::total_issuance();
            test();
            Stakes::do_try_state().expect("the state is sound");
            assert_eq!(Balances::total_issuance(), issuance, "OPEN was made or lost");
        });
    }
}

/// Goes on by some blocks.
pub fn pass(blocks: u32) {
    System::set_block_number(System::block_number() + u64::from(blocks));
}

/// What is on hold for stake.
pub fn held(who: &AccountId) -> Balance {
    use frame_support::traits::fungible::hold::Inspect;
    Balances::balance_on_hold(&crate::HoldReason::Stake.into(), who)
}

/// What is free.
pub fn free(who: &AccountId) -> Balance {
    Balances::free_balance(who)
}

/// The pallet's events so far.
pub fn events() -> Vec<crate::Event<Test>> {
    System::events()
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::Stakes(event) => Some(event),
            _ => None,
        })
        .collect()
}
