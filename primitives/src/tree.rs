//! Hash trees whose proofs have exactly one reading.
//!
//! [`root`], [`prove`] and [`verify`] are a binary tree over a known list of leaves; a level with
//! an odd number of nodes promotes its last one unchanged (as RFC 6962 does). The root binds the
//! number of leaves, and a proof's length follows from index and count alone, so that an inner
//! node can never be offered as a leaf, nor a proof be padded or cut.
//!
//! [`Frontier`] is an append-only tree of fixed depth 32, of which only the rightmost path is
//! kept; empty places count as zero hashes.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::{sp_core::H256, sp_crypto_hashing::blake2_256};
use scale_info::TypeInfo;

const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;
const ROOT: u8 = 0x02;

/// Depth of a [`Frontier`].
pub const DEPTH: usize = 32;

/// Hash of a leaf's bytes.
pub fn leaf_hash(bytes: &[u8]) -> H256 {
    (LEAF, Raw(bytes)).using_encoded(blake2_256).into()
}

fn node_hash(left: &H256, right: &H256) -> H256 {
    (NODE, left, right).using_encoded(blake2_256).into()
}

fn root_hash(count: u64, top: &H256) -> H256 {
    (ROOT, count, top).using_encoded(blake2_256).into()
}

/// Bytes that encode as themselves, without a length before them.
struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encode_to<O: codec::Output + ?Sized>(&self, to: &mut O) {
        to.write(self.0);
    }
}

fn parents(level: &[H256]) -> Vec<H256> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node_hash(left, right),
            [last, ..] => *last,
            [] => H256::zero(),
        })
        .collect()
}

/// Root over leaf hashes (see [`leaf_hash`]). The root of no leaves is that of a zero top.
pub fn root(leaves: &[H256]) -> H256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
    }
    root_hash(leaves.len() as u64, &level.first().copied().unwrap_or_default())
}

/// Proof that a leaf stands at `index` of a tree of `count` leaves.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Proof {
    /// Position of the leaf, from 0.
    pub index: u64,
    /// Number of leaves in the tree.
    pub count: u64,
    /// Siblings from the leaf upwards; levels at which the node is promoted have none.
    pub siblings: Vec<H256>,
}

/// Proof for the leaf at `index`; `None` if there is no such leaf.
pub fn prove(leaves: &[H256], index: u64) -> Option<Proof> {
    let mut at = usize::try_from(index).ok().filter(|i| *i < leaves.len())?;
    let mut level = leaves.to_vec();
    let mut siblings = Vec::new();
    while level.len() > 1 {
        if let Some(sibling) = level.get(at ^ 1) {
            siblings.push(*sibling);
        }
        level = parents(&level);
        at >>= 1;
    }
    Some(Proof { index, count: leaves.len() as u64, siblings })
}

/// Whether `proof` shows that `leaf` (a leaf hash) belongs to the tree of this `root`.
///
/// Takes at most 64 steps, whatever the proof says.
pub fn verify(root: &H256, leaf: &H256, proof: &Proof) -> bool {
    if proof.index >= proof.count {
        return false;
    }
    let (mut at, mut width, mut hash) = (proof.index, proof.count, *leaf);
    let mut siblings = proof.siblings.iter();
    while width > 1 {
        let promoted = at & 1 == 0 && at.saturating_add(1) == width;
        if !promoted {
            let Some(sibling) = siblings.next() else { return false };
            hash = if at & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) };
        }
        at >>= 1;
        width = (width >> 1).saturating_add(width & 1);
    }
    siblings.next().is_none() && root_hash(proof.count, &hash) == *root
}

/// The growing edge of an append-only tree of depth [`DEPTH`].
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Frontier {
    /// Number of leaves appended so far.
    pub length: u32,
    /// For each level the last complete left node that waits for its sibling.
    pub pending: [H256; DEPTH],
}

impl Default for Frontier {
    fn default() -> Self {
        Self { length: 0, pending: [H256::zero(); DEPTH] }
    }
}

impl Frontier {
    /// Appends a leaf hash and returns its position; `None` when the tree is full.
    pub fn append(&mut self, leaf: H256) -> Option<u32> {
        let index = self.length;
        self.length = index.checked_add(1)?;
        let (mut hash, mut at) = (leaf, index);
        for slot in self.pending.iter_mut() {
            if at & 1 == 0 {
                *slot = hash;
                break;
            }
            hash = node_hash(slot, &hash);
            at >>= 1;
        }
        Some(index)
    }

    /// Root that binds the present length.
    pub fn root(&self) -> H256 {
        let (mut hash, mut empty) = (H256::zero(), H256::zero());
        let mut at = self.length;
        for slot in self.pending.iter() {
            hash = if at & 1 == 1 { node_hash(slot, &hash) } else { node_hash(&hash, &empty) };
            empty = node_hash(&empty, &empty);
            at >>= 1;
        }
        root_hash(u64::from(self.length), &hash)
    }
}
