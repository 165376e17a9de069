//! Out and back: OPEN comes from Ethereum, is spent here, and goes back, across two handovers of
//! authority, with the relayer killed at every stage and, later, with two of them racing.

use anyhow::{ensure, Context, Result};
use std::time::{Duration, Instant};
use tributary_client::{keys::parse_address, Chain};
use tributary_e2e::{
    cli::{number, text},
    l1::{Account, Anvil, Bridge, Relayer},
    stack::{Node, Stack},
};
use tributary_primitives::{CAP, OPEN};
use tributary_relayer::l1::{Address, Contracts, U256};

/// How long any one stage may take: a session is a minute.
const STAGE: Duration = Duration::from_secs(180);

/// What is on Ethereum outside the bridge never exceeds what the chain counts as outside, and both
/// chains together never exceed the cap. The chain is read first: a deposit that comes in between
/// makes the other side smaller.
async fn conserved(chain: &Chain, contracts: &Contracts, when: &str) -> Result<()> {
    let supply = chain.token().supply().await?;
    let all = contracts.open_supply().await?;
    let locked = contracts.open_balance(contracts.addresses().bridge).await?;
    let outside = (all - locked).as_u128();
    ensure!(outside <= supply.outside, "{when}: {outside} outside, at most {}", supply.outside);
    ensure!(supply.issuance + outside <= CAP, "{when}: {} + {outside}", supply.issuance);
    Ok(())
}

/// Every transaction of the account is one that its journal knows, however often it was killed.
fn paid_once(relayer: &Relayer, sent: u64) -> Result<()> {
    let journal = relayer.journal()?;
    let entries = journal.entries("")?;
    let known: u64 =
        entries.iter().map(|entry| u64::from(entry.mined.is_some()) + u64::from(entry.tries)).sum();
    // Of those under way nobody can say yet.
    let open = journal.open_entries()?.len() as u64;
    ensure!(
        (known..=known + open).contains(&sent),
        "{sent} transactions were sent, {known} are known and {open} under way: {entries:#?}"
    );
    Ok(())
}

pub async fn open_goes_out_and_comes_back_whatever_dies() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("run");
    std::fs::create_dir_all(dir.join("store"))?;
    let anvil = Anvil::start(&dir, 1).await?;
    let follow = [format!("--l1-rpc={}", anvil.http), "--l1-poll-ms=500".to_string()];
    let node = Node::start_with(&dir, &follow).await?;
    let chain = Chain::connect(&node.ws).await?;
    let stack = Stack {
        dir: dir.clone(),
        worker_node: node.ws.clone(),
        store: format!("file://{}", dir.join("store").display()),
        chain: chain.clone(),
        worker: None,
        node,
    };
    // Finality must have begun: the deployment takes the validators from a final block.
    chain.wait_for_block(3).await?;
    while chain.finalized().await?.number == 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let bridge = Bridge::deploy(&dir, anvil, &stack.node.ws).await?;
    let contracts = bridge.contracts().await?;
    let first_set = contracts.anchor_state().await?.current.id;
    conserved(&chain, &contracts, "after the deployment").await?;

    let payer = Account::Relayer.key()?.address();
    let sent_before = contracts.l1().nonce(payer).await?;
    let relayer = bridge.relayer(Account::Relayer).await?;
    let relayer = relayer.kill_at(&bridge, "anchor/", STAGE).await?;

    // In: the treasury sends OPEN to a new account.
    let carol = stack.cli("carol");
    let made = carol.run(&["key", "new", "default"]).await?;
    let account = parse_address(&text(&made, "/address")?)?;
    let addresses = bridge.addresses.display().to_string();
    let l1 = ["--l1-rpc", bridge.anvil.http.as_str(), "--l1-addresses", addresses.as_str()];
    let (key, words) = Account::Treasury.files(&dir.join("keys"))?;
    let (key, words) = (key.display().to_string(), words.display().to_string());
    let pay = ["--l1-key-file", &key, "--l1-password-file", &words, "--confirmations", "1"];
    let arguments =
        [&["bridge", "deposit", "--amount", "1000", "--wait"][..], &l1[..], &pay[..]].concat();
    let deposit = carol.run(&arguments).await?;
    ensure!(number(&deposit, "/deposit")? == 0, "the first deposit has another number: {deposit}");
    ensure!(chain.balance(&account).await?.free == 1_000 * OPEN, "not credited exactly once");
    conserved(&chain, &contracts, "after the deposit").await?;

    // Spent here.
    let dave = stack.cli("dave").run(&["key", "new", "default"]).await?;
    carol.run(&["transfer", &text(&dave, "/address")?, "250"]).await?;
    conserved(&chain, &contracts, "after the transfer").await?;

    // Out: to an address that nobody has used.
    let to = Address::repeat_byte(0x5a);
    let there = format!("{to:?}");
    let withdraw = carol.run(&["bridge", "withdraw", "--amount", "400", "--to", &there]).await?;
    let index = number(&withdraw, "/withdrawal")?;
    conserved(&chain, &contracts, "after the withdrawal began").await?;
    let mut relayer = relayer;
    for stage in ["propose/", "prove-game/", "prove/", "resolve/", "credit/", "finalize/"] {
        relayer =
            relayer.kill_at(&bridge, stage, STAGE).await.with_context(|| stage.to_string())?;
        conserved(&chain, &contracts, stage).await?;
    }
    let place = index.to_string();
    let arguments = [&["bridge", "status", &place, "--wait"][..], &l1[..]].concat();
    let end = tokio::time::timeout(STAGE, carol.run(&arguments)).await??;
    ensure!(text(&end, "/step")? == "finalized", "{end}");
    ensure!(contracts.open_balance(to).await? == U256::from(400 * OPEN), "not paid exactly once");
    conserved(&chain, &contracts, "after the withdrawal ended").await?;

    relayer.process.stop(Duration::from_secs(15))?;
    let sent = contracts.l1().nonce(payer).await? - sent_before;
    paid_once(&relayer, sent)?;

    // Two relayers race for the next one.
    let mut relayer = bridge.relayer(Account::Relayer).await?;
    let mut rival = bridge.relayer(Account::Rival).await?;
    let withdraw = carol.run(&["bridge", "withdraw", "--amount", "100", "--to", &there]).await?;
    let place = number(&withdraw, "/withdrawal")?.to_string();
    let arguments = [&["bridge", "status", &place, "--wait"][..], &l1[..]].concat();
    tokio::time::timeout(2 * STAGE, carol.run(&arguments)).await??;
    ensure!(contracts.open_balance(to).await? == U256::from(500 * OPEN), "not paid exactly once");
    rival.process.check()?;

    // Two handovers of authority.
    let start = Instant::now();
    while contracts.anchor_state().await?.current.id < first_set + 2 {
        ensure!(start.elapsed() < STAGE, "no second handover:\n{}", relayer.process.tail(40));
        relayer.process.check()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    conserved(&chain, &contracts, "after two handovers").await?;
    relayer.process.stop(Duration::from_secs(15))?;
    rival.process.stop(Duration::from_secs(15))?;
    Ok(())
}
