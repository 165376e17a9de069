//! A runtime of balances and this pallet alone; the other pallets are stood in for by small ones
//! that keep their state in storage, so that it is rolled back as theirs would be.

use crate::{self as pallet_attribution, *};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types,
    storage::unhashed,
    traits::{
        fungible::{hold, Inspect, Mutate},
        tokens::Preservation,
        ConstU32,
    },
    weights::Weight,
    PalletId,
};
use polkadot_sdk::*;
use sp_runtime::{traits::IdentityLookup, BuildStorage, DispatchError, DispatchResult};
use tributary_primitives::{
    fees::split_fee,
    payouts::{self, Payout},
    AccountId, Balance, BatchId, ContributionId, DatanetId, JobId, ModelId, VersionRef, H256,
};

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Attribution: pallet_attribution,
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
pub const DEPOSIT: Balance = 100;
pub const WINDOW: u32 = 4;
pub const MIN_SPONSORED: Balance = 20;
/// What a sponsored claim costs a datanet's pot here.
pub const SPONSORED_FEE: Balance = 3;

parameter_types! {
    pub const ExistentialDeposit: Balance = ED;
    pub const ModelDeposit: Balance = DEPOSIT;
    pub const MinSponsoredClaim: Balance = MIN_SPONSORED;
    pub const AttributionId: PalletId = PalletId(*b"tri/attr");
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
}

impl Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AdminOrigin = frame_system::EnsureRoot<AccountId>;
    type Contributions = MockContributions;
    type Sponsors = MockSponsors;
    type PlatformFees = MockPlatform;
    type ModelStakes = MockStakes;
    type ReservedNames = MockNames;
    type WeightInfo = ();
    type PalletId = AttributionId;
    type ModelDeposit = ModelDeposit;
    type AdapterRoyalty = ConstU32<500_000>;
    type ChallengeWindow = ConstU32<WINDOW>;
    type MinSponsoredClaim = MinSponsoredClaim;
}

/// Contributions 1 to 9 are in datanet 0 and pay accounts 101 to 109, which do not exist at first.
pub struct MockContributions;

impl Contributions for MockContributions {
    fn payout_account(contribution: ContributionId) -> Option<AccountId> {
        let n = u8::try_from(contribution.0).ok().filter(|n| (1..=9).contains(n))?;
        Some(account(100 + n))
    }

    fn datanet_of(contribution: ContributionId) -> Option<DatanetId> {
        Self::payout_account(contribution).map(|_| DatanetId(0))
    }
}

/// The pot of datanet 0 pays while it has money.
pub struct MockSponsors;

pub fn sponsor_pot() -> AccountId {
    account(201)
}

impl Sponsors for MockSponsors {
    fn can_sponsor(_: DatanetId, len: u32, weight: Weight) -> bool {
        assert!(len > 0 && weight.ref_time() > 0);
        Balances::balance(&sponsor_pot()) >= SPONSORED_FEE + ED
    }

    fn sponsor(_: DatanetId, _: u32, _: Weight) -> DispatchResult {
        Balances::transfer(&sponsor_pot(), &treasury(), SPONSORED_FEE, Preservation::Preserve)?;
        Ok(())
    }
}

/// The platform's part goes to an account.
pub struct MockPlatform;

pub fn treasury() -> AccountId {
    account(202)
}

const BROKEN_PLATFORM: &[u8] = b"mock/platform";

/// From here on the platform takes half of what it is given and then fails.
pub fn break_platform() {
    unhashed::put(BROKEN_PLATFORM, &true);
}

impl PlatformFees for MockPlatform {
    fn take(from: &AccountId, amount: Balance) -> DispatchResult {
        if unhashed::get_or_default::<bool>(BROKEN_PLATFORM) {
            Balances::transfer(from, &treasury(), amount / 2, Preservation::Preserve)?;
            return Err(DispatchError::Other("the platform takes nothing"));
        }
        Balances::transfer(from, &treasury(), amount, Preservation::Preserve).map(|_| ())
    }
}

/// Stakers stand behind the models that were named with [`stake_behind`].
pub struct MockStakes;

pub fn stakers() -> AccountId {
    account(203)
}

pub fn stake_behind(model: ModelId) {
    unhashed::put(&(b"mock/stakers", model).encode(), &true);
}

impl ModelStakes for MockStakes {
    fn reward(from: &AccountId, model: ModelId, amount: Balance) -> Result<bool, DispatchError> {
        if !unhashed::get_or_default::<bool>(&(b"mock/stakers", model).encode()) {
            return Ok(false);
        }
        Balances::transfer(from, &stakers(), amount, Preservation::Preserve)?;
        Ok(true)
    }
}

/// The name `reserved` is reserved.
pub struct MockNames;

impl ReservedNames for MockNames {
    fn reserved(name: &[u8]) -> bool {
        name == b"reserved"
    }
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// Owner of the base model.
pub fn alice() -> AccountId {
    account(1)
}

/// A worker.
pub fn bob() -> AccountId {
    account(2)
}

/// Owner of the adapter.
pub fn charlie() -> AccountId {
    account(3)
}

/// Somebody else.
pub fn dave() -> AccountId {
    account(4)
}

/// Payout account of a contribution.
pub fn contributor(n: u8) -> AccountId {
    account(100 + n)
}

pub const ENDOWMENT: Balance = 1_000_000;
/// The base model that is registered at first, with a royalty of 10 %.
pub const BASE: ModelId = ModelId(0);
/// An adapter on it, trained on datanet 0.
pub const ADAPTER: ModelId = ModelId(1);

pub fn signed(who: AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

pub fn name(text: &str) -> Name {
    text.as_bytes().to_vec().try_into().unwrap()
}

pub fn digest(n: u8) -> H256 {
    H256::repeat_byte(n)
}

pub fn adapter(name: &str, parent: ModelId) -> NewAdapter {
    NewAdapter {
        owner: charlie(),
        name: name.as_bytes().to_vec(),
        parent,
        content: digest(1),
        versions: vec![VersionRef { datanet: DatanetId(0), number: 1 }],
        index: digest(2),
        index_root: digest(3),
        job: JobId(0),
    }
}

pub fn at(block: u32) {
    System::set_block_number(block.into());
}

pub fn now() -> u32 {
    System::block_number() as u32
}

pub fn balance(who: &AccountId) -> Balance {
    Balances::balance(who)
}

pub fn deposits(who: &AccountId) -> Balance {
    <Balances as hold::Inspect<_>>::balance_on_hold(&HoldReason::Model.into(), who)
}

#[track_caller]
pub fn happened(event: Event<Test>) {
    System::assert_has_event(event.into());
}

/// The worker redeems this much, as the marketplace would: money into the pot, then the note.
pub fn redeem(worker: &AccountId, amount: Balance) {
    Balances::transfer(&consumer(), &Attribution::pot(), amount, Preservation::Preserve).unwrap();
    Attribution::on_redeemed(worker, amount);
}

/// Who pays for answers.
pub fn consumer() -> AccountId {
    account(5)
}

pub fn total(model: ModelId, fees: Balance, attributed: Balance) -> ModelTotal {
    ModelTotal { model, requests: 2, tokens_in: 20, tokens_out: 30, fees, attributed }
}

pub fn payouts_of(amounts: &[(u64, Balance)]) -> Vec<Payout> {
    amounts
        .iter()
        .map(|(n, amount)| Payout { contribution: ContributionId(*n), amount: *amount })
        .collect()
}

/// A batch whose figures fit each other under the present shares.
pub fn new_batch(sequence: u32, models: Vec<ModelTotal>, payouts: &[Payout]) -> NewBatch {
    let shares = Attribution::view_shares();
    let rest =
        |t: &ModelTotal| split_fee(t.fees, &shares).contributors.saturating_sub(t.attributed);
    NewBatch {
        sequence,
        payouts_root: payouts::root(payouts),
        payouts_count: payouts.len() as u32,
        payouts_total: models.iter().map(|t| t.attributed).sum(),
        payouts_blob: digest(7),
        unattributed_total: models.iter().map(rest).sum(),
        receipts_root: digest(8),
        receipts_count: models.iter().map(|t| t.requests).sum(),
        models: models.try_into().unwrap(),
    }
}

pub fn proof(payouts: &[Payout], index: u32) -> PayoutProof {
    let proof = payouts::prove(payouts, index.into()).unwrap();
    PayoutProof { index, siblings: proof.siblings.try_into().unwrap() }
}

/// The payouts of [`final_batch`].
pub fn payouts() -> Vec<Payout> {
    payouts_of(&[(1, 300), (2, 200), (3, 100)])
}

/// A batch of Bob's over 2,000 units for the adapter, submitted in block 1, of which
/// contributions are attributed 600.
pub fn pending_batch() -> BatchId {
    let id = NextBatch::<Test>::get();
    redeem(&bob(), 2_000);
    let sequence = NextSequence::<Test>::get(bob());
    let batch = new_batch(sequence, vec![total(ADAPTER, 2_000, 600)], &payouts());
    frame_support::assert_ok!(Attribution::submit_batch(signed(bob()), batch));
    id
}

/// The same batch, final.
pub fn final_batch() -> BatchId {
    let id = pending_batch();
    at(now() + WINDOW);
    frame_support::assert_ok!(Attribution::finalize_batch(signed(dave()), id));
    id
}

pub struct ExtBuilder {
    shares: Option<Shares>,
    models: bool,
}

impl Default for ExtBuilder {
    fn default() -> Self {
        Self { shares: None, models: true }
    }
}

impl ExtBuilder {
    pub fn with_shares(mut self, shares: Shares) -> Self {
        self.shares = Some(shares);
        self
    }

    pub fn without_models(mut self) -> Self {
        self.models = false;
        self
    }

    /// Genesis with these endowments of pot and commons.
    pub fn storage(self, pot: Balance, commons: Balance) -> sp_runtime::Storage {
        let people = (1..=5).map(|n| (account(n), ENDOWMENT));
        let others = [sponsor_pot(), treasury(), stakers()].map(|a| (a, 1_000));
        let own = [(Attribution::pot(), pot), (Attribution::commons(), commons)];
        let own = own.into_iter().filter(|(_, balance)| *balance > 0);
        let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
        pallet_balances::GenesisConfig::<Test> {
            balances: people.chain(others).chain(own).collect(),
            ..Default::default()
        }
        .assimilate_storage(&mut storage)
        .unwrap();
        let shares = self.shares.map(Into::into);
        GenesisConfig::<Test> { shares, ..Default::default() }
            .assimilate_storage(&mut storage)
            .unwrap();
        storage
    }

    /// Runs the test from block 1 and checks the state after it.
    pub fn build_and_execute(self, test: impl FnOnce()) {
        let models = self.models;
        sp_io::TestExternalities::new(self.storage(ED, ED)).execute_with(|| {
            at(1);
            if models {
                let call =
                    Attribution::register_base(signed(alice()), name("tiny"), digest(9), 100_000);
                frame_support::assert_ok!(call);
                Attribution::register_adapter(adapter("exploits", BASE)).unwrap();
            }
            let issuance = Balances::total_issuance();
            test();
            Attribution::do_try_state().expect("the state holds together");
            assert_eq!(Balances::total_issuance(), issuance, "money appeared or vanished");
        });
    }
}
