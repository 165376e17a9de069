//! Leaves, the mountain range over them, and a handover between three sets of validators.

use codec::Encode;
use polkadot_sdk::*;
use serde_json::{json, Value};
use sp_consensus_beefy::mmr::{BeefyAuthoritySet, MmrLeafVersion};
use sp_core::{ecdsa, H160, H256};
use sp_io::hashing::keccak_256;
use sp_mmr_primitives::{
    mmr_lib::{self, leaf_index_to_mmr_size, leaf_index_to_pos, util::MemStore, MMR},
    DataOrHash, FullLeaf, LeafProof,
};
use sp_runtime::traits::Keccak256;
use tributary_primitives::bridge::{domain, leaf, tree, LeafExtra};

use super::{
    authorities::{addresses, authority_set, commitment, pair, signatures},
    bridge::{proof_bytes, sample_withdrawals, withdrawal_json},
    hex, packed, seed,
};
use crate::configs::mmr::{LeafVersion, MmrLeaf};

pub const CHAIN_ID: u64 = 1;
pub const PORTAL: H160 = H160([0x70; 20]);

pub fn genesis() -> H256 {
    seed("genesis")
}

pub fn domain_of_all() -> H256 {
    domain(CHAIN_ID, PORTAL, genesis())
}

/// The leaf that describes a block.
pub fn sample_leaf(number: u32) -> MmrLeaf {
    MmrLeaf {
        version: LeafVersion::get(),
        parent_number_and_hash: (number, seed(&format!("block {number}"))),
        beefy_next_authority_set: BeefyAuthoritySet {
            id: u64::from(number / 10) + 1,
            len: 3,
            keyset_commitment: seed(&format!("set {}", number / 10 + 1)),
        },
        leaf_extra: LeafExtra {
            domain: domain_of_all(),
            withdrawal_root: seed(&format!("withdrawals {number}")),
            l1_origin_number: 1_000 + u64::from(number),
            l1_origin_hash: seed(&format!("origin {number}")),
        },
    }
}

type Node = DataOrHash<Keccak256, MmrLeaf>;

/// Merges as the pallet does.
struct Merge;
impl mmr_lib::Merge for Merge {
    type Item = H256;

    fn merge(left: &H256, right: &H256) -> mmr_lib::Result<H256> {
        Ok((left, right).using_encoded(keccak_256).into())
    }
}

/// A mountain range of which every earlier state can be asked for.
struct Mountains {
    store: MemStore<H256>,
}

impl Mountains {
    fn of(leaves: impl Iterator<Item = H256>) -> Self {
        let store = MemStore::default();
        let mut mountains = MMR::<H256, Merge, _>::new(0, &store);
        for leaf in leaves {
            mountains.push(leaf).expect("the store takes all");
        }
        mountains.commit().expect("the store takes all");
        drop(mountains);
        Self { store }
    }

    fn at(&self, count: u64) -> MMR<H256, Merge, &MemStore<H256>> {
        MMR::new(leaf_index_to_mmr_size(count - 1), &self.store)
    }

    fn root(&self, count: u64) -> H256 {
        self.at(count).get_root().expect("it is not empty")
    }

    /// The items of a proof, which the pallet's own verifier has accepted.
    fn prove(&self, leaf: &MmrLeaf, index: u64, count: u64) -> Vec<H256> {
        let mountains = self.at(count);
        let proof = mountains.gen_proof(vec![leaf_index_to_pos(index)]).expect("the leaf is there");
        let items = proof.proof_items().to_vec();
        if count == 1 {
            // The pallet's verifier compares a lone leaf with its hash, and never finds them equal.
            assert_eq!((items.len(), self.root(1)), (0, leaf_hash(leaf)));
            return items;
        }
        let for_pallet =
            LeafProof { leaf_indices: vec![index], leaf_count: count, items: items.clone() };
        pallet_mmr::verify_leaves_proof::<Keccak256, MmrLeaf>(
            self.root(count),
            vec![Node::Data(leaf.clone())],
            for_pallet,
        )
        .expect("the proof is one");
        items
    }
}

/// The hash of a leaf in the mountain range, as the pallet computes it.
pub fn leaf_hash(leaf: &MmrLeaf) -> H256 {
    let hash = Node::Data(leaf.clone()).hash();
    assert_eq!(hash, H256(FullLeaf::using_encoded(leaf, keccak_256, true)));
    hash
}

pub fn proofs() -> Value {
    let leaves: Vec<MmrLeaf> = (0..70).map(sample_leaf).collect();
    let hashes: Vec<H256> = leaves.iter().map(leaf_hash).collect();
    let mountains = Mountains::of(hashes.iter().copied());
    let roots: Vec<_> = (1..=70).map(|count| hex(mountains.root(count))).collect();
    let mut proofs = Vec::new();
    for count in (1..=20u64).chain([31, 32, 33, 63, 64, 65, 70]) {
        for index in 0..count {
            proofs.push(json!({
                "leafCount": count,
                "leafIndex": index,
                "items": packed(&mountains.prove(&leaves[index as usize], index, count)),
            }));
        }
    }

    let counts = [255u64, 256, 1_000, 4_097, 65_535, 65_536, 100_001];
    let many = Mountains::of((0..100_001).map(|number| leaf_hash(&sample_leaf(number))));
    let mut big = Vec::new();
    for count in counts {
        for index in [0, 1, count / 3, count / 2, count - 2, count - 1] {
            let leaf = sample_leaf(index as u32);
            big.push(json!({
                "leafCount": count,
                "leafIndex": index,
                "leaf": hex(leaf.encode()),
                "root": hex(many.root(count)),
                "items": packed(&many.prove(&leaf, index, count)),
            }));
        }
    }
    json!({
        "genesis": hex(genesis()),
        "domain": hex(domain_of_all()),
        "chainId": CHAIN_ID,
        "portal": hex(PORTAL),
        "leaves": hex(leaves.iter().flat_map(Encode::encode).collect::<Vec<_>>()),
        "leafHashes": packed(&hashes),
        "roots": roots,
        "proofs": proofs,
        "big": big,
    })
}

/// A session's length, in blocks.
const SESSION: u32 = 10;

/// The session that a block belongs to; the first block of session 1 is block 11.
fn session(block: u32) -> u64 {
    u64::from(block.saturating_sub(1) / SESSION)
}

/// The validators of a session: some stay, some come, some go.
fn validators(session: u64) -> Vec<ecdsa::Pair> {
    let (first, length) = match session {
        0 => (0, 4),
        1 => (2, 7),
        2 => (5, 5),
        _ => (6, 3),
    };
    (first..first + length).map(pair).collect()
}

fn set_json(set: &BeefyAuthoritySet<H256>) -> Value {
    json!({ "id": set.id, "length": set.len, "root": hex(set.keyset_commitment) })
}

pub fn handover() -> Value {
    let sets: Vec<_> = (0..4).map(|number| authority_set(&validators(number), number)).collect();
    let withdrawals = sample_withdrawals(6);
    // Withdrawal `k` is made in block `4 k + 1`.
    let root_after = |block: u32| {
        let mut frontier = tree::Frontier::default();
        for withdrawal in withdrawals.iter().take((block as usize).div_ceil(4).min(6)) {
            frontier.append(withdrawal.hash(), |_, _, _| {});
        }
        (frontier.length, frontier.root())
    };
    // Leaf `i` is made in block `i + 1`, in whose session the set after the next is named.
    let leaves: Vec<MmrLeaf> = (0..24u32)
        .map(|number| MmrLeaf {
            version: MmrLeafVersion::new(0, 0),
            parent_number_and_hash: (number, seed(&format!("handover block {number}"))),
            beefy_next_authority_set: sets[session(number + 1) as usize + 1].clone(),
            leaf_extra: LeafExtra {
                domain: domain_of_all(),
                withdrawal_root: root_after(number).1,
                l1_origin_number: 500 + u64::from(number / 4),
                l1_origin_hash: seed(&format!("origin {}", number / 4)),
            },
        })
        .collect();
    let mountains = Mountains::of(leaves.iter().map(leaf_hash));
    let steps: Vec<_> = [8u32, 11, 15, 21, 24]
        .into_iter()
        .map(|block| {
            let (index, count) = (u64::from(block) - 1, u64::from(block));
            let leaf = &leaves[index as usize];
            let signers = validators(session(block));
            let root = mountains.root(count);
            let encoded = commitment(root, block, session(block));
            json!({
                "commitment": {
                    "mmrRoot": hex(root),
                    "blockNumber": block,
                    "validatorSetId": session(block),
                    "encoded": hex(&encoded),
                    "hash": hex(keccak_256(&encoded)),
                },
                "signers": addresses(&signers),
                "signatures": signatures(&signers, &encoded),
                "quorum": leaf::quorum(signers.len() as u32),
                "leafIndex": index,
                "leafCount": count,
                "leaf": hex(leaf.encode()),
                "items": packed(&mountains.prove(leaf, index, count)),
                "after": {
                    "current": set_json(&sets[session(block) as usize]),
                    "next": set_json(&sets[session(block) as usize + 1]),
                },
            })
        })
        .collect();

    // A withdrawal of the past, under the last anchor.
    let (block, index) = (22u32, 2u32);
    let leaf = &leaves[block as usize];
    let (made, root) = root_after(block);
    let hashes: Vec<_> = withdrawals.iter().map(|withdrawal| withdrawal.hash()).collect();
    let mut withdrawal = withdrawal_json(&withdrawals[index as usize]);
    let proven = json!({
        "leafIndex": block,
        "leafCount": 24,
        "leaf": hex(leaf.encode()),
        "items": packed(&mountains.prove(leaf, u64::from(block), 24)),
        "blockHash": hex(leaf.parent_number_and_hash.1),
        "withdrawalRoot": hex(root),
        "outputRoot": hex(leaf::output_root(leaf_hash(leaf), root, leaf.parent_number_and_hash.1)),
        "index": index,
        "withdrawalCount": made,
        "proof": proof_bytes(&hashes, index, made),
    });
    for (key, value) in proven.as_object().expect("it is one") {
        withdrawal[key] = value.clone();
    }
    json!({
        "domain": hex(domain_of_all()),
        "chainId": CHAIN_ID,
        "portal": hex(PORTAL),
        "genesis": hex(genesis()),
        "initial": { "current": set_json(&sets[0]), "next": set_json(&sets[1]) },
        "steps": steps,
        "withdrawal": withdrawal,
    })
}

#[test]
fn a_leaf_of_the_primitives_is_the_runtimes() {
    for number in [0, 1, 7, u32::MAX] {
        let leaf = sample_leaf(number);
        let bytes = leaf.encode();
        let read = leaf::Leaf::read(&bytes).expect("it is one");
        assert_eq!(read.hash(), leaf_hash(&leaf));
        assert_eq!((read.parent_number, read.parent_hash), leaf.parent_number_and_hash);
        assert_eq!(read.extra, leaf.leaf_extra);
        assert_eq!(read.next_set.root, leaf.beefy_next_authority_set.keyset_commitment);
        // One byte more or less, or another version, is no leaf.
        assert_eq!(leaf::Leaf::read(&bytes[..184]), None);
        assert_eq!(leaf::Leaf::read(&[bytes.clone(), vec![0]].concat()), None);
        let mut other = bytes;
        other[0] = 1;
        assert_eq!(leaf::Leaf::read(&other), None);
    }
}
