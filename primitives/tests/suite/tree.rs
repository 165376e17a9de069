use crate::{flipped, hash, leaves};
use polkadot_sdk::sp_core::H256;
use tributary_primitives::tree::{self, Proof};

/// Sizes that the trees are tested with: all small ones and some around a power of two.
fn sizes() -> impl Iterator<Item = usize> {
    (1..=70).chain([513, 600])
}

/// The tree as RFC 6962 defines it, from the top down: the left part is the largest power of two
/// below the size.
fn top(leaves: &[H256]) -> H256 {
    match leaves {
        [] => H256::zero(),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            hash(&[&[0x01], &top(left).0, &top(right).0])
        }
    }
}

fn naive_root(leaves: &[H256]) -> H256 {
    hash(&[&[0x02], &(leaves.len() as u64).to_le_bytes(), &top(leaves).0])
}

#[test]
fn a_leaf_hash_binds_its_domain() {
    assert_eq!(tree::leaf_hash(b"x"), hash(&[&[0x00], b"x"]));
    assert_eq!(tree::leaf_hash(b""), hash(&[&[0x00]]));
}

#[test]
fn the_root_is_that_of_the_definition() {
    assert_eq!(tree::root(&[]), naive_root(&[]));
    for size in sizes() {
        assert_eq!(tree::root(&leaves(size)), naive_root(&leaves(size)), "{size} leaves");
    }
}

#[test]
fn every_leaf_can_be_proven() {
    for size in sizes() {
        let leaves = leaves(size);
        let root = tree::root(&leaves);
        for (i, leaf) in (0u64..).zip(&leaves).step_by(if size <= 70 { 1 } else { 19 }) {
            let proof = tree::prove(&leaves, i).expect("there is such a leaf");
            assert_eq!((proof.index, proof.count), (i, size as u64));
            assert!(tree::verify(&root, leaf, &proof), "leaf {i} of {size}");
        }
        assert_eq!(tree::prove(&leaves, size as u64), None);
        assert_eq!(tree::prove(&leaves, u64::MAX), None);
    }
    assert_eq!(tree::prove(&[], 0), None);
}

/// Every proof that differs from `proof` in one thing.
fn mutations(proof: &Proof, all_indices: bool) -> Vec<Proof> {
    let mut out = Vec::new();
    let with = |change: &dyn Fn(&mut Proof)| {
        let mut other = proof.clone();
        change(&mut other);
        other
    };
    let others: Vec<u64> = if all_indices {
        (0..proof.count + 2).collect()
    } else {
        let near = proof.index;
        vec![0, 1, near ^ 1, near ^ 2, near ^ 64, near + 1, proof.count - 1, proof.count]
    };
    for index in others.into_iter().chain([u64::MAX]).filter(|index| *index != proof.index) {
        out.push(with(&|p| p.index = index));
    }
    for count in
        [0, 1, proof.count - 1, proof.count + 1, proof.count * 2, proof.count ^ 2, u64::MAX]
    {
        if count != proof.count {
            out.push(with(&|p| p.count = count));
        }
    }
    for at in 0..proof.siblings.len() {
        out.push(with(&|p| p.siblings[at] = flipped(&p.siblings[at])));
        out.push(with(&|p| p.siblings[at] = H256::zero()));
        out.push(with(&|p| {
            p.siblings.remove(at);
        }));
        out.push(with(&|p| p.siblings.insert(at, p.siblings[at])));
        if at > 0 {
            out.push(with(&|p| p.siblings.swap(at - 1, at)));
        }
    }
    out.push(with(&|p| p.siblings.push(H256::zero())));
    out.push(with(&|p| p.siblings.insert(0, H256::zero())));
    out
}

#[test]
fn every_mutation_of_a_proof_is_refused() {
    for size in sizes() {
        let leaves = leaves(size);
        let root = tree::root(&leaves);
        let step = if size <= 70 { 1 } else { 67 };
        for i in (0..size).step_by(step).chain([size - 1]) {
            let proof = tree::prove(&leaves, i as u64).expect("there is such a leaf");
            for bad in mutations(&proof, size <= 33) {
                assert!(!tree::verify(&root, &leaves[i], &bad), "leaf {i} of {size}: {bad:?}");
            }
            assert!(!tree::verify(&flipped(&root), &leaves[i], &proof));
            assert!(!tree::verify(&root, &flipped(&leaves[i]), &proof));
            let other = (i + 1) % size;
            assert!(other == i || !tree::verify(&root, &leaves[other], &proof));
        }
    }
}

#[test]
fn an_inner_node_is_no_leaf() {
    for size in [2, 3, 4, 7, 8] {
        let leaves = leaves(size);
        let root = tree::root(&leaves);
        let node = hash(&[&[0x01], &leaves[0].0, &leaves[1].0]);
        let mut proof = tree::prove(&leaves, 0).expect("there is such a leaf");
        proof.siblings.remove(0);
        for count in 1..=8 {
            let shorter = Proof { count, ..proof.clone() };
            assert!(!tree::verify(&root, &node, &shorter), "{size} leaves read as {count}");
        }
        // Nor do the bytes of a node, hashed as a leaf, give the node.
        let bytes = [&[0x01], &leaves[0].0[..], &leaves[1].0[..]].concat();
        assert_ne!(tree::leaf_hash(&bytes), node);
    }
}

#[test]
fn nothing_is_in_an_empty_tree() {
    let root = tree::root(&[]);
    for (index, count) in [(0, 0), (0, 1), (u64::MAX, u64::MAX)] {
        let proof = Proof { index, count, siblings: vec![] };
        assert!(!tree::verify(&root, &H256::zero(), &proof));
    }
}

#[test]
fn a_proof_of_nonsense_ends() {
    let proof = Proof { index: u64::MAX - 1, count: u64::MAX, siblings: vec![H256::zero(); 100] };
    assert!(!tree::verify(&H256::zero(), &H256::zero(), &proof));
}

#[test]
fn order_and_number_of_leaves_change_the_root() {
    let five = leaves(5);
    let mut swapped = five.clone();
    swapped.swap(1, 3);
    assert_ne!(tree::root(&five), tree::root(&swapped));
    let mut padded = five.clone();
    padded.push(H256::zero());
    assert_ne!(tree::root(&five), tree::root(&padded));
    let mut doubled = five.clone();
    doubled.push(five[4]);
    assert_ne!(tree::root(&five), tree::root(&doubled));
}
