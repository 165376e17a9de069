//! Raising the alarm: on Ethereum, by freezing the anchor, and on the chain, by reporting validators.

use super::{
    evidence::{divide, Said, Vote},
    Verdict,
};
use crate::{
    duties::Relay,
    error::{RelayerError, Result},
    l1::{Outcome, SubmittedCommitment},
    l2::Session,
};
use codec::Encode;
use polkadot_sdk::sp_consensus_beefy::ecdsa_crypto::AuthorityId;
use serde_json::json;
use tributary_client::{calls::Call, chain::BlockId, ErrorKind, Wait};
use tributary_primitives::H256;

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
    prev_peaks: Vec<H256>,
    prev_leaf_count: u64,
    leaf_count: u64,
    items: Vec<(u64, H256)>,
}

/// Where a block stands that somebody holds to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// This node has the block, with the same root.
    Same,
    /// It cannot be said yet: the block is not final here, but may soon be.
    Later,
    /// This node has the block, with another root.
    Other(BlockId),
    /// There is no such block, nor will be one for a while.
    Future,
}

/// How far ahead of this node a block may be before it counts as one of the future.
const BEHIND: u32 = 64;

/// Compares a signed root with what this node has.
pub(super) async fn standing(relay: &Relay, block: u32, root: H256) -> Result<Standing> {
    let chain = relay.l2.chain();
    let (best, head) = (chain.best().await?.number, chain.finalized().await?.number);
    if block.saturating_sub(best) >= BEHIND {
        return Ok(Standing::Future);
    }
    // The proof of another root is made under a later block's.
    if block >= head {
        return Ok(Standing::Later);
    }
    let hash = chain.block_hash(block).await?;
    let own = relay.l2.own_root(hash).await?.ok_or_else(|| {
        RelayerError::unusable(format!("block {block}"), "its header has no root")
    })?;
    Ok(if own == root { Standing::Same } else { Standing::Other(BlockId { hash, number: block }) })
}

/// Does what can be done about a commitment that is not to this node's chain.
pub(super) async fn accuse(relay: &Relay, said: &Said, standing: Standing) -> Result<Verdict> {
    let (block, alarm) = match standing {
        Standing::Same => return Ok(Verdict::Settled),
        Standing::Later => return Ok(Verdict::NotYet),
        Standing::Other(block) => (Some(block), "foreign_root_signed"),
        Standing::Future => (None, "future_block_signed"),
    };
    let session = match relay.l2.session(said.set()).await? {
        Some(session) => Some(session),
        // The anchor takes the next session's validators too. They can be reported when it begins.
        None if said.set() <= relay.l2.current_set().await?.saturating_add(1) => None,
        None => {
            let what = format!("the commitment of set {} to block {}", said.set(), said.block());
            return Err(RelayerError::unusable(what, "the chain has had no such set"));
        }
    };
    let ours = match block {
        Some(block) => own_word(relay, block).await?,
        None => None,
    };
    let theirs = match (said, &session) {
        (Said::Offered(given), _) => Some(given.clone()),
        (Said::Signed(_), Some(session)) => Some(said.for_anchor(&session.set)?),
        (Said::Signed(_), None) => None,
    };
    let frozen = match (&ours, theirs) {
        (Some((signed, session)), Some(theirs)) => {
            freeze(relay, signed.for_anchor(&session.set)?, theirs).await
        }
        _ => Ok(()),
    };
    let Some(session) = session else { return frozen.map(|()| Verdict::NotYet) };
    tracing::error!(
        block = said.block(),
        set = said.set(),
        root = ?said.root(),
        "a quorum signed a root that is not this node's"
    );
    relay.metrics.alarm(alarm);

    let at = said.block();
    let theirs = said.votes(&session.set)?;
    let same_set = ours.filter(|(ours, _)| ours.set() == said.set());
    let single = match same_set {
        Some((ours, own)) => {
            let (double, single) = divide(&ours.votes(&own.set)?, theirs);
            for proof in double {
                report::<DOUBLE>(relay, &session, at, proof.offender_id(), proof.encode()).await?;
            }
            single
        }
        None => theirs,
    };
    for vote in single {
        if block.is_some() {
            let proof = fork_proof(relay, &vote).await?;
            report::<FORK>(relay, &session, at, &vote.id, proof).await?;
        } else {
            report::<FUTURE>(relay, &session, at, &vote.id, vote.encode()).await?;
        }
    }
    frozen.map(|()| Verdict::Settled)
}

/// Two quorums contradict each other, whatever this node has: Ethereum is frozen, and the chain told
/// who signed both.
pub(super) async fn contradiction(
    relay: &Relay,
    one: &Said,
    two: &Said,
    session: &Session,
) -> Result<()> {
    let frozen = freeze(relay, one.for_anchor(&session.set)?, two.for_anchor(&session.set)?).await;
    let (double, _) = divide(&one.votes(&session.set)?, two.votes(&session.set)?);
    for proof in double {
        report::<DOUBLE>(relay, session, one.block(), proof.offender_id(), proof.encode()).await?;
    }
    frozen
}

/// What this node knows to be signed for a block, with its session.
async fn own_word(relay: &Relay, block: BlockId) -> Result<Option<(Said, Session)>> {
    let Some(signed) = relay.l2.signed(block.hash).await? else { return Ok(None) };
    let session = relay.l2.session(signed.set).await?;
    Ok(session.map(|session| (Said::Signed(signed), session)))
}

/// Shows Ethereum two quorums that contradict each other.
async fn freeze(relay: &Relay, one: SubmittedCommitment, two: SubmittedCommitment) -> Result<()> {
    let (set, block) = (one.commitment.validator_set_id, one.commitment.block_number);
    if relay.contracts.frozen().await? {
        return Ok(());
    }
    tracing::error!(block, set, "two quorums contradict each other");
    relay.metrics.alarm("conflicting_commitments");
    let call = relay.contracts.report_conflict(one, two);
    let outcome = relay
        .pay("conflict", format!("{set}/{block}"), &call, || async {
            Ok(!relay.contracts.frozen().await?)
        })
        .await?;
    if let Outcome::Refused(revert) = outcome {
        // It knows the validators of two sessions only: of older ones the chain alone can be told.
        tracing::error!(%revert, "the anchor was not frozen");
    }
    Ok(())
}

/// Shows the chain that a vote is for another root than its own: a proof that the block's root is
/// what a final block's root says it is.
async fn fork_proof(relay: &Relay, vote: &Vote) -> Result<Vec<u8>> {
    let chain = relay.l2.chain();
    let head = chain.finalized().await?;
    let block = vote.commitment.block_number;
    let params = [json!(block), json!(head.number), json!(head.hash)];
    let ancestry: AncestryProof = chain.rpc("mmr_generateAncestryProof", &params).await?;
    let header = chain.header_bytes(head.hash).await?;
    Ok([vote.encode(), ancestry.encode(), header].concat())
}

/// Reports one validator on the chain, once, if this relayer has an account there. What the chain
/// refuses is logged: somebody else may have been first.
async fn report<const KIND: u8>(
    relay: &Relay,
    session: &Session,
    block: u32,
    who: &AuthorityId,
    proof: Vec<u8>,
) -> Result<()>
where
    Report<KIND>: Call,
{
    let Some(reporter) = &relay.policy.reporter else { return Ok(()) };
    let (set, name) = (session.set.id(), <Report<KIND> as Call>::NAME);
    let note = format!("{name}/{set}/{block}/{who}");
    if relay.sender.journal().note(&note)?.is_some() {
        return Ok(());
    }
    let owner: Option<Vec<u8>> = relay
        .l2
        .chain()
        .runtime_api_at(
            "BeefyApi_generate_key_ownership_proof",
            &(set, who),
            Some(session.newest.hash),
        )
        .await?;
    let owner = owner.ok_or_else(|| {
        RelayerError::unusable(format!("the key of {who}"), "the chain proves no owner for it")
    })?;
    let report = Report::<KIND> { proof, owner };
    match relay.l2.chain().submit_wait(&report, &reporter.0, Wait::Block).await {
        Ok(included) => {
            tracing::warn!(validator = %who, report = name, block = included.number, "reported on the chain");
            relay.metrics.report(name);
        }
        Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error.into()),
        Err(error) => {
            tracing::warn!(validator = %who, report = name, %error, "the report was not taken");
        }
    }
    Ok(relay.sender.journal().set_note(&note, "told")?)
}
