//! A runtime of balances and this pallet alone; the other pallets are stood in for by small ones
//! that keep their state in storage, so that it is rolled back as theirs would be.

use crate::{self as pallet_compute, *};
use frame_support::{
    derive_impl, parameter_types,
    storage::unhashed,
    traits::{fungible::Mutate, tokens::Preservation},
};
use polkadot_sdk::*;
use sp_runtime::{traits::IdentityLookup, BuildStorage, DispatchError, DispatchResult};
use tributary_primitives::{
    jobs::{JobResult, Metrics, Targets, TrainSpec},
    AccountId, Balance, DatanetId, JobId, ModelId, VersionRef, H256,
};

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Compute: pallet_compute,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = frame_system::mocking::MockBlock<Test>;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

pub const ED: Balance = 10;

parameter_types! {
    pub const ExistentialDeposit: Balance = ED;
    pub const MinWorkerStake: Balance = 1_000;
    pub const MinFee: Balance = 5;
    pub const LapseSlash: u32 = 100_000;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
}

pub const LEASE: u32 = 20;
pub const INTERVAL: u32 = 3;
pub const WINDOW: u32 = 4;
pub const MAX_DEADLINE: u32 = 100;
pub const MAX_ACTIVE: u32 = 2;

impl Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Lineage = MockLineage;
    type Versions = MockVersions;
    type Stakes = MockStakes;
    type WeightInfo = ();
    type MinWorkerStake = MinWorkerStake;
    type MinFee = MinFee;
    type LeaseBlocks = frame_support::traits::ConstU32<LEASE>;
    type ChallengeWindow = frame_support::traits::ConstU32<WINDOW>;
    type MaxDeadline = frame_support::traits::ConstU32<MAX_DEADLINE>;
    type ProgressInterval = frame_support::traits::ConstU32<INTERVAL>;
    type MaxActiveJobs = frame_support::traits::ConstU32<MAX_ACTIVE>;
    type LapseSlash = LapseSlash;
}

/// The registry of models: one base model, and the adapters registered so far, by name.
pub struct MockLineage;

/// The base model that is there.
pub const BASE: ModelId = ModelId(0);

impl MockLineage {
    pub fn adapters() -> Vec<Vec<u8>> {
        unhashed::get_or_default(b"mock/adapters")
    }
}

impl Lineage for MockLineage {
    fn is_base(model: ModelId) -> bool {
        model == BASE
    }

    fn name_free(name: &[u8]) -> bool {
        !Self::adapters().contains(&name.to_vec())
    }

    fn register_adapter(adapter: Adapter) -> Result<ModelId, DispatchError> {
        if !Self::name_free(&adapter.name) {
            return Err(DispatchError::Other("name taken"));
        }
        let mut adapters = Self::adapters();
        adapters.push(adapter.name);
        unhashed::put(b"mock/adapters", &adapters);
        Ok(ModelId(adapters.len() as u64))
    }
}

/// Versions of datanet 0: number 1 holds 10 records in 1,000 bytes, number 2 holds 1 in 36, number
/// 3 holds none.
pub struct MockVersions;

impl Versions for MockVersions {
    fn info(version: VersionRef) -> Option<(u64, u64)> {
        match (version.datanet.0, version.number) {
            (0, 1) => Some((10, 1_000)),
            (0, 2) => Some((1, 36)),
            (0, 3) => Some((0, 0)),
            _ => None,
        }
    }
}

/// Stake moves to an account of its own; what is slashed moves to the reporter.
pub struct MockStakes;

pub fn stakes_account() -> AccountId {
    account(200)
}

impl MockStakes {
    fn key(worker: &AccountId) -> Vec<u8> {
        [b"mock/stake/".as_slice(), worker.as_ref()].concat()
    }

    pub fn set(worker: &AccountId, stake: Balance) {
        unhashed::put(&Self::key(worker), &stake);
    }
}

impl WorkerStakes for MockStakes {
    fn bond(worker: &AccountId, amount: Balance) -> DispatchResult {
        assert!(Compute::is_registered(worker), "stake behind a worker that does not exist");
        Balances::transfer(worker, &stakes_account(), amount, Preservation::Preserve)?;
        Self::set(worker, Self::active(worker) + amount);
        Ok(())
    }

    fn active(worker: &AccountId) -> Balance {
        unhashed::get_or_default(&Self::key(worker))
    }

    fn slash(worker: &AccountId, ppm: u32, reporter: Option<AccountId>) -> Balance {
        let slashed = Self::active(worker) * Balance::from(ppm) / 1_000_000;
        Self::set(worker, Self::active(worker) - slashed);
        if let Some(reporter) = reporter {
            Balances::transfer(&stakes_account(), &reporter, slashed, Preservation::Preserve)
                .unwrap();
        }
        slashed
    }
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// A researcher.
pub fn alice() -> AccountId {
    account(1)
}

/// A worker.
pub fn bob() -> AccountId {
    account(2)
}

/// Another worker.
pub fn charlie() -> AccountId {
    account(3)
}

/// Somebody else.
pub fn dave() -> AccountId {
    account(4)
}

pub const ENDOWMENT: Balance = 1_000_000;

pub fn signed(who: AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

pub fn info(price: Balance) -> WorkerInfo {
    WorkerInfo {
        endpoint: b"http://127.0.0.1:8700".to_vec().try_into().unwrap(),
        signing_key: account(77),
        max_rank: 64,
        gpu: false,
        train_price: price,
    }
}

pub fn spec() -> TrainSpec {
    TrainSpec {
        rank: 16,
        alpha: 32,
        targets: Targets::ALL,
        epochs: 2,
        batch: 30,
        lr_nano: 4_000_000,
        warmup_permille: 50,
        seq_len: 256,
        seed: 1,
    }
}

pub fn version(number: u32) -> VersionRef {
    VersionRef { datanet: DatanetId(0), number }
}

/// A job of this name on version 1 with an escrow of 500, open for 50 blocks from block 1.
pub fn new_job(name: &str) -> NewJob {
    NewJob {
        name: name.as_bytes().to_vec().try_into().unwrap(),
        base: BASE,
        versions: vec![version(1)].try_into().unwrap(),
        spec: spec(),
        max_fee: 500,
        deadline: 51,
    }
}

/// A result that charges for so many tokens.
pub fn result(tokens: u64) -> JobResult {
    JobResult {
        adapter: H256::repeat_byte(1),
        index: H256::repeat_byte(2),
        index_root: H256::repeat_byte(3),
        transcript: H256::repeat_byte(4),
        metrics: Metrics {
            loss_before_micro: 3_000_000,
            loss_after_micro: 500_000,
            steps: 10,
            tokens,
        },
    }
}

pub fn at(block: u32) {
    System::set_block_number(block.into());
}

pub fn now() -> u32 {
    System::block_number() as u32
}

/// Everything that an account has, holds included.
pub fn total(who: &AccountId) -> Balance {
    <Balances as frame_support::traits::fungible::Inspect<_>>::total_balance(who)
}

pub fn escrow(who: &AccountId) -> Balance {
    <Balances as frame_support::traits::fungible::hold::Inspect<_>>::balance_on_hold(
        &HoldReason::Escrow.into(),
        who,
    )
}

#[track_caller]
pub fn happened(event: Event<Test>) {
    System::assert_has_event(event.into());
}

/// Submits a job of Alice's and gives its id.
pub fn submitted(name: &str) -> JobId {
    let id = NextJob::<Test>::get();
    frame_support::assert_ok!(Compute::submit_job(signed(alice()), new_job(name)));
    id
}

/// A job of Alice's that Bob holds the lease of since block 1.
pub fn leased(name: &str) -> JobId {
    let id = submitted(name);
    frame_support::assert_ok!(Compute::claim_job(signed(bob()), id));
    id
}

pub struct ExtBuilder {
    workers: Vec<(AccountId, Balance)>,
}

impl Default for ExtBuilder {
    /// Bob is a worker that trains at 100 units per 1,000 tokens.
    fn default() -> Self {
        Self { workers: vec![(bob(), 100)] }
    }
}

impl ExtBuilder {
    pub fn with_worker(mut self, worker: AccountId, price: Balance) -> Self {
        self.workers.push((worker, price));
        self
    }

    pub fn without_workers(mut self) -> Self {
        self.workers.clear();
        self
    }

    /// Runs the test from block 1 and checks the state after it.
    pub fn build_and_execute(self, test: impl FnOnce()) {
        let balances = (1..=4).map(|n| (account(n), ENDOWMENT));
        let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
        pallet_balances::GenesisConfig::<Test> {
            balances: balances.chain([(stakes_account(), ED)]).collect(),
            ..Default::default()
        }
        .assimilate_storage(&mut storage)
        .unwrap();
        let mut ext = sp_io::TestExternalities::new(storage);
        ext.execute_with(|| {
            at(1);
            for (worker, price) in self.workers {
                frame_support::assert_ok!(Compute::register_worker(
                    signed(worker),
                    info(price),
                    MinWorkerStake::get()
                ));
            }
            let issuance = Balances::total_issuance();
            test();
            Compute::do_try_state().expect("the state holds together");
            assert_eq!(Balances::total_issuance(), issuance, "money appeared or vanished");
        });
    }
}
