//! Tests by theme.

mod channels;
mod listings;
mod sequences;
mod vouchers;

use polkadot_sdk::sp_runtime::AccountId32;

fn signed(who: AccountId32) -> crate::mock::RuntimeOrigin {
    crate::mock::RuntimeOrigin::signed(who)
}
