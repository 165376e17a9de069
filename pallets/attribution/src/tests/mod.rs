//! Tests by theme.

mod batches;
mod claims;
mod models;
mod random;
mod shares;
mod sponsored;
mod views;

use crate::{mock::*, *};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::DispatchError,
};
use tributary_primitives::{Balance, BatchId, ContributionId, JobId, ModelId, H256};
