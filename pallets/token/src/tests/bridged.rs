use super::{free, last_event};
use crate::{mock::*, BridgedIn, BridgedOut, Error, Event};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{DispatchError, TokenError},
};
use tributary_primitives::{AccountId, CAP, OPEN};

const NEW: AccountId = AccountId::new([7; 32]);

#[test]
fn what_comes_in_exists_and_is_counted() {
    ExtBuilder::default().build_and_execute(|| {
        let (before, outside) = (Token::issuance(), Token::outside());
        assert_ok!(Token::mint_bridged(&NEW, 5 * OPEN));
        assert_eq!(last_event(), Event::BridgedIn { who: NEW, amount: 5 * OPEN }.into());
        assert_eq!(free(&NEW), 5 * OPEN);
        assert_eq!(Token::issuance(), before + 5 * OPEN);
        let supply = Token::view_supply();
        assert_eq!((supply.bridged_in, supply.bridged_out), (5 * OPEN, 0));
        assert_eq!(supply.outside, outside - 5 * OPEN);
    });
}

#[test]
fn what_goes_out_ceases_to_exist_and_is_counted() {
    ExtBuilder::default().build_and_execute(|| {
        let (before, outside) = (Token::issuance(), Token::outside());
        assert_ok!(Token::burn_bridged(&ALICE, 5 * OPEN));
        assert_eq!(last_event(), Event::BridgedOut { who: ALICE, amount: 5 * OPEN }.into());
        assert_eq!(Token::issuance(), before - 5 * OPEN);
        assert_eq!(Token::outside(), outside + 5 * OPEN);
        // What has gone out can come in again.
        assert_ok!(Token::mint_bridged(&BOB, 5 * OPEN));
        assert_eq!((Token::issuance(), Token::outside()), (before, outside));
        assert_eq!(BridgedIn::<Test>::get(), BridgedOut::<Test>::get());
        // An account can be emptied; this is no burning of holders' own will.
        assert_ok!(Token::burn_bridged(&ALICE, 995 * OPEN));
        assert_eq!(free(&ALICE), 0);
        assert_eq!(Token::burnt(), 0);
    });
}

#[test]
fn no_more_comes_in_than_was_outside() {
    ExtBuilder::default().build_and_execute(|| {
        let outside = CAP - 2_000 * OPEN - 2 * ED - Budget::get();
        assert_eq!(Token::outside(), outside);
        assert_noop!(Token::mint_bridged(&NEW, outside + 1), Error::<Test>::AboveCap);
        assert_noop!(Token::mint_bridged(&NEW, u128::MAX), Error::<Test>::AboveCap);
        assert_ok!(Token::mint_bridged(&NEW, outside));
        assert_noop!(Token::mint_bridged(&NEW, ED), Error::<Test>::AboveCap);
        // Even what the schedule still promises has its place below the cap.
        assert_eq!(Token::issuance() + Budget::get(), CAP);
        assert_eq!(Token::outside(), 0);
        // Fees that are burnt make no room: their counterpart stays locked.
        assert_ok!(Token::take_fee(&ALICE, 1_000));
        assert_noop!(Token::mint_bridged(&NEW, 1), Error::<Test>::AboveCap);
    });
}

#[test]
fn what_cannot_be_held_or_burnt_is_refused() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(
            Token::mint_bridged(&NEW, ED - 1),
            DispatchError::Token(TokenError::BelowMinimum)
        );
        assert_noop!(Token::burn_bridged(&ALICE, 0), Error::<Test>::NothingToBurn);
        assert_noop!(
            Token::burn_bridged(&ALICE, 1_000 * OPEN + 1),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
    });
}

#[test]
fn counters_that_do_not_add_up_are_found() {
    ExtBuilder::default().build().execute_with(|| {
        BridgedOut::<Test>::put(2 * OPEN);
        assert_eq!(Token::do_try_state(), Err(DispatchError::Other("more exists than was issued")));
        BridgedOut::<Test>::kill();
        BridgedIn::<Test>::put(CAP);
        assert!(Token::do_try_state().is_err());
    });
}
