//! Workers and training jobs.

use frame_support::{parameter_types, traits::ConstU32};
use pallet_compute::{Adapter, Lineage, Versions, WorkerStakes};
use polkadot_sdk::*;
use sp_runtime::{DispatchError, DispatchResult};
use tributary_primitives::{ModelId, Subject, VersionRef};

use crate::{
    constants::{
        money::{MILLI, OPEN},
        time::{period, DAYS, HOURS, MINUTES},
    },
    AccountId, Attribution, Balance, Balances, BlockNumber, Datanets, Runtime, RuntimeHoldReason,
    Stakes,
};

parameter_types! {
    /// Enough to lose that a lapsed lease hurts.
    pub const MinWorkerStake: Balance = 100 * OPEN;
    /// A job reserves a name, and holds at least this in escrow for it.
    pub const MinFee: Balance = MILLI;
    pub const LeaseBlocks: BlockNumber = period(6 * HOURS, 200);
    /// How long a result may be challenged.
    pub const JobChallengeWindow: BlockNumber = period(6 * HOURS, 4);
    pub const MaxDeadline: BlockNumber = 30 * DAYS;
    /// The worker's own API tells each step; the chain is told now and then.
    pub const ProgressInterval: BlockNumber = period(5 * MINUTES, 4);
    /// A lapsed lease costs five per cent of the worker's stake.
    pub const LapseSlash: u32 = 50_000;
}

/// Models are registered in the pallet for attribution.
pub struct ModelRegistry;
impl Lineage for ModelRegistry {
    fn is_base(model: ModelId) -> bool {
        Attribution::is_base(model)
    }

    fn name_free(name: &[u8]) -> bool {
        Attribution::name_free(name)
    }

    fn register_adapter(adapter: Adapter) -> Result<ModelId, DispatchError> {
        let Adapter { owner, name, parent, content, versions, index, index_root, job } = adapter;
        Attribution::register_adapter(pallet_attribution::NewAdapter {
            owner,
            name,
            parent,
            content,
            versions,
            index,
            index_root,
            job,
        })
    }
}

/// Versions are cut in the pallet for datanets.
pub struct CutVersions;
impl Versions for CutVersions {
    fn info(version: VersionRef) -> Option<(u64, u64)> {
        Datanets::version_info(version)
    }
}

/// Workers stake in the pallet for stakes.
pub struct StakesOfWorkers;
impl WorkerStakes for StakesOfWorkers {
    fn bond(worker: &AccountId, amount: Balance) -> DispatchResult {
        Stakes::do_bond(worker, &Subject::Worker(worker.clone()), amount)
    }

    /// Only what the worker staked itself: others' stake behind it is not its own to lose.
    fn active(worker: &AccountId) -> Balance {
        Stakes::position_active(&Subject::Worker(worker.clone()), worker)
    }

    fn slash(worker: &AccountId, ppm: u32, reporter: Option<AccountId>) -> Balance {
        Stakes::do_slash(&Subject::Worker(worker.clone()), ppm, reporter)
    }
}

impl pallet_compute::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Lineage = ModelRegistry;
    type Versions = CutVersions;
    type Stakes = StakesOfWorkers;
    type WeightInfo = ();
    type MinWorkerStake = MinWorkerStake;
    type MinFee = MinFee;
    type LeaseBlocks = LeaseBlocks;
    type ChallengeWindow = JobChallengeWindow;
    type MaxDeadline = MaxDeadline;
    type ProgressInterval = ProgressInterval;
    type MaxActiveJobs = ConstU32<8>;
    type LapseSlash = LapseSlash;
}
