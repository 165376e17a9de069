//! Finality as other chains can check it: what validators signed with their BEEFY keys, and proofs
//! of leaves of the mountain range whose root they sign.

use super::{BlockId, Chain, ChainError};
use codec::{Decode, Encode};
use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use subxt::{
    config::substrate::DigestItem,
    rpcs::{
        client::{RpcParams, RpcSubscription},
        methods::legacy::Bytes,
    },
    utils::H256 as SubxtHash,
};
use tributary_primitives::H256;

/// BEEFY's name in justifications and digests.
const ENGINE: [u8; 4] = *b"BEEF";

/// A leaf of the mountain range, and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProof {
    /// The leaf, encoded.
    pub leaf: Vec<u8>,
    /// Its position.
    pub index: u64,
    /// Leaves of the range that the proof is made for.
    pub count: u64,
    /// The proof's items, in the chain's order.
    pub items: Vec<H256>,
}

/// Justifications as they come: a `VersionedFinalityProof` each, encoded.
pub struct Justifications(RpcSubscription<Bytes>);

impl Justifications {
    /// The next one; `None` when the connection was lost: subscribe again, and look at what came
    /// meanwhile by [`Chain::beefy_finalized`].
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        match self.0.next().await {
            Some(Ok(bytes)) => Some(bytes.0),
            Some(Err(error)) => {
                tracing::debug!(%error, "the stream of justifications broke off");
                None
            }
            None => None,
        }
    }
}

/// The answer of `mmr_generateProof`; both fields are encoded.
#[derive(serde::Deserialize)]
struct LeavesProof {
    leaves: Bytes,
    proof: Bytes,
}

/// `sp_mmr_primitives::LeafProof`
#[derive(Decode)]
struct RawProof {
    indices: Vec<u64>,
    count: u64,
    items: Vec<H256>,
}

fn wrong(what: &str, reason: impl ToString) -> ChainError {
    ChainError::Decode { what: what.into(), reason: reason.to_string() }
}

impl Chain {
    /// One call of a method of the node's that has no function of its own here.
    pub async fn rpc<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<R, ChainError> {
        self.retrying(|| async {
            let mut all = RpcParams::new();
            for param in params {
                all.push(param)?;
            }
            Ok(self.inner.rpc.request(method, all).await?)
        })
        .await
    }

    /// Follows the blocks that the validators sign.
    pub async fn beefy_justifications(&self) -> Result<Justifications, ChainError> {
        self.retrying(|| async {
            let stream = self
                .inner
                .rpc
                .subscribe(
                    "beefy_subscribeJustifications",
                    RpcParams::new(),
                    "beefy_unsubscribeJustifications",
                )
                .await?;
            Ok(Justifications(stream))
        })
        .await
    }

    /// The last block that the validators have signed. An error while there is none.
    pub async fn beefy_finalized(&self) -> Result<BlockId, ChainError> {
        let hash: H256 = self.rpc("beefy_getFinalizedHead", &[]).await?;
        Ok(BlockId { hash, number: self.number_of(hash).await? })
    }

    /// What the validators signed for a block, if the node kept it: it does for the first block of
    /// each session, and for the blocks that it happened to sign.
    pub async fn beefy_justification(&self, block: H256) -> Result<Option<Vec<u8>>, ChainError> {
        let at = SubxtHash(block.0);
        let details = self
            .retrying(|| async { Ok(self.inner.legacy.chain_get_block(Some(at)).await?) })
            .await?
            .ok_or_else(|| ChainError::NoSuchBlock(format!("{block:?}")))?;
        Ok(details
            .justifications
            .unwrap_or_default()
            .into_iter()
            .find(|(engine, _)| *engine == ENGINE)
            .map(|(_, justification)| justification))
    }

    /// What the runtime told BEEFY in a block's digest: each item a `ConsensusLog`, encoded.
    pub async fn beefy_logs(&self, block: H256) -> Result<Vec<Vec<u8>>, ChainError> {
        let header = self.header(block).await?;
        Ok(header
            .digest
            .logs
            .into_iter()
            .filter_map(|item| match item {
                DigestItem::Consensus(ENGINE, bytes) => Some(bytes),
                _ => None,
            })
            .collect())
    }

    /// A block's header, encoded.
    pub async fn header_bytes(&self, block: H256) -> Result<Vec<u8>, ChainError> {
        Ok(self.header(block).await?.encode())
    }

    async fn header(
        &self,
        block: H256,
    ) -> Result<subxt::config::substrate::SubstrateHeader<SubxtHash>, ChainError> {
        let at = SubxtHash(block.0);
        self.retrying(|| async { Ok(self.inner.legacy.chain_get_header(Some(at)).await?) })
            .await?
            .ok_or_else(|| ChainError::NoSuchBlock(format!("{block:?}")))
    }

    /// Leaf `leaf` of the mountain range, which describes block `leaf`, with its proof under the
    /// root that the range had with `leaves` leaves, which is the one that block `leaves` has.
    pub async fn leaf_proof(&self, leaf: u32, leaves: u32) -> Result<LeafProof, ChainError> {
        // The node asks for the block that made the leaf: the one after the one it describes.
        let made_in = leaf.saturating_add(1);
        let answer: LeavesProof =
            self.rpc("mmr_generateProof", &[json!([made_in]), json!(leaves), Value::Null]).await?;
        let what = "a leaf's proof";
        let mut encoded = Vec::<Vec<u8>>::decode(&mut answer.leaves.0.as_slice())
            .map_err(|error| wrong(what, error))?;
        let proof =
            RawProof::decode(&mut answer.proof.0.as_slice()).map_err(|error| wrong(what, error))?;
        match (encoded.pop(), encoded.len(), proof.indices.as_slice()) {
            (Some(bytes), 0, [index]) if *index == u64::from(leaf) => {
                Ok(LeafProof { leaf: bytes, index: *index, count: proof.count, items: proof.items })
            }
            _ => Err(wrong(what, format!("it is not for leaf {leaf} alone"))),
        }
    }
}
