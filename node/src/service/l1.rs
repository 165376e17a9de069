//! What the L1 follower asks of the client.

use std::sync::Arc;

use pallet_settlement::{Config as SettlementConfig, Waiting};
use polkadot_sdk::*;
use sc_client_api::{StorageKey, StorageProvider};
use sp_api::{ApiError, ApiExt, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_core::H256;
use tributary_primitives::bridge::{origin::MAX_BODIES, SettlementView};
use tributary_runtime::{apis::decl::SettlementApi, opaque::Block, Hash, Runtime};

use super::FullClient;
use crate::l1::{Bridge, Chain, LOG_TARGET};

/// The chain as the client has it.
pub struct ClientChain(pub Arc<FullClient>);

impl ClientChain {
    /// `None` for blocks of a runtime without the bridge.
    fn view(&self, at: Hash) -> Result<Option<SettlementView>, ApiError> {
        let api = self.0.runtime_api();
        if !api.has_api::<dyn SettlementApi<Block>>(at)? {
            return Ok(None);
        }
        api.state(at).map(Some)
    }

    /// The hash of a deposit that waits. Read from the state as this node's runtime lays it out:
    /// should another runtime do it otherwise, the deposit goes unchecked here and is checked there.
    fn waiting(&self, at: Hash, position: u64) -> Option<H256> {
        let key = StorageKey(Waiting::<Runtime>::hashed_key_for(position));
        let data = self.0.storage(at, &key).ok()??;
        codec::DecodeAll::decode_all(&mut &data.0[..]).ok()
    }
}

impl Chain for ClientChain {
    fn best(&self) -> Hash {
        self.0.info().best_hash
    }

    fn settlement(&self, at: Hash) -> Option<Bridge> {
        let view = match self.view(at) {
            Ok(view) => view?,
            Err(e) => {
                log::debug!(target: LOG_TARGET, "The bridge's state at {at} cannot be read: {e}");
                return None;
            }
        };
        let waiting = view.known.saturating_sub(view.executed);
        let room = <Runtime as SettlementConfig>::MaxWaiting::get().saturating_sub(waiting);
        let next = (view.executed..view.known)
            .take(MAX_BODIES)
            .map_while(|position| self.waiting(at, position))
            .collect();
        Some(Bridge { view, room, next })
    }
}
