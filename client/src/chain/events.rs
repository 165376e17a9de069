//! Events of blocks and transactions.

use super::{Chain, ChainError};
use codec::Decode;
use serde::Serialize;
use subxt::{
    error::DispatchError, events::Phase, ext::scale_value::Composite, utils::H256 as SubxtHash,
    ArcMetadata,
};
use tributary_primitives::H256;

/// An event of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Pallet that emitted it.
    pub pallet: String,
    /// Its name.
    pub name: String,
    /// Position in the block of the transaction that caused it, if one did.
    pub extrinsic: Option<u32>,
    /// Its fields, SCALE-encoded one after the other.
    #[serde(skip)]
    pub fields: Vec<u8>,
    /// Its fields for people.
    pub text: String,
}

impl Event {
    /// Whether it is this event of this pallet.
    pub fn is(&self, pallet: &str, name: &str) -> bool {
        self.pallet == pallet && self.name == name
    }

    /// Decodes its fields, in order; leading fields suffice.
    pub fn decode<T: Decode>(&self) -> Result<T, ChainError> {
        T::decode(&mut self.fields.as_slice()).map_err(|error| ChainError::Decode {
            what: format!("event {}::{}", self.pallet, self.name),
            reason: error.to_string(),
        })
    }
}

/// A transaction in a block, with what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Included {
    /// Hash of the transaction.
    pub tx: H256,
    /// Hash of the block.
    pub block: H256,
    /// Number of the block.
    pub number: u32,
    /// Position of the transaction in the block.
    pub index: u32,
    /// Whether the block is final.
    pub finalized: bool,
    /// Its events.
    pub events: Vec<Event>,
}

impl Included {
    /// The first event of this name, decoded; `None` if there is none.
    pub fn find<T: Decode>(&self, pallet: &str, name: &str) -> Result<Option<T>, ChainError> {
        self.events.iter().find(|event| event.is(pallet, name)).map(Event::decode).transpose()
    }

    /// The first event of this name, decoded.
    pub fn require<T: Decode>(&self, pallet: &str, name: &str) -> Result<T, ChainError> {
        self.find(pallet, name)?.ok_or_else(|| ChainError::EventMissing {
            tx: self.tx,
            pallet: pallet.into(),
            event: name.into(),
        })
    }
}

impl Chain {
    /// Every event of a block.
    pub async fn events_at(&self, block: H256) -> Result<Vec<Event>, ChainError> {
        let at = self.at(block).await?;
        let failed = |error: &dyn std::fmt::Display| ChainError::Decode {
            what: format!("the events of block {block:?}"),
            reason: error.to_string(),
        };
        let events = at.events().fetch().await.map_err(|error| failed(&error))?;
        events
            .iter()
            .map(|event| {
                let event = event.map_err(|error| failed(&error))?;
                Ok(Event {
                    pallet: event.pallet_name().to_string(),
                    name: event.event_name().to_string(),
                    extrinsic: match event.phase() {
                        Phase::ApplyExtrinsic(index) => Some(index),
                        Phase::Initialization | Phase::Finalization => None,
                    },
                    fields: event.field_bytes().to_vec(),
                    text: event
                        .decode_fields_unchecked_as::<Composite<()>>()
                        .map(|fields| fields.to_string())
                        .unwrap_or_default(),
                })
            })
            .collect()
    }

    /// What a transaction did in a block; `None` if the block does not hold it.
    pub async fn outcome(&self, tx: H256, block: H256) -> Result<Option<Included>, ChainError> {
        let body = self.block_body(block).await?;
        let position = body.iter().position(|bytes| super::submit::hash(bytes) == tx);
        let Some(index) = position.and_then(|at| u32::try_from(at).ok()) else { return Ok(None) };
        let number = self.number_of(block).await?;
        let events = self.events_at(block).await?;
        let events = events.into_iter().filter(|event| event.extrinsic == Some(index)).collect();
        Ok(Some(Included { tx, block, number, index, finalized: false, events }))
    }

    /// The error of a failed transaction, if it failed.
    pub(crate) async fn failure(&self, included: &Included) -> Result<(), ChainError> {
        let Some(event) = included.events.iter().find(|e| e.is("System", "ExtrinsicFailed")) else {
            return Ok(());
        };
        let metadata = self.at(included.block).await?.metadata();
        Err(dispatch_error(&event.fields, metadata))
    }

    pub(crate) async fn at(&self, block: H256) -> Result<super::AtBlock, ChainError> {
        let reference = subxt::backend::BlockRef::from_hash(SubxtHash(block.0));
        self.retrying(|| async {
            self.inner.client.at_block(reference.clone()).await.map_err(super::at_block_error)
        })
        .await
    }
}

/// Names a dispatch error by the chain's metadata.
pub(crate) fn dispatch_error(bytes: &[u8], metadata: ArcMetadata) -> ChainError {
    match DispatchError::decode_from(bytes, metadata) {
        Ok(DispatchError::Module(module)) => match module.details() {
            Ok(details) => ChainError::Module {
                pallet: details.pallet.name().into(),
                error: details.variant.name.clone(),
                docs: text(&details.variant.docs),
            },
            Err(error) => ChainError::Dispatch(error.to_string()),
        },
        Ok(other) => ChainError::Dispatch(other.to_string()),
        Err(error) => ChainError::Dispatch(format!("0x{} ({error})", hex::encode(bytes))),
    }
}

/// Doc comments as one sentence.
pub(crate) fn text(docs: &[String]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
