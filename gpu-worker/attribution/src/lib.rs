//! Which training records shaped an answer: the influence index (by gradients, described here) and
//! the [span index](SpanIndex) (word for word).
//!
//! # Terms
//! - A **row** is the gradient of one record's loss with respect to an adapter's numbers,
//!   projected to `d` dimensions by a [`Sketch`] and scaled to unit length.
//! - A **query** is the gradient of an answer's loss, projected and scaled in the same way.
//! - A **contribution** is a set of rows; its 32-byte id is the caller's.
//!
//! # What is computed
//! With rows `A` (`n × d`) and a damping `λ`, the part of a query `q` that the rows explain is
//!
//! ```text
//! ρ = qᵀ Aᵀ (A Aᵀ + λI)⁻¹ A q / qᵀq
//! ```
//!
//! the (ridge) leverage score of the query with respect to the training gradients (Alaoui and
//! Mahoney, "Fast randomized kernel ridge regression with statistical guarantees", 2015). It lies
//! between 0 and 1, so `1 − ρ` is what no record explains: it is **unattributed**, by this
//! formula.
//!
//! ρ is divided among the records by a second solution with a damping `μ ≥ λ`: record `i` weighs
//!
//! ```text
//! aᵢ cᵢ      a = A q,  c = (A Aᵀ + μI)⁻¹ A q
//! ```
//!
//! which for `μ = λ` are the very summands of ρ. A contribution's share is the positive part of the
//! sum over its rows, scaled so that all shares add up to ρ; a record's **part of ρ** is scaled
//! alike. A small λ keeps anybody from raising ρ by saying a thing twice; a larger μ divides by what
//! a model trained without a record would have missed (docs/attribution.md measures both).
//!
//! The index holds `A`, `W = (A Aᵀ + μI)⁻¹ A`, and what ρ is read from: `P = (A Aᵀ + λI)⁻¹ A`, or
//! `P = Aᵀ (A Aᵀ + λI)⁻¹ A` where there are more records than dimensions.
//!
//! Beside these, record `i`'s **influence** is the cosine `aᵢ / ‖q‖`, and a contribution's the
//! largest of its rows. Influences divide nothing among rows, and nothing is settled by them.
//!
//! # Damping
//! λ and μ are the caller's, as long as the rows leave most of the space free. Where they fill it,
//! every direction would count as explained, so λ is raised in doublings until a random direction is
//! explained to a quarter at most, and μ with it; the index says which it has.
//!
//! # Properties
//! 1. *Exactness*: shares and the unattributed part add up to 1,000,000 ppm.
//! 2. *Reproducibility*: once rows and query are 8-bit integers, scoring uses integers alone; the
//!    same index and query give the same answer on every machine.
//! 3. *Order*: the order of rows or contributions does not bear on any share.
//! 4. *Safety*: a truncated, altered or malformed index is refused with an error that says why.

mod build;
mod disk;
mod dot;
mod error;
mod format;
mod layout;
mod look;
mod quantise;
mod score;
mod sketch;
mod solve;
mod spans;
mod storage;

pub use build::Builder;
pub use disk::DiskBuilder;
pub use error::IndexError;
pub use format::{ContributionId, Index};
pub use quantise::Query;
pub use score::{Attribution, Influence, RecordScore, WHOLE_PPM};
pub use sketch::Sketch;
pub use solve::Damping;
pub use spans::{Occurrence, Span, SpanBuilder, SpanIndex, SpanOptions};

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, IndexError>;
