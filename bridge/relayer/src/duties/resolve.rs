//! `resolve`: decides games when their time has come, and takes back what they owe this relayer.

use super::Relay;
use crate::{
    error::Result,
    l1::{Game, GameStatus, L1Error, Outcome},
};

/// Below this number every game is decided and owes this relayer nothing.
const CURSOR: &str = "games_done";

/// One round. `true` when something was done.
pub async fn round(relay: &Relay) -> Result<bool> {
    let journal = relay.sender.journal();
    let start = journal.note(CURSOR)?.and_then(|text| text.parse().ok()).unwrap_or(0u64);
    let count = relay.contracts.game_count().await?;
    let now = relay.l1_time().await?;
    // After a freeze nothing can be shown any more: games are closed at once.
    let frozen = relay.contracts.frozen().await?;
    let (mut done_below, mut open, mut did) = (start, 0i64, false);
    for index in start..count {
        let (done, progress) = match relay.contracts.game(index).await? {
            Some(game) => one(relay, &game, now, frozen).await?,
            // Of another type: none of ours to decide.
            None => (true, false),
        };
        did |= progress;
        if done && done_below == index {
            done_below = index.saturating_add(1);
        }
        open = open.saturating_add(i64::from(!done));
    }
    relay.metrics.open_games.set(open);
    if done_below != start {
        journal.set_note(CURSOR, &done_below.to_string())?;
    }
    Ok(did)
}

/// Whether a game is done with, and whether something was done for it.
async fn one(relay: &Relay, game: &Game, now: u64, frozen: bool) -> Result<(bool, bool)> {
    let mut did = false;
    if game.status == GameStatus::InProgress {
        if !frozen && now <= game.resolvable_at {
            return Ok((false, false));
        }
        let call = relay.contracts.resolve_game(game.address);
        let address = game.address;
        let outcome = relay
            .pay("resolve", format!("{address:?}"), &call, || async {
                Ok(relay.contracts.game_status(address).await? == GameStatus::InProgress)
            })
            .await?;
        match outcome {
            Outcome::Refused(_) => return Ok((false, false)),
            Outcome::Mined(_) => {
                let status = relay.contracts.game_status(address).await?;
                tracing::info!(game = ?address, block = game.l2_block, ?status, "decided");
                did = true;
            }
            Outcome::Otherwise(_) => {}
        }
    }
    let own = relay.sender.address();
    let owed = relay.contracts.credit(game.address, own).await?;
    if owed.is_zero() {
        return Ok((true, did));
    }
    let call = relay.contracts.claim_credit(game.address, own);
    let address = game.address;
    let outcome = relay
        .pay("credit", format!("{address:?}"), &call, || async {
            let owed: std::result::Result<_, L1Error> = relay.contracts.credit(address, own).await;
            Ok(!owed?.is_zero())
        })
        .await?;
    Ok((outcome.is_done(), did || outcome.is_mined()))
}
