//! The tree of withdrawals: append-only, of fixed depth 32, hashed with keccak-256.
//!
//! A leaf is the hash of a withdrawal, a node `keccak256(left ‖ right)`, and places that are not yet
//! taken count as zeros. The root does not say how many leaves there are: every proof has 32
//! siblings, so that no node can pass for a leaf, and a leaf of zeros is no withdrawal's hash.

use super::keccak_256;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use scale_info::TypeInfo;

/// Levels between a leaf and the root.
pub const DEPTH: usize = 32;

/// Siblings from the leaf upwards.
pub type Proof = [H256; DEPTH];

/// `keccak256(left ‖ right)`.
pub fn node(left: &H256, right: &H256) -> H256 {
    let mut both = [0u8; 64];
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(left.as_bytes());
    second.copy_from_slice(right.as_bytes());
    H256(keccak_256(&both))
}

/// What an empty subtree hashes to, by its height: entry 0 is an empty leaf, entry 32 the root of
/// the empty tree.
pub fn zeros() -> [H256; DEPTH + 1] {
    let mut zeros = [H256::zero(); DEPTH + 1];
    let mut below = H256::zero();
    for zero in zeros.iter_mut().skip(1) {
        below = node(&below, &below);
        *zero = below;
    }
    zeros
}

/// The root of the empty tree.
pub fn empty_root() -> H256 {
    zeros()[DEPTH]
}

/// The root under which `leaf` stands at `index`, if the proof is one.
pub fn root_of(leaf: &H256, index: u32, proof: &Proof) -> H256 {
    let (mut hash, mut at) = (*leaf, index);
    for sibling in proof {
        hash = if at & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) };
        at >>= 1;
    }
    hash
}

/// Whether `proof` shows that `leaf` stands at `index` of the tree with this `root`.
pub fn verify(root: &H256, leaf: &H256, index: u32, proof: &Proof) -> bool {
    *leaf != H256::zero() && root_of(leaf, index, proof) == *root
}

/// The growing edge of the tree.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Frontier {
    /// Number of leaves so far.
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
    /// Appends a leaf and returns its position; `None` when the tree is full.
    ///
    /// `complete` is told of every node that can never change again: `(level, position in the
    /// level, hash)`, the leaf itself first.
    pub fn append(&mut self, leaf: H256, mut complete: impl FnMut(u8, u32, H256)) -> Option<u32> {
        let index = self.length;
        self.length = index.checked_add(1)?;
        let (mut hash, mut at) = (leaf, index);
        for (level, slot) in (0u8..).zip(self.pending.iter_mut()) {
            complete(level, at, hash);
            if at & 1 == 0 {
                *slot = hash;
                break;
            }
            hash = node(slot, &hash);
            at >>= 1;
        }
        Some(index)
    }

    /// The root over the leaves so far.
    pub fn root(&self) -> H256 {
        let (mut hash, mut empty) = (H256::zero(), H256::zero());
        let mut at = self.length;
        for slot in self.pending.iter() {
            hash = if at & 1 == 1 { node(slot, &hash) } else { node(&hash, &empty) };
            empty = node(&empty, &empty);
            at >>= 1;
        }
        hash
    }
}

/// The proof for the leaf at `index` of the tree as it was with `count` leaves.
///
/// `complete` finds the nodes that [`Frontier::append`] told of. At most 64 of them are asked for;
/// `None` if there is no such leaf or a node is missing.
pub fn prove(
    index: u32,
    count: u32,
    mut complete: impl FnMut(u8, u32) -> Option<H256>,
) -> Option<Proof> {
    if index >= count {
        return None;
    }
    let zeros = zeros();
    let mut proof = [H256::zero(); DEPTH];
    for ((level, slot), zero) in (0u8..).zip(proof.iter_mut()).zip(zeros.iter()) {
        let sibling = index.checked_shr(level.into())? ^ 1;
        let first = u64::from(sibling).checked_shl(level.into())?;
        *slot = if first >= u64::from(count) {
            *zero
        } else {
            subtree(level, sibling, count, &zeros, &mut complete)?
        };
    }
    Some(proof)
}

/// The hash of a subtree that has at least one leaf.
fn subtree(
    level: u8,
    at: u32,
    count: u32,
    zeros: &[H256; DEPTH + 1],
    complete: &mut impl FnMut(u8, u32) -> Option<H256>,
) -> Option<H256> {
    // From the top down to where the subtree is complete; on the way all that is empty is right and
    // all that is complete is left.
    let count = u64::from(count);
    let end = u64::from(at).checked_add(1)?.checked_shl(level.into())?;
    if end <= count {
        return complete(level, at);
    }
    let below = level.checked_sub(1)?;
    let left = at.checked_mul(2)?;
    let right = left.checked_add(1)?;
    if u64::from(right).checked_shl(below.into())? < count {
        let left = complete(below, left)?;
        Some(node(&left, &subtree(below, right, count.try_into().ok()?, zeros, complete)?))
    } else {
        let left = subtree(below, left, count.try_into().ok()?, zeros, complete)?;
        Some(node(&left, zeros.get(usize::from(below))?))
    }
}
