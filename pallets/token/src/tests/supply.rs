use super::{free, last_event};
use crate::{mock::*, Error, Event, GenesisIssuance, HoldersBurnt};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, traits::Hooks},
    sp_runtime::{DispatchError, TokenError},
};
use tributary_primitives::{views::SupplyView, CAP, OPEN};

#[test]
fn genesis_is_recorded() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(GenesisIssuance::<Test>::get(), 2_000 * OPEN + 2 * ED);
        Token::integrity_test();
        assert_eq!(
            Token::supply(),
            SupplyView {
                cap: CAP,
                issuance: 2_000 * OPEN + 2 * ED,
                genesis: 2_000 * OPEN + 2 * ED,
                emitted: 0,
                burnt: 0,
                bridged_in: 0,
                bridged_out: 0,
                outside: CAP - 2_000 * OPEN - 2 * ED - Budget::get(),
            }
        );
    });
}

#[test]
fn genesis_may_leave_exactly_the_budget() {
    ExtBuilder::default()
        .with_balances(vec![(ALICE, CAP - Budget::get())])
        .build_and_execute(|| assert_eq!(Token::issuance(), CAP - Budget::get()));
}

#[test]
#[should_panic(expected = "above the cap")]
fn genesis_above_the_cap_is_refused() {
    ExtBuilder::default().with_balances(vec![(ALICE, CAP - Budget::get() + 1)]).build();
}

#[test]
#[should_panic(expected = "add up to 1,000,000")]
fn genesis_with_a_partial_split_is_refused() {
    ExtBuilder::default().with_split(1, 2, 3).build();
}

#[test]
fn holders_burn_their_own() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Token::burn(RuntimeOrigin::signed(ALICE), 5 * OPEN));
        assert_eq!(free(&ALICE), 995 * OPEN);
        assert_eq!(HoldersBurnt::<Test>::get(), 5 * OPEN);
        assert_eq!(last_event(), Event::Burnt { who: ALICE, amount: 5 * OPEN }.into());
        // Burnt by fees and by holders is counted together.
        assert_ok!(Token::take_fee(&ALICE, 10));
        let supply = Token::view_supply();
        assert_eq!(supply.burnt, 5 * OPEN + 5);
        assert_eq!(supply.issuance, supply.genesis - supply.burnt);
    });
}

#[test]
fn burning_nothing_or_too_much_is_refused() {
    ExtBuilder::default().build_and_execute(|| {
        let alice = || RuntimeOrigin::signed(ALICE);
        assert_noop!(Token::burn(RuntimeOrigin::root(), 1), DispatchError::BadOrigin);
        assert_noop!(Token::burn(alice(), 0), Error::<Test>::NothingToBurn);
        assert_noop!(
            Token::burn(alice(), 1_000 * OPEN),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
    });
}

#[test]
fn minting_past_the_books_is_found() {
    ExtBuilder::default().build().execute_with(|| {
        assert_ok!(Token::do_try_state());
        Balances::force_set_balance(RuntimeOrigin::root(), BOB, 2_000 * OPEN).unwrap();
        assert_eq!(Token::do_try_state(), Err(DispatchError::Other("more exists than was issued")));
    });
}
