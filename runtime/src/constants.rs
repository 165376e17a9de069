//! Units of money and time, and how long the chain's periods are.

/// Money. OPEN has 18 decimals.
pub mod money {
    use crate::Balance;

    /// One OPEN, in its smallest units.
    pub const OPEN: Balance = 1_000_000_000_000_000_000;
    /// A thousandth of an OPEN.
    pub const MILLI: Balance = OPEN / 1_000;
    /// A millionth of an OPEN.
    pub const MICRO: Balance = MILLI / 1_000;

    /// No more than this many units ever exist, over both chains.
    pub const CAP: Balance = 1_000_000_000 * OPEN;

    /// An account below this balance is removed: a millionth of an OPEN, since contributors are
    /// paid in small amounts and must be able to hold them.
    pub const EXISTENTIAL_DEPOSIT: Balance = MICRO;

    /// What `items` storage items with `bytes` bytes together keep locked while they exist.
    pub const fn deposit(items: u32, bytes: u32) -> Balance {
        items as Balance * 100 * MILLI + bytes as Balance * MILLI / 10
    }
}

/// Time, in blocks unless the name says otherwise.
pub mod time {
    use crate::BlockNumber;

    /// A block is made every three seconds.
    pub const MILLISECS_PER_BLOCK: u64 = 3_000;
    /// A slot is as long as a block takes. It can never change once the chain has started.
    pub const SLOT_DURATION: u64 = MILLISECS_PER_BLOCK;

    pub const MINUTES: BlockNumber = 60_000 / (MILLISECS_PER_BLOCK as BlockNumber);
    pub const HOURS: BlockNumber = MINUTES * 60;
    pub const DAYS: BlockNumber = HOURS * 24;

    /// Picks a period: `fast` in runtimes for tests and development, `normal` in all others.
    pub const fn period(normal: BlockNumber, fast: BlockNumber) -> BlockNumber {
        if cfg!(feature = "fast-runtime") {
            fast
        } else {
            normal
        }
    }

    /// One BABE epoch, which is one session.
    pub const EPOCH_DURATION_IN_SLOTS: BlockNumber = period(HOURS, MINUTES);

    /// One slot in four has a primary author; secondary slots fill the rest.
    pub const PRIMARY_PROBABILITY: (u64, u64) = (1, 4);
}
