//! Weights of the calls.
//!
//! These are **placeholder figures**, written by hand from the reads, writes and hashes of each call
//! on the generous side. They are to be replaced by benchmarked ones before the chain carries value.

use polkadot_sdk::frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weight of each call.
pub trait WeightInfo {
    /// What every block does at its end.
    fn on_finalize() -> Weight;
    /// `configure`.
    fn configure() -> Weight;
    /// `advance` with so many nodes of proofs, new hashes, and deposits of so many bytes together;
    /// without what handlers do.
    fn advance(nodes: u32, hashes: u32, bodies: u32, bytes: u32) -> Weight;
    /// `withdraw`.
    fn withdraw() -> Weight;
    /// `send_message`.
    fn send_message() -> Weight;
    /// `refund_deposit`.
    fn refund_deposit() -> Weight;
    /// `pause`.
    fn pause() -> Weight;
    /// `unpause`.
    fn unpause() -> Weight;
    /// `allow_dispatcher`.
    fn allow_dispatcher() -> Weight;
    /// `disallow_dispatcher`.
    fn disallow_dispatcher() -> Weight;
}

/// One keccak-256 of a node or a few words.
const HASH: u64 = 2_000_000;
/// Reading one node of Ethereum's tries, twice.
const NODE: u64 = 20_000_000;

fn placeholder(reads: u64, writes: u64) -> Weight {
    Weight::from_parts(50_000_000, 8_192)
        .saturating_add(ParityDbWeight::get().reads_writes(reads, writes))
}

/// Adding a leaf: at most 33 nodes, 64 hashes for the root, 64 for the path.
fn append() -> Weight {
    placeholder(2, 36).saturating_add(Weight::from_parts(HASH.saturating_mul(130), 2_048))
}

impl WeightInfo for () {
    fn on_finalize() -> Weight {
        placeholder(4, 2).saturating_add(Weight::from_parts(HASH, 512))
    }

    fn configure() -> Weight {
        placeholder(4, 2)
    }

    fn advance(nodes: u32, hashes: u32, bodies: u32, bytes: u32) -> Weight {
        let nodes = Weight::from_parts(NODE, 0).saturating_mul(nodes.into());
        let hashes = Weight::from_parts(HASH, 0)
            .saturating_add(ParityDbWeight::get().writes(1))
            .saturating_mul(hashes.into());
        let bodies = placeholder(8, 8).saturating_mul(bodies.into());
        let bytes = Weight::from_parts(100_000, 0).saturating_mul(bytes.into());
        placeholder(8, 6)
            .saturating_add(nodes)
            .saturating_add(hashes)
            .saturating_add(bodies)
            .saturating_add(bytes)
    }

    fn withdraw() -> Weight {
        placeholder(6, 4).saturating_add(append())
    }

    fn send_message() -> Weight {
        placeholder(3, 1)
            .saturating_add(Weight::from_parts(HASH.saturating_mul(20), 4_096))
            .saturating_add(append())
    }

    fn refund_deposit() -> Weight {
        placeholder(4, 1).saturating_add(append())
    }

    fn pause() -> Weight {
        placeholder(1, 1)
    }

    fn unpause() -> Weight {
        placeholder(1, 1)
    }

    fn allow_dispatcher() -> Weight {
        placeholder(1, 1)
    }

    fn disallow_dispatcher() -> Weight {
        placeholder(1, 1)
    }
}
