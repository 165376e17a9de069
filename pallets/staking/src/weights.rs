//! Weights of the calls.
//!
//! Placeholder figures, estimated from the storage that each call touches; they are to be replaced
//! by benchmarked ones.

use polkadot_sdk::frame_support::weights::{constants::RocksDbWeight, Weight};

/// Weights of the calls.
pub trait WeightInfo {
    /// Weight of `bond`.
    fn bond() -> Weight;
    /// Weight of `unbond`.
    fn unbond() -> Weight;
    /// Weight of `withdraw_unbonded`.
    fn withdraw_unbonded() -> Weight;
    /// Weight of `claim_rewards`.
    fn claim_rewards() -> Weight;
    /// Weight of `slash` with this many stakers.
    fn slash(stakers: u32) -> Weight;
}

impl WeightInfo for () {
    fn bond() -> Weight {
        Weight::from_parts(60_000_000, 8_000)
            .saturating_add(RocksDbWeight::get().reads_writes(6, 4))
    }

    fn unbond() -> Weight {
        Weight::from_parts(40_000_000, 6_000)
            .saturating_add(RocksDbWeight::get().reads_writes(2, 2))
    }

    fn withdraw_unbonded() -> Weight {
        Weight::from_parts(90_000_000, 10_000)
            .saturating_add(RocksDbWeight::get().reads_writes(5, 5))
    }

    fn claim_rewards() -> Weight {
        Weight::from_parts(70_000_000, 8_000)
            .saturating_add(RocksDbWeight::get().reads_writes(4, 4))
    }

    fn slash(stakers: u32) -> Weight {
        let stakers = u64::from(stakers);
        Weight::from_parts(80_000_000, 10_000)
            .saturating_add(Weight::from_parts(60_000_000, 6_000).saturating_mul(stakers))
            .saturating_add(RocksDbWeight::get().reads_writes(3, 3))
            .saturating_add(RocksDbWeight::get().reads_writes(4, 4).saturating_mul(stakers))
    }
}
