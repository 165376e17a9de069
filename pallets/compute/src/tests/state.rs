//! The checks of the state notice what is wrong.

use super::*;

/// Runs the checks on a state with an open, a leased and a submitted job after `breaking` it.
fn broken(breaking: impl FnOnce(), says: &'static str) {
    ExtBuilder::default().build_and_execute(|| {
        submitted("open");
        let done = leased("done");
        assert_ok!(Compute::submit_result(signed(bob()), done, result(1_000)));
        leased("leased");
        assert_ok!(Compute::do_try_state());
        let outcome = polkadot_sdk::frame_support::storage::with_transaction(|| {
            breaking();
            let found = Compute::do_try_state();
            polkadot_sdk::sp_runtime::TransactionOutcome::Rollback(Ok::<_, DispatchError>(found))
        });
        assert_eq!(outcome, Ok(Err(DispatchError::Other(says))));
    });
}

fn change(id: u64, change: impl FnOnce(&mut Job)) {
    Jobs::<Test>::mutate(JobId(id), |job| change(job.as_mut().unwrap()));
}

#[test]
fn escrow_that_does_not_add_up_is_noticed() {
    let says = "1: the escrow on hold is not that of the unfinished jobs";
    broken(|| change(0, |job| job.max_fee += 1), says);
}

#[test]
fn names_without_jobs_and_jobs_without_names_are_noticed() {
    let says = "2: the reserved names are not those of the unfinished jobs";
    let name = || new_job("orphan").name;
    broken(|| ReservedNames::<Test>::insert(name(), JobId(7)), says);
    broken(|| ReservedNames::<Test>::remove(new_job("open").name), says);
}

#[test]
fn a_wrong_index_of_open_jobs_is_noticed() {
    let says = "3: the index of open jobs is not that of the jobs";
    broken(|| OpenJobs::<Test>::insert(JobId(1), ()), says);
    broken(|| OpenJobs::<Test>::remove(JobId(0)), says);
}

#[test]
fn wrong_counts_of_leases_are_noticed() {
    broken(
        || Workers::<Test>::mutate(bob(), |w| w.as_mut().unwrap().active_jobs = 2),
        "4: a worker's count of leases is wrong",
    );
    broken(
        || Workers::<Test>::remove(bob()),
        "4: a lease is held by an account that is not a worker",
    );
}

#[test]
fn ids_and_fees_out_of_bounds_are_noticed() {
    broken(|| NextJob::<Test>::put(JobId(2)), "5: a job's id is not below the next one");
    broken(
        || {
            change(1, |job| {
                if let Stage::Submitted { fee, .. } = &mut job.stage {
                    *fee = 501;
                }
            })
        },
        "5: a fee is above the escrow",
    );
}
