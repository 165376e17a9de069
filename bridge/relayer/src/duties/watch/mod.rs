//! `watch`: compares with its own node what others say of the chain, and raises the alarm where it
//! can be raised.
//!
//! - Two commitments for one block with different roots, from any node that is listened to or from
//!   the anchor itself: the anchor is frozen ([`Contracts::report_conflict`]), and each validator
//!   who signed both is reported on the chain for voting twice.
//! - A signed root that is not this node's: its signers are reported on the chain for voting for a
//!   fork, or for a block that does not exist yet.
//! - A game whose claim is not what this node has: it is challenged.
//!
//! A validator is reported by a proof that the key was its own in that session, for which a node
//! needs the state of a block of that session. One that keeps little state can report on the last
//! sessions alone.
//!
//! [`Contracts::report_conflict`]: crate::l1::Contracts::report_conflict

mod evidence;
mod report;

use self::{
    evidence::Said,
    report::{accuse, contradiction, standing, Standing},
};
use super::{propose::newest_games, Relay};
use crate::{
    error::{RelayerError, Result},
    l1::{from_b256, to_b256, At, Game, GameStatus},
    l2::{Signed, L2},
};
use std::{collections::VecDeque, time::Duration};

/// Ethereum blocks that are searched at a time.
const LOG_RANGE: u64 = 2_000;
/// The Ethereum block from which on anchored roots are yet to be compared.
const CURSOR: &str = "watched_l1_block";
/// Sets whose commitments are kept to compare later ones with.
const KEPT_SETS: u64 = 8;
/// Justifications of one node that wait until they can be compared.
const KEPT_WAITING: usize = 64;
/// Games that are looked at.
const LOOK_BACK: u64 = 64;
/// Pause before a broken stream of justifications is asked for again, and before those that wait
/// are looked at again.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether there is more to be done about what somebody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No.
    Settled,
    /// It must be looked at again when this node has come further.
    NotYet,
}

/// Listens to what one node says the validators signed, for ever.
pub async fn listen(relay: &Relay, node: &L2) {
    let mut waiting = VecDeque::new();
    loop {
        match node.chain().beefy_justifications().await {
            Ok(mut stream) => loop {
                match tokio::time::timeout(PAUSE, stream.next()).await {
                    Ok(Some(raw)) => waiting.push_back(raw),
                    Ok(None) => break,
                    Err(_) => {}
                }
                weigh(relay, node, &mut waiting).await;
            },
            Err(error) => tracing::warn!(node = node.chain().url(), %error, "cannot listen"),
        }
        weigh(relay, node, &mut waiting).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks at every justification that waits; those that cannot be compared yet go on waiting.
async fn weigh(relay: &Relay, node: &L2, waiting: &mut VecDeque<Vec<u8>>) {
    for _ in 0..waiting.len() {
        let Some(raw) = waiting.pop_front() else { return };
        match heard(relay, &raw).await {
            Ok(Verdict::Settled) => {}
            Ok(Verdict::NotYet) => waiting.push_back(raw),
            Err(error) => {
                relay.metrics.error(error.label());
                let again = error.may_pass();
                tracing::warn!(node = node.chain().url(), %error, again, "about a justification");
                if again {
                    waiting.push_back(raw);
                }
            }
        }
    }
    while waiting.len() > KEPT_WAITING {
        waiting.pop_front();
        tracing::warn!(node = node.chain().url(), "too many justifications wait; one is left out");
    }
}

async fn heard(relay: &Relay, raw: &[u8]) -> Result<Verdict> {
    let signed = Signed::read(raw)?;
    let Some(session) = relay.l2.session(signed.set).await? else {
        let current = relay.l2.current_set().await?;
        if signed.set <= current.saturating_add(1) {
            return Ok(Verdict::NotYet);
        }
        let what = format!("a justification of set {}", signed.set);
        return Err(RelayerError::unusable(what, format!("it is set {current}'s turn")));
    };
    // Only what a quorum of this chain's validators signed is kept.
    signed.for_anchor(&session.set)?;
    let journal = relay.sender.journal();
    let other = journal.commitment(signed.set, signed.block, to_b256(signed.root), raw)?;
    let current = relay.l2.current_set().await?;
    journal.forget_commitments(current.saturating_sub(KEPT_SETS))?;
    let (block, root) = (signed.block, signed.root);
    let said = Said::Signed(signed);
    if let Some(other) = other {
        let other = Said::Signed(Signed::read(&other)?);
        contradiction(relay, &other, &said, &session).await?;
        return Ok(Verdict::Settled);
    }
    accuse(relay, &said, standing(relay, block, root).await?).await
}

/// One round over what is on Ethereum. `true` when something was done.
pub async fn round(relay: &Relay) -> Result<bool> {
    // Time runs out for challenges: what goes wrong with one must not hold up the other.
    let (games, anchors) = (games(relay).await, anchored(relay).await);
    let games = games?;
    Ok(anchors? || games)
}

/// Compares newly anchored roots with this node's.
async fn anchored(relay: &Relay) -> Result<bool> {
    let journal = relay.sender.journal();
    let deployed = relay.contracts.addresses().deploy_block;
    let from = journal.note(CURSOR)?.and_then(|text| text.parse().ok()).unwrap_or(deployed);
    // What can still be undone will be seen again.
    let end = relay.contracts.l1().head(At::Finalized).await?.number;
    if from > end {
        return Ok(false);
    }
    let to = end.min(from.saturating_add(LOG_RANGE));
    for event in relay.contracts.anchored_between(from, to).await? {
        let verdict = match standing(relay, event.block, from_b256(event.root)).await {
            Ok(Standing::Same) => continue,
            Ok(standing) => {
                let data = relay.contracts.l1().transaction(event.transaction).await?;
                match data.and_then(|(_, data)| relay.contracts.read_submission(&data, &event)) {
                    Some(given) => accuse(relay, &Said::Offered(given), standing).await,
                    None if standing == Standing::Later => Ok(Verdict::NotYet),
                    None => {
                        relay.metrics.alarm("foreign_root_unattributed");
                        tracing::error!(
                            block = event.block,
                            transaction = ?event.transaction,
                            "the anchor holds a root that is not this node's, and its signatures are not in the transaction itself"
                        );
                        Ok(Verdict::Settled)
                    }
                }
            }
            Err(error) => Err(error),
        };
        match verdict {
            Ok(Verdict::Settled) => {}
            Ok(Verdict::NotYet) => {
                journal.set_note(CURSOR, &event.l1_block.to_string())?;
                return Ok(false);
            }
            Err(error) if error.may_pass() => {
                journal.set_note(CURSOR, &event.l1_block.to_string())?;
                return Err(error);
            }
            Err(error) => {
                relay.metrics.error(error.label());
                tracing::error!(block = event.block, root = ?event.root, %error, "the anchor holds a root that is not this node's, and nobody can be reported for it");
            }
        }
    }
    journal.set_note(CURSOR, &to.saturating_add(1).to_string())?;
    Ok(to < end)
}

/// Challenges games whose claim is not what this node has.
async fn games(relay: &Relay) -> Result<bool> {
    if relay.contracts.frozen().await? {
        return Ok(false);
    }
    let mut did = false;
    for game in newest_games(&relay.contracts, LOOK_BACK).await? {
        let open = game.status == GameStatus::InProgress && game.challenger.is_none();
        if !open || !lies(relay, &game).await? {
            continue;
        }
        tracing::error!(game = ?game.address, block = game.l2_block, claim = ?game.claim, "a game claims what is not so");
        relay.metrics.alarm("false_claim");
        if !relay.policy.challenge {
            continue;
        }
        let call = relay.contracts.challenge_game(game.address).await?;
        let index = game.index;
        let outcome = relay
            .pay("challenge", format!("{:?}", game.address), &call, || async {
                Ok(relay.contracts.game(index).await?.is_some_and(|now| {
                    now.status == GameStatus::InProgress && now.challenger.is_none()
                }))
            })
            .await?;
        did |= outcome.is_mined();
    }
    Ok(did)
}

/// Whether a game claims something else than this node has. A block that does not exist yet has no
/// claim that holds.
async fn lies(relay: &Relay, game: &Game) -> Result<bool> {
    let head = relay.l2.chain().finalized().await?;
    if game.l2_block >= head.number {
        // Nothing is anchored that is not final. The node may be a little behind.
        return Ok(game.l2_block.saturating_sub(head.number) > 256);
    }
    let leaf = relay.l2.leaf(game.l2_block, head.number).await?;
    Ok(to_b256(leaf.leaf.output_root()) != game.claim)
}
