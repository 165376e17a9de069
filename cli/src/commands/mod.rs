//! One file for each theme.

pub mod account;
pub mod bridge;
mod bridge_status;
pub mod channel;
pub mod chat;
pub mod contribution;
pub mod datanet;
pub mod earnings;
pub mod job;
pub mod key;
pub mod model;
pub mod train;
pub mod tx;
pub mod verify;
pub mod worker;
