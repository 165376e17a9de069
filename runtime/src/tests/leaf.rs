//! What Ethereum will decode has the length and the order that it expects.

use codec::Encode;
use polkadot_sdk::*;
use sp_consensus_beefy::mmr::BeefyDataProvider;
use sp_core::{H160, H256};
use sp_io::hashing::keccak_256;
use tributary_primitives::bridge::{domain, tree::empty_root};

use super::chain::Chain;
use crate::{
    configs::mmr::{LeafExtraProvider, MmrLeaf},
    LeafExtra, Runtime, System,
};

/// 32 + 32 + 8 + 32.
const LEAF_EXTRA_LENGTH: usize = 104;
/// version 1, parent number 4, parent hash 32, authority set id 8, length 4, root 32, extra 104.
const LEAF_LENGTH: usize = 1 + 4 + 32 + 8 + 4 + 32 + LEAF_EXTRA_LENGTH;

#[test]
fn the_extra_has_its_fixed_length_and_order() {
    let extra = LeafExtra {
        domain: H256::repeat_byte(1),
        withdrawal_root: H256::repeat_byte(2),
        l1_origin_number: 0x0102_0304_0506_0708,
        l1_origin_hash: H256::repeat_byte(3),
    };
    let bytes = extra.encode();
    assert_eq!(bytes.len(), LEAF_EXTRA_LENGTH);
    assert_eq!(bytes[..32], [1; 32]);
    assert_eq!(bytes[32..64], [2; 32]);
    assert_eq!(bytes[64..72], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[72..], [3; 32]);
    assert_eq!(LeafExtra::default().encode().len(), LEAF_EXTRA_LENGTH);
}

#[test]
fn the_domain_is_the_hash_of_three_words() {
    let portal = H160::repeat_byte(0xaa);
    let genesis = H256::repeat_byte(0xbb);
    let mut preimage = Vec::new();
    preimage.extend_from_slice(&[0; 31]);
    preimage.push(1);
    preimage.extend_from_slice(&[0; 12]);
    preimage.extend_from_slice(&[0xaa; 20]);
    preimage.extend_from_slice(&[0xbb; 32]);
    assert_eq!(domain(1, portal, genesis), H256(keccak_256(&preimage)));
    assert_ne!(domain(1, portal, genesis), domain(2, portal, genesis));
}

#[test]
fn each_block_appends_one_leaf_about_its_parent() {
    let mut chain = Chain::new("development");
    chain.run(3);
    chain.state(|| {
        // Block 1 appends the leaf of the genesis, and so on.
        assert_eq!(pallet_mmr::NumberOfLeaves::<Runtime>::get(), 3);
        let leaf: MmrLeaf =
            <crate::BeefyMmrLeaf as sp_mmr_primitives::LeafDataProvider>::leaf_data();
        assert_eq!(leaf.encode().len(), LEAF_LENGTH);
        assert_eq!(leaf.parent_number_and_hash.0, 2);
        assert_eq!(leaf.beefy_next_authority_set.len, 1);
        let genesis = System::block_hash(0u32);
        assert_ne!(genesis, H256::zero());
        assert_eq!(leaf.leaf_extra, LeafExtraProvider::extra_data());
        assert_eq!(leaf.leaf_extra.domain, domain(0, H160::zero(), genesis));
        assert_eq!(leaf.leaf_extra.withdrawal_root, empty_root());
    });
}
