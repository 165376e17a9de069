//! What can be wrong with an index, its parts, or a query.

/// The crate's one error type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The bytes do not begin as an index does.
    #[error("this is not {0}: it begins with other bytes")]
    Magic(&'static str),
    /// A layout that this version does not know.
    #[error("the index has layout {found}, this program reads layout {known}; build it again, or use the program that fits")]
    Version {
        /// What stands in the file.
        found: u16,
        /// What this version reads.
        known: u16,
    },
    /// The file ends too early.
    #[error("the index is truncated: {found} bytes of {expected}; fetch it again")]
    Truncated {
        /// Length that the header asks for.
        expected: u64,
        /// Length found.
        found: u64,
    },
    /// The file goes on after its end.
    #[error("the index has {0} bytes too many; fetch it again")]
    TooLong(u64),
    /// The bytes are not those that the index's digest was made of.
    #[error("the index was altered: its digest is not that of its bytes; fetch it again")]
    Digest,
    /// The suffix array is not in order.
    #[error("the index is corrupt: place {0} of its suffix array is out of order; build it again")]
    Unsorted(u64),
    /// A record holds the number that closes records.
    #[error("record {0} holds the number 4294967295, which is no token")]
    Separator(u32),
    /// The text could not be sorted.
    #[error("the text could not be sorted: {0}")]
    Sort(String),
    /// A field holds a value that no index has.
    #[error("the index is corrupt: {0}")]
    Corrupt(&'static str),
    /// Too many rows, dimensions or contributions, or none.
    #[error("{what} is {found}, which is not within 1..={max}")]
    Size {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A gradient has not the length that the sketch or index was made for.
    #[error("the gradient has {found} numbers, the index was made for {expected}; it belongs to another adapter")]
    Length {
        /// What was expected.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A gradient that is zero or not finite has no direction.
    #[error("the gradient of record {0} is zero or not finite")]
    NoDirection(u64),
    /// The query's gradient is zero or not finite.
    #[error("the answer's gradient is zero or not finite")]
    NoQuery,
    /// λ or μ outside the range that quantisation holds.
    #[error("{name} is {found} millionths, which is not within 100..=1000000000")]
    Damping {
        /// Which of the two.
        name: char,
        /// Its value.
        found: u32,
    },
    /// A row names a contribution that is not in the list.
    #[error("row {row} names contribution {contribution}, which is not in the list")]
    UnknownContribution {
        /// The row.
        row: u32,
        /// What it names.
        contribution: u32,
    },
    /// The same contribution twice.
    #[error("contribution {0} is listed twice")]
    DuplicateContribution(u32),
    /// The damped matrix could not be decomposed.
    #[error("the rows' products with each other are not positive definite; raise λ")]
    NotPositiveDefinite,
    /// A file could not be read or written.
    #[error("{path}: {reason}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
}
