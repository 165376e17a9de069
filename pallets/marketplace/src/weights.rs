//! Weights of the calls.
//!
//! Placeholder figures, estimated from the storage that each call touches and, for `redeem`, the
//! verification of a signature; they are to be replaced by benchmarked ones.

use polkadot_sdk::frame_support::weights::{constants::RocksDbWeight, Weight};

/// Weights of the calls.
pub trait WeightInfo {
    /// Weight of `list_model`.
    fn list_model() -> Weight;
    /// Weight of `delist_model`.
    fn delist_model() -> Weight;
    /// Weight of `open_channel`.
    fn open_channel() -> Weight;
    /// Weight of `top_up`.
    fn top_up() -> Weight;
    /// Weight of `redeem`.
    fn redeem() -> Weight;
    /// Weight of `close_channel`, settlement by the worker included.
    fn close_channel() -> Weight;
    /// Weight of `settle_channel`.
    fn settle_channel() -> Weight;
}

impl WeightInfo for () {
    fn list_model() -> Weight {
        Weight::from_parts(20_000_000, 4_000)
            .saturating_add(RocksDbWeight::get().reads_writes(1, 1))
    }

    fn delist_model() -> Weight {
        Weight::from_parts(20_000_000, 4_000)
            .saturating_add(RocksDbWeight::get().reads_writes(2, 1))
    }

    fn open_channel() -> Weight {
        Weight::from_parts(70_000_000, 8_000)
            .saturating_add(RocksDbWeight::get().reads_writes(6, 6))
    }

    fn top_up() -> Weight {
        Weight::from_parts(50_000_000, 6_000)
            .saturating_add(RocksDbWeight::get().reads_writes(4, 4))
    }

    fn redeem() -> Weight {
        Weight::from_parts(140_000_000, 10_000)
            .saturating_add(RocksDbWeight::get().reads_writes(6, 6))
    }

    fn close_channel() -> Weight {
        Self::settle_channel()
    }

    fn settle_channel() -> Weight {
        Weight::from_parts(60_000_000, 8_000)
            .saturating_add(RocksDbWeight::get().reads_writes(5, 5))
    }
}
