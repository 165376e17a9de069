use crate::hash;
use codec::Encode;
use polkadot_sdk::sp_core::{ecdsa, ed25519, sr25519, Pair, H256};
use std::collections::BTreeSet;
use tributary_primitives::{
    signing::{ContributionOffer, Receipt, Retirement, Share, Signable, Voucher},
    AccountId, ChannelId, ContributionId, DatanetId, ModelId, MultiSignature,
};

pub const GENESIS: H256 = H256::repeat_byte(0x42);

pub fn offer() -> ContributionOffer {
    ContributionOffer {
        datanet: DatanetId(1),
        content: H256::repeat_byte(2),
        records_root: H256::repeat_byte(3),
        records: 445,
        bytes: 123_456,
        payout: AccountId::new([4; 32]),
        valid_until: 1_000,
    }
}

pub fn retirement() -> Retirement {
    Retirement { contribution: ContributionId(9), valid_until: 2_000 }
}

pub fn voucher() -> Voucher {
    Voucher { channel: ChannelId(7), cumulative: 1_500_000_000_000_000_000 }
}

pub fn receipt(shares: usize) -> Receipt {
    Receipt {
        worker: AccountId::new([5; 32]),
        channel: ChannelId(7),
        sequence: 1,
        model: ModelId(3),
        request: H256::repeat_byte(6),
        response: H256::repeat_byte(7),
        tokens_in: 12,
        tokens_out: 34,
        fee: 46_000_000_000_000_000,
        shares: (0..shares)
            .map(|i| Share { contribution: ContributionId(i as u64), ppm: 100_000 })
            .collect(),
        unattributed: 1_000_000 - 100_000 * shares as u32,
        index_root: H256::repeat_byte(8),
        commitment: H256::repeat_byte(9),
    }
}

/// A tag as it stands in a payload: its length in one byte (four times it, for lengths below 64),
/// then itself.
fn tag(tag: &[u8]) -> Vec<u8> {
    [&[(tag.len() * 4) as u8], tag].concat()
}

#[test]
fn payloads_are_those_of_the_definition() {
    let offer = offer();
    let expected = [
        &tag(b"tributary/contribution:v1")[..],
        &GENESIS.0,
        &1u32.to_le_bytes(),
        &[2; 32],
        &[3; 32],
        &445u32.to_le_bytes(),
        &123_456u64.to_le_bytes(),
        &[4; 32],
        &1_000u32.to_le_bytes(),
    ]
    .concat();
    assert_eq!(offer.signing_payload(&GENESIS), expected);

    let expected = [
        &tag(b"tributary/retirement:v1")[..],
        &GENESIS.0,
        &9u64.to_le_bytes(),
        &2_000u32.to_le_bytes(),
    ]
    .concat();
    assert_eq!(retirement().signing_payload(&GENESIS), expected);

    let expected = [
        &tag(b"tributary/voucher:v1")[..],
        &GENESIS.0,
        &7u64.to_le_bytes(),
        &1_500_000_000_000_000_000u128.to_le_bytes(),
    ]
    .concat();
    assert_eq!(voucher().signing_payload(&GENESIS), expected);
}

#[test]
fn a_long_payload_is_signed_by_its_hash() {
    // Up to 256 bytes as it is, above that the hash.
    let short = (ContributionOffer::TAG, GENESIS, offer()).encode();
    assert!(short.len() <= 256);
    assert_eq!(offer().signing_payload(&GENESIS), short);
    for shares in [0, 2] {
        let long = (Receipt::TAG, GENESIS, receipt(shares)).encode();
        assert!(long.len() > 256);
        assert_eq!(receipt(shares).signing_payload(&GENESIS), hash(&[&long]).0.to_vec());
    }
}

#[test]
fn no_two_kinds_of_message_share_a_tag() {
    let tags =
        BTreeSet::from([ContributionOffer::TAG, Retirement::TAG, Voucher::TAG, Receipt::TAG]);
    assert_eq!(tags.len(), 4);
    assert!(tags.iter().all(|tag| tag.starts_with(b"tributary/") && tag.len() < 64));
}

/// A message and one that differs in something.
fn round_trip<M: Signable>(message: &M, other: &M) {
    let sr = sr25519::Pair::from_seed(&[11; 32]);
    let ed = ed25519::Pair::from_seed(&[12; 32]);
    let ec = ecdsa::Pair::from_seed(&[13; 32]);
    let payload = message.signing_payload(&GENESIS);
    let ecdsa_account = AccountId::new(hash(&[ec.public().as_ref()]).0);
    let signed: [(MultiSignature, AccountId); 3] = [
        (sr.sign(&payload).into(), sr.public().into()),
        (ed.sign(&payload).into(), ed.public().into()),
        (ec.sign(&payload).into(), ecdsa_account),
    ];
    for (signature, signer) in &signed {
        assert!(message.verify(&GENESIS, signature, signer));
        assert!(!other.verify(&GENESIS, signature, signer), "another message");
        assert!(!message.verify(&H256::zero(), signature, signer), "another chain");
        assert!(!message.verify(&GENESIS, signature, &AccountId::new([1; 32])), "another signer");
        let mut bytes = signature.encode();
        bytes[40] ^= 1;
        let bent = codec::Decode::decode(&mut bytes.as_slice()).expect("the length is the same");
        assert!(!message.verify(&GENESIS, &bent, signer), "another signature");
    }
}

#[test]
fn each_message_is_signed_and_verified() {
    round_trip(&offer(), &ContributionOffer { records: 446, ..offer() });
    round_trip(&retirement(), &Retirement { valid_until: 2_001, ..retirement() });
    round_trip(&voucher(), &Voucher { cumulative: 1, ..voucher() });
    round_trip(&receipt(1), &Receipt { tokens_out: 35, ..receipt(1) });
    round_trip(&receipt(5), &receipt(4));
    round_trip(&receipt(1), &Receipt { commitment: H256::zero(), ..receipt(1) });
}

#[test]
fn a_receipts_leaf_is_that_of_the_definition() {
    let receipt = receipt(2);
    let expected = hash(&[&[0x00], &tag(b"tributary/receipt:v2"), &receipt.encode()]);
    assert_eq!(receipt.leaf(), expected);
}
