//! An Ethereum endpoint that says what a test wants it to: honest by default, with blocks, a portal
//! and proofs that hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use alloy_consensus::Header;
use alloy_primitives::{keccak256, Address, Bytes, B256, U256};
use alloy_trie::{proof::ProofRetainer, HashBuilder, Nibbles, TrieAccount};
use jsonrpsee::{
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
    RpcModule,
};
use polkadot_sdk::sp_core::{H160, H256};
use serde_json::{json, Value};
use tributary_node::l1::{deposits::TRANSACTION_DEPOSITED, Bridge, Chain, L1Params, Settings, L1};
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot, roll},
    Deposit, DepositData, L1Config, L1Origin, L1Ref, SettlementView,
};
use tributary_runtime::Hash;

pub const CHAIN: u64 = 900;
pub const PORTAL: Address = Address::repeat_byte(0x77);

/// The deposits that have been made, with their blocks.
pub type Made = Vec<(u64, Deposit)>;

/// What the endpoint says.
pub struct State {
    pub chain: u64,
    /// The number of the finalised block.
    pub finalized: u64,
    /// Goes into each block's extra data: other salts, other hashes.
    pub salt: BTreeMap<u64, u8>,
    pub deposits: Made,
    /// Waits before each answer.
    pub delay: Duration,
    /// Refuses every request.
    pub down: bool,
    /// The most blocks that `eth_getLogs` takes at once.
    pub log_range: Option<u64>,
    /// Changes events before they are given.
    pub tamper_logs: fn(&mut Vec<Value>),
    /// Changes a proof before it is given.
    pub tamper_proof: fn(&mut Value),
    /// What was asked: method and first parameter.
    pub asked: Vec<(String, Value)>,
}

impl State {
    fn salt(&self, number: u64) -> u8 {
        self.salt.range(..=number).next_back().map_or(0, |(_, salt)| *salt)
    }

    fn until(&self, number: u64) -> impl Iterator<Item = &Deposit> {
        self.deposits.iter().filter(move |(block, _)| *block <= number).map(|(_, made)| made)
    }

    /// The portal's slots at the end of a block, as key and RLP of the value.
    fn slots(&self, number: u64) -> Vec<(B256, U256)> {
        let count = U256::from(self.until(number).count());
        let rolling = rolling(self.until(number));
        [(count_slot(), count), (hash_slot(), U256::from_be_bytes(rolling.0))]
            .map(|(slot, value)| (B256::from(slot.0), value))
            .into_iter()
            // Something that is always there.
            .chain([(B256::ZERO, U256::from(1))])
            .filter(|(_, value)| !value.is_zero())
            .collect()
    }

    fn storage(&self, number: u64) -> (B256, impl Fn(B256) -> Vec<Bytes>) {
        let leaves: Vec<(B256, Vec<u8>)> = self
            .slots(number)
            .into_iter()
            .map(|(slot, value)| (keccak256(slot), alloy_rlp::encode(value)))
            .collect();
        let (root, _) = trie(leaves.clone(), B256::ZERO);
        (root, move |slot| trie(leaves.clone(), keccak256(slot)).1)
    }

    fn accounts(&self, number: u64) -> (B256, Vec<Bytes>) {
        let account = |storage_root, nonce| {
            alloy_rlp::encode(TrieAccount { nonce, storage_root, ..Default::default() })
        };
        let leaves = vec![
            (keccak256(PORTAL), account(self.storage(number).0, 1)),
            (keccak256(Address::repeat_byte(1)), account(alloy_trie::EMPTY_ROOT_HASH, 2)),
            (keccak256(Address::repeat_byte(2)), account(alloy_trie::EMPTY_ROOT_HASH, 3)),
        ];
        trie(leaves, keccak256(PORTAL))
    }

    pub fn header(&self, number: u64) -> Header {
        Header {
            number,
            timestamp: 1_700_000_000 + 12 * number,
            state_root: self.accounts(number).0,
            extra_data: vec![self.salt(number)].into(),
            base_fee_per_gas: Some(7),
            ..Default::default()
        }
    }

    /// The hash of the block of this number.
    pub fn hash(&self, number: u64) -> B256 {
        self.header(number).hash_slow()
    }

    fn block(&self, number: u64) -> Value {
        let header = self.header(number);
        let mut json = serde_json::to_value(&header).expect("headers have JSON");
        json["hash"] = json!(header.hash_slow());
        json["transactions"] = json!([]);
        json
    }

    fn logs(&self, from: u64, to: u64) -> Vec<Value> {
        let made = self.deposits.iter().enumerate();
        let mut logs = made
            .filter(|(_, (block, _))| (from..=to).contains(block))
            .map(|(index, (block, deposit))| log(*block, index as u64, deposit))
            .collect();
        (self.tamper_logs)(&mut logs);
        logs
    }

    fn proof(&self, number: u64) -> Value {
        let (_, slot_proof) = self.storage(number);
        let slots = self.slots(number);
        let of = |slot: H256| {
            let slot = B256::from(slot.0);
            let value = slots.iter().find(|(known, _)| *known == slot).map(|(_, value)| *value);
            json!({ "key": slot, "value": value.unwrap_or_default(), "proof": slot_proof(slot) })
        };
        let mut proof = json!({
            "address": PORTAL,
            "accountProof": self.accounts(number).1,
            "storageProof": [of(count_slot()), of(hash_slot())],
        });
        (self.tamper_proof)(&mut proof);
        proof
    }
}

/// The rolling hash over some deposits.
pub fn rolling<'a>(deposits: impl Iterator<Item = &'a Deposit>) -> H256 {
    deposits.fold(H256::zero(), |before, deposit| roll(&before, &deposit.hash()))
}

/// The root over leaves, and the nodes on the way to one key.
fn trie(mut leaves: Vec<(B256, Vec<u8>)>, key: B256) -> (B256, Vec<Bytes>) {
    leaves.sort();
    let key = Nibbles::unpack(key);
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::from_iter([key]));
    for (leaf, value) in leaves {
        builder.add_leaf(Nibbles::unpack(leaf), &value);
    }
    let root = builder.root();
    let nodes = builder.take_proof_nodes().matching_nodes_sorted(&key);
    (root, nodes.into_iter().map(|(_, node)| node).collect())
}

/// The event of a deposit.
fn log(block: u64, index: u64, deposit: &Deposit) -> Value {
    let word = |address: H160| B256::left_padding_from(address.as_bytes());
    let length = deposit.opaque_data.len();
    let mut data = U256::from(32).to_be_bytes_vec();
    data.extend(U256::from(length).to_be_bytes_vec());
    data.extend(&deposit.opaque_data);
    data.resize(64 + length.div_ceil(32) * 32, 0);
    json!({
        "address": PORTAL,
        "topics": [
            TRANSACTION_DEPOSITED,
            word(deposit.from),
            word(deposit.to),
            B256::from(deposit.version.to_big_endian()),
        ],
        "data": Bytes::from(data),
        "blockNumber": format!("{block:#x}"),
        "logIndex": format!("{index:#x}"),
        "removed": false,
    })
}

/// A deposit unlike the others.
pub fn deposit(number: u32) -> Deposit {
    let data = DepositData {
        mint: 0.into(),
        value: 0.into(),
        gas_limit: 100_000,
        is_creation: false,
        data: number.to_be_bytes().to_vec(),
    };
    Deposit {
        from: H160::repeat_byte(0xaa),
        to: H160::repeat_byte(0xbb),
        version: 0.into(),
        opaque_data: data.encode(),
    }
}

/// A running endpoint.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    pub url: String,
    _server: Arc<Stopped>,
}

struct Stopped(ServerHandle);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.stop();
    }
}

impl Fake {
    /// An endpoint whose finalised block has this number.
    pub async fn start(finalized: u64) -> Self {
        let state = Arc::new(Mutex::new(State {
            chain: CHAIN,
            finalized,
            salt: BTreeMap::new(),
            deposits: Vec::new(),
            delay: Duration::ZERO,
            down: false,
            log_range: None,
            tamper_logs: |_| {},
            tamper_proof: |_| {},
            asked: Vec::new(),
        }));
        let server = Server::builder().build("127.0.0.1:0").await.expect("a port is free");
        let address = server.local_addr().expect("it has an address");
        let mut module = RpcModule::new(state.clone());
        for method in ["eth_chainId", "eth_getBlockByNumber", "eth_getLogs", "eth_getProof"] {
            module
                .register_async_method(method, move |params, state, _| async move {
                    let params: Vec<Value> = params.parse().unwrap_or_default();
                    let delay = state.lock().expect("nobody panicked").delay;
                    tokio::time::sleep(delay).await;
                    let mut state = state.lock().expect("nobody panicked");
                    answer(&mut state, method, params)
                })
                .expect("no two methods have one name");
        }
        let server = Arc::new(Stopped(server.start(module)));
        Self { state, url: format!("http://{address}/v3/0123456789abcdef"), _server: server }
    }

    /// What the endpoint says, to be read or changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    /// The same endpoint over a web socket.
    pub fn ws(&self) -> String {
        self.url.replace("http://", "ws://")
    }

    /// How often this method was called.
    pub fn asked(&self, method: &str) -> usize {
        self.state().asked.iter().filter(|(asked, _)| asked == method).count()
    }
}

fn answer(state: &mut State, method: &str, params: Vec<Value>) -> Result<Value, ErrorObjectOwned> {
    let refuse = |text: &str| Err(ErrorObjectOwned::owned(-32_000, text, None::<()>));
    let number = |value: &Value| {
        let text = value.as_str().expect("numbers are text");
        u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("they are hexadecimal")
    };
    state.asked.push((method.to_string(), params.first().cloned().unwrap_or_default()));
    if state.down {
        return refuse("the endpoint is down");
    }
    Ok(match method {
        "eth_chainId" => json!(format!("{:#x}", state.chain)),
        "eth_getBlockByNumber" => match params[0].as_str() {
            Some("finalized") => state.block(state.finalized),
            _ => state.block(number(&params[0])),
        },
        "eth_getLogs" => {
            let (from, to) = (number(&params[0]["fromBlock"]), number(&params[0]["toBlock"]));
            if state.log_range.is_some_and(|range| to - from >= range) {
                return refuse("the range of blocks is too wide");
            }
            json!(state.logs(from, to))
        }
        _ => state.proof(number(&params[2])),
    })
}

/// The bridge's state, the same at every block.
#[derive(Clone, Default)]
pub struct FakeChain(Arc<Mutex<Option<Bridge>>>);

impl FakeChain {
    pub fn set(&self, bridge: Bridge) {
        *self.0.lock().expect("nobody panicked") = Some(bridge);
    }
}

impl Chain for FakeChain {
    fn best(&self) -> Hash {
        Hash::repeat_byte(1)
    }

    fn settlement(&self, _: Hash) -> Option<Bridge> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

/// A chain that is joined to the portal at block `start` and has taken in `known` of the deposits,
/// up to block `origin`, and executed some.
pub fn view(start: u64, origin: u64, made: &Made, executed: u64) -> Bridge {
    let taken: Vec<&Deposit> =
        made.iter().filter(|(block, _)| *block <= origin).map(|(_, deposit)| deposit).collect();
    let at = |number: u64| L1Ref { number, hash: H256::repeat_byte(9) };
    let view = SettlementView {
        config: Some(L1Config {
            chain_id: CHAIN,
            portal: H160(PORTAL.into_array()),
            bridge: H160::repeat_byte(2),
            messenger: H160::repeat_byte(3),
            token: H160::repeat_byte(4),
            start: at(start),
        }),
        domain: H256::zero(),
        origin: Some(L1Origin { number: origin, hash: at(origin).hash, timestamp: 0 }),
        known: taken.len() as u64,
        deposits_hash: rolling(taken.iter().copied()),
        executed,
        withdrawals: 0,
        withdrawal_root: H256::zero(),
        paused_until: None,
    };
    let next = taken.iter().skip(executed as usize).take(64).map(|made| made.hash()).collect();
    Bridge { view, room: 16_384, next }
}

/// Options as they would be typed.
pub fn settings(urls: &[String], agree: Option<usize>, poll_ms: u64) -> Settings {
    L1Params { l1_rpc: urls.to_vec(), l1_agree: agree, l1_poll_ms: poll_ms }
        .check()
        .expect("the options are good")
}

/// A node's view of Ethereum through these endpoints.
pub fn l1(fakes: &[&Fake], agree: Option<usize>, chain: &FakeChain) -> Arc<L1> {
    let urls: Vec<String> = fakes.iter().map(|fake| fake.url.clone()).collect();
    L1::new(settings(&urls, agree, 100), Arc::new(chain.clone()), None).expect("no metrics clash")
}
