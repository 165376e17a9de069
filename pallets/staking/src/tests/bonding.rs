use crate::{mock::*, Error, Event, Pools, Positions};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{DispatchError, TokenError},
};
use tributary_primitives::{views::PositionView, ModelId, Subject};

fn signed(who: polkadot_sdk::sp_runtime::AccountId32) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

#[test]
fn bonding_puts_money_on_hold_and_counts_it() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Stakes::bond(signed(ADA), model(), 300));
        assert_ok!(Stakes::bond(signed(ADA), model(), 50));
        assert_ok!(Stakes::bond(signed(BEN), model(), 100));
        assert_eq!((held(&ADA), free(&ADA)), (350, ENDOWMENT - 350));
        assert_eq!(Stakes::active_total(&model()), 450);
        assert_eq!(Stakes::view_total(model()), 450);
        assert_eq!(Stakes::total(model()), 450);
        assert_eq!(Stakes::position_active(&model(), &ADA), 350);
        assert_eq!(Stakes::position_active(&model(), &CLEO), 0);
        assert_eq!(
            events().first(),
            Some(&Event::Bonded { subject: model(), who: ADA, amount: 300 })
        );
    });
}

#[test]
fn stakes_behind_several_subjects_add_up_in_one_hold() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Stakes::bond(signed(ADA), model(), 300));
        assert_ok!(Stakes::bond(signed(ADA), datanet(), 200));
        assert_ok!(Stakes::bond(signed(ADA), contribution(), 150));
        assert_ok!(Stakes::bond(signed(ADA), Subject::Worker(BEN), 100));
        assert_eq!(held(&ADA), 750);
        assert_ok!(Stakes::unbond(signed(ADA), datanet(), 200));
        pass(PERIOD);
        assert_ok!(Stakes::withdraw_unbonded(signed(ADA), datanet()));
        assert_eq!(held(&ADA), 550);
        assert_eq!(Stakes::active_total(&model()), 300);
    });
}

#[test]
fn bonding_refuses_what_cannot_be_staked() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        let unknown = Subject::Model(ModelId(100));
        assert_noop!(Stakes::bond(signed(ADA), unknown, 100), Error::<Test>::UnknownSubject);
        assert_noop!(Stakes::bond(signed(ADA), model(), 0), Error::<Test>::ZeroAmount);
        assert_noop!(
            Stakes::bond(signed(BEN), model(), MIN_STAKE - 1),
            Error::<Test>::BelowMinStake
        );
        assert_noop!(Stakes::bond(signed(ADA), model(), u128::MAX), Error::<Test>::Overflow);
        assert_noop!(
            Stakes::bond(signed(BEN), model(), ENDOWMENT),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
        assert_noop!(Stakes::bond(RuntimeOrigin::root(), model(), 100), DispatchError::BadOrigin);
    });
}

#[test]
fn a_pool_has_a_bound() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 100)
        .with_stake(BEN, model(), 100)
        .with_stake(CLEO, model(), 100)
        .with_stake(DAN, model(), 100)
        .build_and_execute(|| {
            assert_noop!(Stakes::bond(signed(EVE), model(), 100), Error::<Test>::TooManyStakers);
            // Those who are in may add.
            assert_ok!(Stakes::bond(signed(DAN), model(), 1));
            // A place becomes free when somebody has left altogether.
            assert_ok!(Stakes::unbond(signed(BEN), model(), 100));
            assert_noop!(Stakes::bond(signed(EVE), model(), 100), Error::<Test>::TooManyStakers);
            pass(PERIOD);
            assert_ok!(Stakes::withdraw_unbonded(signed(BEN), model()));
            assert_ok!(Stakes::bond(signed(EVE), model(), 100));
        });
}

#[test]
fn the_last_place_in_a_workers_pool_is_the_workers() {
    let worker = Subject::Worker(EVE);
    ExtBuilder::default()
        .with_stake(ADA, worker.clone(), 100)
        .with_stake(BEN, worker.clone(), 100)
        .with_stake(CLEO, worker.clone(), 100)
        .build_and_execute(|| {
            assert_noop!(
                Stakes::bond(signed(DAN), worker.clone(), 100),
                Error::<Test>::TooManyStakers
            );
            assert_ok!(Stakes::bond(signed(EVE), worker.clone(), 100));
            assert_eq!(Pools::<Test>::get(&worker).map(|pool| pool.stakers), Some(MAX_STAKERS));
        });
    // Once the worker is in, the others may have all other places.
    ExtBuilder::default()
        .with_stake(EVE, worker.clone(), 100)
        .with_stake(ADA, worker.clone(), 100)
        .with_stake(BEN, worker.clone(), 100)
        .build_and_execute(|| {
            assert_ok!(Stakes::bond(signed(CLEO), worker.clone(), 100));
            assert_noop!(
                Stakes::bond(signed(DAN), worker.clone(), 100),
                Error::<Test>::TooManyStakers
            );
        });
}

#[test]
fn unbonding_takes_its_time() {
    ExtBuilder::default().with_stake(ADA, model(), 300).build_and_execute(|| {
        assert_ok!(Stakes::unbond(signed(ADA), model(), 50));
        assert_ok!(Stakes::unbond(signed(ADA), model(), 50));
        pass(3);
        assert_ok!(Stakes::unbond(signed(ADA), model(), 100));
        let view = PositionView {
            active: 100,
            unbonding: vec![(100, 1 + PERIOD), (100, 4 + PERIOD)],
            claimable: 0,
        };
        assert_eq!(Stakes::view_position(model(), ADA), view);
        assert_eq!(Stakes::position(model(), ADA), view);
        assert_eq!(Stakes::active_total(&model()), 100);
        assert_eq!(held(&ADA), 300);

        pass(PERIOD - 4);
        assert_noop!(
            Stakes::withdraw_unbonded(signed(ADA), model()),
            Error::<Test>::NothingToWithdraw
        );
        pass(1);
        assert_ok!(Stakes::withdraw_unbonded(signed(ADA), model()));
        assert_eq!(held(&ADA), 200);
        assert_eq!(
            events().last(),
            Some(&Event::Withdrawn { subject: model(), who: ADA, amount: 100 })
        );
        pass(3);
        assert_ok!(Stakes::withdraw_unbonded(signed(ADA), model()));
        assert_eq!(held(&ADA), 100);
    });
}

#[test]
fn unbonding_refuses_what_cannot_leave() {
    ExtBuilder::default().with_stake(ADA, model(), 500).build_and_execute(|| {
        assert_noop!(Stakes::unbond(signed(BEN), model(), 1), Error::<Test>::NoPosition);
        assert_noop!(Stakes::unbond(signed(ADA), datanet(), 1), Error::<Test>::NoPosition);
        assert_noop!(Stakes::unbond(signed(ADA), model(), 0), Error::<Test>::ZeroAmount);
        assert_noop!(Stakes::unbond(signed(ADA), model(), 501), Error::<Test>::InsufficientStake);
        assert_noop!(
            Stakes::unbond(signed(ADA), model(), 500 - MIN_STAKE + 1),
            Error::<Test>::BelowMinStake
        );
        for _ in 0..MAX_UNBONDING {
            assert_ok!(Stakes::unbond(signed(ADA), model(), 10));
            pass(1);
        }
        assert_noop!(Stakes::unbond(signed(ADA), model(), 10), Error::<Test>::TooManyChunks);
        assert_noop!(Stakes::withdraw_unbonded(signed(BEN), model()), Error::<Test>::NoPosition);
        assert_noop!(
            Stakes::withdraw_unbonded(signed(ADA), model()),
            Error::<Test>::NothingToWithdraw
        );
    });
}

#[test]
fn leaving_leaves_no_row_behind() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 100)
        .with_stake(BEN, model(), 200)
        .build_and_execute(|| {
            // GIVEN a reward that divides with a remainder
            assert_ok!(Stakes::reward(&PAYER, &model(), 10));
            // WHEN both leave
            assert_ok!(Stakes::unbond(signed(ADA), model(), 100));
            assert_ok!(Stakes::unbond(signed(BEN), model(), 200));
            pass(PERIOD);
            assert_ok!(Stakes::withdraw_unbonded(signed(ADA), model()));
            assert_ok!(Stakes::withdraw_unbonded(signed(BEN), model()));
            // THEN whole units were paid, and what is left of the reward waits in the pool
            assert_eq!(free(&ADA), ENDOWMENT + 3);
            assert_eq!(free(&BEN), ENDOWMENT + 6);
            assert_eq!((held(&ADA), held(&BEN)), (0, 0));
            assert_eq!(Positions::<Test>::iter().count(), 0);
            let pool = Pools::<Test>::get(model()).expect("one unit is still owed");
            assert_eq!((pool.owed, pool.stakers), (1, 0));

            // WHEN somebody stakes again and a reward comes in
            assert_ok!(Stakes::bond(signed(CLEO), model(), 100));
            assert_ok!(Stakes::reward(&PAYER, &model(), 5));
            assert_ok!(Stakes::claim_rewards(signed(CLEO), model()));
            // THEN the unit that waited is in it
            assert_eq!(free(&CLEO), ENDOWMENT - 100 + 6);
            assert_ok!(Stakes::unbond(signed(CLEO), model(), 100));
            pass(PERIOD);
            assert_ok!(Stakes::withdraw_unbonded(signed(CLEO), model()));
            assert_eq!(Pools::<Test>::get(model()), None);
        });
}
