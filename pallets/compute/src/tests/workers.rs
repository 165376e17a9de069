//! The registry of workers.

use super::*;

#[test]
fn a_worker_registers_with_stake() {
    ExtBuilder::default().without_workers().build_and_execute(|| {
        assert_ok!(Compute::register_worker(signed(bob()), info(7), 1_500));
        let worker = Workers::<Test>::get(bob()).unwrap();
        assert_eq!(worker, Worker { info: info(7), active_jobs: 0, completed: 0 });
        assert!(Compute::is_registered(&bob()));
        assert_eq!(MockStakes::active(&bob()), 1_500);
        happened(Event::WorkerRegistered { worker: bob(), stake: 1_500 });
    });
}

#[test]
fn stake_bonded_before_counts_towards_registration() {
    ExtBuilder::default().without_workers().build_and_execute(|| {
        MockStakes::set(&bob(), 600);
        assert_noop!(
            Compute::register_worker(signed(bob()), info(7), 399),
            Error::<Test>::StakeTooLow
        );
        assert_ok!(Compute::register_worker(signed(bob()), info(7), 400));
    });
}

#[test]
fn registration_is_refused_with_a_reason() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(
            Compute::register_worker(signed(bob()), info(7), 1_000),
            Error::<Test>::AlreadyRegistered
        );
        assert_noop!(
            Compute::register_worker(signed(charlie()), info(7), 0),
            Error::<Test>::StakeTooLow
        );
        // More stake than there is: bonding says so, and nothing is left of the registration.
        assert_noop!(
            Compute::register_worker(signed(charlie()), info(7), ENDOWMENT),
            TokenError::NotExpendable
        );
        for endpoint in ["", "http://", "ftp://host", "https://a b", "http://\u{e4}", "127.0.0.1"] {
            let endpoint = endpoint.as_bytes().to_vec().try_into().unwrap();
            assert_noop!(
                Compute::register_worker(
                    signed(charlie()),
                    WorkerInfo { endpoint, ..info(7) },
                    1_000
                ),
                Error::<Test>::BadEndpoint
            );
        }
        for max_rank in [0, 257] {
            assert_noop!(
                Compute::register_worker(
                    signed(charlie()),
                    WorkerInfo { max_rank, ..info(7) },
                    1_000
                ),
                Error::<Test>::BadMaxRank
            );
        }
        assert_noop!(
            Compute::register_worker(RuntimeOrigin::root(), info(7), 1_000),
            DispatchError::BadOrigin
        );
    });
}

#[test]
fn a_worker_updates_what_it_says_and_keeps_its_counts() {
    ExtBuilder::default().build_and_execute(|| {
        leased("a");
        let endpoint = b"https://gpu.example:443/v1".to_vec().try_into().unwrap();
        let new = WorkerInfo { endpoint, max_rank: 8, gpu: true, ..info(9) };
        assert_ok!(Compute::update_worker(signed(bob()), new.clone()));
        let worker = Workers::<Test>::get(bob()).unwrap();
        assert_eq!(worker, Worker { info: new, active_jobs: 1, completed: 0 });
        happened(Event::WorkerUpdated { worker: bob() });

        assert_noop!(
            Compute::update_worker(signed(charlie()), info(9)),
            Error::<Test>::NotRegistered
        );
        assert_noop!(
            Compute::update_worker(signed(bob()), WorkerInfo { max_rank: 0, ..info(9) }),
            Error::<Test>::BadMaxRank
        );
    });
}

#[test]
fn a_worker_leaves_only_without_leases() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        assert_noop!(Compute::deregister_worker(signed(bob())), Error::<Test>::HasActiveJobs);
        assert_ok!(Compute::submit_result(signed(bob()), job, result(1_000)));
        assert_ok!(Compute::deregister_worker(signed(bob())));
        assert!(!Compute::is_registered(&bob()));
        happened(Event::WorkerDeregistered { worker: bob() });
        assert_noop!(Compute::deregister_worker(signed(bob())), Error::<Test>::NotRegistered);

        // What it trained is paid all the same.
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(dave()), job));
        assert_eq!(total(&bob()), ENDOWMENT - MinWorkerStake::get() + 100);
    });
}
