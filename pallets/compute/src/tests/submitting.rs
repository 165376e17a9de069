//! Asking for a job.

use super::*;
use tributary_primitives::jobs::{Targets, TrainSpec};

fn refused(job: NewJob, error: Error<Test>) {
    assert_noop!(Compute::submit_job(signed(alice()), job), error);
}

#[test]
fn a_job_puts_its_escrow_on_hold_and_reserves_its_name() {
    ExtBuilder::default().build_and_execute(|| {
        let id = submitted("exploits-16");
        let job = Jobs::<Test>::get(id).unwrap();
        assert_eq!(job.stage, Stage::Open);
        assert_eq!(job.owner, alice());
        // (1,000 bytes + 64 · 10 records) · 2 epochs
        assert_eq!(job.max_tokens, 3_280);
        assert_eq!(escrow(&alice()), 500);
        assert!(OpenJobs::<Test>::contains_key(id));
        assert!(Compute::name_reserved(b"exploits-16"));
        assert!(!Compute::name_reserved(b"exploits"));
        assert!(!Compute::name_reserved(&[b'a'; 65]));
        happened(Event::JobSubmitted {
            job: id,
            owner: alice(),
            base: BASE,
            max_fee: 500,
            deadline: 51,
        });

        // Escrows of one owner add up.
        let second = submitted("exploits-32");
        assert_eq!(second, JobId(1));
        assert_eq!(escrow(&alice()), 1_000);
    });
}

#[test]
fn names_are_checked_and_unique() {
    ExtBuilder::default().build_and_execute(|| {
        for name in ["", "Exploits", "a_b", "a b", "ä"] {
            refused(new_job(name), Error::BadName);
        }
        let id = submitted("a");
        refused(new_job("a"), Error::NameTaken);

        // A name is free again when its job ends without a model …
        assert_ok!(Compute::cancel_job(signed(alice()), id));
        let id = leased("a");
        assert_ok!(Compute::submit_result(signed(bob()), id, result(1)));
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(bob()), id));
        // … and the model's for ever when it ends with one.
        refused(new_job("a"), Error::NameTaken);
        assert!(!Compute::name_reserved(b"a"));
    });
}

#[test]
fn the_base_must_be_there() {
    ExtBuilder::default().build_and_execute(|| {
        refused(NewJob { base: ModelId(1), ..new_job("a") }, Error::UnknownBase);
    });
}

#[test]
fn every_field_of_the_specification_is_checked() {
    let none =
        Targets { q: false, k: false, v: false, o: false, gate: false, up: false, down: false };
    let cases = [
        (TrainSpec { rank: 257, ..spec() }, SpecFault::Rank),
        (TrainSpec { alpha: 0, ..spec() }, SpecFault::Alpha),
        (TrainSpec { targets: none, ..spec() }, SpecFault::Targets),
        (TrainSpec { epochs: 0, ..spec() }, SpecFault::Epochs),
        (TrainSpec { batch: 0, ..spec() }, SpecFault::Batch),
        (TrainSpec { lr_nano: 0, ..spec() }, SpecFault::LearningRate),
        (TrainSpec { warmup_permille: 1_001, ..spec() }, SpecFault::Warmup),
        (TrainSpec { seq_len: 7, ..spec() }, SpecFault::SeqLen),
    ];
    ExtBuilder::default().build_and_execute(|| {
        for (spec, fault) in cases {
            refused(NewJob { spec, ..new_job("a") }, Error::BadSpec(fault));
        }
    });
}

#[test]
fn versions_must_be_there_once_and_hold_records() {
    ExtBuilder::default().build_and_execute(|| {
        let on = |numbers: &[u32]| NewJob {
            versions: numbers.iter().map(|n| version(*n)).collect::<Vec<_>>().try_into().unwrap(),
            ..new_job("a")
        };
        refused(on(&[]), Error::NoVersions);
        refused(on(&[1, 2, 1]), Error::DuplicateVersion);
        refused(on(&[1, 4]), Error::UnknownVersion);
        refused(on(&[3]), Error::NoRecords);
        assert_ok!(Compute::submit_job(signed(alice()), on(&[1, 2, 3])));
        // (1,036 bytes + 64 · 11 records) · 2 epochs
        assert_eq!(Jobs::<Test>::get(JobId(0)).unwrap().max_tokens, 3_480);
    });
}

#[test]
fn the_escrow_has_a_least_and_must_be_covered() {
    ExtBuilder::default().build_and_execute(|| {
        refused(NewJob { max_fee: MinFee::get() - 1, ..new_job("a") }, Error::FeeTooLow);
        // The account itself needs its existential deposit.
        let too_much = NewJob { max_fee: ENDOWMENT - ED + 1, ..new_job("a") };
        refused(too_much, Error::EscrowNotCovered);
        let all = NewJob { max_fee: ENDOWMENT - ED, ..new_job("a") };
        assert_ok!(Compute::submit_job(signed(alice()), all));
        assert_eq!(escrow(&alice()), ENDOWMENT - ED);
        assert_ok!(Compute::cancel_job(signed(alice()), JobId(0)));
        assert_eq!(Balances::free_balance(alice()), ENDOWMENT);
    });
}

#[test]
fn the_deadline_lies_ahead_but_not_too_far() {
    ExtBuilder::default().build_and_execute(|| {
        at(10);
        let until = |deadline| NewJob { deadline, ..new_job("a") };
        refused(until(10), Error::BadDeadline);
        refused(until(10 + MAX_DEADLINE + 1), Error::BadDeadline);
        assert_ok!(Compute::submit_job(signed(alice()), until(10 + MAX_DEADLINE)));
        let next = NewJob { deadline: 11, ..new_job("b") };
        assert_ok!(Compute::submit_job(signed(alice()), next));
    });
}

#[test]
fn ids_end() {
    ExtBuilder::default().build_and_execute(|| {
        NextJob::<Test>::put(JobId(u64::MAX));
        refused(new_job("a"), Error::OutOfIds);
    });
}
