//! `propose`: makes a game about the newest anchored block and proves its claim, so that withdrawals
//! up to that block can be proven against it; and proves it again when somebody doubts it.

use super::Relay;
use crate::{
    error::Result,
    l1::{to_b256, Contracts, Game, GameStatus, L1Error, Outcome},
    l2::ProvenLeaf,
};

/// How many of the newest games are looked at for what has been proposed already.
const LOOK_BACK: u64 = 32;
/// Seconds after which somebody else's game is proven for them.
const FOREIGN_AGE_S: u64 = 60;

/// One round. `true` when something was done.
pub async fn round(relay: &Relay) -> Result<bool> {
    if relay.contracts.frozen().await? {
        return Ok(false);
    }
    let games = newest_games(&relay.contracts, LOOK_BACK).await?;
    let own = relay.sender.address();
    let mut did = false;
    for game in games.iter().filter(|game| game.creator == own) {
        did |= defend(relay, game).await?;
    }
    Ok(did || propose(relay, &games).await?)
}

/// The newest games of this bridge, newest first.
pub async fn newest_games(contracts: &Contracts, count: u64) -> Result<Vec<Game>> {
    let total = contracts.game_count().await?;
    let mut games = Vec::new();
    for index in (total.saturating_sub(count)..total).rev() {
        games.extend(contracts.game(index).await?);
    }
    Ok(games)
}

/// Proves an own game that is not proven, or proves it again when it is doubted.
async fn defend(relay: &Relay, game: &Game) -> Result<bool> {
    if game.status != GameStatus::InProgress {
        return Ok(false);
    }
    if !game.proven {
        return prove(relay, game).await;
    }
    if game.challenger.is_none() || game.attested {
        return Ok(false);
    }
    let anchored = relay.contracts.latest_anchored().await?;
    if anchored <= game.challenged_at_block {
        relay.want_anchor();
        return Ok(false);
    }
    let leaf = relay.l2.leaf(game.l2_block, anchored).await?;
    if !claims(game, &leaf) {
        return Ok(false);
    }
    let call = relay.contracts.attest_game(game.address, &leaf.bytes, &leaf.items, anchored);
    let index = game.index;
    let outcome = relay
        .pay("attest", format!("{:?}/{anchored}", game.address), &call, || async {
            Ok(relay.contracts.game(index).await?.is_some_and(|game| !game.attested))
        })
        .await?;
    Ok(outcome.is_mined())
}

fn claims(game: &Game, leaf: &ProvenLeaf) -> bool {
    let same = game.claim == to_b256(leaf.leaf.output_root());
    if !same {
        tracing::error!(game = ?game.address, block = game.l2_block, "an own game claims something else than this node has");
    }
    same
}

async fn prove(relay: &Relay, game: &Game) -> Result<bool> {
    let anchored = relay.contracts.latest_anchored().await?;
    if anchored <= game.l2_block {
        return Ok(false);
    }
    let leaf = relay.l2.leaf(game.l2_block, anchored).await?;
    if !claims(game, &leaf) {
        return Ok(false);
    }
    let call = relay.contracts.prove_game(game.address, &leaf.bytes, &leaf.items, anchored);
    let index = game.index;
    // The anchor is part of the name: a proof under an anchor that was replaced meanwhile is refused,
    // and the next one is another transaction.
    let outcome = relay
        .pay("prove-game", format!("{:?}/{anchored}", game.address), &call, || async {
            Ok(relay.contracts.game(index).await?.is_some_and(|game| !game.proven))
        })
        .await?;
    Ok(outcome.is_mined())
}

/// Makes a game about the newest anchored block, if there is a reason to.
async fn propose(relay: &Relay, games: &[Game]) -> Result<bool> {
    let anchored = relay.contracts.latest_anchored().await?;
    let Some(block) = anchored.checked_sub(1).filter(|block| *block > 0) else { return Ok(false) };
    let leaf = relay.l2.leaf(block, anchored).await?;
    let state = relay.contracts.anchor_state().await?;
    if to_b256(leaf.leaf.extra.domain) != state.domain {
        tracing::debug!(block, "the chain was not joined to this portal yet");
        return Ok(false);
    }
    // A game of which nothing good comes is as if it were not there.
    let last = games
        .iter()
        .filter(|game| game.status != GameStatus::ChallengerWins && game.proven)
        .max_by_key(|game| game.l2_block);
    if !due(relay, last, &leaf).await? {
        return Ok(false);
    }
    let claim = to_b256(leaf.leaf.output_root());
    let there = games.iter().find(|game| game.claim == claim && game.l2_block == block);
    if let Some(game) = there {
        // Somebody else's, who has not come to proving it: anybody may.
        let age = relay.l1_time().await?.saturating_sub(game.created_at);
        let waits = game.status == GameStatus::InProgress && !game.proven;
        return if waits && age >= FOREIGN_AGE_S { prove(relay, game).await } else { Ok(false) };
    }
    let call = relay.contracts.create_game(claim, block).await?;
    let outcome = relay
        .pay("propose", block, &call, || async {
            let there: std::result::Result<_, L1Error> =
                relay.contracts.game_about(claim, block).await;
            Ok(there?.is_none())
        })
        .await?;
    if let Outcome::Mined(mined) = &outcome {
        tracing::info!(block, claim = ?claim, gas = mined.gas_used, "proposed");
    }
    Ok(outcome.is_mined())
}

async fn due(relay: &Relay, last: Option<&Game>, leaf: &ProvenLeaf) -> Result<bool> {
    let Some(last) = last else {
        // The first one: as soon as there is anything to withdraw, or by the clock.
        let empty = tributary_primitives::bridge::tree::empty_root();
        let waits = leaf.leaf.extra.withdrawal_root != empty;
        return Ok(waits || relay.policy.propose_max_interval.is_some());
    };
    if last.l2_block >= leaf.leaf.parent_number {
        return Ok(false);
    }
    let age = relay.l1_time().await?.saturating_sub(last.created_at);
    if relay.policy.propose_max_interval.is_some_and(|longest| age >= longest.as_secs()) {
        return Ok(true);
    }
    if age < relay.policy.propose_min_interval.as_secs() {
        return Ok(false);
    }
    let before = relay.l2.leaf(last.l2_block, leaf.anchored).await?;
    Ok(before.leaf.extra.withdrawal_root != leaf.leaf.extra.withdrawal_root)
}
