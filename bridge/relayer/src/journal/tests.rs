//! What the journal keeps, and gives back after a crash.

use super::*;

fn who(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn call(byte: u8) -> Call {
    Call { to: Some(who(byte)), data: vec![byte; 3], value: U256::MAX }
}

fn version(byte: u8, fee: u64) -> Attempt {
    Attempt {
        hash: B256::repeat_byte(byte),
        raw: vec![byte; 5],
        fees: Fees { max_fee: fee.into(), tip: 1.into() },
        at_block: 7,
        cancels: byte == 9,
    }
}

#[test]
fn what_was_written_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    {
        let journal = Journal::open(&path, "1", who(1)).unwrap();
        journal.intend("anchor/8", &call(3)).unwrap();
        journal.begin("anchor/8", 4, 21_000, &version(1, 10)).unwrap();
        journal.add_attempt("anchor/8", &version(9, 12)).unwrap();
    }
    let journal = Journal::open(&path, "1", who(1)).unwrap();
    let open = journal.open_entries().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].nonce, open[0].gas, open[0].call.clone()), (Some(4), 21_000, call(3)));
    assert_eq!(journal.attempts("anchor/8").unwrap(), [version(1, 10), version(9, 12)]);
    // The same purpose again does not touch what is under way.
    let again = journal.intend("anchor/8", &call(4)).unwrap();
    assert_eq!((again.state, again.call), (State::Sent, call(3)));

    journal.done("anchor/8", B256::repeat_byte(1), 9, 20_000).unwrap();
    assert!(journal.open_entries().unwrap().is_empty());
    let end = journal.intend("anchor/8", &call(4)).unwrap();
    assert_eq!((end.state, end.block, end.gas_used), (State::Done, Some(9), Some(20_000)));
    assert_eq!(journal.entries("anchor/").unwrap(), [end]);
    assert!(journal.entries("propose/").unwrap().is_empty());

    for (chain, account, what) in [("2", who(1), "chain"), ("1", who(2), "account")] {
        match Journal::open(&path, chain, account) {
            Err(JournalError::Foreign { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_nonce_serves_one_transaction_at_a_time() {
    let journal = Journal::in_memory("1", who(1)).unwrap();
    for purpose in ["a", "b"] {
        journal.intend(purpose, &call(1)).unwrap();
    }
    journal.begin("a", 0, 1, &version(1, 1)).unwrap();
    assert!(matches!(journal.begin("b", 0, 1, &version(2, 1)), Err(JournalError::Sqlite(_))));
    assert!(journal.attempts("b").unwrap().is_empty(), "a refused write leaves nothing");
    assert!(journal.begin("a", 1, 1, &version(3, 1)).is_err(), "it has begun already");
    journal.lost_nonce("a").unwrap();
    assert_eq!(journal.entry("a").unwrap().unwrap().state, State::Intended);
    journal.begin("b", 0, 1, &version(2, 1)).unwrap();
}

#[test]
fn failures_are_counted_and_may_be_tried_again() {
    let journal = Journal::in_memory("1", who(1)).unwrap();
    for tries in 1..=2 {
        journal.intend("x", &call(1)).unwrap();
        journal.begin("x", tries, 1, &version(1, 1)).unwrap();
        journal.failed("x", "too early").unwrap();
        let entry = journal.entry("x").unwrap().unwrap();
        assert_eq!((entry.state, u64::from(entry.tries)), (State::Failed, tries));
        assert_eq!(entry.note, "too early");
    }
}

#[test]
fn what_others_did_is_looked_at_again_and_what_we_did_is_not() {
    let journal = Journal::in_memory("1", who(1)).unwrap();
    journal.intend("x", &call(1)).unwrap();
    journal.done_otherwise("x", "somebody was first").unwrap();
    assert_eq!(journal.entry("x").unwrap().unwrap().state, State::Done);
    assert_eq!(journal.intend("x", &call(2)).unwrap().state, State::Intended);
    journal.begin("x", 0, 1, &version(1, 1)).unwrap();
    journal.done("x", B256::repeat_byte(1), 5, 1).unwrap();
    assert_eq!(journal.intend("x", &call(3)).unwrap().state, State::Done);
    journal.undone("x").unwrap();
    assert_eq!(journal.intend("x", &call(3)).unwrap().call, call(3));
}

#[test]
fn two_roots_for_one_block_are_found() {
    let journal = Journal::in_memory("1", who(1)).unwrap();
    let root = B256::repeat_byte;
    assert_eq!(journal.commitment(1, 8, root(1), b"first").unwrap(), None);
    assert_eq!(journal.commitment(1, 8, root(1), b"again").unwrap(), None);
    assert_eq!(journal.commitment(2, 8, root(2), b"other set").unwrap(), None);
    assert_eq!(journal.commitment(1, 9, root(2), b"other block").unwrap(), None);
    assert_eq!(journal.commitment(1, 8, root(2), b"second").unwrap(), Some(b"first".to_vec()));
    journal.forget_commitments(2).unwrap();
    assert_eq!(journal.commitment(1, 8, root(2), b"second").unwrap(), None);
}
