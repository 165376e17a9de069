//! `watch`: compares with its own node what others say of the chain, and raises the alarm where it
//! can be raised.
//!
//! - Two commitments of one set for one block with different roots, from any node that is listened
//!   to or from the anchor itself: the anchor is frozen ([`Contracts::report_conflict`]) and each
//!   validator who signed both is reported on the chain.
//! - An anchored root that is not this node's: its signers are reported on the chain for voting for
//!   a fork, or for a block that does not exist yet.
//! - A game whose claim is not what this node has: it is challenged.
//!
//! [`Contracts::report_conflict`]: crate::l1::Contracts::report_conflict

use super::{propose::newest_games, Relay};
use crate::{
    error::{RelayerError, Result},
    l1::{from_b256, to_b256, At, Game, GameStatus, Outcome, SubmittedCommitment},
    l2::{Signed, L2},
};
use codec::{Decode, Encode};
use polkadot_sdk::sp_consensus_beefy::{
    ecdsa_crypto::{AuthorityId, Signature},
    known_payloads::MMR_ROOT_ID,
    Commitment, DoubleVotingProof, Payload, ValidatorSet, VoteMessage,
};
use serde_json::json;
use std::time::Duration;
use tributary_client::{calls::Call, chain::BlockId, Wait};
use tributary_primitives::H256;

/// Ethereum blocks that are searched at a time.
const LOG_RANGE: u64 = 2_000;
/// The Ethereum block up to which anchored roots have been compared.
const CURSOR: &str = "watched_l1_block";
/// Sets whose commitments are kept to compare later ones with.
const KEPT_SETS: u64 = 8;
/// Games that are looked at.
const LOOK_BACK: u64 = 64;
/// Pause before a broken stream of justifications is asked for again.
const PAUSE: Duration = Duration::from_secs(5);

type Vote = VoteMessage<u32, AuthorityId, Signature>;

/// What somebody signed, with who did.
#[derive(Clone, Debug)]
struct Evidence {
    block: u32,
    set: u64,
    root: H256,
    for_anchor: SubmittedCommitment,
    votes: Vec<Vote>,
}

fn commitment(root: H256, block: u32, set: u64) -> Commitment<u32> {
    Commitment {
        payload: Payload::from_single_entry(MMR_ROOT_ID, root.encode()),
        block_number: block,
        validator_set_id: set,
    }
}

impl Evidence {
    /// From a justification.
    fn of_signed(signed: &Signed, set: &ValidatorSet<AuthorityId>) -> Result<Self> {
        let commitment = commitment(signed.root, signed.block, signed.set);
        let votes = set
            .validators()
            .iter()
            .zip(&signed.signatures)
            .filter_map(|(id, signature)| {
                Some(Vote {
                    commitment: commitment.clone(),
                    id: id.clone(),
                    signature: signature.clone()?,
                })
            })
            .collect();
        Ok(Self {
            block: signed.block,
            set: signed.set,
            root: signed.root,
            for_anchor: signed.for_anchor(set)?,
            votes,
        })
    }

    /// From what somebody offered to the anchor.
    fn of_submission(given: SubmittedCommitment, set: &ValidatorSet<AuthorityId>) -> Result<Self> {
        let (block, id) = (given.commitment.block_number, given.commitment.validator_set_id);
        let root = H256(given.commitment.mmr_root);
        let signers = set.validators().iter().enumerate().filter(|(index, _)| {
            given.bitmap.get(index / 256).is_some_and(|word| word.bit(index % 256))
        });
        let mut votes = Vec::new();
        for ((_, validator), bytes) in signers.zip(given.signatures.chunks_exact(65)) {
            let mut bytes = bytes.to_vec();
            if let Some(v) = bytes.last_mut() {
                *v = v.saturating_sub(27);
            }
            let signature = Signature::decode(&mut bytes.as_slice())
                .map_err(|error| RelayerError::unusable("an anchored signature", error))?;
            let commitment = commitment(root, block, id);
            votes.push(Vote { commitment, id: validator.clone(), signature });
        }
        Ok(Self { block, set: id, root, for_anchor: given, votes })
    }

    /// Who signed both.
    fn double_votes(&self, other: &Self) -> Vec<DoubleVotingProof<u32, AuthorityId, Signature>> {
        self.votes
            .iter()
            .filter_map(|first| {
                let second = other.votes.iter().find(|vote| vote.id == first.id)?;
                Some(DoubleVotingProof { first: first.clone(), second: second.clone() })
            })
            .collect()
    }
}

/// A report on the chain: `Beefy.report_…(proof, key owner's proof)`.
struct Report<const KIND: u8> {
    proof: Vec<u8>,
    owner: Vec<u8>,
}

impl<const KIND: u8> Encode for Report<KIND> {
    fn encode_to<O: codec::Output + ?Sized>(&self, to: &mut O) {
        to.write(&self.proof);
        to.write(&self.owner);
    }
}

const DOUBLE: u8 = 0;
const FORK: u8 = 1;
const FUTURE: u8 = 2;

macro_rules! reports {
    ($($kind:ident $name:literal),*) => {$(
        impl Call for Report<$kind> {
            const PALLET: &'static str = "Beefy";
            const NAME: &'static str = $name;
        }
    )*};
}
reports!(DOUBLE "report_double_voting", FORK "report_fork_voting", FUTURE "report_future_block_voting");

/// The answer of `mmr_generateAncestryProof`, in the order in which it is encoded.
#[derive(Encode, serde::Deserialize)]
struct AncestryProof {
    #[serde(alias = "prevPeaks")]
    prev_peaks: Vec<H256>,
    #[serde(alias = "prevLeafCount")]
    prev_leaf_count: u64,
    #[serde(alias = "leafCount")]
    leaf_count: u64,
    items: Vec<(u64, H256)>,
}

/// Listens to what one node says the validators signed, for ever.
pub async fn listen(relay: &Relay, node: &L2) {
    loop {
        match node.chain().beefy_justifications().await {
            Ok(mut stream) => {
                while let Some(raw) = stream.next().await {
                    if let Err(error) = heard(relay, node, &raw).await {
                        tracing::warn!(node = node.chain().url(), %error, "a justification was left out");
                        relay.metrics.error(error.label());
                    }
                }
            }
            Err(error) => tracing::warn!(node = node.chain().url(), %error, "cannot listen"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn heard(relay: &Relay, node: &L2, raw: &[u8]) -> Result<()> {
    let signed = Signed::read(raw)?;
    let root = to_b256(signed.root);
    let journal = relay.sender.journal();
    let other = journal.commitment(signed.set, signed.block, root, raw)?;
    journal.forget_commitments(signed.set.saturating_sub(KEPT_SETS))?;
    let Some(other) = other else { return Ok(()) };
    let at = BlockId { number: signed.block, hash: node.chain().block_hash(signed.block).await? };
    let set = node.set_at(signed.set, at).await?;
    let one = Evidence::of_signed(&signed, &set)?;
    let two = Evidence::of_signed(&Signed::read(&other)?, &set)?;
    conflict(relay, &one, &two).await
}

/// One round over what is on Ethereum. `true` when something was done.
pub async fn round(relay: &Relay) -> Result<bool> {
    let anchors = anchored(relay).await?;
    Ok(games(relay).await? || anchors)
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
        let head = relay.l2.chain().best().await?;
        if event.block > head.number {
            if event.block.saturating_sub(head.number) < 64 {
                // This node is behind; the next round sees more.
                return Ok(false);
            }
            relay.metrics.alarm("future_block_anchored");
        }
        let own = match relay.l2.chain().block_hash(event.block).await {
            Ok(hash) => relay.l2.own_root(hash).await?.map(|root| (hash, root)),
            Err(_) => None,
        };
        if own.is_some_and(|(_, root)| root == from_b256(event.root)) {
            continue;
        }
        tracing::error!(block = event.block, root = ?event.root, "the anchor holds a root that is not this node's");
        relay.metrics.alarm("foreign_root_anchored");
        let data = relay.contracts.l1().transaction(event.transaction).await?;
        let Some(given) = data.and_then(|(_, data)| relay.contracts.read_submission(&data)) else {
            tracing::error!(transaction = ?event.transaction, "its signatures are not in the transaction itself");
            continue;
        };
        foreign(relay, given, own.map(|(hash, _)| BlockId { hash, number: event.block })).await?;
    }
    journal.set_note(CURSOR, &to.saturating_add(1).to_string())?;
    Ok(to < end)
}

/// Does what can be done about a commitment that is not to this node's chain.
async fn foreign(relay: &Relay, given: SubmittedCommitment, own: Option<BlockId>) -> Result<()> {
    let head = relay.l2.chain().finalized().await?;
    let at = own.unwrap_or(head);
    let set = relay.l2.set_at(given.commitment.validator_set_id, at).await?;
    let theirs = Evidence::of_submission(given, &set)?;
    if let Some(block) = own {
        if let Some(signed) = relay.l2.signed(block.hash).await? {
            if signed.set == theirs.set {
                let ours = Evidence::of_signed(&signed, &set)?;
                return conflict(relay, &ours, &theirs).await;
            }
        }
    }
    let Some(reporter) = &relay.policy.reporter else { return Ok(()) };
    for vote in &theirs.votes {
        let owner = owner_proof(&relay.l2, theirs.set, &vote.id, at).await?;
        let sent = if theirs.block > head.number {
            let report = Report::<FUTURE> { proof: vote.encode(), owner };
            relay.l2.chain().submit_wait(&report, &reporter.0, Wait::Block).await
        } else {
            let params = [json!(theirs.block), json!(head.number), json!(head.hash)];
            let ancestry: AncestryProof =
                relay.l2.chain().rpc("mmr_generateAncestryProof", &params).await?;
            let header = relay.l2.chain().header_bytes(head.hash).await?;
            let proof = [vote.encode(), ancestry.encode(), header].concat();
            let report = Report::<FORK> { proof, owner };
            relay.l2.chain().submit_wait(&report, &reporter.0, Wait::Block).await
        };
        told(&vote.id, sent.map(|_| ()));
    }
    Ok(())
}

fn told(id: &AuthorityId, sent: std::result::Result<(), tributary_client::ChainError>) {
    match sent {
        Ok(()) => tracing::warn!(validator = %id, "reported on the chain"),
        // Reported before, by somebody else or by this relayer.
        Err(error) => tracing::warn!(validator = %id, %error, "the report was not taken"),
    }
}

async fn owner_proof(l2: &L2, set: u64, id: &AuthorityId, at: BlockId) -> Result<Vec<u8>> {
    let proof: Option<Vec<u8>> = l2
        .chain()
        .runtime_api_at("BeefyApi_generate_key_ownership_proof", &(set, id), Some(at.hash))
        .await?;
    proof.ok_or_else(|| {
        RelayerError::unusable(format!("the key of {id}"), "the chain proves no owner for it")
    })
}

/// Two quorums contradict each other: Ethereum is frozen, and the chain told who signed both.
async fn conflict(relay: &Relay, one: &Evidence, two: &Evidence) -> Result<()> {
    tracing::error!(
        block = one.block,
        set = one.set,
        first = ?one.root,
        second = ?two.root,
        "two quorums contradict each other"
    );
    relay.metrics.alarm("conflicting_commitments");
    if !relay.contracts.frozen().await? {
        let call = relay.contracts.report_conflict(one.for_anchor.clone(), two.for_anchor.clone());
        let outcome = relay
            .pay("conflict", format!("{}/{}", one.set, one.block), &call, || async {
                Ok(!relay.contracts.frozen().await?)
            })
            .await?;
        if let Outcome::Refused(revert) = outcome {
            tracing::error!(%revert, "the anchor was not frozen");
        }
    }
    let Some(reporter) = &relay.policy.reporter else { return Ok(()) };
    let hash = relay.l2.chain().block_hash(one.block).await?;
    let at = BlockId { number: one.block, hash };
    for proof in one.double_votes(two) {
        let owner = owner_proof(&relay.l2, one.set, proof.offender_id(), at).await?;
        let report = Report::<DOUBLE> { proof: proof.encode(), owner };
        let sent = relay.l2.chain().submit_wait(&report, &reporter.0, Wait::Block).await;
        told(proof.offender_id(), sent.map(|_| ()));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use polkadot_sdk::{
        sp_core::{ecdsa::Pair, Pair as _},
        sp_crypto_hashing::keccak_256,
    };

    fn signed(root: u8, signers: &[usize]) -> (Signed, ValidatorSet<AuthorityId>) {
        let keys: Vec<Pair> = (1..=4).map(|seed| Pair::from_seed(&[seed; 32])).collect();
        let set =
            ValidatorSet::new(keys.iter().map(|key| AuthorityId::from(key.public())), 2).unwrap();
        let root = H256::repeat_byte(root);
        let hash = keccak_256(&commitment(root, 9, 2).encode());
        let signatures = keys
            .iter()
            .enumerate()
            .map(|(i, key)| {
                signers.contains(&i).then(|| Signature::from(key.sign_prehashed(&hash)))
            })
            .collect();
        (Signed { block: 9, set: 2, root, signatures, raw: vec![] }, set)
    }

    #[test]
    fn those_who_signed_both_are_found_whichever_way_it_came() {
        let (one, set) = signed(1, &[0, 1, 2]);
        let (two, _) = signed(2, &[1, 2, 3]);
        let here = Evidence::of_signed(&one, &set).unwrap();
        let offered = two.for_anchor(&set).unwrap();
        let there = Evidence::of_submission(offered, &set).unwrap();
        assert_eq!((there.block, there.set, there.root), (9, 2, H256::repeat_byte(2)));
        let double = here.double_votes(&there);
        let guilty: Vec<_> = double.iter().map(|proof| proof.offender_id().clone()).collect();
        assert_eq!(guilty, set.validators()[1..3]);
        for proof in &double {
            assert!(polkadot_sdk::sp_consensus_beefy::check_double_voting_proof(proof));
        }
        assert!(here.double_votes(&here).len() == 3);
    }
}
