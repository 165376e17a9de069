//! A runtime of system, balances and this pallet, and an Ethereum whose proofs are real.

use crate::{self as pallet_settlement, MessageHandler, OpenBridge};
use alloy_primitives::{keccak256, B256, U256 as Word};
use alloy_rlp::{BytesMut, Encodable, Header as RlpHeader};
use alloy_trie::{proof::ProofRetainer, HashBuilder, Nibbles, TrieAccount, EMPTY_ROOT_HASH};
use polkadot_sdk::{
    frame_support::{
        self, derive_impl, parameter_types,
        traits::{
            fungible::Mutate,
            tokens::{Fortitude, Precision, Preservation},
            Hooks,
        },
        weights::Weight,
    },
    frame_system, pallet_balances,
    sp_core::{H160, H256, U256},
    sp_io,
    sp_runtime::{traits::IdentityLookup, BuildStorage, DispatchError, DispatchResult},
};
use tributary_primitives::{
    bridge::{
        calls::{FinalizeBridge, RelayMessage},
        deposit::{count_slot, hash_slot, roll},
        keccak, l1_alias, Advance, Deposit, DepositData, L1Config, L1Ref, OriginProof, L2_BRIDGE,
        L2_MESSENGER, L2_OPEN,
    },
    AccountId, Balance, OPEN,
};

pub const ALICE: AccountId = AccountId::new([1; 32]);
pub const BOB: AccountId = AccountId::new([2; 32]);
/// Who may pause, beside root.
pub const GUARD: AccountId = AccountId::new([3; 32]);

/// Existential deposit, in units.
pub const ED: Balance = 10;
/// Issuance at which nothing more can be minted.
pub const ROOM: Balance = 10_000 * OPEN;

pub const PORTAL: H160 = H160([0x70; 20]);
pub const BRIDGE: H160 = H160([0xb1; 20]);
pub const MESSENGER: H160 = H160([0x3e; 20]);
pub const TOKEN: H160 = H160([0x0b; 20]);
/// Somebody on Ethereum.
pub const CAROL: H160 = H160([0xca; 20]);
/// An address here that messages may be sent to.
pub const DISPATCHER: H160 = H160([0xd1; 20]);

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
    #[runtime::pallet_index(56)]
    pub type Settlement = pallet_settlement;
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
    pub const MaxWaiting: u64 = 2_048;
    pub const MaxPause: u32 = 10;
    pub const MinWithdrawal: Balance = 100;
    pub const MaxGas: u64 = 1_000_000;
    /// What the dispatcher was told: from, data, gas.
    pub static Told: Vec<(H160, Vec<u8>, u64)> = vec![];
    /// Minted and burnt by the bridge.
    pub static Crossed: (Balance, Balance) = (0, 0);
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
}

/// Mints and burns up to a limit.
pub struct Open;
impl OpenBridge for Open {
    fn mint_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        if Balances::total_issuance().saturating_add(amount) > ROOM {
            return Err(DispatchError::Other("above the cap"));
        }
        Balances::mint_into(who, amount)?;
        Crossed::mutate(|crossed| crossed.0 += amount);
        Ok(())
    }

    fn burn_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        Balances::burn_from(
            who,
            amount,
            Preservation::Expendable,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        Crossed::mutate(|crossed| crossed.1 += amount);
        Ok(())
    }
}

/// Remembers messages; refuses the one that asks for it, after it has changed the state.
pub struct Dispatcher;
impl MessageHandler for Dispatcher {
    fn handle(from: H160, to: H160, data: &[u8], gas: u64) -> DispatchResult {
        assert_eq!(to, DISPATCHER);
        Balances::mint_into(&BOB, 1)?;
        if data == b"refuse" {
            return Err(DispatchError::Other("as you wish"));
        }
        Told::mutate(|told| told.push((from, data.to_vec(), gas)));
        Settlement::note(from, data)
    }

    fn weight() -> Weight {
        Weight::from_parts(1_000_000, 0)
    }
}

frame_support::ord_parameter_types! {
    pub const Guard: AccountId = GUARD;
}

impl pallet_settlement::Config for Test {
    type AdminOrigin = frame_system::EnsureRoot<AccountId>;
    type PauseOrigin = frame_system::EnsureSignedBy<Guard, AccountId>;
    type Open = Open;
    type Handler = Dispatcher;
    type WeightInfo = ();
    type MaxWaiting = MaxWaiting;
    type MaxPause = MaxPause;
    type MinWithdrawal = MinWithdrawal;
    type MaxGas = MaxGas;
}

/// The contracts, and a block before all deposits.
pub fn config() -> L1Config {
    L1Config {
        chain_id: 31_337,
        portal: PORTAL,
        bridge: BRIDGE,
        messenger: MESSENGER,
        token: TOKEN,
        start: L1Ref { number: 100, hash: H256::repeat_byte(0x64) },
    }
}

/// Builds the state that a test begins with.
pub struct ExtBuilder {
    joined: bool,
}

impl Default for ExtBuilder {
    fn default() -> Self {
        Self { joined: true }
    }
}

impl ExtBuilder {
    /// A chain that is joined to no portal.
    pub fn unjoined(mut self) -> Self {
        self.joined = false;
        self
    }

    pub fn build(self) -> sp_io::TestExternalities {
        let storage = RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig {
                balances: vec![(ALICE, 1_000 * OPEN), (BOB, 1_000 * OPEN)],
                ..Default::default()
            },
            settlement: pallet_settlement::GenesisConfig {
                dispatchers: vec![DISPATCHER],
                ..Default::default()
            },
            ..Default::default()
        }
        .build_storage()
        .unwrap();
        let mut ext: sp_io::TestExternalities = storage.into();
        ext.execute_with(|| {
            Told::set(vec![]);
            Crossed::set((0, 0));
            System::set_block_number(1);
            if self.joined {
                Settlement::configure(RuntimeOrigin::root(), config()).unwrap();
                System::reset_events();
            }
        });
        ext
    }

    pub fn build_and_execute(self, test: impl FnOnce()) {
        self.build().execute_with(|| {
            test();
            Settlement::do_try_state().unwrap();
        });
    }
}

/// Ends this block and begins the next.
pub fn next_block() {
    let now = System::block_number();
    Settlement::on_finalize(now);
    System::set_block_number(now + 1);
    Settlement::on_initialize(now + 1);
}

/// Gives the chain an inherent, as an author does.
pub fn advance(advance: Advance) -> DispatchResult {
    Settlement::advance(RuntimeOrigin::none(), advance)
}

/// A trie over the entries, and the proof for one key.
fn trie(mut entries: Vec<(B256, Vec<u8>)>, key: B256) -> (B256, Vec<Vec<u8>>) {
    if entries.is_empty() {
        return (EMPTY_ROOT_HASH, vec![]);
    }
    entries.sort();
    let retainer = ProofRetainer::new(vec![Nibbles::unpack(key)]);
    let mut builder = HashBuilder::default().with_proof_retainer(retainer);
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key), &value);
    }
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    (root, nodes.into_iter().map(|(_, node)| node.to_vec()).collect())
}

/// A header's RLP with the fields of the present fork.
pub fn header_rlp(number: u64, timestamp: u64, state_root: H256) -> Vec<u8> {
    let mut fields = BytesMut::new();
    let hash = |of: &str| B256::from(keccak(of.as_bytes()).0);
    hash("parent").encode(&mut fields);
    hash("ommers").encode(&mut fields);
    alloy_primitives::Address::repeat_byte(0x33).encode(&mut fields);
    B256::from(state_root.0).encode(&mut fields);
    hash("transactions").encode(&mut fields);
    hash("receipts").encode(&mut fields);
    [0u8; 256].as_slice().encode(&mut fields);
    // Difficulty, number, gas limit, gas used, time.
    Word::ZERO.encode(&mut fields);
    number.encode(&mut fields);
    30_000_000u64.encode(&mut fields);
    12_345_678u64.encode(&mut fields);
    timestamp.encode(&mut fields);
    b"extra".as_slice().encode(&mut fields);
    hash("mix").encode(&mut fields);
    [0u8; 8].as_slice().encode(&mut fields);
    // Base fee, withdrawals, blobs, beacon root, requests.
    1_000_000_007u64.encode(&mut fields);
    hash("withdrawals").encode(&mut fields);
    0u64.encode(&mut fields);
    131_072u64.encode(&mut fields);
    hash("beacon").encode(&mut fields);
    hash("requests").encode(&mut fields);
    let mut header = BytesMut::new();
    RlpHeader { list: true, payload_length: fields.len() }.encode(&mut header);
    [header.to_vec(), fields.to_vec()].concat()
}

/// Ethereum: its deposits, and its state at each block.
pub struct Ethereum {
    /// The number of the last block.
    pub number: u64,
    /// All deposits so far.
    pub deposits: Vec<Deposit>,
    /// The count in the portal, where it is to be another than the true one.
    pub claimed_count: Option<u64>,
    /// The account of the portal.
    pub portal: H160,
    /// How many deposits the last inherent knew.
    told: usize,
}

impl Default for Ethereum {
    fn default() -> Self {
        Self { number: 100, deposits: vec![], claimed_count: None, portal: PORTAL, told: 0 }
    }
}

impl Ethereum {
    /// Makes a deposit.
    pub fn deposit(&mut self, from: H160, to: H160, data: Vec<u8>) -> Deposit {
        let data = DepositData {
            mint: 0.into(),
            value: 0.into(),
            gas_limit: 100_000,
            is_creation: false,
            data,
        };
        let opaque_data = data.encode();
        self.raw(Deposit { from, to, version: 0.into(), opaque_data })
    }

    /// Makes a deposit that the portal might not take.
    pub fn raw(&mut self, deposit: Deposit) -> Deposit {
        self.deposits.push(deposit.clone());
        deposit
    }

    /// Deposits OPEN for an account.
    pub fn open(&mut self, who: &AccountId, amount: Balance) -> Deposit {
        self.open_call(open_call(amount.into(), <AccountId as AsRef<[u8]>>::as_ref(who).to_vec()))
    }

    /// Has the bridge make a deposit.
    pub fn open_call(&mut self, call: FinalizeBridge) -> Deposit {
        self.deposit(l1_alias(BRIDGE), L2_BRIDGE, call.encode())
    }

    /// Has the messenger relay a message.
    pub fn message(&mut self, message: RelayMessage) -> Deposit {
        self.deposit(l1_alias(MESSENGER), L2_MESSENGER, message.encode())
    }

    /// The rolling hash over all deposits.
    pub fn rolling(&self) -> H256 {
        self.deposits.iter().fold(H256::zero(), |hash, deposit| roll(&hash, &deposit.hash()))
    }

    /// Makes a block, and proves the portal's slots at it; `hashes` are those of deposits that are
    /// new.
    pub fn block(&mut self) -> OriginProof {
        self.number += 1;
        let slot = |slot: H256| keccak256(slot.0);
        let mut storage: Vec<_> = (0..20u8)
            .map(|other| (keccak256([other]), alloy_rlp::encode(Word::from(u64::from(other) + 1))))
            .collect();
        let count = self.claimed_count.unwrap_or(self.deposits.len() as u64);
        if count > 0 {
            // The portal keeps counters of its own above the number.
            let word = Word::from(count) | (Word::from(self.number) << 64);
            storage.push((slot(count_slot()), alloy_rlp::encode(word)));
        }
        let rolling = Word::from_be_bytes(self.rolling().0);
        if !rolling.is_zero() {
            storage.push((slot(hash_slot()), alloy_rlp::encode(rolling)));
        }
        let (storage_root, count_proof) = trie(storage.clone(), slot(count_slot()));
        let (_, hash_proof) = trie(storage, slot(hash_slot()));
        let mut accounts: Vec<_> = (0..50u8)
            .map(|other| {
                let account = TrieAccount { nonce: other.into(), ..Default::default() };
                (keccak256([other; 20]), alloy_rlp::encode(account))
            })
            .collect();
        let portal = keccak256(self.portal.0);
        let account = TrieAccount {
            nonce: 1,
            storage_root,
            code_hash: keccak256(b"code"),
            ..Default::default()
        };
        accounts.push((portal, alloy_rlp::encode(account)));
        let (state_root, account_proof) = trie(accounts, portal);
        let time = 1_700_000_000 + 12 * self.number;
        let header = header_rlp(self.number, time, H256(state_root.0));
        let new = &self.deposits[self.told..];
        let deposit_hashes = new.iter().map(Deposit::hash).collect();
        self.told = self.deposits.len();
        OriginProof { header, account_proof, count_proof, hash_proof, deposit_hashes }
    }

    /// Takes back that the chain was told of the last block.
    pub fn forget_last(&mut self) {
        self.told = crate::Deposits::<Test>::get().known as usize;
    }

    /// An inherent with a new block and all bodies that are new in it.
    pub fn advance(&mut self) -> Advance {
        let bodies = self.deposits[self.told..].to_vec();
        Advance { origin: Some(self.block()), bodies }
    }
}

/// What the bridge on Ethereum says when Carol sends OPEN.
pub fn open_call(amount: U256, extra_data: Vec<u8>) -> FinalizeBridge {
    FinalizeBridge {
        local_token: L2_OPEN,
        remote_token: TOKEN,
        from: CAROL,
        to: H160([0x77; 20]),
        amount,
        extra_data,
    }
}

/// What the messenger on Ethereum says when Carol sends a message.
pub fn relay_call(target: H160, message: &[u8]) -> RelayMessage {
    RelayMessage {
        nonce: 5.into(),
        sender: CAROL,
        target,
        value: 0.into(),
        min_gas_limit: 40_000.into(),
        message: message.to_vec(),
    }
}
