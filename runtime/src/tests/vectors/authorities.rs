//! Validators, the roots over them, and what they sign.

use codec::Encode;
use pallet_beefy_mmr::{BeefyAuthorities, BeefyEcdsaToEthereum};
use polkadot_sdk::*;
use serde_json::{json, Value};
use sp_consensus_beefy::{
    ecdsa_crypto::AuthorityId, known_payloads::MMR_ROOT_ID, mmr::BeefyAuthoritySet, Commitment,
    OnNewValidatorSet, Payload, ValidatorSet,
};
use sp_core::{ecdsa, Pair, H256};
use sp_io::hashing::keccak_256;
use sp_runtime::traits::{Convert, Keccak256};
use tributary_primitives::bridge::leaf;

use super::{hex, packed, seed};
use crate::{tests::externalities, BeefyMmrLeaf, BlockNumber, Runtime};

/// The most validators that a vector has.
const VALIDATORS: u32 = 600;

/// The validator of a number; the same one wherever the number is used.
pub fn pair(number: u32) -> ecdsa::Pair {
    ecdsa::Pair::from_seed(&keccak_256(format!("validator {number}").as_bytes()))
}

fn id(pair: &ecdsa::Pair) -> AuthorityId {
    AuthorityId::from(pair.public())
}

/// The Ethereum address as the runtime derives it.
pub fn eth_address(pair: &ecdsa::Pair) -> Vec<u8> {
    BeefyEcdsaToEthereum::convert(id(pair))
}

/// What the runtime says of a set, in a leaf.
pub fn authority_set(pairs: &[ecdsa::Pair], number: u64) -> BeefyAuthoritySet<H256> {
    externalities("development").execute_with(|| {
        let set = ValidatorSet::new(pairs.iter().map(id), number).expect("it is not empty");
        BeefyMmrLeaf::on_new_validator_set(&set, &set);
        BeefyAuthorities::<Runtime>::get()
    })
}

/// What validators sign, as the SDK encodes it.
pub fn commitment(mmr_root: H256, block_number: BlockNumber, validator_set_id: u64) -> Vec<u8> {
    let payload = Payload::from_single_entry(MMR_ROOT_ID, mmr_root.encode());
    let encoded = Commitment { payload, block_number, validator_set_id }.encode();
    assert_eq!(encoded, leaf::commitment(mmr_root, block_number, validator_set_id));
    encoded
}

/// The signatures of all, in order, with Ethereum's `v`.
pub fn signatures(pairs: &[ecdsa::Pair], commitment: &[u8]) -> String {
    let hash = keccak_256(commitment);
    let all = pairs.iter().flat_map(|pair| {
        let mut signature = pair.sign_prehashed(&hash).0;
        signature[64] += 27;
        signature
    });
    hex(all.collect::<Vec<_>>())
}

pub fn addresses(pairs: &[ecdsa::Pair]) -> String {
    hex(pairs.iter().flat_map(eth_address).collect::<Vec<_>>())
}

fn pairs(count: u32) -> Vec<ecdsa::Pair> {
    (0..count).map(pair).collect()
}

/// The levels of the tree over addresses, leaves first; the last of an odd number is promoted.
fn levels(leaves: Vec<H256>) -> Vec<Vec<H256>> {
    let mut levels = vec![leaves];
    while levels.last().is_some_and(|level| level.len() > 1) {
        let above = levels[levels.len() - 1].chunks(2).map(|pair| match pair {
            [left, right] => (left, right).using_encoded(keccak_256).into(),
            pair => pair[0],
        });
        let above = above.collect();
        levels.push(above);
    }
    levels
}

pub fn sets() -> Value {
    let all = pairs(VALIDATORS);
    let lengths: Vec<u32> = (1..=70).chain([513, VALIDATORS]).collect();
    let sets: Vec<_> = lengths
        .iter()
        .map(|length| {
            let set = authority_set(&all[..*length as usize], u64::from(*length));
            assert_eq!((set.id, set.len), (u64::from(*length), *length));
            json!({ "length": length, "root": hex(set.keyset_commitment) })
        })
        .collect();
    let mut proofs = Vec::new();
    for length in [1u32, 2, 3, 5, 7, 8, 70, 513, VALIDATORS] {
        let members = &all[..length as usize];
        let leaves = members.iter().map(|pair| H256(keccak_256(&eth_address(pair)))).collect();
        let levels = levels(leaves);
        let root = authority_set(members, 0).keyset_commitment;
        assert_eq!(levels.last(), Some(&vec![root]));
        let mut indices = vec![0, length / 2, length - 1];
        indices.dedup();
        for index in indices {
            let mut at = index as usize;
            let mut siblings = Vec::new();
            for level in &levels {
                siblings.extend(level.get(at ^ 1).copied());
                at /= 2;
            }
            proofs.push(json!({
                "length": length,
                "index": index,
                "address": hex(eth_address(&all[index as usize])),
                "siblings": packed(&siblings),
            }));
        }
    }
    json!({ "validators": addresses(&all), "sets": sets, "proofs": proofs })
}

pub fn commitments() -> Value {
    let commitments: Vec<_> = [1u32, 2, 3, 4, 7, 21, 70, 100, 300, 513, VALIDATORS]
        .into_iter()
        .map(|length| {
            let pairs = pairs(length);
            let mmr_root = seed(&format!("root {length}"));
            let (number, set) = (1_000 + length, u64::from(length));
            let encoded = commitment(mmr_root, number, set);
            json!({
                "length": length,
                "validatorSetId": set,
                "blockNumber": number,
                "mmrRoot": hex(mmr_root),
                "encoded": hex(&encoded),
                "hash": hex(keccak_256(&encoded)),
                "quorum": leaf::quorum(length),
                "addresses": addresses(&pairs),
                "signatures": signatures(&pairs, &encoded),
            })
        })
        .collect();
    let quorums: Vec<_> = (1..=1_000).map(leaf::quorum).collect();
    json!({ "commitments": commitments, "quorums": quorums })
}

#[test]
fn a_quorum_is_more_than_two_thirds() {
    for validators in 1..=1_000 {
        let quorum = leaf::quorum(validators);
        assert!(3 * quorum > 2 * validators, "{quorum} of {validators}");
        assert!(3 * (quorum - 1) <= 2 * validators, "{quorum} of {validators}");
    }
}

#[test]
fn a_signature_is_what_beefy_accepts() {
    use sp_consensus_beefy::{ecdsa_crypto::Signature, BeefyAuthorityId};
    let (pair, bytes) = (pair(3), commitment(seed("root"), 7, 1));
    let signature = Signature::from(pair.sign_prehashed(&keccak_256(&bytes)));
    assert!(BeefyAuthorityId::verify(&id(&pair), &signature, &bytes));
    assert_eq!(<Keccak256 as sp_runtime::traits::Hash>::hash(&bytes), H256(keccak_256(&bytes)),);
}
