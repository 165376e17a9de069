//! Random sequences of calls: whatever happens, the state holds together and money is conserved.

use super::*;
use polkadot_sdk::{
    frame_support::storage::with_storage_layer, sp_core::storage::StateVersion,
    sp_io::storage::root, sp_runtime::DispatchResult,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Register {
        who: u8,
        stake: Balance,
    },
    Update {
        who: u8,
        price: Balance,
    },
    Deregister {
        who: u8,
    },
    Submit {
        who: u8,
        name: u8,
        fee: Balance,
        ahead: u32,
    },
    Claim {
        who: u8,
        job: u64,
    },
    /// By the holder of the lease, or by whoever.
    Result {
        who: u8,
        holder: bool,
        job: u64,
        tokens: u64,
    },
    Report {
        holder: bool,
        job: u64,
        step: u32,
    },
    Cancel {
        who: u8,
        job: u64,
    },
    ExpireLease {
        who: u8,
        job: u64,
    },
    Finalize {
        who: u8,
        job: u64,
    },
    ExpireJob {
        who: u8,
        job: u64,
    },
    /// All that is free leaves the account.
    Leave {
        who: u8,
    },
    Wait {
        blocks: u32,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    // A job is picked among those that there are, and now and then beyond them.
    let (who, worker, job) = (1u8..=4, 2u8..=3, 0u64..1_000);
    prop_oneof![
        2 => (worker.clone(), 0u128..3_000).prop_map(|(who, stake)| Step::Register { who, stake }),
        1 => (worker.clone(), 0u128..2_000).prop_map(|(who, price)| Step::Update { who, price }),
        1 => worker.clone().prop_map(|who| Step::Deregister { who }),
        4 => (who.clone(), 0u8..6, 0u128..1_500, 0u32..40)
            .prop_map(|(who, name, fee, ahead)| Step::Submit { who, name, fee, ahead }),
        8 => (worker.clone(), job.clone()).prop_map(|(who, job)| Step::Claim { who, job }),
        8 => (worker, any::<bool>(), job.clone(), 0u64..3_500)
            .prop_map(|(who, holder, job, tokens)| Step::Result { who, holder, job, tokens }),
        4 => (any::<bool>(), job.clone(), 0u32..22)
            .prop_map(|(holder, job, step)| Step::Report { holder, job, step }),
        1 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::Cancel { who, job }),
        2 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::ExpireLease { who, job }),
        4 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::Finalize { who, job }),
        2 => (who.clone(), job).prop_map(|(who, job)| Step::ExpireJob { who, job }),
        1 => who.prop_map(|who| Step::Leave { who }),
        4 => (1u32..15).prop_map(|blocks| Step::Wait { blocks }),
    ]
}

/// The job that a number picks: one of those that there are, or the first that there is not.
fn pick(number: u64) -> JobId {
    JobId(number % (NextJob::<Test>::get().0 + 1))
}

fn take(step: Step) -> DispatchResult {
    let by = |n: u8| signed(account(n));
    match step {
        Step::Register { who, stake } => Compute::register_worker(by(who), info(100), stake),
        Step::Update { who, price } => Compute::update_worker(by(who), info(price)),
        Step::Deregister { who } => Compute::deregister_worker(by(who)),
        Step::Submit { who, name, fee, ahead } => {
            let deadline = now() + ahead;
            let job = NewJob { max_fee: fee, deadline, ..new_job(&format!("name-{name}")) };
            Compute::submit_job(by(who), job)
        }
        Step::Claim { who, job } => Compute::claim_job(by(who), pick(job)),
        Step::Result { who, holder, job, tokens } => {
            let job = pick(job);
            let by = match Jobs::<Test>::get(job).map(|job| job.stage) {
                Some(Stage::Leased { worker, .. }) if holder => signed(worker),
                _ => by(who),
            };
            Compute::submit_result(by, job, result(tokens))
        }
        Step::Report { holder, job, step } => {
            let job = pick(job);
            let by = match Jobs::<Test>::get(job).map(|job| job.stage) {
                Some(Stage::Leased { worker, .. }) if holder => signed(worker),
                _ => by(2),
            };
            Compute::report_progress(by, job, Progress { step, steps: 20, loss_micro: 1 })
        }
        Step::Cancel { who, job } => Compute::cancel_job(by(who), pick(job)),
        Step::ExpireLease { who, job } => Compute::expire_lease(by(who), pick(job)),
        Step::Finalize { who, job } => Compute::finalize_job(by(who), pick(job)),
        Step::ExpireJob { who, job } => Compute::expire_job(by(who), pick(job)),
        Step::Leave { who } => Balances::transfer_all(by(who), account(9), false),
        Step::Wait { blocks } => {
            at(now() + blocks);
            Ok(())
        }
    }
}

fn everything() -> Balance {
    (1..=4).chain([9, 200]).map(|n| total(&account(n))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn state_holds_together(sequence in proptest::collection::vec(steps(), 1..80)) {
        ExtBuilder::default().with_worker(charlie(), 900).build_and_execute(|| {
            let money = everything();
            let mut last = root(StateVersion::V1);
            for step in sequence {
                let shown = format!("{step:?}");
                let outcome = with_storage_layer(|| take(step));
                let next = root(StateVersion::V1);
                if outcome.is_err() {
                    assert_eq!(last, next, "a refused call left a trace: {shown}");
                }
                last = next;
                if let Err(e) = Compute::do_try_state() {
                    panic!("after {shown}: {e:?}");
                }
                assert_eq!(everything(), money, "after {shown}");
            }
            // In the end every job can be brought to its end without its owner or worker.
            at(now() + MAX_DEADLINE + LEASE + WINDOW);
            for id in (0..NextJob::<Test>::get().0).map(JobId) {
                let _ = Compute::expire_lease(signed(dave()), id);
                let _ = Compute::expire_job(signed(dave()), id);
                let _ = Compute::finalize_job(signed(dave()), id);
                let job = Jobs::<Test>::get(id).unwrap();
                assert!(!job.is_unfinished(), "job {id} is stuck: {:?}", job.stage);
            }
            for n in 1..=4 {
                assert_eq!(escrow(&account(n)), 0);
            }
        });
    }
}
