//! From logits to text: how a token is chosen, and what text it makes certain.
//!
//! Nothing here knows of batches beyond the rows of one logits tensor, nor of caches or adapters:
//! whoever schedules sequences keeps one [`Writer`] for each. [`sampling`] moves logits and asks
//! [`draw`] for a token; [`grammar`] says which tokens may come at all.

mod draw;
mod grammar;
mod sampling;
mod writer;

pub(crate) use grammar::{shown_bytes, Grammars};
pub use grammar::{Format, Grammar};
pub(crate) use sampling::{choose, Chosen, Row};
pub use sampling::{Guidance, Sampling, TokenLogprobs, SAMPLER_VERSION};
pub use writer::FinishReason;
pub(crate) use writer::{Manner, Writer, Written};
