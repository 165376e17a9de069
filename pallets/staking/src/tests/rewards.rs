use crate::{mock::*, Error, Event, Pools};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{AccountId32, DispatchError, TokenError},
};

fn signed(who: AccountId32) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

fn claimable(who: AccountId32) -> u128 {
    Stakes::view_position(model(), who).claimable
}

#[test]
fn rewards_are_shared_by_stake() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 300)
        .with_stake(BEN, model(), 100)
        .build_and_execute(|| {
            assert_eq!(Stakes::reward(&PAYER, &model(), 400), Ok(true));
            assert_eq!((claimable(ADA), claimable(BEN)), (300, 100));
            assert_eq!(free(&Stakes::pot()), ED + 400);
            assert_eq!(events().last(), Some(&Event::Rewarded { subject: model(), amount: 400 }));
            assert_ok!(Stakes::claim_rewards(signed(ADA), model()));
            assert_eq!(free(&ADA), ENDOWMENT);
            assert_eq!(
                events().last(),
                Some(&Event::RewardsClaimed { subject: model(), who: ADA, amount: 300 })
            );
            assert_noop!(
                Stakes::claim_rewards(signed(ADA), model()),
                Error::<Test>::NothingToClaim
            );
            assert_ok!(Stakes::claim_rewards(signed(BEN), model()));
            assert_eq!(free(&Stakes::pot()), ED);
        });
}

#[test]
fn only_stake_that_was_active_earns() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_eq!(Stakes::reward(&PAYER, &model(), 60), Ok(true));
        assert_ok!(Stakes::bond(signed(BEN), model(), 200));
        assert_eq!(Stakes::reward(&PAYER, &model(), 60), Ok(true));
        assert_eq!((claimable(ADA), claimable(BEN)), (80, 40));
        assert_ok!(Stakes::unbond(signed(BEN), model(), 200));
        assert_eq!(Stakes::reward(&PAYER, &model(), 60), Ok(true));
        assert_eq!((claimable(ADA), claimable(BEN)), (140, 40));
    });
}

#[test]
fn no_unit_of_many_uneven_rewards_is_lost() {
    ExtBuilder::default()
        .with_stake(ADA, model(), 101)
        .with_stake(BEN, model(), 307)
        .with_stake(CLEO, model(), 1_009)
        .build_and_execute(|| {
            for amount in 1..=100 {
                assert_eq!(Stakes::reward(&PAYER, &model(), amount % 7 + 1), Ok(true));
            }
            let paid_in = ENDOWMENT - free(&PAYER);
            let before = free(&ADA) + free(&BEN) + free(&CLEO);
            for who in [ADA, BEN, CLEO] {
                assert_ok!(Stakes::claim_rewards(signed(who), model()));
            }
            let paid_out = free(&ADA) + free(&BEN) + free(&CLEO) - before;
            let owed = Pools::<Test>::get(model()).map_or(0, |pool| pool.owed);
            assert_eq!(paid_in, paid_out + owed);
            assert!(owed < 3, "three stakers hold back less than a unit each, but {owed} are owed");
        });
}

#[test]
fn without_stakers_nothing_moves() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_eq!(Stakes::reward(&PAYER, &datanet(), 50), Ok(false));
        assert_ok!(Stakes::unbond(signed(ADA), model(), 100));
        assert_eq!(Stakes::reward(&PAYER, &model(), 50), Ok(false));
        assert_eq!(free(&PAYER), ENDOWMENT);
    });
}

#[test]
fn a_reward_of_nothing_is_no_event() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        let before = events().len();
        assert_eq!(Stakes::reward(&PAYER, &model(), 0), Ok(true));
        assert_eq!(events().len(), before);
    });
}

#[test]
fn a_reward_that_cannot_be_paid_changes_nothing() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_noop!(Stakes::reward(&PAYER, &model(), ENDOWMENT + 1), TokenError::FundsUnavailable);
        // All but the existential deposit can be paid.
        assert_noop!(
            Stakes::reward(&PAYER, &model(), ENDOWMENT - ED + 1),
            TokenError::NotExpendable
        );
        assert_eq!(Stakes::reward(&PAYER, &model(), 5), Ok(true));
        assert_noop!(Stakes::reward(&PAYER, &model(), u128::MAX), Error::<Test>::Overflow);
    });
}

#[test]
fn only_stakers_claim() {
    ExtBuilder::default().with_stake(ADA, model(), 100).build_and_execute(|| {
        assert_noop!(Stakes::claim_rewards(signed(BEN), model()), Error::<Test>::NoPosition);
        assert_noop!(Stakes::claim_rewards(signed(ADA), datanet()), Error::<Test>::NoPosition);
        assert_noop!(Stakes::claim_rewards(signed(ADA), model()), Error::<Test>::NothingToClaim);
        assert_noop!(
            Stakes::claim_rewards(RuntimeOrigin::none(), model()),
            DispatchError::BadOrigin
        );
    });
}

#[test]
fn large_amounts_fit() {
    use tributary_primitives::CAP;
    let mut pool = crate::Pool { active: 1, ..Default::default() };
    let mut whale = crate::Position::<polkadot_sdk::frame_support::traits::ConstU32<1>>::new(&pool);
    whale.active = 1;
    // Everything there is, paid to a single unit of stake, a thousand times over.
    for _ in 0..1_000 {
        pool.add_reward(CAP).expect("256 bits hold it");
    }
    whale.settle(&pool);
    assert_eq!(whale.take_rewards(&mut pool), 1_000 * CAP);
    assert_eq!(pool.owed, 0);
    // And then everything staked, everything paid.
    pool.active = CAP;
    whale.active = CAP;
    pool.add_reward(CAP).expect("256 bits hold it");
    whale.settle(&pool);
    assert_eq!(whale.take_rewards(&mut pool), CAP);
}
