//! Real nodes and anvil: deposits come in, withdrawals can be proven, a lying author is refused, and
//! Ethereum may go away.
//!
//! No contract is needed: what the chain reads of a portal is an event and two slots. A few bytes of
//! code emit the event, and anvil sets the slots.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{hex, Bytes, B256};
use codec::Encode;
use polkadot_sdk::*;
use serde_json::{json, Value};
use sp_core::{Pair, H160, H256};
use sp_keyring::Sr25519Keyring;
use tributary_node::l1::deposits::TRANSACTION_DEPOSITED;
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot},
    tree, Deposit, DepositData, L1Config, L1Ref, Withdrawal, L2_NOTES,
};
use tributary_runtime::{
    Nonce, RuntimeCall, Signature, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION,
};

use super::{common::Running, fake::rolling};

const LIMIT: Duration = Duration::from_secs(240);
const CHAIN: u64 = 900;
const PORTAL: H160 = H160::repeat_byte(0x77);
/// Anvil calls the block before the last one final when an epoch has one slot, so that two more
/// blocks make a block final.
const UNTIL_FINAL: u64 = 2;

/// The binary itself: the script of that name in `.bin` starts it and leaves it running when killed.
fn anvil_binary() -> PathBuf {
    if let Some(path) = env::var_os("TRIBUTARY_ANVIL") {
        return path.into();
    }
    let packages =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bridge/node_modules/@foundry-rs");
    let binaries = fs::read_dir(&packages).into_iter().flatten().flatten();
    let mut binaries = binaries.map(|package| package.path().join("bin/anvil"));
    binaries.find(|path| path.exists()).unwrap_or_else(|| {
        panic!(
            "there is no anvil in {}: `make setup` installs it, TRIBUTARY_ANVIL names another",
            packages.display(),
        )
    })
}

/// A running anvil with a portal, stopped when it goes out of scope.
struct Anvil {
    child: Child,
    port: u16,
    made: Vec<Deposit>,
}

impl Anvil {
    /// Two anvils with different times of genesis have no block in common.
    fn start(genesis: u64) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port is free")
            .port();
        let child = Command::new(anvil_binary())
            .args(["--silent", "--slots-in-an-epoch", "1"])
            .args(["--port", &port.to_string()])
            .args(["--chain-id", &CHAIN.to_string()])
            .args(["--timestamp", &genesis.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let anvil = Self { child, port, made: Vec::new() };
        let start = Instant::now();
        while anvil.try_call("eth_chainId", json!([])).is_none() {
            assert!(start.elapsed() < LIMIT, "anvil does not answer");
            thread::sleep(Duration::from_millis(100));
        }
        // Topics and data of the event are the call's data, after one another.
        let topic = hex::encode(TRANSACTION_DEPOSITED);
        let code = format!("0x6040356020356000357f{topic}606036038060606000376000a400");
        anvil.call("anvil_setCode", json!([PORTAL, code]));
        anvil.mine(1);
        anvil
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn try_call(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len(),
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = self.try_call(method, params).expect("anvil answers");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    fn mine(&self, blocks: u64) {
        self.call("anvil_mine", json!([format!("{blocks:#x}")]));
    }

    /// Number and hash of the last block.
    fn head(&self) -> L1Ref {
        let block = self.call("eth_getBlockByNumber", json!(["latest", false]));
        let number = block["number"].as_str().expect("it is text").trim_start_matches("0x");
        L1Ref {
            number: u64::from_str_radix(number, 16).expect("it is hexadecimal"),
            hash: serde_json::from_value(block["hash"].clone()).expect("it is a hash"),
        }
    }

    /// Makes a deposit in a block of its own: event and slots together.
    fn deposit(&mut self, deposit: Deposit) {
        let word = |address: H160| B256::left_padding_from(address.as_bytes()).to_vec();
        let length = deposit.opaque_data.len();
        let mut data = [word(deposit.from), word(deposit.to), vec![0; 32]].concat();
        data.extend(B256::with_last_byte(32));
        data.extend(B256::left_padding_from(&length.to_be_bytes()));
        data.extend(&deposit.opaque_data);
        data.resize(data.len().next_multiple_of(32), 0);

        self.made.push(deposit);
        let count = B256::left_padding_from(&self.made.len().to_be_bytes());
        self.set(count_slot(), count);
        self.set(hash_slot(), B256::from(rolling(self.made.iter()).0));
        let from = self.call("eth_accounts", json!([]))[0].clone();
        let transaction = json!({ "from": from, "to": PORTAL, "data": Bytes::from(data) });
        self.call("eth_sendTransaction", json!([transaction]));
    }

    fn set(&self, slot: H256, value: B256) {
        self.call("anvil_setStorageAt", json!([PORTAL, slot, value]));
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a transaction of Alice's, who has the sudo key of a development chain.
fn submit(node: &Running, call: RuntimeCall) {
    let alice = Sr25519Keyring::Alice;
    let genesis: H256 = ask(node, "chain_getBlockHash", json!([0]));
    let nonce: Nonce = ask(node, "system_accountNextIndex", json!([alice.to_account_id()]));
    let extension: TxExtension = (
        frame_system::AuthorizeCall::new(),
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(sp_runtime::generic::Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    );
    let (spec, transaction) = (VERSION.spec_version, VERSION.transaction_version);
    let implicit = ((), (), spec, transaction, genesis, genesis, (), (), (), None, ());
    let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implicit);
    let signature: Signature = payload.using_encoded(|bytes| alice.pair().sign(bytes)).into();
    let extrinsic =
        UncheckedExtrinsic::new_signed(call, alice.to_account_id().into(), signature, extension);
    let bytes = hex::encode_prefixed(extrinsic.encode());
    node.call("author_submitExtrinsic", json!([bytes])).expect("the pool takes it");
}

fn sudo(node: &Running, call: RuntimeCall) {
    submit(node, RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(call) }));
}

fn ask<T: serde::de::DeserializeOwned>(node: &Running, method: &str, params: Value) -> T {
    let answer = node.call(method, params).unwrap_or_else(|e| panic!("{method}: {e}"));
    serde_json::from_value(answer).unwrap_or_else(|e| panic!("{method}: {e}"))
}

/// Joins the chain to the portal, from the last block on.
fn join(node: &Running, anvil: &Anvil) -> L1Ref {
    let start = anvil.head();
    let config = L1Config {
        chain_id: CHAIN,
        portal: PORTAL,
        bridge: H160::repeat_byte(2),
        messenger: H160::repeat_byte(3),
        token: H160::repeat_byte(4),
        start,
    };
    sudo(node, RuntimeCall::Settlement(pallet_settlement::Call::configure { config }));
    wait(node, "the portal", |state| !state["config"].is_null());
    start
}

fn state(node: &Running) -> Value {
    ask(node, "settlement_state", json!([]))
}

fn origin(node: &Running) -> u64 {
    state(node)["origin"]["number"].as_u64().unwrap_or_default()
}

/// Waits until the bridge's state is as wanted.
fn wait(node: &Running, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let state = state(node);
        if wanted(&state) {
            return state;
        }
        assert!(start.elapsed() < LIMIT, "{what} never came: {state}");
        thread::sleep(Duration::from_millis(500));
    }
}

/// A development chain's only validator.
fn author(anvil: &Anvil) -> Running {
    Running::start(&["--dev", "--l1-rpc", &anvil.url(), "--l1-poll-ms", "500", "-ll1=debug"])
}

/// A node of the same chain that imports what the author makes.
fn importer(author: &Running, anvil: &Anvil) -> Running {
    let addresses: Vec<String> = ask(author, "system_localListenAddresses", json!([]));
    let local = addresses.iter().find(|address| address.starts_with("/ip4/127.0.0.1/tcp"));
    let local = local.unwrap_or_else(|| panic!("none of {addresses:?} is local"));
    Running::start(&[
        "--chain",
        "dev",
        "--tmp",
        "--no-mdns",
        "--reserved-only",
        "--reserved-nodes",
        local,
        "--l1-rpc",
        &anvil.url(),
        "--l1-poll-ms",
        "500",
        "-ll1=debug",
    ])
}

#[test]
fn a_lying_author_is_refused_by_honest_importers() {
    // GIVEN two Ethereums with the same chain id, an author who follows the one, an importer who
    // follows the same, and one who follows the other.
    let (anvil, other) = (Anvil::start(1_700_000_000), Anvil::start(1_700_000_007));
    let author = author(&anvil);
    let (agreeing, honest) = (importer(&author, &anvil), importer(&author, &other));
    for node in [&agreeing, &honest] {
        node.wait_for("chain_getBlockHash", 1, LIMIT);
    }
    let start = join(&author, &anvil);
    wait(&honest, "the portal", |state| !state["config"].is_null());

    // WHEN the author's Ethereum finalises blocks, and so does the other, as many.
    for anvil in [&anvil, &other] {
        anvil.mine(10 + UNTIL_FINAL);
    }
    let state = wait(&author, "a new origin", |state| state["origin"]["number"] != start.number);
    let lie = state["origin"]["hash"].as_str().expect("it is text").to_string();

    // THEN the one who sees the same block accepts it, and the other names both hashes.
    wait(&agreeing, "a new origin", |state| state["origin"]["number"] != start.number);
    let line = honest.wait_for_log("the author says", LIMIT_OF_REFUSAL);
    assert!(line.contains(&lie) && line.contains("but it is"), "{line}");

    // AND never builds on it.
    let stuck = honest.height("chain_getBlockHash").expect("it has a head");
    let ahead = agreeing.height("chain_getBlockHash").expect("it has a head");
    agreeing.wait_for("chain_getBlockHash", ahead + 3, LIMIT);
    assert_eq!(origin(&honest), start.number);
    assert_eq!(honest.height("chain_getBlockHash"), Some(stuck));
    assert!(origin(&agreeing) > start.number);
}

/// The block has been imported elsewhere by then.
const LIMIT_OF_REFUSAL: Duration = Duration::from_secs(60);

#[test]
fn deposits_come_in_withdrawals_are_proven_and_ethereum_may_go_away() {
    let mut anvil = Anvil::start(1_700_000_000);
    let author = author(&anvil);
    author.wait_for("chain_getBlockHash", 1, LIMIT);
    let start = join(&author, &anvil);

    // The origin moves while there is no deposit.
    anvil.mine(1 + UNTIL_FINAL);
    wait(&author, "a new origin", |state| state["origin"]["number"] != start.number);

    // Three deposits, of which the third is for nobody; each is executed once.
    let deposit = |to: H160, text: &str| {
        let data = DepositData {
            mint: 0.into(),
            value: 0.into(),
            gas_limit: 100_000,
            is_creation: false,
            data: text.as_bytes().to_vec(),
        };
        Deposit { from: H160::repeat_byte(0xaa), to, version: 0.into(), opaque_data: data.encode() }
    };
    for (to, text) in [(L2_NOTES, "one"), (L2_NOTES, "two"), (H160::repeat_byte(9), "three")] {
        anvil.deposit(deposit(to, text));
    }
    anvil.mine(UNTIL_FINAL);
    let state = wait(&author, "the third deposit", |state| state["executed"] == 3);
    assert_eq!(state["known"], 3);
    let rolled: H256 = serde_json::from_value(state["deposits_hash"].clone()).expect("a hash");
    assert_eq!(rolled, rolling(anvil.made.iter()));

    // A withdrawal, and its proof.
    let to = H160::repeat_byte(0x52);
    let amount = 10 * tributary_primitives::OPEN;
    submit(&author, RuntimeCall::Settlement(pallet_settlement::Call::withdraw { to, amount }));
    let state = wait(&author, "the withdrawal", |state| state["withdrawals"] == 1);
    let proof: Value = ask(&author, "settlement_withdrawalProof", json!([0]));
    assert_eq!(proof["root"], state["withdrawal_root"]);
    assert_eq!((&proof["index"], &proof["leafCount"]), (&json!(0), &json!(1)));
    let root: H256 = serde_json::from_value(proof["root"].clone()).expect("a hash");
    let withdrawal: Withdrawal =
        serde_json::from_value(proof["withdrawal"].clone()).expect("a withdrawal");
    let bytes: Bytes = serde_json::from_value(proof["proof"].clone()).expect("bytes");
    assert_eq!(bytes.len(), 1_024);
    let mut siblings = [H256::zero(); tree::DEPTH];
    for (sibling, bytes) in siblings.iter_mut().zip(bytes.chunks(32)) {
        *sibling = H256::from_slice(bytes);
    }
    assert!(tree::verify(&root, &withdrawal.hash(), 0, &siblings));

    // Questions without an answer.
    let error = |params: Value| {
        author.call("settlement_withdrawalProof", params).expect_err("there is no such proof")
    };
    let unknown = error(json!([1]));
    assert_eq!((&unknown["code"], &unknown["data"]["withdrawals"]), (&json!(-32_053), &json!(1)));
    let nowhere = error(json!([0, H256::repeat_byte(1)]));
    assert_eq!(
        (&nowhere["code"], &nowhere["data"]["kind"]),
        (&json!(-32_051), &json!("unknownBlock"))
    );
    // At a block from before the withdrawal there is none.
    let genesis: H256 = ask(&author, "chain_getBlockHash", json!([0]));
    assert_eq!(error(json!([0, genesis]))["code"], -32_053);

    // Ethereum goes away: the chain goes on, and the origin stands still.
    let last = origin(&author);
    drop(anvil);
    let height = author.height("chain_getBlockHash").expect("it has a head");
    author.wait_for("chain_getBlockHash", height + 3, LIMIT);
    author.wait_for_log("Following Ethereum failed", LIMIT);
    assert_eq!(origin(&author), last);
}
