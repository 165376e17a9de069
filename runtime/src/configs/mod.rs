//! One file per theme, each with the configuration of the pallets that belong to it.

pub mod attribution;
pub mod compute;
pub mod consensus;
pub mod datanets;
pub mod governance;
pub mod marketplace;
pub mod mmr;
pub mod money;
pub mod settlement;
pub mod stakes;
pub mod staking;
pub mod system;
pub mod token;
pub mod utility;
