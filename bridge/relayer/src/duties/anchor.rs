//! `anchor`: brings what the validators signed to Ethereum.
//!
//! The contract knows the validators of the last block that it accepted and those of the next
//! session, so that one block of each session must be anchored, in order: the session's first, which
//! the validators must sign. A relayer that was away catches up session by session. Within a session
//! further blocks are anchored by policy.

use super::Relay;
use crate::{
    error::{RelayerError, Result},
    l1::{from_b256, AnchorState, Outcome},
    l2::{SessionStart, Signed},
};
use std::sync::{Mutex, PoisonError};
use tributary_client::chain::BlockId;

/// The duty, with what it remembers of headers that it has seen.
#[derive(Default)]
pub struct Anchor {
    quiet: Mutex<Option<Quiet>>,
}

/// A stretch of blocks in which no session after number `set` begins.
#[derive(Clone, Copy)]
struct Quiet {
    set: u64,
    /// The block before it.
    after: u32,
    /// Its last block.
    until: u32,
}

impl Anchor {
    /// One round. `true` when a block was anchored: there may be more.
    pub async fn round(&self, relay: &Relay) -> Result<bool> {
        let state = relay.contracts.anchor_state().await?;
        let now = relay.l1_time().await?;
        let age = now.saturating_sub(state.accepted_at);
        relay.metrics.anchored_block.set(i64::from(state.latest_block));
        relay.metrics.anchor_age_seconds.set(i64::try_from(age).unwrap_or(i64::MAX));
        if state.frozen {
            return Err(RelayerError::AnchorStopped { why: "frozen" });
        }
        if state.stale {
            return Err(RelayerError::AnchorStopped { why: "stale" });
        }
        let Some(head) = relay.l2.signed_head().await? else { return Ok(false) };
        relay.metrics.signed_block.set(i64::from(head.number));
        if head.number <= state.latest_block {
            return Ok(false);
        }
        if let Some(start) = self.session_after(relay, &state, head.number).await? {
            if start.set.id() != state.next.id {
                return Err(RelayerError::unusable(
                    format!("the session that begins at block {}", start.block.number),
                    format!("it is number {}, not {}", start.set.id(), state.next.id),
                ));
            }
            let ahead = relay.l2.current_set().await?.saturating_sub(state.current.id);
            relay.metrics.sessions_behind.set(i64::try_from(ahead).unwrap_or(i64::MAX));
            return self.hand_over(relay, &state, &start, head).await;
        }
        relay.metrics.sessions_behind.set(0);
        if !self.due(relay, age).await? {
            return Ok(false);
        }
        self.newest(relay, &state, head).await
    }

    /// The first session after the anchor's current one, as far as blocks are signed.
    async fn session_after(
        &self,
        relay: &Relay,
        state: &AnchorState,
        until: u32,
    ) -> Result<Option<SessionStart>> {
        let (set, after) = (state.current.id, state.latest_block);
        let known = *self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = match known {
            Some(quiet) if quiet.set == set && (quiet.after..=quiet.until).contains(&after) => {
                quiet.until
            }
            _ => after,
        };
        let found = loop {
            match relay.l2.next_session(from, until).await? {
                // Before the first anchor, sessions of before the deployment are seen.
                Some(start) if start.set.id() <= set => from = start.block.number,
                found => break found,
            }
        };
        let end = found.as_ref().map_or(until, |start| start.block.number.saturating_sub(1));
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Quiet { set, after, until: end.max(from) });
        Ok(found)
    }

    /// Anchors a block of the next session: its first, or a later one if the first cannot be used
    /// (its leaf is older than the joining of the two chains).
    async fn hand_over(
        &self,
        relay: &Relay,
        state: &AnchorState,
        start: &SessionStart,
        head: BlockId,
    ) -> Result<bool> {
        let set = start.set.id();
        let mut block = start.block;
        // Blocks beyond the session's end are signed by the set after.
        let end = relay.l2.next_session(start.block.number, head.number).await?;
        let end = end.map_or(head.number, |next| next.block.number.saturating_sub(1));
        loop {
            if let Some(signed) = relay.l2.signed(block.hash).await? {
                if signed.set == set && self.fits(relay, state, &signed).await? {
                    return self.submit(relay, &signed, block).await;
                }
            }
            if block.number >= end {
                tracing::debug!(set, end, "no block of the session can be anchored yet");
                return Ok(false);
            }
            let number = block.number.saturating_add(1);
            block = BlockId { number, hash: relay.l2.chain().block_hash(number).await? };
        }
    }

    /// Whether the leaf under a commitment was made for this anchor.
    async fn fits(&self, relay: &Relay, state: &AnchorState, signed: &Signed) -> Result<bool> {
        let leaf = relay.l2.leaf(signed.block.saturating_sub(1), signed.block).await?;
        Ok(leaf.leaf.extra.domain == from_b256(state.domain))
    }

    /// Whether policy asks for another block of this session.
    async fn due(&self, relay: &Relay, age: u64) -> Result<bool> {
        if relay.anchor_is_wanted() || age >= relay.policy.anchor_max_age.as_secs() {
            return Ok(true);
        }
        if age < relay.policy.anchor_min_age.as_secs() {
            return Ok(false);
        }
        let base_fee = relay.contracts.l1().head(crate::l1::At::Latest).await?.base_fee;
        Ok(base_fee <= relay.policy.cheap_gas.into())
    }

    /// Anchors the newest block that the validators of this session signed.
    async fn newest(&self, relay: &Relay, state: &AnchorState, head: BlockId) -> Result<bool> {
        let Some(signed) = relay.l2.signed(head.hash).await? else { return Ok(false) };
        if signed.set != state.current.id || !self.fits(relay, state, &signed).await? {
            return Ok(false);
        }
        self.submit(relay, &signed, head).await
    }

    async fn submit(&self, relay: &Relay, signed: &Signed, block: BlockId) -> Result<bool> {
        // What this node has for the block is what gets anchored, or nothing is.
        if relay.l2.own_root(block.hash).await?.is_some_and(|own| own != signed.root) {
            relay.metrics.alarm("signed_root_is_not_ours");
            let what = format!("the justification of block {}", block.number);
            return Err(RelayerError::unusable(what, "it signs another root than this node has"));
        }
        let set = relay.l2.set_at(signed.set, block).await?;
        let leaf = relay.l2.leaf(signed.block.saturating_sub(1), signed.block).await?;
        let call = relay.contracts.submit(signed.for_anchor(&set)?, &leaf.bytes, &leaf.items);
        let number = signed.block;
        let outcome = relay
            .pay("anchor", number, &call, || async {
                Ok(relay.contracts.latest_anchored().await? < number)
            })
            .await?;
        match outcome {
            Outcome::Refused(revert) => Err(RelayerError::Refused {
                purpose: format!("anchor/{number}"),
                reason: revert.to_string(),
            }),
            _ => {
                tracing::info!(block = number, set = signed.set, "anchored");
                relay.anchor_came();
                relay.metrics.anchored_block.set(i64::from(number));
                Ok(true)
            }
        }
    }
}
