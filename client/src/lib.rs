//! # Tributary client
//!
//! What the worker, the command line and the relayer share: a typed client of the chain, keys,
//! signing, shards of records, the object store, and the consumer's side of the worker's API.
//!
//! - [`chain`]: [`Chain`] connects to a node, reads through the runtime APIs, submits calls and
//!   waits for them. Nothing of the runtime is compiled in: calls are looked up by name in the
//!   metadata of the live chain.
//! - [`calls`]: every call as a struct whose fields are the call's arguments.
//! - [`keys`]: sr25519 keys, encrypted at rest.
//! - [`store`]: blobs named by their sha2-256 digest, checked at every read.
//! - [`shards`]: records in JSON lines, their salted trees, and offers of them to a datanet.
//! - [`vouchers`] and [`channels`]: promises to pay through a channel, and how far they have gone.
//! - [`worker_api`]: asking models and following jobs over HTTP.
//!
//! Every theme has one error type; all of them convert into [`Error`], whose [`ErrorKind`] says
//! what a caller can do about it.

pub mod calls;
pub mod chain;
pub mod channels;
mod error;
mod files;
pub mod home;
pub mod keys;
pub mod shards;
pub mod store;
pub mod vouchers;
pub mod worker_api;

pub use chain::{Chain, ChainError, Event, Included, Wait};
pub use error::{Error, ErrorKind};
pub use home::Home;
pub use keys::{Key, KeyError, KeyStore};
pub use shards::{Record, RecordKind, Shard, ShardError};
pub use store::{Store, StoreError};
pub use tributary_primitives as primitives;
