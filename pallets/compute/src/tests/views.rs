//! What dApps are told.

use super::*;
use tributary_primitives::views::{Text, MAX_PAGE};

#[test]
fn workers_are_shown() {
    ExtBuilder::default().with_worker(charlie(), 3).build_and_execute(|| {
        leased("a");
        let view = Compute::view_worker(bob()).unwrap();
        assert_eq!(view.account, bob());
        assert_eq!(view.endpoint, Text::from("http://127.0.0.1:8700"));
        assert_eq!((view.signing_key, view.max_rank, view.gpu), (account(77), 64, false));
        assert_eq!((view.train_price, view.stake), (100, 1_000));
        assert_eq!((view.active_jobs, view.completed), (1, 0));
        assert_eq!(Compute::view_worker(dave()), None);
        assert_eq!(Compute::view_workers(MAX_PAGE).len(), 2);
        assert_eq!(Compute::view_workers(1).len(), 1);
    });
}

#[test]
fn jobs_are_shown_in_each_state() {
    ExtBuilder::default().build_and_execute(|| {
        let state = |id| Compute::view_job(id).unwrap().state;
        let job = submitted("a");
        let view = Compute::view_job(job).unwrap();
        assert_eq!((view.id, view.owner), (job, alice()));
        assert_eq!((view.name, view.base), (Text::from("a"), BASE));
        assert_eq!((view.versions, view.spec), (vec![version(1)], spec()));
        assert_eq!((view.max_fee, view.deadline), (500, 51));
        assert_eq!(view.state, JobState::Open);

        assert_ok!(Compute::claim_job(signed(bob()), job));
        assert_eq!(
            state(job),
            JobState::Leased { worker: bob(), until: 1 + LEASE, progress: None }
        );
        assert_ok!(Compute::submit_result(signed(bob()), job, result(1_000)));
        let (worker, fee, result) = (bob(), 100, result(1_000));
        let shown = JobState::Submitted {
            worker: worker.clone(),
            final_at: 1 + WINDOW,
            result: result.clone(),
            fee,
        };
        assert_eq!(state(job), shown);
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(bob()), job));
        assert_eq!(state(job), JobState::Completed { worker, model: ModelId(1), result, fee });
        let other = submitted("b");
        assert_ok!(Compute::cancel_job(signed(alice()), other));
        assert_eq!(state(other), JobState::Cancelled);
        assert_eq!(Compute::view_job(JobId(2)), None);
    });
}

#[test]
fn jobs_are_paged() {
    ExtBuilder::default().build_and_execute(|| {
        for n in 0..5 {
            submitted(&format!("job-{n}"));
        }
        assert_ok!(Compute::claim_job(signed(bob()), JobId(1)));
        let ids = |views: Vec<_>| -> Vec<u64> {
            views.into_iter().map(|v: tributary_primitives::views::JobView| v.id.0).collect()
        };
        assert_eq!(ids(Compute::view_jobs(JobId(0), 2)), [0, 1]);
        assert_eq!(ids(Compute::view_jobs(JobId(3), MAX_PAGE + 1)), [3, 4]);
        assert_eq!(ids(Compute::view_jobs(JobId(5), 10)), [0u64; 0]);
        assert_eq!(ids(Compute::view_open_jobs(MAX_PAGE)), [0, 2, 3, 4]);
        assert_eq!(Compute::view_open_jobs(3).len(), 3);
    });
}

#[test]
fn a_fee_can_be_estimated() {
    ExtBuilder::default().with_worker(charlie(), 1_000).build_and_execute(|| {
        let job = submitted("a");
        // 3,280 tokens at 100 per 1,000; at 1,000 per 1,000 they would be above the escrow.
        assert_eq!(Compute::view_fee_ceiling(job, &bob()), Some(328));
        assert_eq!(Compute::view_fee_ceiling(job, &charlie()), Some(500));
        assert_eq!(Compute::view_fee_ceiling(job, &dave()), None);
        assert_eq!(Compute::view_fee_ceiling(JobId(1), &bob()), None);
    });
}
