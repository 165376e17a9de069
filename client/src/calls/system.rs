//! A few calls of the SDK's pallets.

use super::{calls, Call};
use crate::chain::CallData;
use codec::{Compact, Encode, Output};
use polkadot_sdk::sp_runtime::MultiAddress;
use tributary_primitives::{AccountId, Balance};

/// An account as the SDK's calls take it.
pub type Address = MultiAddress<AccountId, ()>;

calls! { "Balances":
    /// Moves OPEN, and refuses to leave the sender's account below the minimum.
    "transfer_keep_alive" TransferKeepAlive {
        /// Who gets it.
        to: Address,
        /// How much, in units.
        amount: Compact<Balance>,
    }
    /// Moves everything that can be moved.
    "transfer_all" TransferAll {
        /// Who gets it.
        to: Address,
        /// Whether the account stays.
        keep_alive: bool,
    }
}

/// Calls in a row: all of them, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchAll(pub Vec<CallData>);

impl Encode for BatchAll {
    fn encode_to<O: Output + ?Sized>(&self, to: &mut O) {
        // Encoded calls stand one after the other; a list has only its length before them.
        Compact(u32::try_from(self.0.len()).unwrap_or(u32::MAX)).encode_to(to);
        for call in &self.0 {
            to.write(call.bytes());
        }
    }
}

impl Call for BatchAll {
    const PALLET: &'static str = "Utility";
    const NAME: &'static str = "batch_all";
}

/// A call as root, where the chain has a sudo key.
#[derive(Clone, Debug, PartialEq)]
pub struct Sudo(pub CallData);

impl Encode for Sudo {
    fn encode_to<O: Output + ?Sized>(&self, to: &mut O) {
        to.write(self.0.bytes());
    }
}

impl Call for Sudo {
    const PALLET: &'static str = "Sudo";
    const NAME: &'static str = "sudo";
}
