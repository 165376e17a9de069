//! The log of a datanet: what was accepted and what was retired, in order.
//!
//! The log is append-only. A version is a cut of it, `{length, root}`: it holds the contributions
//! accepted in the first `length` entries, less those retired in them.

use crate::{tree, ContributionId, Digest};
use alloc::{collections::BTreeMap, vec::Vec};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// One entry of a datanet's log.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub enum LogEntry {
    /// The contribution belongs to the datanet from here on.
    Accepted {
        /// The contribution.
        contribution: ContributionId,
        /// Digest of its shard.
        content: Digest,
        /// Root over its salted records.
        records_root: H256,
    },
    /// The contribution is left out of every version cut after this entry.
    Retired {
        /// The contribution.
        contribution: ContributionId,
    },
}

impl LogEntry {
    /// Leaf hash of the entry in the datanet's tree.
    pub fn leaf(&self) -> H256 {
        tree::leaf_hash(&self.encode())
    }
}

/// The contributions that a version holds, in the order of their acceptance, from the entries up
/// to its length.
pub fn members(entries: &[LogEntry]) -> Vec<(ContributionId, Digest)> {
    let mut live: BTreeMap<usize, (ContributionId, Digest)> = BTreeMap::new();
    for (position, entry) in entries.iter().enumerate() {
        match entry {
            LogEntry::Accepted { contribution, content, .. } => {
                live.insert(position, (*contribution, *content));
            }
            LogEntry::Retired { contribution } => live.retain(|_, (id, _)| id != contribution),
        }
    }
    live.into_values().collect()
}
