//! Calls of the pallet Settlement.

use super::calls;
use polkadot_sdk::sp_core::H160;
use tributary_primitives::{
    bridge::{origin::L1Config, MAX_MESSAGE},
    Balance, BlockNumber,
};

/// Most bytes that [`SendMessage`] takes.
pub const MAX_MESSAGE_BYTES: usize = MAX_MESSAGE as usize;

calls! { "Settlement":
    /// Joins the chain to contracts on Ethereum; by root.
    "configure" Configure {
        /// The contracts.
        config: L1Config,
    }
    /// Burns some of the signer's OPEN here, to be released on Ethereum.
    "withdraw" Withdraw {
        /// Who gets it there.
        to: H160,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Has a contract on Ethereum called.
    "send_message" SendMessage {
        /// The contract.
        target: H160,
        /// Gas that the call must get.
        gas_limit: u64,
        /// What it is called with; at most [`MAX_MESSAGE_BYTES`].
        data: Vec<u8>,
    }
    /// Sends a failed deposit back to the one on Ethereum who made it.
    "refund_deposit" RefundDeposit {
        /// The deposit's position.
        index: u64,
    }
    /// Lets the bridge stand still.
    "pause" Pause {
        /// The last block for which it does.
        until: BlockNumber,
    }
    /// Ends a pause.
    "unpause" Unpause {}
    /// Allows messages from Ethereum to an address; by root.
    "allow_dispatcher" AllowDispatcher {
        /// The address.
        dispatcher: H160,
    }
    /// Allows messages to an address no longer; by root.
    "disallow_dispatcher" DisallowDispatcher {
        /// The address.
        dispatcher: H160,
    }
}
