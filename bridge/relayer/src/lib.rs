//! # Tributary relayer
//!
//! Carries finality and withdrawals to Ethereum. It has no power over either: everything that it
//! submits is proven by what the chain's validators signed, and anybody can run one. Several at once
//! are harmless: before each payment it looks whether somebody else was first.
//!
//! | duty       | what it does                                                               |
//! |------------|----------------------------------------------------------------------------|
//! | `anchor`   | the validators' signatures: one block of each session, more by policy       |
//! | `propose`  | makes a game about the newest anchored block, and proves its claim          |
//! | `resolve`  | decides games when their time has come, and takes back bonds                |
//! | `withdraw` | proves withdrawals, and carries them out when they are mature               |
//! | `watch`    | compares what others signed and proposed with its own node; raises the alarm |
//!
//! [`l1`] is Ethereum and [`l2`] the chain; [`journal`] keeps every transaction before it is sent;
//! [`duties`] are the table above; [`service`] runs them; [`deploy`] puts the contracts there.

pub mod addresses;
pub mod config;
pub mod deploy;
pub mod duties;
pub mod error;
pub mod http;
pub mod journal;
pub mod l1;
pub mod l2;
pub mod metrics;
pub mod service;

pub use addresses::Addresses;
pub use error::{RelayerError, Result};
