//! Weights of the calls.
//!
//! These are **placeholder figures**, written by hand from the reads and writes of each call on the
//! generous side. They are to be replaced by benchmarked ones before the chain carries value.

use polkadot_sdk::frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weight of each call.
pub trait WeightInfo {
    /// `register_worker`, with bonding.
    fn register_worker() -> Weight;
    /// `update_worker`.
    fn update_worker() -> Weight;
    /// `deregister_worker`.
    fn deregister_worker() -> Weight;
    /// `submit_job` on `v` versions.
    fn submit_job(v: u32) -> Weight;
    /// `claim_job`.
    fn claim_job() -> Weight;
    /// `submit_result`.
    fn submit_result() -> Weight;
    /// `cancel_job`, with a slash.
    fn cancel_job() -> Weight;
    /// `expire_lease`, with a slash.
    fn expire_lease() -> Weight;
    /// `finalize_job`, with registering the model.
    fn finalize_job() -> Weight;
    /// `expire_job`.
    fn expire_job() -> Weight;
    /// `report_progress`.
    fn report_progress() -> Weight;
}

fn placeholder(reads: u64, writes: u64) -> Weight {
    Weight::from_parts(50_000_000, 8_192)
        .saturating_add(ParityDbWeight::get().reads_writes(reads, writes))
}

impl WeightInfo for () {
    fn register_worker() -> Weight {
        placeholder(6, 6)
    }
    fn update_worker() -> Weight {
        placeholder(1, 1)
    }
    fn deregister_worker() -> Weight {
        placeholder(1, 1)
    }
    fn submit_job(v: u32) -> Weight {
        placeholder(8u64.saturating_add(u64::from(v)), 7)
    }
    fn claim_job() -> Weight {
        placeholder(3, 3)
    }
    fn submit_result() -> Weight {
        placeholder(2, 2)
    }
    // A slash may touch each of the accounts that stake behind the worker.
    fn cancel_job() -> Weight {
        placeholder(140, 140)
    }
    fn expire_lease() -> Weight {
        placeholder(140, 140)
    }
    fn finalize_job() -> Weight {
        placeholder(10, 12)
    }
    fn expire_job() -> Weight {
        placeholder(4, 6)
    }
    fn report_progress() -> Weight {
        placeholder(2, 1)
    }
}
