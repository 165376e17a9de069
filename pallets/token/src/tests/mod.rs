mod bridged;
mod emission;
mod fees;
mod random;
mod supply;

use crate::mock::*;
use tributary_primitives::{AccountId, Balance};

fn free(who: &AccountId) -> Balance {
    Balances::free_balance(who)
}

fn last_event() -> RuntimeEvent {
    System::events().pop().unwrap().event
}
