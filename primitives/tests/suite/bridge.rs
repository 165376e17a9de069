//! The bridge's hashes and encodings against independent computations and known constants.

use codec::Encode;
use polkadot_sdk::{
    sp_core::{H160, H256, U256},
    sp_crypto_hashing::keccak_256,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tributary_primitives::{
    bridge::{
        calls::{FinalizeBridge, RelayMessage, Transfer},
        deposit::{count_slot, hash_slot, roll},
        domain, l1_account, l1_alias, leaf, output_root, sender_address,
        tree::{self, empty_root, zeros, Frontier},
        withdrawal::{index_of, nonce},
        Deposit, DepositData, LeafExtra, Withdrawal,
    },
    AccountId,
};

fn keccak(parts: &[&[u8]]) -> H256 {
    H256(keccak_256(&parts.concat()))
}

/// An integer as Ethereum's 32-byte word.
fn word(number: u128) -> [u8; 32] {
    U256::from(number).to_big_endian()
}

/// An address as a word.
fn address_word(address: H160) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address.as_bytes());
    word
}

fn leaves(count: u32) -> Vec<H256> {
    (0..count).map(|i| keccak(&[b"withdrawal", &i.to_be_bytes()])).collect()
}

/// The root of the first leaves, level by level.
fn slow_root(leaves: &[H256]) -> H256 {
    let mut level = leaves.to_vec();
    let mut empty = H256::zero();
    for _ in 0..32 {
        if level.len() % 2 == 1 {
            level.push(empty);
        }
        level = level.chunks(2).map(|p| keccak(&[&p[0].0, &p[1].0])).collect();
        empty = keccak(&[&empty.0, &empty.0]);
    }
    level.first().copied().unwrap_or(empty)
}

/// A tree with all that the chain keeps of it.
#[derive(Default)]
struct Kept {
    frontier: Frontier,
    nodes: BTreeMap<(u8, u32), H256>,
}

impl Kept {
    fn with(count: u32) -> Self {
        let mut kept = Self::default();
        for leaf in leaves(count) {
            let nodes = &mut kept.nodes;
            kept.frontier.append(leaf, |level, at, node| {
                assert_eq!(nodes.insert((level, at), node), None, "a node changed");
            });
        }
        kept
    }

    fn prove(&self, index: u32, count: u32) -> Option<tree::Proof> {
        let mut reads = 0;
        let proof = tree::prove(index, count, |level, at| {
            reads += 1;
            self.nodes.get(&(level, at)).copied()
        });
        assert!(reads <= 64);
        proof
    }
}

#[test]
fn the_empty_tree_has_the_root_that_others_know() {
    // The root of an empty keccak tree of depth 32, as other bridges have it in their contracts.
    let known = "27ae5ba08d7291c96c8cbddcc148bf48a6d68c7974b94356f53754ef6171d757";
    assert_eq!(hex::encode(empty_root()), known);
    assert_eq!(Frontier::default().root(), empty_root());
    assert_eq!(zeros()[0], H256::zero());
    assert_eq!(zeros()[1], keccak(&[&[0; 64]]));
}

#[test]
fn a_tree_has_the_root_of_its_leaves_after_each() {
    let leaves = leaves(70);
    let mut frontier = Frontier::default();
    for (i, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.append(*leaf, |_, _, _| {}), Some(i as u32));
        assert_eq!(frontier.root(), slow_root(&leaves[..=i]));
    }
    assert_eq!(frontier.length, 70);
}

#[test]
fn every_leaf_is_proven_under_every_later_root() {
    let (kept, leaves) = (Kept::with(37), leaves(37));
    for count in 1..=37u32 {
        let root = slow_root(&leaves[..count as usize]);
        for index in 0..count {
            let proof = kept.prove(index, count).expect("there is such a leaf");
            let leaf = &leaves[index as usize];
            assert!(tree::verify(&root, leaf, index, &proof), "{index} of {count}");
            assert!(!tree::verify(&root, leaf, index ^ 1, &proof));
            assert!(!tree::verify(&root, &crate::flipped(leaf), index, &proof));
            let mut other = proof;
            other[31] = crate::flipped(&other[31]);
            assert!(!tree::verify(&root, leaf, index, &other));
        }
        assert_eq!(kept.prove(count, count), None);
    }
    // A root of the past proves nothing of what came later.
    let proof = kept.prove(36, 37).expect("it is the last");
    assert!(!tree::verify(&slow_root(&leaves[..36]), &leaves[36], 36, &proof));
}

#[test]
fn an_empty_place_is_no_leaf() {
    let kept = Kept::with(3);
    let mut proof = kept.prove(2, 3).expect("it is the last");
    proof[0] = leaves(3)[2];
    assert_eq!(tree::root_of(&H256::zero(), 3, &proof), kept.frontier.root());
    assert!(!tree::verify(&kept.frontier.root(), &H256::zero(), 3, &proof));
}

#[test]
fn a_full_tree_takes_no_more() {
    let mut frontier = Frontier { length: u32::MAX, ..Default::default() };
    assert_eq!(frontier.append(H256::repeat_byte(1), |_, _, _| panic!("it is full")), None);
    assert_eq!(frontier.length, u32::MAX);
}

fn withdrawal() -> Withdrawal {
    Withdrawal {
        nonce: nonce(7),
        sender: H160::repeat_byte(1),
        target: H160::repeat_byte(2),
        value: 3.into(),
        gas_limit: 4.into(),
        data: vec![5; 33],
    }
}

#[test]
fn a_withdrawal_is_hashed_as_solidity_encodes_it() {
    let mut version = [0; 32];
    version[1] = 1;
    version[31] = 7;
    let mut data = [0; 64];
    data[..33].fill(5);
    let expected = [
        version,
        address_word(H160::repeat_byte(1)),
        address_word(H160::repeat_byte(2)),
        word(3),
        word(4),
        // Six words come before the data.
        word(192),
        word(33),
    ]
    .concat();
    let expected = [expected, data.to_vec()].concat();
    assert_eq!(withdrawal().abi_encode(), expected);
    assert_eq!(withdrawal().hash(), keccak(&[&expected]));
    let json = serde_json::to_value(withdrawal()).expect("it serialises");
    assert_eq!(json["gasLimit"], "0x4");
    assert_eq!(serde_json::from_value::<Withdrawal>(json).expect("it reads"), withdrawal());
}

#[test]
fn a_nonce_stands_for_one_position() {
    for index in [0, 1, u32::MAX] {
        assert_eq!(index_of(nonce(index)), Some(index));
    }
    for bad in [
        U256::zero(),
        U256::from(5),
        nonce(5) + (U256::one() << 32),
        nonce(5) + (U256::one() << 64),
        nonce(5) + (U256::one() << 239),
        nonce(5) + (U256::one() << 240),
        U256::MAX,
    ] {
        assert_eq!(index_of(bad), None, "{bad:x}");
    }
}

#[test]
fn a_leaf_has_185_bytes_and_a_commitment_48() {
    let leaf = leaf::Leaf { parent_number: 5, ..Default::default() };
    let bytes = leaf.encode();
    assert_eq!(bytes.len(), 185);
    assert_eq!(bytes.len(), leaf::Leaf::LENGTH);
    assert_eq!(leaf::Leaf::read(&bytes), Some(leaf));
    assert_eq!(leaf.hash(), keccak(&[&bytes]));
    assert_eq!(LeafExtra::default().encode().len(), 104);

    let commitment = leaf::commitment(H256::repeat_byte(9), 0x0102_0304, 5);
    let mut expected = vec![0x04, b'm', b'h', 0x80];
    expected.extend([9; 32]);
    expected.extend([4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(commitment, expected);
    assert_eq!(commitment.len(), 48);
}

#[test]
fn quorums_are_those_of_beefy() {
    let expected = [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (100, 67)];
    for (validators, quorum) in expected {
        assert_eq!(leaf::quorum(validators), quorum, "{validators}");
    }
}

#[test]
fn an_output_root_binds_leaf_withdrawals_and_block() {
    let [leaf, root, block] = [1, 2, 3].map(H256::repeat_byte);
    let expected = keccak(&[&word(1), &leaf.0, &root.0, &block.0]);
    assert_eq!(output_root(leaf, root, block), expected);
    assert_ne!(output_root(root, leaf, block), expected);
}

#[test]
fn a_domain_is_the_hash_of_three_words() {
    let (portal, genesis) = (H160::repeat_byte(0xaa), H256::repeat_byte(0xbb));
    let expected = keccak(&[&word(1), &address_word(portal), &genesis.0]);
    assert_eq!(domain(1, portal, genesis), expected);
}

#[test]
fn contracts_are_aliased_as_the_op_stack_does() {
    let alias = |hex: &str| {
        let bytes: [u8; 20] = hex::decode(hex).unwrap().try_into().unwrap();
        hex::encode(l1_alias(H160(bytes)))
    };
    let zeros = "0000000000000000000000000000000000000000";
    assert_eq!(alias(zeros), "1111000000000000000000000000000000001111");
    let ones = "ffffffffffffffffffffffffffffffffffffffff";
    assert_eq!(alias(ones), "1111000000000000000000000000000000001110");
    let carry = "00000000000000000000000000000000fffffff0";
    assert_eq!(alias(carry), "1111000000000000000000000000000100001101");
}

#[test]
fn accounts_and_addresses_of_each_other() {
    let address = H160::repeat_byte(7);
    let account = l1_account(address);
    assert_eq!(account.encode(), [[7; 20].as_slice(), &[0xee; 12]].concat());
    let account = AccountId::new([9; 32]);
    assert_eq!(sender_address(&account).0, keccak(&[&[9; 32]]).0[12..]);
}

#[test]
fn a_deposit_is_hashed_as_solidity_encodes_it() {
    let deposit = Deposit {
        from: H160::repeat_byte(1),
        to: H160::repeat_byte(2),
        version: 0.into(),
        opaque_data: vec![3; 5],
    };
    let mut data = [0; 32];
    data[..5].fill(3);
    let expected = keccak(&[
        &address_word(deposit.from),
        &address_word(deposit.to),
        &word(0),
        &word(128),
        &word(5),
        &data,
    ]);
    assert_eq!(deposit.hash(), expected);
    assert_eq!(roll(&H256::zero(), &expected), keccak(&[&[0; 32], &expected.0]));
    let count = keccak(&[b"tributary.portal.deposits"]);
    assert_eq!(count_slot(), count);
    let next = U256::from_big_endian(&count.0) + 1;
    assert_eq!(hash_slot().0, next.to_big_endian());
}

#[test]
fn packed_data_has_one_reading() {
    let data = DepositData {
        mint: 0.into(),
        value: 0.into(),
        gas_limit: 0x0102,
        is_creation: true,
        data: vec![9],
    };
    let packed = data.encode();
    assert_eq!(packed.len(), 74);
    assert_eq!(packed[64..], [0, 0, 0, 0, 0, 0, 1, 2, 1, 9]);
    assert_eq!(DepositData::decode(&packed), Some(data));
    assert_eq!(DepositData::decode(&packed[..72]), None);
    let mut odd = packed;
    odd[72] = 2;
    assert_eq!(DepositData::decode(&odd), None);
}

fn finalize() -> FinalizeBridge {
    FinalizeBridge {
        local_token: H160::repeat_byte(1),
        remote_token: H160::repeat_byte(2),
        from: H160::repeat_byte(3),
        to: H160::repeat_byte(4),
        amount: 5.into(),
        extra_data: vec![6; 32],
    }
}

fn relay() -> RelayMessage {
    RelayMessage {
        nonce: nonce(1),
        sender: H160::repeat_byte(1),
        target: H160::repeat_byte(2),
        value: 0.into(),
        min_gas_limit: 3.into(),
        message: vec![4; 40],
    }
}

#[test]
fn calls_have_the_op_stacks_selectors() {
    assert_eq!(finalize().encode()[..4], [0x01, 0x66, 0xa0, 0x7a]);
    assert_eq!(relay().encode()[..4], [0xd7, 0x64, 0xad, 0x0b]);
    let transfer = Transfer { to: [1; 32], amount: 2.into() };
    assert_eq!(transfer.encode()[..4], keccak(&[b"transfer(bytes32,uint256)"]).0[..4]);
    assert_eq!(finalize().encode().len(), 4 + 32 * 8);
}

#[test]
fn calls_have_one_encoding() {
    let encoded = finalize().encode();
    assert_eq!(FinalizeBridge::decode(&encoded), Some(finalize()));
    assert_eq!(RelayMessage::decode(&relay().encode()), Some(relay()));
    let transfer = Transfer { to: [1; 32], amount: 2.into() };
    assert_eq!(Transfer::decode(&transfer.encode()), Some(transfer.clone()));

    // A byte too few or too many, another selector, a dirty address, another place for the data.
    assert_eq!(FinalizeBridge::decode(&encoded[..encoded.len() - 1]), None);
    assert_eq!(FinalizeBridge::decode(&[encoded.clone(), vec![0]].concat()), None);
    assert_eq!(FinalizeBridge::decode(&[encoded.clone(), vec![0; 32]].concat()), None);
    for (at, value) in [(0, 0xff), (4, 1), (4 + 5 * 32 + 31, 0xe0), (4 + 6 * 32 + 31, 31)] {
        let mut other = encoded.clone();
        other[at] = value;
        assert_eq!(FinalizeBridge::decode(&other), None, "byte {at}");
    }
    assert_eq!(FinalizeBridge::decode(&[]), None);
    assert_eq!(RelayMessage::decode(&encoded), None);
    assert_eq!(Transfer::decode(&[transfer.encode(), vec![0]].concat()), None);
}

#[test]
fn bounds_of_an_inherent_are_named() {
    use tributary_primitives::bridge::{origin::*, AdvanceError};
    let with = |origin: OriginProof| Advance { origin: Some(origin), bodies: vec![] };
    assert_eq!(Advance::default().check_bounds(), Err(AdvanceError::Nothing));
    assert_eq!(with(OriginProof::default()).check_bounds(), Ok(()));
    let header = |len| OriginProof { header: vec![0; len], ..Default::default() };
    assert_eq!(with(header(MAX_HEADER)).check_bounds(), Ok(()));
    assert_eq!(with(header(MAX_HEADER + 1)).check_bounds(), Err(AdvanceError::Header));
    for nodes in [vec![vec![]; MAX_NODES + 1], vec![vec![0; MAX_NODE + 1]]] {
        for proof in [
            OriginProof { account_proof: nodes.clone(), ..Default::default() },
            OriginProof { count_proof: nodes.clone(), ..Default::default() },
            OriginProof { hash_proof: nodes.clone(), ..Default::default() },
        ] {
            assert_eq!(with(proof).check_bounds(), Err(AdvanceError::Proof));
        }
    }
    let hashes = vec![H256::zero(); MAX_HASHES + 1];
    let many = OriginProof { deposit_hashes: hashes, ..Default::default() };
    assert_eq!(with(many).check_bounds(), Err(AdvanceError::Hashes));
    let body = |len| Deposit {
        from: H160::zero(),
        to: H160::zero(),
        version: 0.into(),
        opaque_data: vec![0; len],
    };
    let bodies = |bodies| Advance { origin: None, bodies };
    assert_eq!(bodies(vec![body(1); MAX_BODIES]).check_bounds(), Ok(()));
    assert_eq!(bodies(vec![body(0); MAX_BODIES + 1]).check_bounds(), Err(AdvanceError::Bodies));
    assert_eq!(bodies(vec![body(MAX_BODY_BYTES + 1)]).check_bounds(), Err(AdvanceError::Bodies));
}

proptest! {
    #[test]
    fn no_bytes_break_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = DepositData::decode(&bytes);
        let _ = leaf::Leaf::read(&bytes);
        if let Some(call) = FinalizeBridge::decode(&bytes) {
            prop_assert_eq!(call.encode(), bytes.clone());
        }
        if let Some(call) = RelayMessage::decode(&bytes) {
            prop_assert_eq!(call.encode(), bytes);
        }
    }

    #[test]
    fn a_call_with_one_other_byte_is_none_or_another(at in 0usize..260, flip in 1u8..) {
        let mut bytes = finalize().encode();
        bytes[at] ^= flip;
        if let Some(call) = FinalizeBridge::decode(&bytes) {
            prop_assert_ne!(&call, &finalize());
            prop_assert_eq!(call.encode(), bytes);
        }
    }
}
