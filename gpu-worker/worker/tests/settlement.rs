//! Settlement, interrupted at every step: nothing is lost, nothing is settled twice.

mod common;

use common::{
    chain::{FakeChain, Fault, State, SHARES, WINDOW},
    give_answer, open_journal, worker,
};
use std::{path::Path, sync::Arc, time::Duration};
use tributary_primitives::{
    fees::split_fee,
    views::{BatchState, SharesView},
    Balance, BatchId,
};
use tributary_worker::{
    journal::{BatchStep, Journal},
    settle::{Policy, Progress, SettleChain, Settler},
    Result, WorkerError,
};

const SOON: Policy = Policy { idle: Duration::ZERO, max_age: Duration::ZERO, max_answers: 1_000 };

fn settler(journal: &Journal, chain: &Arc<FakeChain>, policy: Policy) -> Settler {
    let account = worker().account();
    Settler::new(journal.clone(), chain.clone(), chain.clone(), account, policy)
}

/// A journal with answers on two channels, of two models.
fn answers(folder: &Path) -> Journal {
    let journal = open_journal(folder);
    give_answer(&journal, 1, 7, 1_000, &[(1, 600_000), (2, 100_000)], 10);
    give_answer(&journal, 1, 8, 333, &[(2, 999_999)], 20);
    give_answer(&journal, 2, 7, 77, &[], 30);
    give_answer(&journal, 2, 7, 0, &[(3, 1_000_000)], 40);
    journal
}

fn chain() -> Arc<FakeChain> {
    let chain = FakeChain::new();
    chain.open_channel(1, 100_000);
    chain.open_channel(2, 100_000);
    Arc::new(chain)
}

fn pass_window(chain: &FakeChain) {
    chain.change(|state| state.height += WINDOW);
}

/// Everything spent is redeemed and in exactly one batch, which is final.
fn assert_settled(state: &State, journal: &Journal, spent: Balance) {
    let redeemed: Balance = state.channels.values().map(|channel| channel.redeemed).sum();
    assert_eq!(redeemed, spent);
    assert_eq!(state.revenue, "0");
    assert_eq!(state.batches.iter().map(|batch| batch.fees).sum::<Balance>(), spent);
    assert!(state.batches.iter().all(|batch| batch.state == BatchState::Final));
    let batches = journal.batches().unwrap();
    assert_eq!(batches.len(), state.batches.len());
    assert!(batches.iter().all(|batch| batch.step == BatchStep::Final));
    assert_eq!(journal.pending().unwrap().answers, 0);
    assert_eq!(journal.lost_answers().unwrap(), 0);
}

#[tokio::test]
async fn answers_become_a_final_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let settler = settler(&journal, &chain, SOON);
    let progress = settler.round(50).await.unwrap();
    assert_eq!(progress, Progress { submitted: vec![0], ..Progress::default() });
    // The window is not over.
    assert_eq!(settler.round(50).await.unwrap(), Progress::default());
    pass_window(&chain);
    let progress = settler.round(50).await.unwrap();
    assert_eq!(progress, Progress { finalized: vec![0], ..Progress::default() });
    let state = chain.state();
    assert_settled(&state, &journal, 1_410);
    let batch = &state.batches[0];
    assert_eq!(batch.receipts_count, 4);
    let parts = split_fee(1_077, &SHARES).contributors + split_fee(333, &SHARES).contributors;
    assert_eq!(batch.payouts_total + batch.unattributed_total, parts);
    assert!(state.refusals.is_empty());
}

async fn go_on(settler: &Settler, rounds: usize) -> Result<Progress> {
    let mut all = Progress::default();
    for _ in 0..rounds {
        let progress = settler.round(50).await?;
        all.submitted.extend(progress.submitted);
        all.finalized.extend(progress.finalized);
        all.lost += progress.lost;
    }
    Ok(all)
}

#[tokio::test]
async fn a_break_at_any_call_loses_nothing_and_pays_nothing_twice() {
    // How many calls an undisturbed settlement takes.
    let calls = {
        let folder = tempfile::tempdir().unwrap();
        let (journal, chain) = (answers(folder.path()), chain());
        let settler = settler(&journal, &chain, SOON);
        go_on(&settler, 1).await.unwrap();
        pass_window(&chain);
        go_on(&settler, 1).await.unwrap();
        let calls = *chain.calls.lock().unwrap();
        calls
    };
    assert!(calls > 10);
    for fault in [Fault::Before, Fault::After] {
        for call in 0..calls {
            let folder = tempfile::tempdir().unwrap();
            let (journal, chain) = (answers(folder.path()), chain());
            chain.break_off(call, fault);
            let mut broke = false;
            {
                let settler = settler(&journal, &chain, SOON);
                broke |= go_on(&settler, 1).await.is_err();
                pass_window(&chain);
                broke |= go_on(&settler, 1).await.is_err();
            }
            // A redemption or submission that did go through may hide the break from the caller.
            drop(journal);
            let journal = open_journal(folder.path());
            give_answer(&journal, 2, 8, 90, &[(4, 1_000_000)], 45);
            let settler = settler(&journal, &chain, SOON);
            for _ in 0..4 {
                go_on(&settler, 1).await.unwrap();
                pass_window(&chain);
            }
            assert_settled(&chain.state(), &journal, 1_500);
            let refusals = chain.state().refusals;
            assert!(refusals.is_empty(), "{fault:?} {call} (broke: {broke}): {refusals:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_settled_before_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let policy = Policy {
        idle: Duration::from_millis(100),
        max_age: Duration::from_millis(1_000),
        max_answers: 10,
    };
    let settler = settler(&journal, &chain, policy);
    assert_eq!(settler.round(139).await.unwrap(), Progress::default());
    assert_eq!(settler.round(140).await.unwrap().submitted, vec![0]);

    // The age of the first answer counts, whatever comes after it.
    give_answer(&journal, 1, 7, 5, &[], 2_000);
    give_answer(&journal, 1, 7, 5, &[], 2_950);
    assert!(settler.round(2_999).await.unwrap().submitted.is_empty());
    assert_eq!(settler.round(3_000).await.unwrap().submitted, vec![1]);

    // So does the number of answers.
    for _ in 0..9 {
        give_answer(&journal, 1, 7, 5, &[], 4_000);
    }
    assert!(settler.round(4_000).await.unwrap().submitted.is_empty());
    give_answer(&journal, 1, 7, 5, &[], 4_000);
    assert_eq!(settler.round(4_000).await.unwrap().submitted, vec![2]);
}

#[tokio::test]
async fn a_channel_that_is_being_closed_is_settled_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let never = Policy {
        idle: Duration::from_secs(3_600),
        max_age: Duration::from_secs(3_600),
        max_answers: 1_000,
    };
    let settler = settler(&journal, &chain, never);
    assert_eq!(settler.round(50).await.unwrap(), Progress::default());
    chain.change(|state| state.channels.get_mut(&2).unwrap().closes_at = Some(99));
    assert_eq!(settler.round(50).await.unwrap().submitted, vec![0]);
}

#[tokio::test]
async fn a_channel_that_is_gone_costs_its_own_answers_only() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    chain.settle_channel(1);
    let settler = settler(&journal, &chain, SOON);
    let progress = settler.round(50).await.unwrap();
    assert_eq!((progress.lost, progress.submitted), (2, vec![0]));
    let batch = &chain.state().batches[0];
    assert_eq!((batch.fees, batch.receipts_count), (77, 2));
    assert_eq!(journal.lost_answers().unwrap(), 2);
}

#[tokio::test]
async fn a_batch_of_lost_answers_leaves_its_number_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    chain.settle_channel(1);
    chain.settle_channel(2);
    let settler = settler(&journal, &chain, SOON);
    // The free answer costs nothing, so that its channel's loss is 77 units of three answers.
    assert_eq!(settler.round(50).await.unwrap().lost, 4);
    assert!(chain.state().batches.is_empty());
    chain.open_channel(3, 1_000);
    give_answer(&journal, 3, 7, 50, &[], 60);
    assert_eq!(settler.round(60).await.unwrap().submitted, vec![0]);
}

#[tokio::test]
async fn a_channel_that_was_redeemed_and_settled_before_the_journal_knew_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let settler = settler(&journal, &chain, SOON);
    // The batch is collected, and the worker dies before it asks for the channel.
    chain.break_off(1, Fault::Before);
    assert!(settler.round(50).await.is_err());
    assert_eq!(journal.unsubmitted_batch().unwrap().unwrap().step, BatchStep::Collected);
    let (voucher, signature) = common::voucher(1, 1_333);
    chain.redeem(&voucher, &signature, 1_333).await.unwrap();
    chain.settle_channel(1);
    let progress = settler.round(50).await.unwrap();
    assert_eq!(progress.lost, 0);
    assert_eq!(chain.state().batches.iter().map(|b| b.fees).sum::<Balance>(), 1_410);
}

#[tokio::test]
async fn new_shares_between_computing_and_submitting_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let settler = settler(&journal, &chain, SOON);
    // Let the submission break off before it arrives; then governance changes the shares.
    let calls_before_submit = 9;
    chain.break_off(calls_before_submit, Fault::Before);
    assert!(settler.round(50).await.is_err());
    assert_eq!(journal.unsubmitted_batch().unwrap().unwrap().step, BatchStep::Stored);
    *chain.shares.lock().unwrap() = SharesView { worker: 500_000, contributors: 250_000, ..SHARES };
    assert!(matches!(settler.round(50).await, Err(WorkerError::Refused { .. })));
    assert_eq!(settler.round(50).await.unwrap().submitted, vec![0]);
}

#[tokio::test]
async fn a_fork_that_takes_a_batch_back_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let settler = settler(&journal, &chain, SOON);
    let before = chain.state();
    settler.round(50).await.unwrap();
    // The chain forgets redemptions and batch alike.
    chain.change(|state| *state = before);
    for _ in 0..3 {
        settler.round(50).await.unwrap();
        pass_window(&chain);
    }
    assert_settled(&chain.state(), &journal, 1_410);
}

#[tokio::test]
async fn another_chain_or_another_worker_on_the_account_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, chain) = (answers(folder.path()), chain());
    let first = settler(&journal, &chain, SOON);
    first.round(50).await.unwrap();
    pass_window(&chain);
    first.round(50).await.unwrap();

    // GIVEN a chain that begins anew under a journal with a final batch
    let anew = common::chain::FakeChain::new();
    anew.open_channel(1, 100_000);
    let anew = Arc::new(anew);
    give_answer(&journal, 1, 7, 10, &[], 60);
    // WHEN the next batch is due, THEN it is not submitted under a number that does not fit
    let outcome = settler(&journal, &anew, SOON).round(60).await;
    assert!(matches!(outcome, Err(WorkerError::Disagreement(_))), "{outcome:?}");
    assert!(anew.state().batches.is_empty());

    // GIVEN somebody else who submitted the batch of this number
    chain.change(|state| {
        let mut other = state.batches[0].clone();
        (other.id, other.sequence, other.fees) = (BatchId(900), 1, 5);
        state.batches.push(other);
    });
    let outcome = first.round(60).await;
    assert!(matches!(outcome, Err(WorkerError::Disagreement(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_batch_has_at_most_64_models_and_the_rest_follows() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open_journal(folder.path());
    let chain = chain();
    for model in 0..70 {
        give_answer(&journal, 1 + model % 2, model, 10, &[(model, 500_000)], 10);
    }
    let settler = settler(&journal, &chain, SOON);
    assert_eq!(settler.round(50).await.unwrap().submitted, vec![0]);
    assert_eq!(settler.round(50).await.unwrap().submitted, vec![1]);
    let counts: Vec<u64> = chain.state().batches.iter().map(|b| b.receipts_count).collect();
    assert_eq!(counts, vec![64, 6]);
    let state = chain.state();
    assert_eq!(state.channels[&1].redeemed + state.channels[&2].redeemed, 700);
    assert_eq!(state.revenue, "0");
}
