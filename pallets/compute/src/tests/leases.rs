//! Taking leases and losing them.

use super::*;

fn claim(who: AccountId, job: JobId) -> polkadot_sdk::sp_runtime::DispatchResult {
    Compute::claim_job(signed(who), job)
}

#[test]
fn a_worker_takes_a_lease() {
    ExtBuilder::default().build_and_execute(|| {
        let job = submitted("a");
        at(51);
        assert_ok!(claim(bob(), job));
        let until = 51 + LEASE;
        happened(Event::JobClaimed { job, worker: bob(), until });
        let stage = Stage::Leased { worker: bob(), until, price: 100 };
        assert_eq!(Jobs::<Test>::get(job).unwrap().stage, stage);
        assert!(!OpenJobs::<Test>::contains_key(job));
        assert_noop!(claim(bob(), job), Error::<Test>::NotOpen);
    });
}

#[test]
fn a_lease_is_refused_with_a_reason() {
    ExtBuilder::default().with_worker(charlie(), 1).build_and_execute(|| {
        assert_noop!(claim(bob(), JobId(0)), Error::<Test>::UnknownJob);
        let job = submitted("a");
        assert_noop!(claim(dave(), job), Error::<Test>::NotRegistered);
        let small = WorkerInfo { max_rank: 15, ..info(1) };
        assert_ok!(Compute::update_worker(signed(charlie()), small));
        assert_noop!(claim(charlie(), job), Error::<Test>::RankTooHigh);
        MockStakes::set(&bob(), MinWorkerStake::get() - 1);
        assert_noop!(claim(bob(), job), Error::<Test>::StakeTooLow);
        MockStakes::set(&bob(), MinWorkerStake::get());
        assert_ok!(claim(bob(), job));
    });
}

#[test]
fn a_worker_holds_a_bounded_number_of_leases() {
    ExtBuilder::default().build_and_execute(|| {
        let first = leased("a");
        leased("b");
        let third = submitted("c");
        assert_noop!(claim(bob(), third), Error::<Test>::TooManyJobs);
        assert_ok!(Compute::submit_result(signed(bob()), first, result(1)));
        assert_ok!(claim(bob(), third));
    });
}

#[test]
fn a_lapsed_lease_costs_the_worker_and_frees_the_job() {
    ExtBuilder::default().with_worker(charlie(), 1).build_and_execute(|| {
        let expire = |job| Compute::expire_lease(signed(dave()), job);
        assert_noop!(expire(JobId(9)), Error::<Test>::UnknownJob);
        let open = submitted("o");
        assert_noop!(expire(open), Error::<Test>::NotLeased);

        // GIVEN a lease without a result
        let job = leased("a");
        at(1 + LEASE);
        assert_noop!(expire(job), Error::<Test>::LeaseRunning);
        // WHEN it has lapsed and somebody says so
        at(1 + LEASE + 1);
        assert_ok!(expire(job));
        // THEN a tenth of the worker's stake is gone (to the reporter here), and the job is open
        happened(Event::LeaseLapsed { job, worker: bob(), slashed: 100 });
        assert_eq!(MockStakes::active(&bob()), 900);
        assert_eq!(total(&dave()), ENDOWMENT + 100);
        assert_eq!(Workers::<Test>::get(bob()).unwrap().active_jobs, 0);
        assert_eq!(escrow(&alice()), 1_000);
        assert_noop!(expire(job), Error::<Test>::NotLeased);
        // The worker has too little stake left for another lease.
        assert_noop!(claim(bob(), job), Error::<Test>::StakeTooLow);
        assert_ok!(claim(charlie(), job));
    });
}

#[test]
fn an_owner_cancels_a_lapsed_job() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        at(1 + LEASE);
        assert_noop!(Compute::cancel_job(signed(alice()), job), Error::<Test>::NotCancellable);
        at(1 + LEASE + 1);
        assert_ok!(Compute::cancel_job(signed(alice()), job));
        happened(Event::LeaseLapsed { job, worker: bob(), slashed: 100 });
        happened(Event::JobCancelled { job, refunded: 500 });
        assert_eq!((total(&alice()), escrow(&alice())), (ENDOWMENT + 100, 0));
        assert_eq!(Workers::<Test>::get(bob()).unwrap().active_jobs, 0);
    });
}

#[test]
fn a_lapsed_job_past_its_deadline_can_be_refunded() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        at(60);
        assert_noop!(Compute::expire_job(signed(dave()), job), Error::<Test>::NotOpen);
        assert_ok!(Compute::expire_lease(signed(dave()), job));
        assert_ok!(Compute::expire_job(signed(dave()), job));
        assert_eq!(escrow(&alice()), 0);
    });
}

#[test]
fn a_worker_says_now_and_then_how_far_it_is() {
    ExtBuilder::default().with_worker(charlie(), 1).build_and_execute(|| {
        let progress = |step| Progress { step, steps: 10, loss_micro: 2_500_000 };
        let report = |who, job, p| Compute::report_progress(signed(who), job, p);
        let shown = |job| match Compute::view_job(job).unwrap().state {
            JobState::Leased { progress, .. } => progress,
            other => panic!("{other:?}"),
        };
        assert_noop!(report(bob(), JobId(7), progress(1)), Error::<Test>::UnknownJob);
        let open = submitted("o");
        assert_noop!(report(bob(), open, progress(1)), Error::<Test>::NotLeased);

        // GIVEN a lease
        let job = leased("a");
        assert_noop!(report(charlie(), job, progress(1)), Error::<Test>::NotLeaseHolder);
        assert_noop!(report(bob(), job, progress(0)), Error::<Test>::BadProgress);
        assert_noop!(report(bob(), job, progress(11)), Error::<Test>::BadProgress);
        // WHEN its holder reports THEN everybody sees it
        assert_ok!(report(bob(), job, progress(2)));
        happened(Event::ProgressReported { job, worker: bob(), progress: progress(2) });
        assert_eq!(shown(job), Some(progress(2)));
        // AND the next report takes its time and goes on from there
        at(1 + INTERVAL - 1);
        assert_noop!(report(bob(), job, progress(3)), Error::<Test>::TooSoon);
        at(1 + INTERVAL);
        assert_noop!(report(bob(), job, progress(2)), Error::<Test>::BadProgress);
        assert_ok!(report(bob(), job, progress(10)));
        // AND nothing of it is kept beyond the lease
        assert_ok!(Compute::submit_result(signed(bob()), job, result(1)));
        assert_eq!(Reports::<Test>::iter().count(), 0);
        assert_noop!(report(bob(), job, progress(10)), Error::<Test>::NotLeased);
    });
}

#[test]
fn a_report_after_the_lease_is_refused_and_a_lapse_forgets_the_last() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        let progress = |step| Progress { step, steps: 10, loss_micro: 1 };
        assert_ok!(Compute::report_progress(signed(bob()), job, progress(1)));
        at(1 + LEASE + 1);
        let late = Compute::report_progress(signed(bob()), job, progress(2));
        assert_noop!(late, Error::<Test>::LeaseLapsed);
        assert_ok!(Compute::expire_lease(signed(dave()), job));
        assert_eq!(Reports::<Test>::iter().count(), 0);
    });
}
