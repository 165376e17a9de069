//! What the pallet needs of others.

use polkadot_sdk::{
    frame_support::weights::Weight,
    sp_core::H160,
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{AccountId, Balance};

/// OPEN that comes from Ethereum and goes there.
pub trait OpenBridge {
    /// Makes `amount` units that have been locked on Ethereum exist here, for `who`.
    fn mint_bridged(who: &AccountId, amount: Balance) -> DispatchResult;
    /// Makes `amount` units of `who`'s cease to exist here, because Ethereum is to release them.
    fn burn_bridged(who: &AccountId, amount: Balance) -> DispatchResult;
}

/// Those who can be called from Ethereum.
///
/// What a handler does is undone when it fails.
pub trait MessageHandler {
    /// Hands over a message of `from` for the dispatcher at `to`. `from` is an address of Ethereum,
    /// aliased if a contract called the portal itself; the messenger names senders as they are.
    fn handle(from: H160, to: H160, data: &[u8], gas: u64) -> DispatchResult;
    /// The most that one message costs.
    fn weight() -> Weight;
}

/// Nobody can be called.
impl MessageHandler for () {
    fn handle(_: H160, _: H160, _: &[u8], _: u64) -> DispatchResult {
        Err(DispatchError::Unavailable)
    }

    fn weight() -> Weight {
        Weight::zero()
    }
}
