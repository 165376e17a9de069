use super::refused;
use crate::{
    mock::*,
    trie::{self, ProofError},
    Error,
};
use alloy_trie::{
    nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode},
    Nibbles, TrieMask, EMPTY_ROOT_HASH,
};
use polkadot_sdk::sp_core::{H160, H256};
use proptest::prelude::*;
use tributary_primitives::bridge::{keccak, Advance, OriginProof};

/// The empty trie's only node.
const EMPTY: u8 = 0x80;

/// Account 0x22…22 with 5 in slot 0xab…ab on anvil 1.7.1: storage root, and the storage proof's only
/// node.
fn anvils() -> (H256, Vec<Vec<u8>>) {
    let hex = |text: &str| hex::decode(text).unwrap();
    let root = hex("45d195814f43782a45062a99f3558a3034dd30b1ac3112339b6adfc878758e5e");
    let leaf = hex("e3a1207d3a608bb850f47c2d77d6be73b8f93c94a80264b7bb3cc5c7d2fb54d07ef6b905");
    (H256::from_slice(&root), vec![leaf])
}

const SLOT: H256 = H256([0xab; 32]);

fn empty_root() -> H256 {
    H256(EMPTY_ROOT_HASH.0)
}

#[test]
fn a_value_and_an_absence_are_shown() {
    let (root, proof) = anvils();
    let number =
        |root, slot, proof: &[Vec<u8>]| trie::slot_value(root, slot, proof).map(trie::count);
    assert_eq!(number(root, SLOT, &proof), Ok(5));
    assert_eq!(number(root, H256::repeat_byte(0xac), &proof), Ok(0));
    assert_eq!(number(empty_root(), SLOT, &[]), Ok(0));
    assert_eq!(number(empty_root(), SLOT, &[vec![EMPTY]]), Ok(0));
    let nobody = trie::storage_root(empty_root(), H160::zero(), &[]);
    assert_eq!(nobody, Err(ProofError::NoAccount));
    // A number is no account.
    let (key, number) = (keccak(PORTAL.as_bytes()), alloy_rlp::encode(5u64));
    let leaf = alloy_rlp::encode(LeafNode::new(Nibbles::unpack(key), number));
    let read = trie::storage_root(keccak(&leaf), PORTAL, &[leaf]);
    assert_eq!(read, Err(ProofError::BadAccount));
    // Nor are bytes that no number begins with, or zero, which is never stored.
    for bytes in [vec![0x82, 0x00, 0x01], vec![EMPTY], vec![0x05, 0x05], vec![0xc0]] {
        let key = Nibbles::unpack(keccak(SLOT.as_bytes()));
        let leaf = alloy_rlp::encode(LeafNode::new(key, bytes.clone()));
        let read = trie::slot_value(keccak(&leaf), SLOT, &[leaf]);
        assert_eq!(read, Err(ProofError::BadNumber), "{bytes:?}");
    }
}

#[test]
fn what_shows_nothing_is_refused() {
    let (root, proof) = anvils();
    let read = |root, proof: &[Vec<u8>]| trie::slot_value(root, SLOT, proof);
    assert_eq!(read(root, &[]), Err(ProofError::Broken));
    assert_eq!(read(root, &[vec![EMPTY]]), Err(ProofError::Broken));
    assert_eq!(read(empty_root(), &proof), Err(ProofError::Broken));
    assert_eq!(read(root, &[vec![0xc1, 0x01]]), Err(ProofError::Unreadable));
    // Nodes beyond the one that decides.
    assert_eq!(read(root, &[proof.clone(), proof.clone()].concat()), Err(ProofError::Unreadable));
    let after_empty = [vec![EMPTY], proof[0].clone()];
    assert_eq!(read(empty_root(), &after_empty), Err(ProofError::Unreadable));
    assert_eq!(read(root, &[proof[0].clone(), vec![EMPTY]]), Err(ProofError::Unreadable));
    for position in 0..proof[0].len() {
        let mut changed = proof.clone();
        changed[0][position] ^= 1;
        assert!(read(root, &changed).is_err(), "byte {position}");
    }
}

/// Nodes whose paths are longer than a key together: extensions of 64 nibbles, one after the other.
#[test]
fn paths_that_are_too_long_break_nothing() {
    ExtBuilder::default().build_and_execute(|| {
        let good = Ethereum::default().block();
        let leaf = alloy_rlp::encode(LeafNode::new(Nibbles::unpack([0xab; 32]), vec![0x01; 40]));
        let below = RlpNode::from_rlp(&leaf);
        let extension = alloy_rlp::encode(ExtensionNode::new(Nibbles::unpack([0xab; 32]), below));
        let root = keccak(&extension);
        let header = header_rlp(101, 1, root);
        let bad = OriginProof { header, account_proof: vec![extension, leaf], ..good };
        refused(Advance { origin: Some(bad), bodies: vec![] }, Error::BadAccountProof);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_nodes_break_the_verifier(
        nodes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..6),
        header in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        let root = nodes.first().map(|node| keccak(node)).unwrap_or_default();
        let _ = trie::storage_root(root, PORTAL, &nodes);
        let _ = trie::slot_value(root, H256::zero(), &nodes);
        let _ = trie::header(&header);
    }

    /// Lists of two strings, as extensions and leaves are, under their own hash.
    #[test]
    fn no_pair_of_strings_breaks_the_verifier(
        first in proptest::collection::vec(any::<u8>(), 0..80),
        second in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let both: Vec<alloy_primitives::Bytes> = vec![first.into(), second.into()];
        let node = alloy_rlp::encode(both);
        let root = keccak(&node);
        let _ = trie::slot_value(root, SLOT, std::slice::from_ref(&node));
        let _ = trie::slot_value(root, SLOT, &[node.clone(), node]);
    }

    /// Extension nodes, branches and leaves with real links, of any path lengths.
    #[test]
    fn no_linked_nodes_break_the_verifier(
        keys in proptest::collection::vec((any::<bool>(), 1usize..33, any::<u8>()), 1..6),
    ) {
        let mut node = alloy_rlp::encode(LeafNode::new(Nibbles::unpack([0x11; 20]), vec![7; 40]));
        let mut proof = vec![node.clone()];
        for (branch, length, byte) in keys {
            let child = RlpNode::from_rlp(&node);
            node = if branch {
                let mask = TrieMask::new(0xffff);
                alloy_rlp::encode(BranchNode::new(vec![child; 16], mask))
            } else {
                alloy_rlp::encode(ExtensionNode::new(Nibbles::unpack(vec![byte; length]), child))
            };
            proof.insert(0, node.clone());
        }
        prop_assert!(trie::storage_root(keccak(&proof[0]), PORTAL, &proof).is_err());
    }
}
