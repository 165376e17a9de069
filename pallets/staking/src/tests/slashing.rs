use crate::{mock::*, Error, Event, Pools, Positions};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{AccountId32, DispatchError},
};
use tributary_primitives::Subject;

fn signed(who: AccountId32) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

fn root() -> RuntimeOrigin {
    RuntimeOrigin::root()
}

#[test]
fn a_slash_takes_the_same_share_of_everybody() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 300)
        .with_stake(BEN, model(), 100)
        .with_stake(ADA, datanet(), 500)
        .build_and_execute(|| {
            assert_ok!(Stakes::slash(root(), model(), 100_000, Some(PAYER)));
            assert_eq!(Stakes::position_active(&model(), &ADA), 270);
            assert_eq!(Stakes::position_active(&model(), &BEN), 90);
            assert_eq!(Stakes::active_total(&model()), 360);
            // Stake behind other subjects is not touched.
            assert_eq!(Stakes::active_total(&datanet()), 500);
            assert_eq!((held(&ADA), held(&BEN)), (770, 90));
            assert_eq!(free(&PAYER), ENDOWMENT + 4);
            assert_eq!(free(&TREASURY), ED + 36);
            let all = events();
            assert!(all.contains(&Event::StakerSlashed { subject: model(), who: ADA, amount: 30 }));
            assert!(all.contains(&Event::StakerSlashed { subject: model(), who: BEN, amount: 10 }));
            assert_eq!(
                all.last(),
                Some(&Event::Slashed {
                    subject: model(),
                    ppm: 100_000,
                    reporter: Some(PAYER),
                    to_reporter: 4,
                    to_treasury: 36,
                })
            );
        });
}

#[test]
fn unbonding_stake_is_slashed_until_it_has_matured() {
    ExtBuilder::default().with_stake(ADA, model(), 1_000).build_and_execute(|| {
        // GIVEN a chunk of 200 that matures in block 11 and one of 300 that matures in block 16
        assert_ok!(Stakes::unbond(signed(ADA), model(), 200));
        pass(5);
        assert_ok!(Stakes::unbond(signed(ADA), model(), 300));
        // WHEN half is slashed before either has matured
        assert_ok!(Stakes::slash(root(), model(), 500_000, None));
        // THEN both lose half
        let view = Stakes::view_position(model(), ADA);
        assert_eq!((view.active, view.unbonding), (250, vec![(100, 11), (150, 16)]));
        assert_eq!(free(&TREASURY), ED + 500);

        // WHEN all is slashed after the first has matured
        pass(5);
        assert_ok!(Stakes::slash(root(), model(), 1_000_000, None));
        // THEN the first is out of reach
        let view = Stakes::view_position(model(), ADA);
        assert_eq!((view.active, view.unbonding), (0, vec![(100, 11)]));
        assert_eq!(free(&TREASURY), ED + 900);
        assert_noop!(
            Stakes::slash(root(), model(), 1_000_000, None),
            Error::<Test>::NothingAtStake
        );
        assert_ok!(Stakes::withdraw_unbonded(signed(ADA), model()));
        assert_eq!(free(&ADA), ENDOWMENT - 900);
        assert_eq!(Pools::<Test>::get(model()), None);
    });
}

#[test]
fn shares_are_rounded_without_loss() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 101)
        .with_stake(BEN, model(), 103)
        .build_and_execute(|| {
            assert_ok!(Stakes::slash(root(), model(), 333_333, Some(PAYER)));
            // 101 · 0.333333 = 33.67 and 103 · 0.333333 = 34.33; a tenth of 68 is 6.8.
            assert_eq!(Stakes::position_active(&model(), &ADA), 67);
            assert_eq!(Stakes::position_active(&model(), &BEN), 69);
            assert_eq!(free(&PAYER), ENDOWMENT + 7);
            assert_eq!(free(&TREASURY), ED + 61);
        });
}

#[test]
fn splitting_stake_into_chunks_does_not_shelter_it() {
    ExtBuilder::default().with_stake(ADA, model(), 1_000).build_and_execute(|| {
        for _ in 0..MAX_UNBONDING {
            assert_ok!(Stakes::unbond(signed(ADA), model(), 300));
            pass(1);
        }
        assert_eq!(Stakes::do_slash(&model(), 100_000, None), 100);
    });
}

#[test]
fn slashing_refuses_nonsense() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_noop!(Stakes::slash(root(), model(), 0, None), Error::<Test>::InvalidShare);
        assert_noop!(Stakes::slash(root(), model(), 1_000_001, None), Error::<Test>::InvalidShare);
        assert_noop!(
            Stakes::slash(root(), datanet(), 500_000, None),
            Error::<Test>::NothingAtStake
        );
        // So little that nothing would be taken.
        assert_noop!(Stakes::slash(root(), model(), 1, None), Error::<Test>::NothingAtStake);
        assert_noop!(Stakes::slash(signed(ADA), model(), 500_000, None), DispatchError::BadOrigin);
    });
}

#[test]
fn a_reporter_who_cannot_be_paid_leaves_it_to_the_treasury() {
    ExtBuilder::default().with_stake(ADA, model(), 1_000).build_and_execute(|| {
        // A tenth of 90 is below the existential deposit.
        assert_ok!(Stakes::slash(root(), model(), 90_000, Some(NOBODY)));
        assert_eq!(free(&NOBODY), 0);
        assert_eq!(free(&TREASURY), ED + 90);
        assert!(matches!(
            events().last(),
            Some(Event::Slashed { to_reporter: 0, to_treasury: 90, .. })
        ));
        // A tenth of 455 is not.
        assert_ok!(Stakes::slash(root(), model(), 500_000, Some(NOBODY)));
        assert_eq!(free(&NOBODY), 46);
        assert_eq!(free(&TREASURY), ED + 90 + 409);
    });
}

#[test]
fn a_slash_that_cannot_reach_the_treasury_changes_nothing() {
    ExtBuilder::default().without_treasury().with_stake(ADA, model(), 100).build_and_execute(
        || {
            assert_noop!(
                Stakes::slash(root(), model(), 50_000, None),
                Error::<Test>::TreasuryUnavailable
            );
            // Asked for by another pallet it is reported and does not fail.
            assert_eq!(Stakes::do_slash(&model(), 50_000, None), 0);
            assert_eq!(Stakes::active_total(&model()), 100);
            assert_eq!(
                events().last(),
                Some(&Event::SlashFailed {
                    subject: model(),
                    error: Error::<Test>::TreasuryUnavailable.into(),
                })
            );
            assert_eq!(Stakes::do_slash(&model(), 1_000_000, None), 100);
            assert_eq!(free(&TREASURY), 100);
        },
    );
}

#[test]
fn slashing_for_another_pallet_takes_nothing_where_nothing_is() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(Stakes::do_slash(&Subject::Worker(ADA), 500_000, None), 0);
        assert_eq!(events(), vec![]);
    });
}

#[test]
fn what_was_earned_before_a_slash_stays_earned() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 100)
        .with_stake(BEN, model(), 300)
        .build_and_execute(|| {
            assert_eq!(Stakes::reward(&PAYER, &model(), 40), Ok(true));
            assert_ok!(Stakes::slash(root(), model(), 1_000_000, None));
            assert_eq!(Stakes::view_position(model(), ADA).claimable, 10);
            assert_ok!(Stakes::claim_rewards(signed(ADA), model()));
            assert_ok!(Stakes::claim_rewards(signed(BEN), model()));
            assert_eq!(free(&ADA), ENDOWMENT - 100 + 10);
            assert_eq!(free(&BEN), ENDOWMENT - 300 + 30);
            assert_eq!(Positions::<Test>::iter().count(), 0);
            assert_eq!(Pools::<Test>::get(model()), None);
        });
}

#[test]
fn a_slash_to_below_the_minimum_leaves_a_way_out() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_ok!(Stakes::slash(root(), model(), 500_000, None));
        assert_noop!(Stakes::unbond(signed(ADA), model(), 10), Error::<Test>::BelowMinStake);
        assert_noop!(Stakes::bond(signed(ADA), model(), 10), Error::<Test>::BelowMinStake);
        assert_ok!(Stakes::unbond(signed(ADA), model(), 50));
        pass(PERIOD);
        assert_ok!(Stakes::withdraw_unbonded(signed(ADA), model()));
        assert_eq!(free(&ADA), ENDOWMENT - 50);
    });
}
