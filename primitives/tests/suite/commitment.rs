use codec::{Decode, Encode};
use polkadot_sdk::{sp_core::H256, sp_crypto_hashing::sha2_256};
use tributary_primitives::commitment::{Commitment, SamplingTerms, Single, TAG};

/// An adapter's answer with everything that a request can ask for.
pub fn commitment() -> Commitment {
    Commitment {
        base: H256::repeat_byte(1),
        adapter: Some(H256::repeat_byte(2)),
        tokenizer: H256::repeat_byte(3),
        index: Some(H256::repeat_byte(4)),
        prompt: vec![5, 600, 70_000],
        answer: vec![8, 9],
        seed: 0x0102_0304_0506_0708,
        sampler: 1,
        sampling: SamplingTerms {
            temperature: 0.75.into(),
            top_p: 0.5.into(),
            top_k: 40,
            min_p: 0.125.into(),
            frequency_penalty: (-1.5).into(),
            presence_penalty: 2.0.into(),
            logit_bias: vec![(3, (-100.0).into()), (9, 4.0.into())],
            format: Some(H256::repeat_byte(5)),
        },
    }
}

/// A base model's likeliest answer.
pub fn of_the_base() -> Commitment {
    Commitment {
        adapter: None,
        index: None,
        seed: 0,
        sampling: SamplingTerms {
            temperature: 0.0.into(),
            top_p: 1.0.into(),
            top_k: 0,
            min_p: 0.0.into(),
            frequency_penalty: 0.0.into(),
            presence_penalty: 0.0.into(),
            logit_bias: vec![],
            format: None,
        },
        ..commitment()
    }
}

#[test]
fn the_digest_is_that_of_the_definition() {
    let le = |bits: u32| bits.to_le_bytes();
    let single = |value: f32| value.to_bits().to_le_bytes();
    let expected = [
        // Lengths below 64 are one byte, four times the length.
        &[TAG.len() as u8 * 4][..],
        b"tributary/commitment:v1",
        &[1; 32],
        &[&[1u8][..], &[2; 32]].concat(),
        &[3; 32],
        &[&[1u8][..], &[4; 32]].concat(),
        &[3 * 4],
        &le(5),
        &le(600),
        &le(70_000),
        &[2 * 4],
        &le(8),
        &le(9),
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &le(1),
        &single(0.75),
        &single(0.5),
        &le(40),
        &single(0.125),
        &single(-1.5),
        &single(2.0),
        &[2 * 4],
        &le(3),
        &single(-100.0),
        &le(9),
        &single(4.0),
        &[&[1u8][..], &[5; 32]].concat(),
    ]
    .concat();
    assert_eq!(commitment().digest(), H256(sha2_256(&expected)));
}

#[test]
fn every_part_is_committed_to() {
    let whole = commitment();
    let sampling = |change: fn(&mut SamplingTerms)| {
        let mut sampling = whole.sampling.clone();
        change(&mut sampling);
        Commitment { sampling, ..whole.clone() }
    };
    let others = [
        Commitment { base: H256::zero(), ..whole.clone() },
        Commitment { adapter: None, ..whole.clone() },
        Commitment { tokenizer: H256::zero(), ..whole.clone() },
        Commitment { index: None, ..whole.clone() },
        // A token that moves from the prompt to the answer.
        Commitment { prompt: vec![5, 600], answer: vec![70_000, 8, 9], ..whole.clone() },
        Commitment { seed: 1, ..whole.clone() },
        Commitment { sampler: 2, ..whole.clone() },
        sampling(|s| s.temperature = 0.5.into()),
        sampling(|s| s.top_p = 1.0.into()),
        sampling(|s| s.top_k = 0),
        sampling(|s| s.min_p = 0.0.into()),
        sampling(|s| s.frequency_penalty = 0.0.into()),
        sampling(|s| s.presence_penalty = 0.0.into()),
        sampling(|s| s.logit_bias.truncate(1)),
        sampling(|s| s.format = None),
    ];
    let digests: std::collections::BTreeSet<_> =
        others.iter().chain([&whole]).map(Commitment::digest).collect();
    assert_eq!(digests.len(), others.len() + 1);
}

#[test]
fn a_commitment_passes_through_its_encodings() {
    for whole in [commitment(), of_the_base()] {
        assert_eq!(Commitment::decode(&mut whole.encode().as_slice()).unwrap(), whole);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Commitment>(&text).unwrap(), whole);
    }
    assert_eq!(Single::from(-0.0), Single::from(0.0));
    assert_eq!(f32::from(Single::from(0.1)), 0.1);
}
