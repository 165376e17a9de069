mod admin;
mod deposits;
mod inherent;
mod origin;
mod random;
mod trie;
mod withdrawals;

use crate::{mock::*, Error, Event};
use polkadot_sdk::{frame_support::assert_noop, sp_runtime::DispatchError};
use tributary_primitives::{bridge::Advance, AccountId, Balance};

fn free(who: &AccountId) -> Balance {
    Balances::free_balance(who)
}

/// The pallet's events since the last call.
fn events() -> Vec<Event<Test>> {
    let events = System::read_events_for_pallet::<Event<Test>>();
    System::reset_events();
    events
}

/// Asserts that an inherent is refused with an error and leaves the state as it was.
fn refused(offered: Advance, error: Error<Test>) {
    assert_noop!(advance(offered.clone()), error);
    // What the chain refuses, no author makes.
    if let Some(accepted) = crate::Pallet::<Test>::acceptable(offered.clone()) {
        assert_ne!(accepted, offered);
    }
}

fn bad_origin() -> DispatchError {
    DispatchError::BadOrigin
}
