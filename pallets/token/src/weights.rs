//! Placeholder figures, to be replaced by benchmarked ones. They err on the side of too much.

use polkadot_sdk::frame_support::weights::{constants::RocksDbWeight, Weight};

/// Weights of the calls.
pub trait WeightInfo {
    /// Changing the fee split.
    fn set_fee_split() -> Weight;
    /// Burning one's own.
    fn burn() -> Weight;
}

impl WeightInfo for () {
    fn set_fee_split() -> Weight {
        Weight::from_parts(50_000_000, 2_000)
            .saturating_add(RocksDbWeight::get().reads_writes(1, 1))
    }

    fn burn() -> Weight {
        Weight::from_parts(60_000_000, 5_000)
            .saturating_add(RocksDbWeight::get().reads_writes(3, 3))
    }
}
