//! From a lease to a model, or to a refund.

use super::*;
use tributary_primitives::{jobs::JobResult, H256};

#[test]
fn a_job_pays_its_worker_and_refunds_the_rest() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN a job whose result charges for 2,501 tokens at 100 units per 1,000
        let job = leased("a");
        let before = (total(&alice()), total(&bob()));
        at(5);
        assert_ok!(Compute::submit_result(signed(bob()), job, result(2_501)));
        // 250.1 units, rounded up
        happened(Event::ResultSubmitted { job, worker: bob(), fee: 251, final_at: 5 + WINDOW });
        assert_eq!(Workers::<Test>::get(bob()).unwrap().active_jobs, 0);

        // WHEN the window is over
        at(5 + WINDOW - 1);
        assert_noop!(Compute::finalize_job(signed(dave()), job), Error::<Test>::WindowOpen);
        at(5 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(dave()), job));

        // THEN the fee has gone over, the rest is free, and the model is there
        assert_eq!(escrow(&alice()), 0);
        assert_eq!((total(&alice()), total(&bob())), (before.0 - 251, before.1 + 251));
        assert_eq!(MockLineage::adapters(), vec![b"a".to_vec()]);
        assert_eq!(Workers::<Test>::get(bob()).unwrap().completed, 1);
        happened(Event::JobCompleted {
            job,
            worker: bob(),
            model: ModelId(1),
            paid: 251,
            refunded: 249,
        });
        let stage = Jobs::<Test>::get(job).unwrap().stage;
        let (worker, model) = (bob(), ModelId(1));
        assert_eq!(stage, Stage::Completed { worker, model, result: result(2_501), fee: 251 });
        assert_noop!(Compute::finalize_job(signed(dave()), job), Error::<Test>::NotSubmitted);
    });
}

#[test]
fn the_fee_ends_at_the_escrow() {
    ExtBuilder::default().with_worker(charlie(), 1_000_000).build_and_execute(|| {
        let job = submitted("a");
        assert_ok!(Compute::claim_job(signed(charlie()), job));
        assert_ok!(Compute::submit_result(signed(charlie()), job, result(3_280)));
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(charlie()), job));
        assert_eq!(total(&charlie()), ENDOWMENT - MinWorkerStake::get() + 500);
        assert_eq!(total(&alice()), ENDOWMENT - 500);
    });
}

#[test]
fn the_price_is_that_of_the_claim() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        assert_ok!(Compute::update_worker(signed(bob()), info(400)));
        assert_ok!(Compute::submit_result(signed(bob()), job, result(1_000)));
        let Stage::Submitted { fee, .. } = Jobs::<Test>::get(job).unwrap().stage else {
            panic!("a result was submitted");
        };
        assert_eq!(fee, 100);
    });
}

#[test]
fn a_worker_may_train_for_nothing() {
    ExtBuilder::default().with_worker(charlie(), 0).build_and_execute(|| {
        let job = submitted("a");
        assert_ok!(Compute::claim_job(signed(charlie()), job));
        assert_ok!(Compute::submit_result(signed(charlie()), job, result(3_280)));
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(charlie()), job));
        assert_eq!((total(&alice()), escrow(&alice())), (ENDOWMENT, 0));
    });
}

#[test]
fn a_worker_may_train_for_itself() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Compute::submit_job(signed(bob()), new_job("a")));
        assert_ok!(Compute::claim_job(signed(bob()), JobId(0)));
        assert_ok!(Compute::submit_result(signed(bob()), JobId(0), result(1_000)));
        at(1 + WINDOW);
        let before = total(&bob());
        assert_ok!(Compute::finalize_job(signed(bob()), JobId(0)));
        assert_eq!((total(&bob()), escrow(&bob())), (before, 0));
        happened(Event::JobCompleted {
            job: JobId(0),
            worker: bob(),
            model: ModelId(1),
            paid: 100,
            refunded: 400,
        });
    });
}

#[test]
fn a_fee_that_the_worker_cannot_take_goes_back() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN a fee below the existential deposit for a worker whose account is gone
        let job = leased("a");
        assert_ok!(Compute::submit_result(signed(bob()), job, result(50)));
        assert_ok!(Compute::deregister_worker(signed(bob())));
        assert_ok!(Balances::transfer_all(signed(bob()), dave(), false));
        assert_eq!(total(&bob()), 0);
        // WHEN the job is finalised
        at(1 + WINDOW);
        assert_ok!(Compute::finalize_job(signed(dave()), job));
        // THEN the model is there, and the whole escrow back
        happened(Event::FeeReturned { job, worker: bob(), fee: 5 });
        let (worker, model) = (bob(), ModelId(1));
        happened(Event::JobCompleted { job, worker, model, paid: 0, refunded: 500 });
        assert_eq!((total(&alice()), escrow(&alice())), (ENDOWMENT, 0));
    });
}

#[test]
fn a_result_needs_the_lease() {
    ExtBuilder::default().with_worker(charlie(), 1).build_and_execute(|| {
        let submit = |who: AccountId, job, result| Compute::submit_result(signed(who), job, result);
        let open = submitted("a");
        assert_noop!(submit(bob(), JobId(9), result(1)), Error::<Test>::UnknownJob);
        assert_noop!(submit(bob(), open, result(1)), Error::<Test>::NotLeased);
        let job = leased("b");
        assert_noop!(submit(charlie(), job, result(1)), Error::<Test>::NotLeaseHolder);
        at(1 + LEASE + 1);
        assert_noop!(submit(bob(), job, result(1)), Error::<Test>::LeaseLapsed);
        at(1 + LEASE);
        assert_ok!(submit(bob(), job, result(1)));
        assert_noop!(submit(bob(), job, result(1)), Error::<Test>::NotLeased);
    });
}

#[test]
fn a_result_is_complete_and_its_tokens_bounded() {
    ExtBuilder::default().build_and_execute(|| {
        let job = leased("a");
        let submit = |result| Compute::submit_result(signed(bob()), job, result);
        let mut no_steps = result(1);
        no_steps.metrics.steps = 0;
        let empty = [
            result(0),
            no_steps,
            JobResult { adapter: H256::zero(), ..result(1) },
            JobResult { index: H256::zero(), ..result(1) },
            JobResult { index_root: H256::zero(), ..result(1) },
            JobResult { transcript: H256::zero(), ..result(1) },
        ];
        for result in empty {
            assert_noop!(submit(result), Error::<Test>::BadResult);
        }
        assert_noop!(submit(result(3_281)), Error::<Test>::TooManyTokens);
        assert_ok!(submit(result(3_280)));
    });
}

#[test]
fn an_owner_cancels_while_nobody_works() {
    ExtBuilder::default().build_and_execute(|| {
        let cancel = |who: AccountId, job| Compute::cancel_job(signed(who), job);
        assert_noop!(cancel(alice(), JobId(9)), Error::<Test>::UnknownJob);
        let open = submitted("a");
        assert_noop!(cancel(bob(), open), Error::<Test>::NotOwner);
        assert_ok!(cancel(alice(), open));
        happened(Event::JobCancelled { job: open, refunded: 500 });
        assert_eq!((total(&alice()), escrow(&alice())), (ENDOWMENT, 0));
        assert!(!Compute::name_reserved(b"a"));
        assert_noop!(cancel(alice(), open), Error::<Test>::NotCancellable);
        assert_noop!(Compute::claim_job(signed(bob()), open), Error::<Test>::NotOpen);

        let job = leased("b");
        assert_noop!(cancel(alice(), job), Error::<Test>::NotCancellable);
        assert_ok!(Compute::submit_result(signed(bob()), job, result(1)));
        at(40);
        assert_noop!(cancel(alice(), job), Error::<Test>::NotCancellable);
    });
}

#[test]
fn anybody_refunds_a_job_past_its_deadline() {
    ExtBuilder::default().build_and_execute(|| {
        let expire = |job| Compute::expire_job(signed(dave()), job);
        assert_noop!(expire(JobId(9)), Error::<Test>::UnknownJob);
        let job = submitted("a");
        at(51);
        assert_noop!(expire(job), Error::<Test>::DeadlineAhead);
        at(52);
        assert_noop!(Compute::claim_job(signed(bob()), job), Error::<Test>::DeadlinePassed);
        assert_ok!(expire(job));
        happened(Event::JobExpired { job, refunded: 500 });
        assert_eq!((total(&alice()), escrow(&alice())), (ENDOWMENT, 0));
        assert_noop!(expire(job), Error::<Test>::NotOpen);
        assert_noop!(Compute::finalize_job(signed(dave()), JobId(9)), Error::<Test>::UnknownJob);
    });
}
