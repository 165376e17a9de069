//! How a fee is split.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use tributary_primitives::{
    money::{split, PPM},
    Balance,
};

/// How every fee is split, in parts per million that add up to 1,000,000.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct FeeSplit {
    /// Ceases to exist.
    pub burn: u32,
    /// Goes to the treasury.
    pub treasury: u32,
    /// Goes to the block's author.
    pub author: u32,
}

impl Default for FeeSplit {
    fn default() -> Self {
        Self { burn: 500_000, treasury: 200_000, author: 300_000 }
    }
}

/// The parts of one fee, in units; they add up to the fee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeeParts {
    /// Ceases to exist.
    pub burn: Balance,
    /// Goes to the treasury.
    pub treasury: Balance,
    /// Goes to the block's author.
    pub author: Balance,
}

impl FeeSplit {
    /// Whether the parts add up to 1,000,000.
    pub fn is_whole(&self) -> bool {
        [self.burn, self.treasury, self.author].into_iter().map(u64::from).sum::<u64>()
            == u64::from(PPM)
    }

    /// The parts of a fee by largest remainder; equal remainders go first to burning, then to the
    /// treasury.
    pub fn parts(&self, fee: Balance) -> FeeParts {
        let weights = [self.burn, self.treasury, self.author].map(u64::from);
        match split(fee, &weights).as_deref() {
            Some([burn, treasury, author]) => {
                FeeParts { burn: *burn, treasury: *treasury, author: *author }
            }
            // A split of nothing but zeros cannot be set; were it there, fees would be burnt.
            _ => FeeParts { burn: fee, ..Default::default() },
        }
    }
}
