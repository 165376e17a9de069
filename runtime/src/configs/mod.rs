//! One file per theme, each with the configuration of the pallets that belong to it.

pub mod consensus;
pub mod governance;
pub mod mmr;
pub mod money;
pub mod staking;
pub mod system;
pub mod utility;
