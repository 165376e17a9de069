//! What is stored for a listing and for a channel.

use codec::{Decode, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use tributary_primitives::{AccountId, Balance, BlockNumber};

/// Prices of a model.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Listing {
    /// Price per 1,000 prompt tokens, in units.
    pub price_in: Balance,
    /// Price per 1,000 answer tokens, in units.
    pub price_out: Balance,
}

/// A deposit from which one consumer pays one worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Channel {
    /// Who pays.
    pub consumer: AccountId,
    /// Who is paid.
    pub worker: AccountId,
    /// Everything ever put in, in units.
    pub deposit: Balance,
    /// Everything redeemed so far, in units.
    pub redeemed: Balance,
    /// Block from which a closing channel can be settled.
    pub closes_at: Option<BlockNumber>,
}

impl Channel {
    /// What is left on hold, in units.
    pub fn rest(&self) -> Balance {
        self.deposit.saturating_sub(self.redeemed)
    }
}
