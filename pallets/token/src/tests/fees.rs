use super::{free, last_event};
use crate::{mock::*, Error, Event, FeeParts, FeeSplit, FeesBurnt, Split};
use polkadot_sdk::{
    frame_support::{
        assert_noop, assert_ok,
        traits::{
            fungible::Balanced,
            tokens::{Fortitude, Precision, Preservation},
            OnUnbalanced,
        },
    },
    sp_runtime::{DispatchError, TokenError},
};
use proptest::prelude::*;
use tributary_primitives::{Balance, CAP, OPEN};

#[test]
fn a_fee_goes_to_fire_treasury_and_author() {
    ExtBuilder::default().with_split(500_000, 200_000, 300_000).build_and_execute(|| {
        let before = Token::issuance();
        assert_ok!(Token::take_fee(&ALICE, 1_000));
        assert_eq!(free(&ALICE), 1_000 * OPEN - 1_000);
        assert_eq!(free(&TREASURY), ED + 200);
        assert_eq!(free(&AUTHOR), ED + 300);
        assert_eq!(before - Token::issuance(), 500);
        assert_eq!(FeesBurnt::<Test>::get(), 500);
        assert_eq!(last_event(), Event::FeeTaken { burnt: 500, treasury: 200, author: 300 }.into());
    });
}

#[test]
fn a_fee_of_nothing_changes_nothing() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Token::take_fee(&ALICE, 0));
        assert_eq!(free(&ALICE), 1_000 * OPEN);
        assert!(System::events().is_empty());
    });
}

#[test]
fn the_payer_keeps_the_existential_deposit() {
    ExtBuilder::default().with_balances(vec![(ALICE, 100), (TREASURY, ED)]).build_and_execute(
        || {
            assert_noop!(
                Token::take_fee(&ALICE, 100 - ED + 1),
                DispatchError::Token(TokenError::FundsUnavailable)
            );
            assert_ok!(Token::take_fee(&ALICE, 100 - ED));
            assert_eq!(free(&ALICE), ED);
        },
    );
}

#[test]
fn without_an_author_the_treasury_gets_the_part() {
    ExtBuilder::default().with_split(500_000, 200_000, 300_000).build_and_execute(|| {
        BlockAuthor::set(None);
        assert_ok!(Token::take_fee(&ALICE, 1_000));
        assert_eq!(free(&TREASURY), ED + 500);
        assert_eq!(FeesBurnt::<Test>::get(), 500);
    });
}

#[test]
fn what_nobody_can_receive_is_burnt_and_counted() {
    // GIVEN neither the treasury nor the author has an account, and parts below the deposit
    ExtBuilder::default().with_balances(vec![(ALICE, 1_000)]).build_and_execute(|| {
        // WHEN
        assert_ok!(Token::take_fee(&ALICE, 10));
        // THEN
        assert_eq!(free(&TREASURY) + free(&AUTHOR), 0);
        assert_eq!(FeesBurnt::<Test>::get(), 10);
        assert_eq!(Token::issuance(), 990);
    });
}

#[test]
fn an_author_below_the_deposit_leaves_the_part_to_the_treasury() {
    ExtBuilder::default()
        .with_split(0, 500_000, 500_000)
        .with_balances(vec![(ALICE, 1_000), (TREASURY, ED)])
        .build_and_execute(|| {
            assert_ok!(Token::take_fee(&ALICE, 10));
            assert_eq!(free(&TREASURY), ED + 10);
            assert_eq!(FeesBurnt::<Test>::get(), 0);
        });
}

#[test]
fn fee_adapters_hand_over_fee_and_tip() {
    ExtBuilder::default().with_split(1_000_000, 0, 0).build_and_execute(|| {
        let take = |amount| {
            <Balances as Balanced<_>>::withdraw(
                &ALICE,
                amount,
                Precision::Exact,
                Preservation::Preserve,
                Fortitude::Polite,
            )
            .unwrap()
        };
        let (fee, tip) = (take(70), take(30));
        Token::on_unbalanceds([fee, tip].into_iter());
        assert_eq!(FeesBurnt::<Test>::get(), 100);
        assert_eq!(free(&ALICE), 1_000 * OPEN - 100);
    });
}

#[test]
fn only_the_admin_changes_the_split_and_only_to_a_whole_one() {
    ExtBuilder::default().build_and_execute(|| {
        let split = FeeSplit { burn: 0, treasury: 0, author: 1_000_000 };
        assert_noop!(
            Token::set_fee_split(RuntimeOrigin::signed(ALICE), split),
            DispatchError::BadOrigin
        );
        for bad in [
            FeeSplit { burn: 999_999, treasury: 0, author: 0 },
            FeeSplit { burn: 1_000_000, treasury: 1, author: 0 },
            FeeSplit { burn: u32::MAX, treasury: u32::MAX, author: u32::MAX },
        ] {
            assert_noop!(
                Token::set_fee_split(RuntimeOrigin::root(), bad),
                Error::<Test>::SplitNotWhole
            );
        }
        assert_ok!(Token::set_fee_split(RuntimeOrigin::root(), split));
        assert_eq!(Split::<Test>::get(), split);
        assert_eq!(Token::fee_split(), split);
        assert_eq!(last_event(), Event::FeeSplitSet { split }.into());
        // WHEN a fee is taken under it, all of it goes to the author
        assert_ok!(Token::take_fee(&ALICE, 7));
        assert_eq!(free(&AUTHOR), ED + 7);
    });
}

#[test]
fn one_unit_goes_to_the_largest_remainder() {
    let split = FeeSplit { burn: 500_000, treasury: 200_000, author: 300_000 };
    assert_eq!(split.parts(1), FeeParts { burn: 1, treasury: 0, author: 0 });
    assert_eq!(split.parts(10), FeeParts { burn: 5, treasury: 2, author: 3 });
}

proptest! {
    #[test]
    fn parts_add_up(fee in 0..=CAP, burn in 0u32..=1_000_000, cut in 0u32..=1_000_000) {
        let treasury = cut.min(1_000_000 - burn);
        let split = FeeSplit { burn, treasury, author: 1_000_000 - burn - treasury };
        prop_assert!(split.is_whole());
        let parts = split.parts(fee);
        prop_assert_eq!(parts.burn + parts.treasury + parts.author, fee);
        for (part, ppm) in [(parts.burn, burn), (parts.treasury, treasury)] {
            let exact: Balance = fee / 1_000_000 * Balance::from(ppm)
                + fee % 1_000_000 * Balance::from(ppm) / 1_000_000;
            prop_assert!(part == exact || part == exact + 1);
        }
    }
}
