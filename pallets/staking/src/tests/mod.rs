//! Tests by theme.

mod bonding;
mod rewards;
mod sequences;
mod slashing;
