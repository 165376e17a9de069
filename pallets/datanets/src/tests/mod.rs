mod authorization;
mod contributions;
mod curation;
mod datanets;
mod integrity;
mod pots;
mod random;
mod retirement;
mod versions;
mod views;

use crate::{mock::*, Contributions, State};
use polkadot_sdk::sp_runtime::DispatchError;
use tributary_primitives::{AccountId, Balance, ContributionId};

fn free(who: &AccountId) -> Balance {
    Balances::free_balance(who)
}

fn state(id: ContributionId) -> State {
    Contributions::<Test>::get(id).unwrap().state
}

fn last_event() -> RuntimeEvent {
    System::events().pop().unwrap().event
}

fn signed(who: &AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(who.clone())
}

const BAD_ORIGIN: DispatchError = DispatchError::BadOrigin;
