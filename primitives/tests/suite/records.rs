use crate::{flipped, hash};
use std::collections::BTreeSet;
use tributary_primitives::{
    records::{leaf, leaves, salt, verify, Seed},
    tree,
};

const SEED: Seed = [7; 32];

fn shard() -> Vec<&'static [u8]> {
    vec![
        br#"{"prompt":"How much was lost?","completion":"190 million dollars."}"#,
        br#"{"text":"A record."}"#,
        b"",
        "{\"text\":\"Überweisung \u{1f4b8}\"}".as_bytes(),
        br#"{"text":"A record."}"#,
    ]
}

#[test]
fn salts_and_leaves_are_those_of_the_definition() {
    for i in [0u64, 1, 255, 256, u64::MAX] {
        let expected = hash(&[b"tributary/salt:v1", &SEED, &i.to_le_bytes()]);
        assert_eq!(salt(&SEED, i), expected.0);
    }
    let salt = [9; 32];
    let expected = hash(&[&[0x00], b"tributary/record:v1", &salt, b"line"]);
    assert_eq!(leaf(&salt, b"line"), expected);
}

#[test]
fn each_record_is_salted_on_its_own() {
    let all = leaves(&SEED, shard());
    assert_eq!(all.len(), shard().len());
    for (i, (record, hash)) in (0u64..).zip(shard().into_iter().zip(&all)) {
        assert_eq!(*hash, leaf(&salt(&SEED, i), record));
    }
    // Equal records do not look equal, nor do they under another seed.
    assert_ne!(all[1], all[4]);
    let other = leaves(&[8; 32], shard());
    let different: BTreeSet<_> = all.iter().chain(&other).collect();
    assert_eq!(different.len(), all.len() + other.len());
}

#[test]
fn one_record_can_be_shown_without_the_others() {
    let all = leaves(&SEED, shard());
    let root = tree::root(&all);
    for (i, record) in (0u64..).zip(shard()) {
        let proof = tree::prove(&all, i).expect("there is such a record");
        let its = salt(&SEED, i);
        assert!(verify(&root, &its, record, &proof));
        assert!(!verify(&root, &its, b"another", &proof));
        assert!(!verify(&root, &salt(&SEED, i + 1), record, &proof));
        assert!(!verify(&flipped(&root), &its, record, &proof));
        let elsewhere = tree::Proof { index: (i + 1) % 5, ..proof };
        assert!(!verify(&root, &its, record, &elsewhere));
    }
}
