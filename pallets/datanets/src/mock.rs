//! A runtime of system, balances and this pallet.

use crate::{
    self as pallet_datanets, Call, ContributionStakes, Curators, Name, Policy, SponsorFees,
    Sponsorship,
};
use polkadot_sdk::{
    frame_support::{
        self, derive_impl,
        pallet_prelude::{Authorize, TransactionSource},
        parameter_types,
        traits::{fungible::Mutate, tokens::Preservation, Hooks, UnfilteredDispatchable},
        weights::Weight,
        PalletId,
    },
    frame_system, pallet_balances,
    sp_core::{sr25519, Pair, H256},
    sp_io,
    sp_runtime::{
        traits::IdentityLookup,
        transaction_validity::{TransactionValidityError, ValidTransaction},
        BuildStorage, DispatchError, DispatchResult,
    },
};
use tributary_primitives::{
    signing::{ContributionOffer, Retirement, Signable},
    views::Consent,
    AccountId, Balance, BlockNumber, ContributionId, DatanetId, Digest, MultiSignature,
};

/// Owner of the datanets.
pub const ALICE: AccountId = AccountId::new([1; 32]);
/// Somebody with money.
pub const BOB: AccountId = AccountId::new([2; 32]);
/// Curators.
pub const CURATORS: [AccountId; 3] =
    [AccountId::new([11; 32]), AccountId::new([12; 32]), AccountId::new([13; 32])];
/// Gets the fees that pots pay.
pub const COLLECTOR: AccountId = AccountId::new([101; 32]);
/// Keeps the stakes.
pub const STAKES: AccountId = AccountId::new([102; 32]);

/// Existential deposit, in units.
pub const ED: Balance = 10;
/// What everybody with money has, in units.
pub const RICH: Balance = 1_000_000;
/// Deposit for a datanet, in units.
pub const DEPOSIT: Balance = 1_000;
pub const REVIEW: BlockNumber = 4;
pub const PER_BLOCK: u32 = 2;
pub const SPILL: u32 = 2;
pub const PERIOD: BlockNumber = 10;
/// What each sponsored call costs, in units.
pub const FEE: Balance = 100;

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
    #[runtime::pallet_index(51)]
    pub type Datanets = pallet_datanets;
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
    pub const DatanetsPalletId: PalletId = PalletId(*b"tr/dnets");
    pub const DatanetDeposit: Balance = DEPOSIT;
    pub const ReviewWindow: BlockNumber = REVIEW;
    pub const MaxPerBlock: u32 = PER_BLOCK;
    pub const MaxSpill: u32 = SPILL;
    pub const MaxShardBytes: u64 = 64 * 1_024 * 1_024;
    pub const SponsorPeriod: BlockNumber = PERIOD;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
}

/// Moves stake to one account, after looking whether the contribution exists.
pub struct MockStakes;

impl ContributionStakes for MockStakes {
    fn bond(who: &AccountId, contribution: ContributionId, amount: Balance) -> DispatchResult {
        if !Datanets::contribution_exists(contribution) {
            return Err(DispatchError::Other("stake behind nothing"));
        }
        Balances::transfer(who, &STAKES, amount, Preservation::Preserve).map(|_| ())
    }
}

/// Every call costs the same.
pub struct MockFees;

impl SponsorFees for MockFees {
    fn fee(len: u32, weight: Weight) -> Balance {
        assert!(len > 64 && weight.ref_time() > 0, "a call has a length and a weight");
        FEE
    }

    fn collect(from: &AccountId, amount: Balance) -> DispatchResult {
        Balances::transfer(from, &COLLECTOR, amount, Preservation::Preserve).map(|_| ())
    }
}

impl pallet_datanets::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Stakes = MockStakes;
    type SponsorFees = MockFees;
    type PalletId = DatanetsPalletId;
    type DatanetDeposit = DatanetDeposit;
    type ReviewWindow = ReviewWindow;
    type MaxPerBlock = MaxPerBlock;
    type MaxSpill = MaxSpill;
    type MaxShardBytes = MaxShardBytes;
    type SponsorPeriod = SponsorPeriod;
    type WeightInfo = ();
}

/// Builds the state that a test begins with.
#[derive(Default)]
pub struct ExtBuilder {
    datanets: Vec<(&'static str, Policy, Balance)>,
    pot: Option<Balance>,
    max_per_period: Option<u32>,
}

impl ExtBuilder {
    /// With a datanet of Alice's.
    pub fn with_datanet(mut self, name: &'static str, policy: Policy) -> Self {
        self.datanets.push((name, policy, 0));
        self
    }

    /// With a datanet of Alice's that asks for stake.
    pub fn with_staked_datanet(mut self, name: &'static str, min_stake: Balance) -> Self {
        self.datanets.push((name, Policy::Open, min_stake));
        self
    }

    /// With this much in every pot, which pays for 100 calls a period.
    pub fn with_pots(mut self, amount: Balance) -> Self {
        self.pot = Some(amount);
        self
    }

    /// With pots that pay for this many calls a period.
    pub fn with_limit(mut self, max_per_period: u32) -> Self {
        self.max_per_period = Some(max_per_period);
        self
    }

    pub fn build(self) -> sp_io::TestExternalities {
        let rich = [ALICE, BOB].into_iter().chain(CURATORS).map(|who| (who, RICH));
        let pots = [COLLECTOR, STAKES].map(|who| (who, ED));
        let storage = RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig {
                balances: rich.chain(pots).collect(),
                ..Default::default()
            },
            ..Default::default()
        }
        .build_storage()
        .unwrap();
        let mut ext: sp_io::TestExternalities = storage.into();
        ext.execute_with(|| {
            System::set_block_number(1);
            for (index, (label, policy, min_stake)) in self.datanets.into_iter().enumerate() {
                Datanets::create_datanet(
                    RuntimeOrigin::signed(ALICE),
                    name(label),
                    policy,
                    licence("CC-BY-4.0"),
                    CONSENT,
                    min_stake,
                )
                .unwrap();
                let id = DatanetId(index as u32);
                if let Some(pot) = self.pot {
                    Datanets::fund_pot(RuntimeOrigin::signed(BOB), id, pot).unwrap();
                    sponsor_up_to(id, self.max_per_period.unwrap_or(100));
                }
            }
            System::reset_events();
        });
        ext
    }

    pub fn build_and_execute(self, test: impl FnOnce()) {
        self.build().execute_with(|| {
            test();
            Datanets::do_try_state().unwrap();
            assert_eq!(supply(), total(), "money appeared or vanished");
        });
    }
}

/// All money by the books.
pub fn total() -> Balance {
    Balances::total_issuance()
}

/// All money that there was at genesis.
pub fn supply() -> Balance {
    5 * RICH + 2 * ED
}

pub const CONSENT: Consent = Consent { train: true, commercial: true, quote: false };
pub const NET: DatanetId = DatanetId(0);

pub fn name(text: &str) -> Name {
    text.as_bytes().to_vec().try_into().unwrap()
}

pub fn licence(text: &str) -> crate::Licence {
    text.as_bytes().to_vec().try_into().unwrap()
}

/// A policy under which `quorum` of the three curators decide.
pub fn curated(quorum: u32) -> Policy {
    Policy::Curated { quorum, curators: Curators::try_from(CURATORS.to_vec()).unwrap() }
}

pub fn sponsor_up_to(id: DatanetId, max_per_period: u32) {
    let sponsorship = Sponsorship { enabled: true, max_per_period };
    Datanets::set_sponsorship(RuntimeOrigin::signed(ALICE), id, sponsorship).unwrap();
}

/// A key that owns nothing.
pub fn key(seed: u8) -> sr25519::Pair {
    sr25519::Pair::from_seed(&[seed; 32])
}

pub fn account(pair: &sr25519::Pair) -> AccountId {
    pair.public().into()
}

pub fn sign(message: &impl Signable, pair: &sr25519::Pair) -> MultiSignature {
    pair.sign(&message.signing_payload(&System::block_hash(0))).into()
}

pub fn digest(content: u8) -> Digest {
    H256::repeat_byte(content)
}

/// An offer of 3 records in 300 bytes, good for 100 blocks.
pub fn offer(datanet: DatanetId, content: u8, payout: AccountId) -> ContributionOffer {
    ContributionOffer {
        datanet,
        content: digest(content),
        records_root: H256::repeat_byte(content ^ 0xff),
        records: 3,
        bytes: 300,
        payout,
        valid_until: System::block_number() + 100,
    }
}

/// Contributes from Bob's account and returns the id.
pub fn contribute(datanet: DatanetId, content: u8) -> ContributionId {
    let id = crate::NextContribution::<Test>::get();
    Datanets::contribute(RuntimeOrigin::signed(BOB), offer(datanet, content, BOB)).unwrap();
    id
}

/// What the pool says of a general transaction.
pub fn authorize(call: &Call<Test>) -> Result<ValidTransaction, TransactionValidityError> {
    call.authorize(TransactionSource::External).unwrap().map(|(valid, _)| valid)
}

/// Applies a general transaction as a block does: refused ones never enter.
pub fn apply(call: Call<Test>) -> Result<DispatchResult, TransactionValidityError> {
    authorize(&call)?;
    let origin: RuntimeOrigin = frame_system::Origin::<Test>::Authorized.into();
    let result = RuntimeCall::from(call).dispatch_bypass_filter(origin);
    Ok(result.map(|_| ()).map_err(|error| error.error))
}

/// A contribution at the pot's expense.
pub fn contribution_call(offer: ContributionOffer, pair: &sr25519::Pair) -> Call<Test> {
    let signature = sign(&offer, pair);
    Call::contribute_signed { offer, signature }
}

/// A retirement at the pot's expense.
pub fn retirement_call(contribution: ContributionId, pair: &sr25519::Pair) -> Call<Test> {
    let retirement = Retirement { contribution, valid_until: System::block_number() + 100 };
    let signature = sign(&retirement, pair);
    Call::retire_signed { retirement, signature }
}

/// Runs the blocks up to `block`.
pub fn run_to(block: BlockNumber) {
    while System::block_number() < block {
        System::set_block_number(System::block_number() + 1);
        Datanets::on_initialize(System::block_number());
    }
}

/// Runs `blocks` blocks.
pub fn run(blocks: BlockNumber) {
    run_to(System::block_number() + blocks);
}
