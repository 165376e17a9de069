//! Weights of the calls.
//!
//! These are **placeholder figures**, written by hand from the reads and writes of each call on the
//! generous side. They are to be replaced by benchmarked ones before the chain carries value.

use polkadot_sdk::frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weight of each call.
pub trait WeightInfo {
    /// `register_base`.
    fn register_base() -> Weight;
    /// `transfer_model`.
    fn transfer_model() -> Weight;
    /// `submit_batch` of `m` models.
    fn submit_batch(m: u32) -> Weight;
    /// `finalize_batch` of `m` models.
    fn finalize_batch(m: u32) -> Weight;
    /// `claim`.
    fn claim() -> Weight;
    /// `claim_sponsored`, without its authorization.
    fn claim_sponsored() -> Weight;
    /// Authorization of `claim_sponsored`.
    fn authorize_claim() -> Weight;
    /// `set_shares`.
    fn set_shares() -> Weight;
}

fn placeholder(reads: u64, writes: u64) -> Weight {
    Weight::from_parts(50_000_000, 8_192)
        .saturating_add(ParityDbWeight::get().reads_writes(reads, writes))
}

impl WeightInfo for () {
    fn register_base() -> Weight {
        placeholder(6, 6)
    }
    fn transfer_model() -> Weight {
        placeholder(1, 1)
    }
    fn submit_batch(m: u32) -> Weight {
        placeholder(6u64.saturating_add(u64::from(m)), 6)
            .saturating_add(Weight::from_parts(5_000_000, 2_048).saturating_mul(u64::from(m)))
    }
    // Each model has an owner, up to eight ancestors and its stakers to pay.
    fn finalize_batch(m: u32) -> Weight {
        placeholder(12, 12).saturating_add(placeholder(24, 14).saturating_mul(u64::from(m)))
    }
    fn claim() -> Weight {
        placeholder(6, 5).saturating_add(Weight::from_parts(40_000_000, 0))
    }
    fn claim_sponsored() -> Weight {
        placeholder(10, 9).saturating_add(Weight::from_parts(40_000_000, 0))
    }
    fn authorize_claim() -> Weight {
        placeholder(10, 0).saturating_add(Weight::from_parts(40_000_000, 0))
    }
    fn set_shares() -> Weight {
        placeholder(1, 1)
    }
}
