//! What models cost, and the channels that pay for their answers.

use frame_support::{parameter_types, traits::ConstU32};
use pallet_marketplace::{Models, Revenue, Workers};
use polkadot_sdk::*;
use tributary_primitives::ModelId;

use crate::{
    constants::{
        money::MILLI,
        time::{period, DAYS},
    },
    AccountId, Attribution, Balance, Balances, BlockNumber, Compute, Runtime, RuntimeHoldReason,
};

parameter_types! {
    pub const MinDeposit: Balance = MILLI;
    /// How long a worker has to redeem its last voucher.
    pub const CloseDelay: BlockNumber = period(DAYS, 10);
}

/// Models are registered in the pallet for attribution.
pub struct RegisteredModels;
impl Models for RegisteredModels {
    fn owner(model: ModelId) -> Option<AccountId> {
        Attribution::owner_of(model)
    }
}

/// What is redeemed waits in the pot of the pallet for attribution until its batch.
pub struct RevenueToSettle;
impl Revenue for RevenueToSettle {
    fn pot() -> AccountId {
        Attribution::pot()
    }

    fn redeemed(worker: &AccountId, amount: Balance) {
        Attribution::on_redeemed(worker, amount)
    }
}

/// Workers are registered in the pallet for compute.
pub struct RegisteredWorkers;
impl Workers for RegisteredWorkers {
    fn is_registered(worker: &AccountId) -> bool {
        Compute::is_registered(worker)
    }
}

impl pallet_marketplace::Config for Runtime {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Models = RegisteredModels;
    type Revenue = RevenueToSettle;
    type Workers = RegisteredWorkers;
    type MinDeposit = MinDeposit;
    type MaxChannels = ConstU32<64>;
    type CloseDelay = CloseDelay;
    type WeightInfo = ();
}
