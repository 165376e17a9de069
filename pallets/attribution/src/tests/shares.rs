//! Governance of the shares, and genesis.

use super::*;
use polkadot_sdk::sp_io::TestExternalities;

fn half_and_half() -> Shares {
    Shares {
        platform: 0,
        worker: 500_000,
        owner: 0,
        ancestors: 0,
        stakers: 0,
        contributors: 500_000,
    }
}

#[test]
fn governance_sets_the_shares() {
    ExtBuilder::default().build_and_execute(|| {
        let set = |origin, shares| Attribution::set_shares(origin, shares);
        assert_noop!(set(signed(alice()), half_and_half()), DispatchError::BadOrigin);
        let platform = Shares { platform: 1_000_001, ..half_and_half() };
        assert_noop!(set(RuntimeOrigin::root(), platform), Error::<Test>::BadShares);
        let less = Shares { worker: 499_999, ..half_and_half() };
        assert_noop!(set(RuntimeOrigin::root(), less), Error::<Test>::BadShares);
        assert_ok!(set(RuntimeOrigin::root(), half_and_half()));
        assert_eq!(CurrentShares::<Test>::get(), half_and_half());
        happened(Event::SharesSet { shares: half_and_half() });
    });
}

#[test]
fn a_batch_is_paid_by_the_shares_of_its_submission() {
    ExtBuilder::default().build_and_execute(|| {
        let id = pending_batch();
        assert_ok!(Attribution::set_shares(RuntimeOrigin::root(), half_and_half()));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(dave()), id));
        assert_eq!(balance(&bob()), ENDOWMENT + 760);

        // The next one is judged by the new shares: figures of the old ones no longer fit.
        redeem(&bob(), 2_000);
        let batch = new_batch(1, vec![total(ADAPTER, 2_000, 600)], &payouts());
        let old = NewBatch { unattributed_total: 65, ..batch.clone() };
        assert_noop!(
            Attribution::submit_batch(signed(bob()), old),
            Error::<Test>::UnattributedMismatch
        );
        assert_ok!(Attribution::submit_batch(signed(bob()), batch));
        at(now() + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(dave()), BatchId(1)));
        assert_eq!(balance(&bob()), ENDOWMENT + 760 + 1_000);
    });
}

#[test]
fn genesis_takes_shares_or_the_default() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(CurrentShares::<Test>::get(), Shares::default());
    });
    ExtBuilder::default().with_shares(half_and_half()).build_and_execute(|| {
        assert_eq!(CurrentShares::<Test>::get(), half_and_half());
    });
}

#[test]
#[should_panic(expected = "the shares of the net fee must add up to 1,000,000 ppm")]
fn genesis_refuses_shares_that_do_not_add_up() {
    let shares = Shares { worker: 1, ..half_and_half() };
    ExtBuilder::default().with_shares(shares).storage(ED, ED);
}

#[test]
#[should_panic(expected = "endow attribution's pot account")]
fn genesis_wants_the_pot_endowed() {
    ExtBuilder::default().storage(0, ED);
}

#[test]
#[should_panic(expected = "endow attribution's commons account")]
fn genesis_wants_the_commons_endowed() {
    ExtBuilder::default().storage(ED, 0);
}

#[test]
fn try_state_notices_what_is_wrong() {
    let broken = |breaking: &dyn Fn(), says: &str| {
        TestExternalities::new(ExtBuilder::default().storage(ED, ED)).execute_with(|| {
            at(1);
            assert_ok!(Attribution::register_base(signed(alice()), name("a"), digest(9), 0));
            assert_ok!(Attribution::register_adapter(adapter("b", BASE)));
            redeem(&bob(), 2_000);
            let batch = new_batch(0, vec![total(ADAPTER, 2_000, 600)], &payouts());
            assert_ok!(Attribution::submit_batch(signed(bob()), batch));
            assert_ok!(Attribution::do_try_state());
            breaking();
            assert_eq!(
                Attribution::do_try_state(),
                Err(DispatchError::Other(Box::leak(says.to_string().into_boxed_str())))
            );
        });
    };
    let pot = "1: the pot does not cover what is owed";
    broken(&|| Attribution::on_redeemed(&bob(), 1), pot);
    broken(
        &|| CurrentShares::<Test>::mutate(|s| s.worker += 1),
        "2: the shares do not add up to one",
    );
    broken(&|| ModelsByName::<Test>::remove(name("b")), "3: a model's name does not lead to it");
    broken(&|| ModelsByName::<Test>::insert(name("c"), ADAPTER), "3: a name leads to no model");
    broken(
        &|| Models::<Test>::mutate(ADAPTER, |m| m.as_mut().unwrap().depth = 2),
        "3: a model's depth is wrong",
    );
    broken(
        &|| Models::<Test>::mutate(BASE, |m| m.as_mut().unwrap().deposit = Some((alice(), 1))),
        "4: the deposits on hold are not those of the models",
    );
    broken(
        &|| PendingBatches::<Test>::remove(BatchId(0)),
        "5: the stored totals are not those of the pending batches",
    );
    broken(&|| NextSequence::<Test>::insert(bob(), 2), "5: a worker's sequence has a gap");
    broken(
        &|| Claimed::<Test>::insert(BatchId(0), 0, ()),
        "6: a claim on a batch that is not final",
    );
    broken(&|| Claimed::<Test>::insert(BatchId(1), 0, ()), "6: a claim belongs to no batch");
}
