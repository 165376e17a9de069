//! Signed claims.

use super::*;
use tributary_primitives::payouts::Payout;

fn claim(
    id: BatchId,
    payout: Payout,
    proof: PayoutProof,
) -> polkadot_sdk::sp_runtime::DispatchResult {
    Attribution::claim(signed(dave()), id, payout, proof)
}

#[test]
fn anybody_claims_for_a_contributor() {
    ExtBuilder::default().build_and_execute(|| {
        let id = final_batch();
        let list = payouts();
        let commons = balance(&Attribution::commons());
        for index in [1, 0, 2] {
            let payout = list[index as usize].clone();
            assert_ok!(claim(id, payout.clone(), proof(&list, index)));
            let n = payout.contribution.0 as u8;
            assert_eq!(balance(&contributor(n)), payout.amount);
            happened(Event::PayoutClaimed {
                batch: id,
                index,
                contribution: payout.contribution,
                account: contributor(n),
                amount: payout.amount,
            });
        }
        // Dave paid for the transactions at most; the pot is back to what it keeps.
        assert_eq!(balance(&dave()), ENDOWMENT);
        assert_eq!(balance(&Attribution::pot()), ED);
        assert_eq!(balance(&Attribution::commons()), commons);
        assert_eq!(Batches::<Test>::get(id).unwrap().unclaimed, 0);
    });
}

#[test]
fn a_payout_is_paid_once() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        assert_ok!(claim(id, list[0].clone(), proof(&list, 0)));
        assert_noop!(claim(id, list[0].clone(), proof(&list, 0)), Error::<Test>::AlreadyClaimed);
        // The same leaf has no proof at another place.
        let moved = PayoutProof { index: 1, ..proof(&list, 0) };
        assert_noop!(claim(id, list[0].clone(), moved), Error::<Test>::BadProof);
    });
}

#[test]
fn a_claim_needs_a_final_batch() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (pending_batch(), payouts());
        assert_noop!(
            claim(BatchId(9), list[0].clone(), proof(&list, 0)),
            Error::<Test>::UnknownBatch
        );
        assert_noop!(claim(id, list[0].clone(), proof(&list, 0)), Error::<Test>::NotFinal);
    });
}

#[test]
fn a_proof_has_one_reading() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        let good = proof(&list, 0);
        let refused = |payout: &Payout, proof| {
            assert_noop!(claim(id, payout.clone(), proof), Error::<Test>::BadProof);
        };
        let more = Payout { amount: 301, ..list[0].clone() };
        refused(&more, good.clone());
        let other = Payout { contribution: ContributionId(2), ..list[0].clone() };
        refused(&other, good.clone());
        // Cut, padded, beyond the end, and for another payout.
        let mut cut = good.clone();
        cut.siblings.pop();
        refused(&list[0], cut);
        let mut padded = good.clone();
        padded.siblings.try_push(H256::zero()).unwrap();
        refused(&list[0], padded);
        refused(&list[0], PayoutProof { index: 3, ..good.clone() });
        refused(&list[1], good);
    });
}

#[test]
fn a_tree_that_promises_too_much_pays_its_total() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN a batch of 600 whose tree holds payouts of 700
        redeem(&bob(), 4_000);
        let list = payouts_of(&[(1, 300), (2, 400)]);
        let lying = new_batch(0, vec![total(ADAPTER, 2_000, 600)], &list);
        assert_ok!(Attribution::submit_batch(signed(bob()), lying));
        let honest = payouts();
        let other = new_batch(1, vec![total(ADAPTER, 2_000, 600)], &honest);
        assert_ok!(Attribution::submit_batch(signed(bob()), other));
        at(1 + WINDOW);
        for id in [0, 1] {
            assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(id)));
        }
        // THEN it pays no more than its own, and the honest batch is whole
        assert_ok!(claim(BatchId(0), list[0].clone(), proof(&list, 0)));
        assert_noop!(
            claim(BatchId(0), list[1].clone(), proof(&list, 1)),
            Error::<Test>::BatchExhausted
        );
        for index in 0..3 {
            let payout = honest[index as usize].clone();
            assert_ok!(claim(BatchId(1), payout, proof(&honest, index)));
        }
    });
}

#[test]
fn a_claim_is_refused_where_it_cannot_be_paid() {
    ExtBuilder::default().build_and_execute(|| {
        redeem(&bob(), 2_000);
        let list = payouts_of(&[(1, 9), (77, 100), (2, 0), (1, 91)]);
        let batch = new_batch(0, vec![total(ADAPTER, 2_000, 200)], &list);
        assert_ok!(Attribution::submit_batch(signed(bob()), batch));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(0)));
        let by_index =
            |index: u32| claim(BatchId(0), list[index as usize].clone(), proof(&list, index));

        assert_noop!(by_index(1), Error::<Test>::UnknownContribution);
        assert_noop!(by_index(2), Error::<Test>::EmptyPayout);
        // Nine units cannot bring an account into being; they can be added to one.
        assert_noop!(by_index(0), Error::<Test>::BelowExistentialDeposit);
        assert_ok!(by_index(3));
        assert_ok!(by_index(0));
        assert_eq!(balance(&contributor(1)), 100);
    });
}

#[test]
fn an_account_that_would_overflow_cannot_receive() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        // No chain with a cap gets there; the error is for the day when something is very wrong.
        let (rich, pot) = (Balance::MAX - 100, balance(&Attribution::pot()));
        polkadot_sdk::frame_system::Account::<Test>::mutate(contributor(1), |a| {
            a.providers = 1;
            a.data.free = rich;
        });
        assert_noop!(
            claim(id, list[0].clone(), proof(&list, 0)),
            Error::<Test>::AccountCannotReceive
        );
        polkadot_sdk::frame_system::Account::<Test>::remove(contributor(1));

        // As is this one: money that the pot should have is gone.
        polkadot_sdk::frame_system::Account::<Test>::mutate(Attribution::pot(), |a| {
            a.data.free = ED + 299;
        });
        assert_noop!(claim(id, list[0].clone(), proof(&list, 0)), Error::<Test>::PotShort);
        assert!(Attribution::do_try_state().is_err());
        polkadot_sdk::frame_system::Account::<Test>::mutate(Attribution::pot(), |a| {
            a.data.free = pot;
        });
    });
}
