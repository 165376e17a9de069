//! Placeholder figures, to be replaced by benchmarked ones. They err on the side of too much.

use polkadot_sdk::frame_support::weights::{constants::RocksDbWeight, Weight};

/// Weights of the calls, of their authorization and of the agenda.
pub trait WeightInfo {
    /// Creating a datanet.
    fn create_datanet() -> Weight;
    /// Contributing from the payout account.
    fn contribute() -> Weight;
    /// Contributing at the pot's expense, once authorized.
    fn contribute_signed() -> Weight;
    /// Checking that a signed contribution may enter.
    fn authorize_contribute_signed() -> Weight;
    /// Submitting somebody else's signed contribution.
    fn submit_for() -> Weight;
    /// A curator's vote, the deciding one.
    fn vote() -> Weight;
    /// Retiring a contribution.
    fn retire_contribution() -> Weight;
    /// Retiring a contribution at the pot's expense, once authorized.
    fn retire_signed() -> Weight;
    /// Checking that a signed retirement may enter.
    fn authorize_retire_signed() -> Weight;
    /// Cutting a version.
    fn cut_version() -> Weight;
    /// Changing the policy.
    fn set_policy() -> Weight;
    /// Changing the sponsorship.
    fn set_sponsorship() -> Weight;
    /// Paying into a pot.
    fn fund_pot() -> Weight;
    /// Taking out of a pot.
    fn withdraw_pot() -> Weight;
    /// Putting a waiting contribution under review.
    fn reschedule() -> Weight;
    /// Retiring a contribution for the one who signed for it.
    fn retire_for() -> Weight;
    /// Settling `n` contributions of the agenda.
    fn agenda(n: u32) -> Weight;
}

fn of(micros: u64, reads: u64, writes: u64) -> Weight {
    Weight::from_parts(
        micros.saturating_mul(1_000_000),
        reads.saturating_mul(3_000).saturating_add(2_000),
    )
    .saturating_add(RocksDbWeight::get().reads_writes(reads, writes))
}

// An sr25519 or ECDSA signature takes about 50 µs; the search for a free slot of the agenda reads
// up to `MaxSpill` rows more.
impl WeightInfo for () {
    fn create_datanet() -> Weight {
        of(80, 5, 6)
    }
    fn contribute() -> Weight {
        of(150, 24, 10)
    }
    fn contribute_signed() -> Weight {
        of(150, 28, 12)
    }
    fn authorize_contribute_signed() -> Weight {
        of(200, 25, 0)
    }
    fn submit_for() -> Weight {
        of(300, 24, 10)
    }
    fn vote() -> Weight {
        of(150, 6, 8)
    }
    fn retire_contribution() -> Weight {
        of(120, 5, 6)
    }
    fn retire_signed() -> Weight {
        of(150, 9, 9)
    }
    fn authorize_retire_signed() -> Weight {
        of(200, 6, 0)
    }
    fn cut_version() -> Weight {
        of(100, 3, 2)
    }
    fn set_policy() -> Weight {
        of(60, 1, 1)
    }
    fn set_sponsorship() -> Weight {
        of(50, 1, 1)
    }
    fn fund_pot() -> Weight {
        of(80, 3, 2)
    }
    fn withdraw_pot() -> Weight {
        of(80, 3, 2)
    }
    fn reschedule() -> Weight {
        of(80, 20, 2)
    }
    fn retire_for() -> Weight {
        of(300, 6, 6)
    }
    fn agenda(n: u32) -> Weight {
        of(10, 1, 1).saturating_add(of(100, 4, 5).saturating_mul(u64::from(n)))
    }
}
