//! Ethereum's headers: from the JSON of `eth_getBlockByNumber` to the RLP that the runtime reads.

use alloy_consensus::Header;
use alloy_primitives::{keccak256, B256};
use serde::Deserialize;
use tributary_primitives::bridge::origin::MAX_HEADER;

use super::Error;

/// A block as an endpoint announces it. What is not part of the header is ignored.
#[derive(Debug, Clone, Deserialize)]
struct Announced {
    hash: B256,
    #[serde(flatten)]
    header: Header,
}

/// A header whose fields give the hash under which it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub number: u64,
    pub hash: B256,
    pub state_root: B256,
    /// The header as Ethereum hashes it.
    pub rlp: Vec<u8>,
}

/// Rebuilds the header that `json` describes.
///
/// A fork that adds a field to the header makes the hash differ until the node learns the field:
/// such a block is an error and never a block with another meaning.
pub fn rebuild(endpoint: &str, json: &serde_json::Value) -> Result<Block, Error> {
    let Announced { hash, header } =
        Announced::deserialize(json).map_err(|e| Error::Unreadable {
            endpoint: endpoint.to_string(),
            method: "eth_getBlockByNumber",
            reason: e.to_string(),
        })?;
    let rlp = alloy_rlp::encode(&header);
    let computed = keccak256(&rlp);
    if computed != hash {
        return Err(Error::HeaderHash {
            endpoint: endpoint.to_string(),
            number: header.number,
            announced: hash,
            computed,
        });
    }
    if rlp.len() > MAX_HEADER {
        return Err(Error::LongHeader {
            number: header.number,
            length: rlp.len(),
            max: MAX_HEADER,
        });
    }
    Ok(Block { number: header.number, hash, state_root: header.state_root, rlp })
}
