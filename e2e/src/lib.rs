//! # Whole-system tests and the demo
//!
//! Everything here drives the finished programs as people would: a real node, a real worker, the
//! command-line tool, the worker's HTTP API. The demo and the tests tell the same [`story`] at
//! different lengths.

pub mod cli;
pub mod l1;
pub mod ledger;
pub mod measure;
pub mod process;
pub mod report;
pub mod stack;
pub mod story;
pub mod teller;
