//! Random sequences of calls: whatever happens, the state holds together and money is conserved.

use super::*;
use polkadot_sdk::sp_runtime::DispatchResult;
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
    Result {
        who: u8,
        job: u64,
        tokens: u64,
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
    /// Everything free leaves the account, if it can.
    Leave {
        who: u8,
    },
    Wait {
        blocks: u32,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let (who, job) = (1u8..=4, 0u64..6);
    prop_oneof![
        1 => (who.clone(), 0u128..3_000).prop_map(|(who, stake)| Step::Register { who, stake }),
        1 => (who.clone(), 0u128..2_000).prop_map(|(who, price)| Step::Update { who, price }),
        1 => who.clone().prop_map(|who| Step::Deregister { who }),
        4 => (who.clone(), 0u8..4, 0u128..1_500, 0u32..40)
            .prop_map(|(who, name, fee, ahead)| Step::Submit { who, name, fee, ahead }),
        4 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::Claim { who, job }),
        4 => (who.clone(), job.clone(), 0u64..3_500)
            .prop_map(|(who, job, tokens)| Step::Result { who, job, tokens }),
        1 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::Cancel { who, job }),
        2 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::ExpireLease { who, job }),
        3 => (who.clone(), job.clone()).prop_map(|(who, job)| Step::Finalize { who, job }),
        2 => (who.clone(), job).prop_map(|(who, job)| Step::ExpireJob { who, job }),
        1 => who.prop_map(|who| Step::Leave { who }),
        3 => (1u32..25).prop_map(|blocks| Step::Wait { blocks }),
    ]
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
        Step::Claim { who, job } => Compute::claim_job(by(who), JobId(job)),
        Step::Result { who, job, tokens } => {
            Compute::submit_result(by(who), JobId(job), result(tokens))
        }
        Step::Cancel { who, job } => Compute::cancel_job(by(who), JobId(job)),
        Step::ExpireLease { who, job } => Compute::expire_lease(by(who), JobId(job)),
        Step::Finalize { who, job } => Compute::finalize_job(by(who), JobId(job)),
        Step::ExpireJob { who, job } => Compute::expire_job(by(who), JobId(job)),
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
            for step in sequence {
                let shown = format!("{step:?}");
                let root = polkadot_sdk::sp_io::storage::root(
                    polkadot_sdk::sp_core::storage::StateVersion::V1,
                );
                let outcome = polkadot_sdk::frame_support::storage::with_storage_layer(|| {
                    take(step)
                });
                let kind = shown.split([' ', '{']).next().unwrap_or_default().to_string();
                eprintln!("COUNT {kind} {}", outcome.map(|_| "ok".to_string()).unwrap_or_else(|e| format!("{e:?}")));
                if outcome.is_err() {
                    let after = polkadot_sdk::sp_io::storage::root(
                        polkadot_sdk::sp_core::storage::StateVersion::V1,
                    );
                    assert_eq!(root, after, "a refused call left a trace: {shown}");
                }
                if let Err(e) = Compute::do_try_state() {
                    panic!("after {shown}: {e:?}");
                }
                assert_eq!(everything(), money, "after {shown}");
            }
            // In the end every job can be brought to its end without its owner or worker.
            at(now() + MAX_DEADLINE + LEASE + WINDOW);
            for id in 0..NextJob::<Test>::get().0 {
                let id = JobId(id);
                let _ = take(Step::ExpireLease { who: 4, job: id.0 });
                let _ = take(Step::ExpireJob { who: 4, job: id.0 });
                let _ = take(Step::Finalize { who: 4, job: id.0 });
                let job = Jobs::<Test>::get(id).unwrap();
                assert!(!job.is_unfinished(), "job {id} is stuck: {:?}", job.stage);
            }
            for n in 1..=4 {
                assert_eq!(escrow(&account(n)), 0);
            }
        });
    }
}
