//! A runtime of balances and a marketplace.

use crate as pallet_marketplace;
use crate::{Models, Revenue, Workers};
use codec::Encode;
use polkadot_sdk::{
    frame_support::{
        self, derive_impl,
        storage::unhashed,
        traits::{ConstU128, ConstU32},
    },
    frame_system, pallet_balances,
    sp_core::{ecdsa, sr25519, Pair},
    sp_io::TestExternalities,
    sp_runtime::{
        traits::{IdentifyAccount, IdentityLookup, Verify},
        BuildStorage, MultiSigner,
    },
};
use tributary_primitives::{
    signing::{Signable, Voucher},
    AccountId, Balance, ChannelId, ModelId, MultiSignature, H256,
};

/// A registered worker.
pub const WORKER: AccountId = AccountId::new([201; 32]);
/// Another one.
pub const OTHER_WORKER: AccountId = AccountId::new([202; 32]);
/// Owner of all models.
pub const OWNER: AccountId = AccountId::new([203; 32]);
/// Neither worker nor consumer.
pub const STRANGER: AccountId = AccountId::new([204; 32]);
/// Where redeemed money goes.
pub const POT: AccountId = AccountId::new([205; 32]);

/// Existential deposit.
pub const ED: Balance = 10;
/// What each account begins with.
pub const ENDOWMENT: Balance = 100_000;
pub const MIN_DEPOSIT: Balance = 100;
pub const MAX_CHANNELS: u32 = 3;
pub const CLOSE_DELAY: u32 = 10;

/// Signs for Ada, a consumer.
pub fn ada_pair() -> sr25519::Pair {
    sr25519::Pair::from_seed(&[1; 32])
}

/// A consumer with an sr25519 key.
pub fn ada() -> AccountId {
    MultiSigner::from(ada_pair().public()).into_account()
}

/// Signs for Ben, a consumer.
pub fn ben_pair() -> ecdsa::Pair {
    ecdsa::Pair::from_seed(&[2; 32])
}

/// A consumer with an ecdsa key.
pub fn ben() -> AccountId {
    MultiSigner::from(ben_pair().public()).into_account()
}

/// A voucher with the signature of one of the consumers, for this chain.
pub fn voucher(channel: ChannelId, cumulative: Balance) -> (Voucher, MultiSignature) {
    let voucher = Voucher { channel, cumulative };
    let payload = voucher.signing_payload(&Marketplace::genesis_hash());
    let by_ben = crate::Channels::<Test>::get(channel).is_some_and(|c| c.consumer == ben());
    let signature: MultiSignature =
        if by_ben { ben_pair().sign(&payload).into() } else { ada_pair().sign(&payload).into() };
    debug_assert!(signature.verify(payload.as_slice(), &if by_ben { ben() } else { ada() }));
    (voucher, signature)
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
    #[runtime::pallet_index(55)]
    pub type Marketplace = pallet_marketplace::Pallet<Test>;
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
    type MaxFreezes = ConstU32<1>;
    type FreezeIdentifier = u8;
}

/// Models below 100 exist and are the owner's.
pub struct LowIds;

impl Models for LowIds {
    fn owner(model: ModelId) -> Option<AccountId> {
        (model.0 < 100).then_some(OWNER)
    }
}

/// Books revenue under a key of its own.
pub struct Books;

impl Books {
    fn key(worker: &AccountId) -> Vec<u8> {
        (b"revenue", worker).encode()
    }

    /// What was booked for the worker.
    pub fn of(worker: &AccountId) -> Balance {
        unhashed::get_or_default(&Self::key(worker))
    }
}

impl Revenue for Books {
    fn pot() -> AccountId {
        POT
    }

    fn redeemed(worker: &AccountId, amount: Balance) {
        unhashed::put(&Self::key(worker), &(Self::of(worker) + amount));
    }
}

/// Two workers.
pub struct Two;

impl Workers for Two {
    fn is_registered(worker: &AccountId) -> bool {
        [WORKER, OTHER_WORKER].contains(worker)
    }
}

impl crate::Config for Test {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Models = LowIds;
    type Revenue = Books;
    type Workers = Two;
    type MinDeposit = ConstU128<MIN_DEPOSIT>;
    type MaxChannels = ConstU32<MAX_CHANNELS>;
    type CloseDelay = ConstU32<CLOSE_DELAY>;
    type WeightInfo = ();
}

/// Builds the state that a test begins with.
#[derive(Default)]
pub struct ExtBuilder {
    channels: Vec<(AccountId, AccountId, Balance)>,
}

impl ExtBuilder {
    /// With an open channel; ids count from 0.
    pub fn with_channel(
        mut self,
        consumer: AccountId,
        worker: AccountId,
        deposit: Balance,
    ) -> Self {
        self.channels.push((consumer, worker, deposit));
        self
    }

    /// Runs a test from block 1 on and ends it in `try_state`, with no unit of OPEN made or lost
    /// and all that was redeemed in the pot.
    pub fn build_and_execute(self, test: impl FnOnce()) {
        let mut storage = frame_system::GenesisConfig::<Test>::default()
            .build_storage()
            .expect("the default configuration builds");
        let mut balances: Vec<_> =
            [ada(), ben(), WORKER, OWNER, STRANGER].map(|who| (who, ENDOWMENT)).into();
        balances.push((POT, ED));
        pallet_balances::GenesisConfig::<Test> { balances, ..Default::default() }
            .assimilate_storage(&mut storage)
            .expect("the balances are above the existential deposit");
        TestExternalities::new(storage).execute_with(|| {
            System::set_block_number(1);
            for (consumer, worker, deposit) in self.channels {
                Marketplace::do_open(consumer, worker, deposit).expect("the channel is allowed");
            }
            let issuance = Balances::total_issuance();
            test();
            Marketplace::do_try_state().expect("the state is sound");
            assert_eq!(Balances::total_issuance(), issuance, "OPEN was made or lost");
            assert_eq!(
                free(&POT),
                ED + Books::of(&WORKER) + Books::of(&OTHER_WORKER),
                "the pot differs from what was booked"
            );
        });
    }
}

/// Goes on by some blocks.
pub fn pass(blocks: u32) {
    System::set_block_number(System::block_number() + u64::from(blocks));
}

/// What is on hold for channels.
pub fn held(who: &AccountId) -> Balance {
    use frame_support::traits::fungible::hold::Inspect;
    Balances::balance_on_hold(&crate::HoldReason::Channel.into(), who)
}

/// What is free.
pub fn free(who: &AccountId) -> Balance {
    Balances::free_balance(who)
}

/// The pallet's latest event.
pub fn last_event() -> Option<crate::Event<Test>> {
    System::events().into_iter().rev().find_map(|record| match record.event {
        RuntimeEvent::Marketplace(event) => Some(event),
        _ => None,
    })
}

/// Genesis hash of another chain.
pub fn other_chain() -> H256 {
    H256::repeat_byte(0xaa)
}
