//! Tests by theme.

mod jobs;
mod leases;
mod random;
mod state;
mod submitting;
mod views;
mod workers;

use crate::{mock::*, *};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{DispatchError, TokenError},
};
use tributary_primitives::{jobs::Progress, views::JobState, AccountId, Balance, JobId, ModelId};
