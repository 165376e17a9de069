//! What the watch of the relayer does about lies, with the real node, Ethereum and relayer. One chain
//! carries all scenes: an offence is told from another by set, block and kind, and a chain whose only
//! validator is slashed goes on, since there is nobody to take its place.
//!
//! What ends what decides the order. A root that the anchor took can only be followed by that of a
//! later block, so that the lie about the far future is told to an anchor of its own; and a frozen
//! anchor takes nothing and decides nothing.

use super::liar::{Liar, Lie};
use anyhow::{bail, ensure, Context, Result};
use std::time::{Duration, Instant};
use tributary_client::Chain;
use tributary_e2e::{
    l1::{Account, Anvil, Bridge, Relayer},
    stack::Node,
};
use tributary_primitives::H256;
use tributary_relayer::{
    l1::{Contracts, Game, GameStatus},
    l2::L2,
};

/// How long any one step may take: a session is a minute.
const STEP: Duration = Duration::from_secs(150);

/// What the chain took for an offence: the set, the block, and how it was voted for.
type Offence = (u64, u32, u8);
/// `pallet-beefy`'s numbers for the ways.
const DOUBLE: u8 = 1;
const FORK: u8 = 2;
const FUTURE: u8 = 3;

/// Looks until something is there.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if start.elapsed() > STEP {
            bail!("no {what} within {STEP:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Reads the chain's blocks for offences.
struct Offences {
    chain: Chain,
    next: u32,
    seen: Vec<Offence>,
}

impl Offences {
    /// Reads blocks that came since the last look.
    async fn look(&mut self) -> Result<()> {
        let best = self.chain.best().await?.number;
        while self.next <= best {
            let events = self.chain.events_at(self.chain.block_hash(self.next).await?).await?;
            for event in events.iter().filter(|event| event.is("Offences", "Offence")) {
                let (kind, slot): ([u8; 16], Vec<u8>) = event.decode()?;
                ensure!(&kind == b"beefy:equivocati", "an offence of another kind: {}", event.text);
                let mut slashes = events.iter().filter(|other| {
                    other.is("Staking", "SlashReported") && other.extrinsic == event.extrinsic
                });
                ensure!(slashes.next().is_some(), "an offence without a slash: {}", event.text);
                self.seen.push(codec::DecodeAll::decode_all(&mut slot.as_slice())?);
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Waits for an offence, which a relayer must report.
    async fn wait(&mut self, offence: Offence, by: &mut Relayer) -> Result<()> {
        let found = until(&format!("offence {offence:?}"), async || {
            self.look().await?;
            by.process.check()?;
            Ok(self.seen.contains(&offence).then_some(()))
        })
        .await;
        found
            .with_context(|| format!("seen {:?}; the relayer:\n{}", self.seen, by.process.tail(30)))
    }
}

/// A block that is final, that the validators did not sign, and that the anchor could still take.
async fn unsigned_block(l2: &L2, contracts: &Contracts) -> Result<(u64, u32)> {
    until("block that was not signed", async || {
        let state = contracts.anchor_state().await?;
        let head = l2.chain().finalized().await?.number;
        for block in (state.latest_block + 1).max(2)..head {
            if l2.signed(l2.chain().block_hash(block).await?).await?.is_none() {
                return Ok(Some((state.current.id, block)));
            }
        }
        Ok(None)
    })
    .await
}

/// Makes lies until one is anchored. The honest relayer may be faster with a newer block; then the
/// next lie is about a newer one still.
async fn anchored(invent: impl AsyncFn() -> Result<Option<Lie>>, liar: &Liar) -> Result<Lie> {
    let mut refusals = Vec::new();
    until("false anchor", async || {
        let attempt = async {
            let lie = invent().await?;
            if let Some(lie) = &lie {
                liar.anchor(lie).await?;
            }
            Ok::<_, anyhow::Error>(lie)
        };
        Ok(attempt.await.unwrap_or_else(|error| {
            refusals.push(format!("{error:#}"));
            None
        }))
    })
    .await
    .with_context(|| format!("{refusals:#?}"))
}

/// Another history of a block that is old and that nobody signed.
async fn fork(l2: &L2, liar: &Liar, contracts: &Contracts) -> Result<Option<Lie>> {
    let (set, block) = unsigned_block(l2, contracts).await?;
    Ok(Some(liar.invent(set, block).await?))
}

/// Another history of a block that the validators have just signed.
async fn newly_signed(l2: &L2, liar: &Liar, contracts: &Contracts) -> Result<Option<Lie>> {
    let latest = contracts.latest_anchored().await?;
    let Some(head) = l2.signed_head().await?.filter(|head| head.number > latest) else {
        return Ok(None);
    };
    let Some(signed) = l2.signed(head.hash).await? else { return Ok(None) };
    let lie = liar.invent(signed.set, signed.block).await?;
    ensure!(lie.root != signed.root, "the lie is no lie");
    Ok(Some(lie))
}

/// Waits until a false game is decided against its proposer, with both bonds paid to the relayer.
async fn lost(contracts: &Contracts, game: &Game, relayer: &mut Relayer) -> Result<()> {
    let challenger = Account::Relayer.key()?.address();
    let paid = format!("credit/{:?}", game.address);
    until(&format!("end of game {}", game.index), async || {
        relayer.process.check()?;
        let now = contracts.game(game.index).await?.context("the game is gone")?;
        let doubted = now.challenger == Some(challenger) && !now.attested;
        if now.status == GameStatus::InProgress {
            return Ok(None);
        }
        ensure!(doubted && now.status == GameStatus::ChallengerWins, "{now:?}");
        let entry = relayer.journal()?.entry(&paid)?;
        Ok(entry.filter(|entry| entry.mined.is_some()).map(|_| ()))
    })
    .await
    .with_context(|| relayer.process.tail(30))?;
    let left = contracts.l1().balance(game.address).await?;
    ensure!(left.is_zero(), "{left} wei of the bonds are still there");
    Ok(())
}

pub async fn lies_are_found_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    let anvil = Anvil::start(dir, 1).await?;
    let follow = [format!("--l1-rpc={}", anvil.http), "--l1-poll-ms=500".to_string()];
    let node = Node::start_with(dir, &follow).await?;
    let l2 = L2::new(Chain::connect(&node.ws).await?);
    until("final block", async || Ok((l2.chain().finalized().await?.number > 0).then_some(())))
        .await?;
    let bridge = Bridge::deploy(dir, anvil, &node.ws).await?;
    let beside = bridge.deploy_beside("beside").await?;
    let contracts = bridge.contracts().await?;
    let liar = Liar::new(contracts.clone(), Account::Treasury)?;
    let mut offences = Offences { chain: l2.chain().clone(), next: 1, seen: vec![] };

    // An old block with another root, which nobody else has signed.
    let reporter = |command: &mut std::process::Command| {
        command.env("TRIBUTARY_REPORTER_KEY", "//Bob");
    };
    let mut relayer =
        bridge.relayer_for(Account::Relayer, "run", &bridge.addresses, reporter).await?;
    let lie = anchored(|| fork(&l2, &liar, &contracts), &liar).await?;
    offences.wait((lie.set, lie.block, FORK), &mut relayer).await?;
    ensure!(!contracts.frozen().await?, "one quorum alone contradicts nobody");

    // Two games about what is not so: one that nobody proves, and one that is proven under the lie
    // and cannot be proven again, since the next anchor is an honest one.
    let known = l2.chain().finalized().await?.number - 1;
    let unproven = liar.propose(H256::repeat_byte(0xcc), known).await?;
    let proven = liar.propose(lie.leaf.output_root(), lie.leaf.parent_number).await?;
    liar.prove(&proven, &lie).await?;

    // Meanwhile: a block that is far from being made.
    let far = bridge.contracts_at(&beside).await?;
    let dreamer = Liar::new(far.clone(), Account::Guardian)?;
    let mut second = bridge
        .relayer_for(Account::Rival, "watch", &beside, |command| {
            command.env("TRIBUTARY_REPORTER_KEY", "//Charlie");
        })
        .await?;
    let set = far.anchor_state().await?.current.id;
    let dream = dreamer.invent(set, l2.chain().best().await?.number + 10_000).await?;
    dreamer.anchor(&dream).await?;
    offences.wait((dream.set, dream.block, FUTURE), &mut second).await?;

    lost(&contracts, &unproven, &mut relayer).await?;
    lost(&contracts, &proven, &mut relayer).await?;
    let proven = contracts.game(proven.index).await?.context("the game is gone")?;
    ensure!(proven.proven, "it was not proven");

    // Two quorums for one block. Nothing else may be anchored meanwhile; what the relayer sent
    // before it was stopped may still be mined, and then a newer block is taken.
    relayer.process.stop(Duration::from_secs(15))?;
    let mut relayer =
        bridge.relayer_for(Account::Relayer, "watch", &bridge.addresses, reporter).await?;
    let lie = anchored(|| newly_signed(&l2, &liar, &contracts), &liar).await?;
    until("freeze", async || Ok(contracts.frozen().await?.then_some(())))
        .await
        .with_context(|| relayer.process.tail(30))?;
    offences.wait((lie.set, lie.block, DOUBLE), &mut relayer).await?;

    // The same validator on another chain of the same beginning, which a relayer hears of.
    second.process.stop(Duration::from_secs(15))?;
    let other = dir.join("other");
    std::fs::create_dir_all(&other)?;
    let elsewhere = Node::start_with(&other, &[]).await?;
    offences.look().await?;
    let before = offences.seen.len();
    let mut second = bridge
        .relayer_for(Account::Rival, "watch", &beside, |command| {
            command.env("TRIBUTARY_REPORTER_KEY", "//Charlie");
            command.args(["--also-listen", &elsewhere.ws]);
        })
        .await?;
    let (set, block, kind) = until("offence on the other chain", async || {
        second.process.check()?;
        offences.look().await?;
        Ok(offences.seen.get(before).copied())
    })
    .await
    .with_context(|| second.process.tail(30))?;
    let there = L2::new(Chain::connect(&elsewhere.ws).await?);
    let theirs = there.signed(there.chain().block_hash(block).await?).await?;
    let theirs = theirs.context("it was not signed there")?;
    let ours = l2.own_root(l2.chain().block_hash(block).await?).await?;
    ensure!(theirs.set == set && Some(theirs.root) != ours, "{theirs:?}, here {ours:?}");
    ensure!([DOUBLE, FORK].contains(&kind), "of kind {kind}");
    Ok(())
}
