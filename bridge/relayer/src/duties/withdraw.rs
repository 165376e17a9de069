//! `withdraw`: proves withdrawals against proven games, and carries them out when both the proof and
//! the game's decision are old enough.

use super::Relay;
use crate::{
    error::{RelayerError, Result},
    l1::{
        to_b256, Address, At, Contracts, Game, GameStatus, L1Error, Outcome, OutputProof,
        ProvenWithdrawal,
    },
    l2::L2,
};
use std::collections::BTreeSet;
use tributary_client::chain::BlockId;
use tributary_primitives::bridge::{
    calls::FinalizeBridge, leaf::Leaf, tree, Withdrawal, L2_BRIDGE,
};

/// Below this number every withdrawal that is served here has been carried out.
const CURSOR: &str = "withdrawals_done";
/// Games that are looked at for one that covers a withdrawal.
const LOOK_BACK: u64 = 64;

/// Whose withdrawals are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Nobody's.
    None,
    /// Everybody's.
    All,
    /// Those whose OPEN, or whose message, goes to one of these addresses.
    For(BTreeSet<Address>),
}

impl Serve {
    /// Whether a withdrawal is served.
    pub fn includes(&self, withdrawal: &Withdrawal) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::For(whom) => whom.iter().any(|address| recipient(withdrawal) == *address),
        }
    }

    /// A text that is the same for the same people: cursors of different ones must not mix.
    fn key(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::All => "all".into(),
            Self::For(whom) => {
                whom.iter().map(|address| format!("{address:?}")).collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Who gets something by a withdrawal: the recipient of its OPEN, or the contract that it calls.
pub fn recipient(withdrawal: &Withdrawal) -> Address {
    let open = (withdrawal.sender == L2_BRIDGE).then(|| FinalizeBridge::decode(&withdrawal.data));
    let to = open.flatten().map_or(withdrawal.target, |call| call.to);
    crate::l1::to_address(to)
}

/// How far a withdrawal is on Ethereum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No proof counts.
    Unproven,
    /// Proven; not all delays are over, or the game is not decided.
    Maturing {
        /// The proof that counts.
        proof: ProvenWithdrawal,
    },
    /// It can be carried out.
    Ready {
        /// The proof that counts.
        proof: ProvenWithdrawal,
    },
    /// It was carried out.
    Finalized,
}

/// How far a withdrawal is on Ethereum. `own` is who proves here, if anybody does: however many
/// others prove it, that proof is seen. Proofs against games that nobody has proven do not count:
/// such games come to nothing.
pub async fn stage(
    contracts: &Contracts,
    withdrawal: &Withdrawal,
    own: Option<Address>,
) -> std::result::Result<Stage, L1Error> {
    let hash = to_b256(withdrawal.hash());
    if contracts.finalized(hash).await? {
        return Ok(Stage::Finalized);
    }
    let mut maturing = None;
    for proof in contracts.proofs_of(hash, own).await? {
        match contracts.check_withdrawal(hash, proof.submitter).await {
            Ok(()) => return Ok(Stage::Ready { proof }),
            Err(L1Error::Reverted(_)) => {}
            Err(other) => return Err(other),
        }
        if contracts.game_stands(proof.game).await? && contracts.game_proper(proof.game).await? {
            // The oldest one is ready first.
            let older = maturing.is_none_or(|kept: ProvenWithdrawal| proof.time < kept.time);
            maturing = if older { Some(proof) } else { maturing };
        }
    }
    Ok(maturing.map_or(Stage::Unproven, |proof| Stage::Maturing { proof }))
}

/// One round. `true` when something was done.
pub async fn round(relay: &Relay) -> Result<bool> {
    if relay.policy.serve == Serve::None {
        return Ok(false);
    }
    let journal = relay.sender.journal();
    let cursor = format!("{CURSOR}/{}", relay.policy.serve.key());
    let start = journal.note(&cursor)?.and_then(|text| text.parse().ok()).unwrap_or(0u32);
    let count = relay.l2.settlement(None).await?.withdrawals;
    let (mut done_below, mut open, mut did) = (start, 0i64, false);
    let mut covering = Covering::default();
    for index in start..count {
        let Some(withdrawal) = relay.l2.withdrawal(index).await? else { break };
        let (done, progress) = match relay.policy.serve.includes(&withdrawal) {
            true => one(relay, index, &withdrawal, &mut covering).await?,
            false => (true, false),
        };
        did |= progress;
        if done && done_below == index {
            done_below = index.saturating_add(1);
        }
        open = open.saturating_add(i64::from(!done));
    }
    relay.metrics.open_withdrawals.set(open);
    if done_below != start {
        journal.set_note(&cursor, &done_below.to_string())?;
    }
    Ok(did)
}

/// Whether a withdrawal is done with, and whether something was done for it.
async fn one(
    relay: &Relay,
    index: u32,
    withdrawal: &Withdrawal,
    covering: &mut Covering,
) -> Result<(bool, bool)> {
    let hash = to_b256(withdrawal.hash());
    match stage(&relay.contracts, withdrawal, Some(relay.sender.address())).await? {
        Stage::Finalized => Ok((true, false)),
        Stage::Ready { proof } => {
            let call = relay.contracts.finalize_withdrawal(withdrawal, proof.submitter);
            let outcome = relay
                .pay("finalize", format!("{hash:?}"), &call, || async {
                    Ok(!relay.contracts.finalized(hash).await?)
                })
                .await?;
            if let Outcome::Mined(mined) = &outcome {
                tracing::info!(index, hash = ?hash, gas = mined.gas_used, "carried out");
            }
            Ok((outcome.is_done(), outcome.is_mined()))
        }
        Stage::Maturing { .. } => Ok((false, false)),
        Stage::Unproven => {
            let Some(game) = covering.game(relay, index).await? else {
                relay.want_anchor_for(index).await?;
                return Ok((false, false));
            };
            let done = prove(relay, index, withdrawal, &game).await?;
            Ok((false, done))
        }
    }
}

impl Relay {
    /// Asks for a newer anchor when the withdrawal is in a block that is not anchored yet.
    async fn want_anchor_for(&self, index: u32) -> Result<()> {
        let anchored = self.contracts.latest_anchored().await?;
        let Some(block) = anchored.checked_sub(1).filter(|block| *block > 0) else {
            return Ok(());
        };
        let at = self.l2.chain().block_hash(block).await?;
        // Where the state of that block is gone, policy alone decides.
        if self.l2.settlement(Some(at)).await.is_ok_and(|view| view.withdrawals <= index) {
            self.want_anchor();
        }
        Ok(())
    }
}

async fn prove(relay: &Relay, index: u32, withdrawal: &Withdrawal, game: &Game) -> Result<bool> {
    let anchored = relay.contracts.latest_anchored().await?;
    let leaf = relay.l2.leaf(game.l2_block, anchored).await?.leaf;
    if to_b256(leaf.output_root()) != game.claim {
        return Ok(false);
    }
    let at =
        BlockId { number: game.l2_block, hash: relay.l2.chain().block_hash(game.l2_block).await? };
    let root = leaf.extra.withdrawal_root;
    let Some(siblings) = relay.l2.withdrawal_proof(index, withdrawal, at, root).await? else {
        let what = format!("the proof of withdrawal {index}");
        return Err(RelayerError::unusable(what, "no tree of this node has the anchored root"));
    };
    let proof = siblings.concat_bytes();
    let output = OutputProof::from(&leaf);
    let call = relay.contracts.prove_withdrawal(withdrawal, game.index, &output, &proof);
    let hash = to_b256(withdrawal.hash());
    let outcome = relay
        .pay("prove", format!("{hash:?}/{}", game.index), &call, || async {
            Ok(matches!(
                stage(&relay.contracts, withdrawal, Some(relay.sender.address())).await?,
                Stage::Unproven
            ))
        })
        .await?;
    if let Outcome::Mined(mined) = &outcome {
        tracing::info!(index, hash = ?hash, game = game.index, gas = mined.gas_used, "proven");
    }
    Ok(outcome.is_mined())
}

/// Siblings as one string of bytes.
trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [tributary_primitives::H256] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|sibling| sibling.0).collect()
    }
}

/// Games that withdrawals can be proven against, read once a round.
#[derive(Default)]
struct Covering {
    /// Good games, oldest block first, with the withdrawals that there were at their blocks.
    games: Option<Vec<(Game, u32)>>,
}

impl Covering {
    /// The oldest good game whose block has the withdrawal: it is decided first.
    async fn game(&mut self, relay: &Relay, index: u32) -> Result<Option<Game>> {
        if self.games.is_none() {
            self.games = Some(good_games(&relay.contracts, &relay.l2).await?);
        }
        let games = self.games.as_deref().unwrap_or_default();
        Ok(games.iter().find(|(_, count)| *count > index).map(|(game, _)| *game))
    }
}

async fn good_games(contracts: &Contracts, l2: &L2) -> Result<Vec<(Game, u32)>> {
    let anchored = contracts.latest_anchored().await?;
    let mut good = Vec::new();
    for game in super::propose::newest_games(contracts, LOOK_BACK).await? {
        if game.status == GameStatus::ChallengerWins || !game.proven || game.l2_block >= anchored {
            continue;
        }
        if !contracts.game_proper(game.address).await? {
            continue;
        }
        let leaf = l2.leaf(game.l2_block, anchored).await?.leaf;
        if to_b256(leaf.output_root()) != game.claim {
            continue;
        }
        let count = withdrawals_at(l2, &leaf).await?;
        good.push((game, count));
    }
    good.sort_by_key(|(game, _)| (game.l2_block, game.index));
    Ok(good)
}

/// Withdrawals there were at a block. Where the block's state is gone, its root tells: a proof of
/// the last of so many withdrawals fits under it.
async fn withdrawals_at(l2: &L2, leaf: &Leaf) -> Result<u32> {
    if let Ok(view) = l2.settlement(Some(leaf.parent_hash)).await {
        return Ok(view.withdrawals);
    }
    let root = leaf.extra.withdrawal_root;
    if root == tree::empty_root() {
        return Ok(0);
    }
    let head = l2.settlement(None).await?.withdrawals;
    for count in (1..=head).rev() {
        let last = count.saturating_sub(1);
        let Some(withdrawal) = l2.withdrawal(last).await? else { continue };
        let proof = l2.chain().settlement().withdrawal_proof(last, count).await?;
        if proof.is_some_and(|proof| tree::verify(&root, &withdrawal.hash(), last, &proof)) {
            return Ok(count);
        }
    }
    Ok(0)
}

/// How far a withdrawal is, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is in the chain's tree.
    Initiated,
    /// A block that has it is anchored on Ethereum.
    Anchored,
    /// A game about such a block is proven.
    Proposed,
    /// It is proven at the portal, and not all delays are over.
    Maturing,
    /// It can be carried out.
    Ready,
    /// It was carried out.
    Finalized,
}

impl Step {
    /// Every one, in order.
    pub const ALL: [Self; 6] = [
        Self::Initiated,
        Self::Anchored,
        Self::Proposed,
        Self::Maturing,
        Self::Ready,
        Self::Finalized,
    ];
}

/// How far a withdrawal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// The step that it reached.
    pub step: Step,
    /// The last anchored block.
    pub anchored_block: u32,
    /// The game that it is or can be proven against.
    pub game: Option<Address>,
    /// The block that the game is about.
    pub game_block: Option<u32>,
    /// How the game stands.
    pub game_status: Option<GameStatus>,
    /// Seconds until it can be carried out, as far as that is known.
    pub seconds_left: Option<u64>,
}

/// How far a withdrawal is.
pub async fn progress(
    contracts: &Contracts,
    l2: &L2,
    index: u32,
    withdrawal: &Withdrawal,
) -> Result<Progress> {
    let anchored_block = contracts.latest_anchored().await?;
    let reached = stage(contracts, withdrawal, None).await?;
    let mut progress = Progress {
        step: Step::Initiated,
        anchored_block,
        game: None,
        game_block: None,
        game_status: None,
        seconds_left: None,
    };
    match reached {
        Stage::Finalized => progress.step = Step::Finalized,
        Stage::Ready { .. } => progress.step = Step::Ready,
        Stage::Maturing { proof } => {
            progress.step = Step::Maturing;
            progress.game = Some(proof.game);
            let games = super::propose::newest_games(contracts, LOOK_BACK).await?;
            if let Some(game) = games.iter().find(|game| game.address == proof.game) {
                let now = contracts.l1().head(At::Latest).await?.time;
                let mature = proof.time.saturating_add(contracts.proof_maturity().await?);
                let decided = match game.resolved_at {
                    0 => game.resolvable_at.max(now),
                    at => at,
                };
                let last = decided.saturating_add(contracts.game_finality().await?);
                progress.game_block = Some(game.l2_block);
                progress.game_status = Some(game.status);
                progress.seconds_left =
                    Some(mature.max(last).saturating_add(1).saturating_sub(now));
            }
        }
        Stage::Unproven => {
            let good = good_games(contracts, l2).await?;
            if let Some((game, _)) = good.iter().find(|(_, count)| *count > index) {
                progress.step = Step::Proposed;
                progress.game = Some(game.address);
                progress.game_block = Some(game.l2_block);
                progress.game_status = Some(game.status);
            } else if let Some(block) = anchored_block.checked_sub(1).filter(|block| *block > 0) {
                let leaf = l2.leaf(block, anchored_block).await?.leaf;
                if withdrawals_at(l2, &leaf).await? > index {
                    progress.step = Step::Anchored;
                }
            }
        }
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::{from_address, to_address};
    use polkadot_sdk::sp_core::{H160, U256};

    fn open_to(to: H160) -> Withdrawal {
        let call = FinalizeBridge {
            local_token: H160::repeat_byte(1),
            remote_token: H160::repeat_byte(2),
            from: H160::repeat_byte(3),
            to,
            amount: U256::from(5),
            extra_data: vec![7; 32],
        };
        Withdrawal {
            nonce: tributary_primitives::bridge::withdrawal::nonce(0),
            sender: L2_BRIDGE,
            target: H160::repeat_byte(9),
            value: U256::zero(),
            gas_limit: U256::from(200_000),
            data: call.encode(),
        }
    }

    #[test]
    fn people_are_found_by_what_they_get() {
        let (me, other) = (H160::repeat_byte(0xaa), H160::repeat_byte(0xbb));
        let mine = open_to(me);
        assert_eq!(from_address(recipient(&mine)), me);
        let message = Withdrawal { sender: other, data: vec![1, 2, 3], ..mine.clone() };
        assert_eq!(recipient(&message), to_address(message.target));

        let serve = Serve::For([to_address(me)].into());
        assert!(serve.includes(&mine));
        assert!(!serve.includes(&open_to(other)) && !serve.includes(&message));
        assert!(Serve::All.includes(&message) && !Serve::None.includes(&mine));
        assert_ne!(serve.key(), Serve::All.key());
    }

    #[test]
    fn proofs_are_thirty_two_words() {
        let siblings = tributary_primitives::bridge::tree::zeros();
        assert_eq!(siblings[..32].concat_bytes().len(), 1_024);
    }
}
