//! From logits to text: how a token is chosen, and what text it makes certain.
//!
//! Nothing here knows of batches beyond the rows of one logits tensor, nor of caches or adapters:
//! whoever schedules sequences keeps one [`Writer`] for each.

mod sampling;
mod writer;

pub(crate) use sampling::{choose, Chosen, Row};
pub use sampling::{Sampling, TokenLogprobs};
pub use writer::FinishReason;
pub(crate) use writer::{Manner, Writer, Written};
