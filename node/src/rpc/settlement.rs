//! The bridge: its state, and proofs of withdrawals.

use std::sync::Arc;

use jsonrpsee::{
    core::RpcResult,
    proc_macros::rpc,
    types::{ErrorObject, ErrorObjectOwned},
};
use polkadot_sdk::*;
use sc_client_api::Backend as _;
use serde::Serialize;
use serde_json::{json, Value};
use sp_api::{ApiExt, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_core::{Bytes, H256};
use tributary_primitives::bridge::{SettlementView, Withdrawal};
use tributary_runtime::{apis::decl::SettlementApi, opaque::Block, Hash};

use crate::service::{FullBackend, FullClient};

/// A withdrawal, and the proof that it stands in the tree.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalProof {
    /// Its position in the tree.
    pub index: u32,
    /// The root of the tree at the end of the block.
    pub root: H256,
    /// Number of withdrawals in the tree then.
    pub leaf_count: u32,
    pub withdrawal: Withdrawal,
    /// 32 siblings of 32 bytes, from the leaf upwards.
    pub proof: Bytes,
    /// The block whose tree it is.
    pub block_hash: Hash,
}

#[rpc(server)]
pub trait SettlementRpc {
    /// The state of the bridge at the end of a block; of the best block if none is given.
    #[method(name = "settlement_state")]
    fn state(&self, at: Option<Hash>) -> RpcResult<SettlementView>;

    /// A proof of a withdrawal under the withdrawal root that a block ends with; of the best block
    /// if none is given. For Ethereum give an anchored block.
    #[method(name = "settlement_withdrawalProof")]
    fn withdrawal_proof(&self, index: u32, at: Option<Hash>) -> RpcResult<WithdrawalProof>;
}

/// Why a question about the bridge has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no block {block:?} is known")]
    UnknownBlock { block: Hash },
    #[error(
        "the state of block {block:?} is not kept any more: ask an archive node, or for a later block"
    )]
    Pruned { block: Hash },
    #[error("there is no withdrawal {index} at block {block:?}: it has {withdrawals} of them")]
    UnknownIndex { index: u32, withdrawals: u32, block: Hash },
    #[error("the runtime at block {block:?} knows no bridge")]
    NoBridge { block: Hash },
    #[error("the tree of block {block:?} lacks a node that the proof of withdrawal {index} needs")]
    NoProof { index: u32, block: Hash },
    #[error("the runtime at block {block:?} failed: {reason}")]
    Runtime { block: Hash, reason: String },
}

impl Error {
    /// Codes of errors of the server, as JSON-RPC leaves them to it, and what a program may want to
    /// read beside the text.
    fn parts(&self) -> (i32, Value) {
        match self {
            Self::UnknownBlock { block } => {
                (-32_051, json!({ "kind": "unknownBlock", "block": block }))
            }
            Self::Pruned { block } => (-32_052, json!({ "kind": "prunedBlock", "block": block })),
            Self::UnknownIndex { index, withdrawals, block } => (
                -32_053,
                json!({
                    "kind": "unknownIndex",
                    "index": index,
                    "withdrawals": withdrawals,
                    "block": block,
                }),
            ),
            Self::NoBridge { block } => (-32_054, json!({ "kind": "noBridge", "block": block })),
            Self::NoProof { index, block } => {
                (-32_055, json!({ "kind": "noProof", "index": index, "block": block }))
            }
            Self::Runtime { block, .. } => (-32_056, json!({ "kind": "runtime", "block": block })),
        }
    }
}

impl From<Error> for ErrorObjectOwned {
    fn from(error: Error) -> Self {
        let (code, data) = error.parts();
        ErrorObject::owned(code, error.to_string(), Some(data))
    }
}

/// The methods, answered from the node's own database.
pub struct Settlement {
    client: Arc<FullClient>,
    backend: Arc<FullBackend>,
}

impl Settlement {
    pub fn new(client: Arc<FullClient>, backend: Arc<FullBackend>) -> Self {
        Self { client, backend }
    }

    /// The block to be asked, if its state is there and has a bridge.
    fn block(&self, at: Option<Hash>) -> Result<Hash, Error> {
        let block = at.unwrap_or_else(|| self.client.info().best_hash);
        let number = self
            .client
            .number(block)
            .map_err(|e| Error::Runtime { block, reason: e.to_string() })?
            .ok_or(Error::UnknownBlock { block })?;
        if !self.backend.have_state_at(block, number) {
            return Err(Error::Pruned { block });
        }
        match self.client.runtime_api().has_api::<dyn SettlementApi<Block>>(block) {
            Ok(true) => Ok(block),
            Ok(false) => Err(Error::NoBridge { block }),
            Err(e) => Err(Error::Runtime { block, reason: e.to_string() }),
        }
    }

    fn view(&self, block: Hash) -> Result<SettlementView, Error> {
        let view = self.client.runtime_api().state(block);
        view.map_err(|e| Error::Runtime { block, reason: e.to_string() })
    }

    fn prove(&self, index: u32, at: Option<Hash>) -> Result<WithdrawalProof, Error> {
        let block = self.block(at)?;
        let failed = |e: sp_api::ApiError| Error::Runtime { block, reason: e.to_string() };
        let view = self.view(block)?;
        let leaf_count = view.withdrawals;
        if index >= leaf_count {
            return Err(Error::UnknownIndex { index, withdrawals: leaf_count, block });
        }
        let api = self.client.runtime_api();
        let withdrawal = api.withdrawal(block, index).map_err(failed)?;
        let proof = api.withdrawal_proof(block, index, leaf_count).map_err(failed)?;
        let (Some(withdrawal), Some(proof)) = (withdrawal, proof) else {
            return Err(Error::NoProof { index, block });
        };
        Ok(WithdrawalProof {
            index,
            root: view.withdrawal_root,
            leaf_count,
            withdrawal,
            proof: Bytes(proof.iter().flat_map(|sibling| sibling.0).collect()),
            block_hash: block,
        })
    }
}

impl SettlementRpcServer for Settlement {
    fn state(&self, at: Option<Hash>) -> RpcResult<SettlementView> {
        let block = self.block(at)?;
        Ok(self.view(block)?)
    }

    fn withdrawal_proof(&self, index: u32, at: Option<Hash>) -> RpcResult<WithdrawalProof> {
        Ok(self.prove(index, at)?)
    }
}
