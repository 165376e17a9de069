//! A runtime of system, balances and this pallet.

use crate::{self as pallet_token, FeeSplit, Halving};
use polkadot_sdk::{
    frame_support::{self, derive_impl, parameter_types},
    frame_system, pallet_balances, sp_io,
    sp_runtime::{traits::IdentityLookup, BuildStorage},
};
use tributary_primitives::{AccountId, Balance, OPEN};

pub const ALICE: AccountId = AccountId::new([1; 32]);
pub const BOB: AccountId = AccountId::new([2; 32]);
pub const TREASURY: AccountId = AccountId::new([101; 32]);
pub const AUTHOR: AccountId = AccountId::new([102; 32]);

/// Existential deposit, in units.
pub const ED: Balance = 10;
/// Length of a halving period, in milliseconds.
pub const PERIOD: u64 = 1_000;

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
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(50)]
    pub type Token = pallet_token;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = frame_system::mocking::MockBlockU32<Test>;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

parameter_types! {
    pub const ExistentialDeposit: Balance = ED;
    pub const Treasury: AccountId = TREASURY;
    pub static BlockAuthor: Option<AccountId> = Some(AUTHOR);
    pub static Budget: Balance = 1_000_000;
    pub const Period: u64 = PERIOD;
    pub const MaxEraMillis: u64 = 10 * PERIOD;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
}

impl pallet_token::Config for Test {
    type Currency = Balances;
    type AdminOrigin = frame_system::EnsureRoot<AccountId>;
    type Treasury = Treasury;
    type Author = BlockAuthor;
    type Emission = Halving<Budget, Period>;
    type MaxEraMillis = MaxEraMillis;
    type WeightInfo = ();
}

/// Builds the state that a test begins with.
pub struct ExtBuilder {
    balances: Vec<(AccountId, Balance)>,
    split: FeeSplit,
}

impl Default for ExtBuilder {
    fn default() -> Self {
        Self {
            balances: vec![
                (ALICE, 1_000 * OPEN),
                (BOB, 1_000 * OPEN),
                (TREASURY, ED),
                (AUTHOR, ED),
            ],
            split: FeeSplit::default(),
        }
    }
}

impl ExtBuilder {
    pub fn with_balances(mut self, balances: Vec<(AccountId, Balance)>) -> Self {
        self.balances = balances;
        self
    }

    pub fn with_split(mut self, burn: u32, treasury: u32, author: u32) -> Self {
        self.split = FeeSplit { burn, treasury, author };
        self
    }

    pub fn build(self) -> sp_io::TestExternalities {
        let storage = RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig {
                balances: self.balances,
                ..Default::default()
            },
            token: pallet_token::GenesisConfig { fee_split: self.split, ..Default::default() },
            ..Default::default()
        }
        .build_storage()
        .unwrap();
        let mut ext: sp_io::TestExternalities = storage.into();
        ext.execute_with(|| System::set_block_number(1));
        ext
    }

    pub fn build_and_execute(self, test: impl FnOnce()) {
        self.build().execute_with(|| {
            test();
            Token::do_try_state().unwrap();
        });
    }
}
