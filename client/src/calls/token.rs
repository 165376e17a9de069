//! Calls of the pallet Token.

use super::calls;
use codec::{Decode, Encode};
use tributary_primitives::Balance;

/// How fees are split, in parts per million that add up to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FeeSplit {
    /// Burnt.
    pub burn: u32,
    /// To the treasury.
    pub treasury: u32,
    /// To the author of the block.
    pub author: u32,
}

calls! { "Token":
    /// Sets how fees are split; by governance.
    "set_fee_split" SetFeeSplit {
        /// The new split.
        split: FeeSplit,
    }
    /// Burns some of the signer's own OPEN.
    "burn" Burn {
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
}
