use crate::{hash, leaves};
use codec::{Decode, Encode, MaxEncodedLen};
use polkadot_sdk::sp_core::H256;
use tributary_primitives::tree::{Frontier, DEPTH};

/// The whole tree of depth 32 over the leaves, level by level, with empty places as zero hashes.
fn naive_root(leaves: &[H256]) -> H256 {
    let mut level = leaves.to_vec();
    let mut empty = H256::zero();
    for _ in 0..DEPTH {
        level = level
            .chunks(2)
            .map(|pair| {
                let right = pair.get(1).unwrap_or(&empty);
                hash(&[&[0x01], &pair[0].0, &right.0])
            })
            .collect();
        empty = hash(&[&[0x01], &empty.0, &empty.0]);
    }
    let top = level.first().copied().unwrap_or(empty);
    hash(&[&[0x02], &(leaves.len() as u64).to_le_bytes(), &top.0])
}

#[test]
fn each_append_gives_the_root_of_the_definition() {
    let leaves = leaves(600);
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), naive_root(&[]));
    for (i, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.append(*leaf), Some(i as u32));
        let so_far = &leaves[..=i];
        // Every small size, and all around powers of two.
        if i < 70 || (i + 2).is_power_of_two() || (i + 1).is_power_of_two() || i + 1 == 600 {
            assert_eq!(frontier.root(), naive_root(so_far), "{} leaves", i + 1);
        }
    }
}

#[test]
fn the_root_binds_the_length() {
    let mut short = Frontier::default();
    short.append(H256::repeat_byte(1));
    let mut padded = short.clone();
    // An appended zero hash fills an empty place with what was there: only the length differs.
    padded.append(H256::zero());
    assert_ne!(short.root(), padded.root());
}

#[test]
fn a_full_tree_takes_no_more() {
    let mut frontier = Frontier { length: u32::MAX - 1, ..Default::default() };
    assert_eq!(frontier.append(H256::zero()), Some(u32::MAX - 1));
    let full = frontier.clone();
    assert_eq!(frontier.append(H256::zero()), None);
    assert_eq!(frontier, full);
}

#[test]
fn it_survives_storage() {
    let mut frontier = Frontier::default();
    for leaf in leaves(11) {
        frontier.append(leaf);
    }
    let bytes = frontier.encode();
    assert_eq!(bytes.len(), Frontier::max_encoded_len());
    let mut read = Frontier::decode(&mut bytes.as_slice()).expect("it was written so");
    assert_eq!(read, frontier);
    let next = H256::repeat_byte(7);
    assert_eq!((read.append(next), read.root()), (frontier.append(next), frontier.root()));
}
