//! The span index: which passages of an answer stand word for word in the training records.
//!
//! # Terms
//! - The **text** is every record's tokens in order, each record closed by a separator that is no
//!   token. A span therefore never reaches from one record into the next.
//! - The **suffix array** lists all places of the text in the order of what follows them (Manber
//!   and Myers, "Suffix arrays: a new method for on-line string searches", 1993), so that all
//!   occurrences of a span stand side by side. Tokens are compared as numbers, the separator is
//!   the largest of them, and the end of the text comes before everything.
//! - A **maximal span** of an answer occurs in the text and can be made longer neither to the left
//!   nor to the right without losing its last occurrence.
//!
//! # Rank
//! A token that makes up the fraction `p` of all tokens carries `−log₂ p` bits. A span's **rarity**
//! is the mean of its tokens' bits, and spans are ranked by **length × rarity**: the sum of the
//! bits. It is the span's unigram probability on a logarithmic scale, by which OLMoTrace orders
//! spans too (Liu et al., "OLMoTrace: Tracing Language Model Outputs Back to Trillions of Training
//! Tokens", 2025), here with frequencies of the adapter's own training text. Bits are counted in
//! 1/65,536 by integer arithmetic.
//!
//! # Properties
//! 1. *Exactness*: every maximal span of the minimum length is found, and nothing else.
//! 2. *Reproducibility*: building, searching and ranking use integers alone and one thread; the
//!    same records give the same file, the same answer gives the same spans, everywhere.
//! 3. *Bounds*: a query costs `O(m · (longest + log t))` for `m` tokens of an answer and `t` of
//!    text; spans and occurrences are as many as asked for.
//! 4. *Safety*: a truncated, altered, unsorted or malformed file is refused with an error that
//!    says why.

mod bits;
mod build;
mod format;
mod query;

pub use build::SpanBuilder;
pub use format::SpanIndex;
pub use query::{Occurrence, Span, SpanOptions};

/// Closes every record in the text. No token has this number.
pub(crate) const SEPARATOR: u32 = u32::MAX;
/// Tokens and separators of one index, at most: places are 32-bit numbers with a sign.
pub(crate) const MAX_TEXT: u64 = (1 << 31) - 2;
/// Tokens of an answer, at most.
pub(crate) const MAX_ANSWER: u64 = 1 << 16;
