//! # The worker
//!
//! Takes training jobs off the chain, serves the adapters over HTTP for vouchers, and settles what
//! it earned in batches.
//!
//! - [`http`] is the API; it knows the engine only as a [`backend::Backend`].
//! - [`journal`] is the memory that survives a crash: nothing is acknowledged before it is there.
//! - [`settle`] brings the journal's answers to the chain, each exactly once.
//!
//! What each part needs of the chain is a small trait of its own ([`catalog::MarketChain`],
//! [`settle::SettleChain`], [`jobs::JobChain`]), so that it can be tested without a node.

pub mod backend;
pub mod catalog;
pub mod config;
pub mod engine;
pub mod error;
pub mod http;
pub mod jobs;
pub mod journal;
pub mod live;
pub mod metrics;
pub mod progress;
pub mod service;
pub mod settle;
mod training;

pub use error::{Result, WorkerError};
