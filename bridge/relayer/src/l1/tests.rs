//! Against a real Ethereum node on loopback: anvil, from `bridge/node_modules`. Each test starts its
//! own and stops it by its process id.

use super::*;
use crate::journal::{Journal, State};
use ethers::providers::JsonRpcClient;
use serde_json::{json, Value};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// The first accounts of anvil's well-known mnemonic.
const KEYS: [&str; 2] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
];

struct Anvil {
    child: Child,
    http: String,
    ws: String,
}

impl Anvil {
    async fn start(extra: &[&str]) -> Self {
        // The program itself, not npm's starter, which would leave it behind when it is killed.
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node_modules/@foundry-rs");
        let program = std::fs::read_dir(&packages)
            .into_iter()
            .flatten()
            .flatten()
            .map(|package| package.path().join("bin/anvil"))
            .find(|path| path.is_file())
            .expect("anvil is not there; run `npm ci` in bridge/");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["--silent", "--port", &port.to_string()])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (http, ws) = (format!("http://127.0.0.1:{port}"), format!("ws://127.0.0.1:{port}"));
        let this = Self { child, http, ws };
        let start = Instant::now();
        while L1::connect(&this.http).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "anvil does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        this
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        Transport::new(&self.http).unwrap().request(method, params).await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(index: usize) -> L1Key {
    L1Key::from_hex(KEYS[index]).unwrap()
}

fn policy() -> FeePolicy {
    FeePolicy { bump_after: 2, ..FeePolicy::default() }
}

async fn sender_on(anvil: &Anvil, journal: &Journal) -> Sender {
    let l1 = L1::connect(&anvil.http).await.unwrap();
    Sender::new(l1, key(0), journal.clone(), policy(), 1, Duration::from_millis(20))
}

fn memory() -> Journal {
    Journal::in_memory("31337", key(0).address()).unwrap()
}

fn pay(wei: u64) -> Call {
    Call { to: Some(Address::repeat_byte(0x77)), data: Vec::new(), value: wei.into() }
}

/// Code that always refuses with these bytes: it copies them from behind itself and reverts.
fn refusing(with: &[u8]) -> Vec<u8> {
    let length = u8::try_from(with.len()).unwrap();
    let runtime =
        [&[0x60, length, 0x60, 0x0c, 0x60, 0x00, 0x39, 0x60, length, 0x60, 0x00, 0xfd][..], with]
            .concat();
    let size = u8::try_from(runtime.len()).unwrap();
    // PUSH1 size DUP1 PUSH1 0x0b PUSH1 0 CODECOPY PUSH1 0 RETURN
    let create = [0x60, size, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
    [&create[..], &runtime].concat()
}

#[tokio::test]
async fn both_transports_read_the_chain() {
    let anvil = Anvil::start(&[]).await;
    for url in [&anvil.http, &anvil.ws] {
        let l1 = L1::connect(url).await.unwrap();
        assert_eq!(l1.chain_id(), 31_337);
        let head = l1.head(At::Latest).await.unwrap();
        assert_eq!(l1.head(At::Number(head.number)).await.unwrap(), head);
        assert!(l1.balance(key(0).address()).await.unwrap() > U256::from(1_000_000));
        assert!(matches!(
            l1.expect_contract("Portal", Address::repeat_byte(1)).await,
            Err(L1Error::NoContract { .. })
        ));
        let refused: Result<Value, _> =
            Transport::new(url).unwrap().request("eth_noSuchThing", ()).await;
        assert!(matches!(refused, Err(TransportError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_purpose_is_paid_once() {
    let anvil = Anvil::start(&[]).await;
    let journal = memory();
    let sender = sender_on(&anvil, &journal).await;
    let to = pay(5).to.unwrap();
    let first = sender.execute("gift", &pay(5), || async { Ok(true) }).await.unwrap();
    let again = sender.execute("gift", &pay(5), || async { Ok(true) }).await.unwrap();
    assert_eq!(first, again);
    assert!(matches!(first, Outcome::Mined(mined) if mined.gas_used == 21_000));
    assert_eq!(sender.l1().balance(to).await.unwrap(), 5.into());

    // Many at once, each with a nonce of its own.
    let all = (0..8).map(|index| {
        let sender = sender.clone();
        async move {
            let purpose = format!("gift/{index}");
            sender.execute(&purpose, &pay(1), || async { Ok(true) }).await.unwrap()
        }
    });
    assert!(futures::future::join_all(all).await.iter().all(Outcome::is_done));
    assert_eq!(sender.l1().balance(to).await.unwrap(), 13.into());
    assert_eq!(sender.l1().nonce(sender.address()).await.unwrap(), 9);

    let otherwise = sender.execute("no need", &pay(1), || async { Ok(false) }).await.unwrap();
    assert!(matches!(otherwise, Outcome::Otherwise(_)));
    assert_eq!(sender.l1().nonce(sender.address()).await.unwrap(), 9);
}

#[tokio::test]
async fn refusals_cost_nothing_and_have_names() {
    let anvil = Anvil::start(&[]).await;
    let journal = memory();
    let sender = sender_on(&anvil, &journal).await;
    let mut refusals = Vec::new();
    for error in ["ClockNotExpired()", "BeefyAnchor_OldBlock()"] {
        let selector = &keccak256(error.as_bytes())[..4];
        let create = Call { to: None, data: refusing(selector), value: U256::zero() };
        let outcome = sender.execute(error, &create, || async { Ok(true) }).await.unwrap();
        let Outcome::Mined(mined) = outcome else { panic!("{outcome:?}") };
        let at = sender.l1().receipt(mined.hash).await.unwrap().unwrap().created.unwrap();
        let call = Call { to: Some(at), data: vec![1, 2, 3, 4], value: U256::zero() };
        let simulated = sender.l1().simulate(&call, sender.address(), At::Latest).await;
        let name = simulated.unwrap_err().revert().unwrap().name.clone();
        assert!(error.starts_with(&name), "{name}");
        let purpose = format!("call {error}");
        refusals.push(sender.execute(&purpose, &call, || async { Ok(true) }).await.unwrap());
    }
    assert!(matches!(&refusals[0], Outcome::Refused(revert) if revert.name == "ClockNotExpired"));
    // Somebody else was first: that is as good as done.
    assert!(matches!(&refusals[1], Outcome::Otherwise(note) if note.contains("OldBlock")));
    assert_eq!(sender.l1().nonce(sender.address()).await.unwrap(), 2);
}

#[tokio::test]
async fn what_is_in_no_block_is_offered_dearer() {
    let anvil = Anvil::start(&["--no-mining"]).await;
    let journal = memory();
    let sender = sender_on(&anvil, &journal).await;
    let waiting = {
        let sender = sender.clone();
        tokio::spawn(async move { sender.execute("slow", &pay(3), || async { Ok(true) }).await })
    };
    let start = Instant::now();
    while journal.attempts("slow").unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two blocks go by without it: the pool is emptied before each.
    for _ in 0..2 {
        anvil.ask("anvil_dropAllTransactions", json!([])).await;
        anvil.ask("evm_mine", json!([])).await;
    }
    while journal.attempts("slow").unwrap().len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let attempts = journal.attempts("slow").unwrap();
    for pair in attempts.windows(2) {
        assert!(pair[1].fees.max_fee > pair[0].fees.max_fee * 9 / 8);
        assert!(pair[1].fees.tip > pair[0].fees.tip * 9 / 8);
    }
    anvil.ask("evm_mine", json!([])).await;
    let outcome = waiting.await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Mined(mined) if mined.hash != attempts[0].hash));
    assert_eq!(sender.l1().balance(pay(3).to.unwrap()).await.unwrap(), 3.into());
}

#[tokio::test]
async fn what_is_needed_no_longer_is_replaced_by_nothing() {
    let anvil = Anvil::start(&["--no-mining"]).await;
    let journal = memory();
    let sender = sender_on(&anvil, &journal).await;
    // Needed when it is sent, no longer when the offer is raised.
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let waiting = {
        let (sender, asked) = (sender.clone(), asked.clone());
        tokio::spawn(async move {
            let needed = || {
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                async move { Ok(first) }
            };
            sender.execute("race", &pay(3), needed).await
        })
    };
    let start = Instant::now();
    while journal.attempts("race").unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        anvil.ask("anvil_dropAllTransactions", json!([])).await;
        anvil.ask("evm_mine", json!([])).await;
    }
    while !journal.attempts("race").unwrap().iter().any(|attempt| attempt.cancels) {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anvil.ask("evm_mine", json!([])).await;
    assert!(matches!(waiting.await.unwrap().unwrap(), Outcome::Otherwise(_)));
    assert!(sender.l1().balance(pay(3).to.unwrap()).await.unwrap().is_zero());
    assert_eq!(sender.l1().nonce(sender.address()).await.unwrap(), 1);
}

/// The process dies after each of the steps of a payment; the next one goes on from the journal.
#[tokio::test]
async fn a_restart_at_any_point_pays_once() {
    let anvil = Anvil::start(&["--no-mining"]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let open = || Journal::open(&path, "31337", key(0).address()).unwrap();
    let to = pay(1).to.unwrap();

    // After the intent, before a nonce.
    open().intend("early", &pay(1)).unwrap();

    // After the signed bytes were written; whether they left is not known.
    let journal = open();
    let sender = sender_on(&anvil, &journal).await;
    let task = {
        let sender = sender.clone();
        tokio::spawn(async move { sender.execute("late", &pay(10), || async { Ok(true) }).await })
    };
    let start = Instant::now();
    while journal.attempts("late").unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    drop((task, sender, journal));
    anvil.ask("anvil_dropAllTransactions", json!([])).await;

    let journal = open();
    let sender = sender_on(&anvil, &journal).await;
    assert_eq!(sender.resume().await.unwrap(), ["late"]);
    let before = journal.attempts("late").unwrap();
    assert_eq!(before.len(), 1);
    let early = pay(1);
    let both = async {
        tokio::join!(sender.settle("late"), sender.execute("early", &early, || async { Ok(true) }),)
    };
    let mining = async {
        loop {
            anvil.ask("evm_mine", json!([])).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (late, early) = tokio::select! {
        ended = both => ended,
        () = mining => unreachable!("mining never ends"),
    };
    assert!(matches!(late.unwrap(), Outcome::Mined(_)));
    assert!(matches!(early.unwrap(), Outcome::Mined(_)));
    assert_eq!(sender.l1().balance(to).await.unwrap(), 11.into());

    // After it was mined, before that was noted: the same bytes are found in their block.
    drop((sender, journal));
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE transactions SET state = 'sent', mined = NULL WHERE purpose = 'late'", [])
        .unwrap();
    drop(raw);
    let journal = open();
    let sender = sender_on(&anvil, &journal).await;
    sender.resume().await.unwrap();
    assert!(matches!(sender.settle("late").await.unwrap(), Outcome::Mined(_)));
    assert_eq!(sender.l1().balance(to).await.unwrap(), 11.into());
    assert_eq!(sender.l1().nonce(sender.address()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_nonce_that_went_elsewhere_is_no_dead_end() {
    let anvil = Anvil::start(&["--no-mining"]).await;
    let journal = memory();
    let sender = sender_on(&anvil, &journal).await;
    let task = {
        let sender = sender.clone();
        tokio::spawn(async move { sender.execute("mine", &pay(4), || async { Ok(true) }).await })
    };
    let start = Instant::now();
    while journal.attempts("mine").unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The same account sends something else, with the same nonce, from elsewhere.
    anvil.ask("anvil_dropAllTransactions", json!([])).await;
    let elsewhere = sender_on(&anvil, &memory()).await;
    let other = {
        let elsewhere = elsewhere.clone();
        tokio::spawn(
            async move { elsewhere.execute("other", &pay(100), || async { Ok(true) }).await },
        )
    };
    while elsewhere.journal().attempts("other").unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anvil.ask("evm_mine", json!([])).await;
    let other = other.await.unwrap().unwrap();
    assert!(matches!(other, Outcome::Mined(_)), "{other:?}");
    let mining = async {
        loop {
            anvil.ask("evm_mine", json!([])).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mine = tokio::select! {
        ended = task => ended.unwrap().unwrap(),
        () = mining => unreachable!("mining never ends"),
    };
    assert!(matches!(mine, Outcome::Mined(_)), "{mine:?}");
    assert_eq!(sender.l1().balance(pay(1).to.unwrap()).await.unwrap(), 104.into());
    assert_eq!(journal.entry("mine").unwrap().unwrap().state, State::Done);
}

#[tokio::test]
async fn who_cannot_pay_is_told_so() {
    let anvil = Anvil::start(&[]).await;
    let l1 = L1::connect(&anvil.http).await.unwrap();
    let poor = L1Key::generate();
    let journal = Journal::in_memory("31337", poor.address()).unwrap();
    let sender = Sender::new(l1, poor, journal, policy(), 1, Duration::from_millis(20));
    let call = Call { value: U256::zero(), ..pay(0) };
    let error = sender.execute("x", &call, || async { Ok(true) }).await.unwrap_err();
    assert!(matches!(error, L1Error::Poor { .. }), "{error}");

    let l1 = L1::connect(&anvil.http).await.unwrap();
    let low = FeePolicy { max_fee: 1.into(), ..policy() };
    let sender = Sender::new(l1, key(0), memory(), low, 1, Duration::from_millis(20));
    let error = sender.execute("x", &call, || async { Ok(true) }).await.unwrap_err();
    assert!(matches!(error, L1Error::FeeAboveLimit { .. }), "{error}");
}
