//! Ethereum among a block's inherents.

use std::sync::Arc;

use codec::DecodeAll;
use polkadot_sdk::sp_inherents::{self, InherentData, InherentDataProvider, InherentIdentifier};
use tributary_primitives::bridge::{
    origin::{InherentError, L1Ref, INHERENT_IDENTIFIER},
    Advance,
};
use tributary_runtime::Hash;

use super::{Error, L1};

/// What this node says of Ethereum in a block of its own, and what it thinks of what others say.
pub struct Inherent {
    l1: Arc<L1>,
    parent: Hash,
    advance: Option<Advance>,
}

impl Inherent {
    /// For a block that this node makes on top of `parent`.
    pub fn author(l1: &Arc<L1>, parent: Hash) -> Self {
        Self { l1: l1.clone(), parent, advance: l1.prepared_for(parent) }
    }

    /// For a block on top of `parent` that is imported.
    pub fn importer(l1: &Arc<L1>, parent: Hash) -> Self {
        Self { l1: l1.clone(), parent, advance: None }
    }
}

#[async_trait::async_trait]
impl InherentDataProvider for Inherent {
    async fn provide_inherent_data(
        &self,
        inherent_data: &mut InherentData,
    ) -> Result<(), sp_inherents::Error> {
        match &self.advance {
            Some(advance) => inherent_data.put_data(INHERENT_IDENTIFIER, advance),
            None => Ok(()),
        }
    }

    async fn try_handle_error(
        &self,
        identifier: &InherentIdentifier,
        error: &[u8],
    ) -> Option<Result<(), sp_inherents::Error>> {
        if *identifier != INHERENT_IDENTIFIER {
            return None;
        }
        let checked = match InherentError::decode_all(&mut &error[..]) {
            Ok(InherentError::Unchecked(origin)) => {
                let origin = L1Ref { number: origin.number, hash: origin.hash };
                self.l1.check(self.parent, origin).await
            }
            Ok(InherentError::Malformed) => {
                Err(Error::Fatal { reason: "its header cannot be read".into() })
            }
            // A runtime newer than this node says something that the node cannot judge.
            Err(e) => Err(Error::Fatal { reason: format!("an error unknown to this node ({e})") }),
        };
        Some(checked.map_err(|e| sp_inherents::Error::Application(Box::new(e))))
    }
}
