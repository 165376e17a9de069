//! What this pallet needs of the others.

use alloc::vec::Vec;
use polkadot_sdk::sp_runtime::{DispatchError, DispatchResult};
use tributary_primitives::{AccountId, Balance, Digest, JobId, ModelId, VersionRef, H256};

/// An adapter that a finished job made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Owner of the job, and so of the model.
    pub owner: AccountId,
    /// Name that the job reserved.
    pub name: Vec<u8>,
    /// Model that it was trained from.
    pub parent: ModelId,
    /// Manifest of its files.
    pub content: Digest,
    /// Datanet versions that it was trained on.
    pub versions: Vec<VersionRef>,
    /// Its attribution index.
    pub index: Digest,
    /// Root that the index commits to.
    pub index_root: H256,
    /// Job that made it.
    pub job: JobId,
}

/// The registry of models.
pub trait Lineage {
    /// Whether the model is a base model that can be trained from.
    fn is_base(model: ModelId) -> bool;

    /// Whether no registered model has this name.
    fn name_free(name: &[u8]) -> bool;

    /// Registers an adapter and gives its id.
    fn register_adapter(adapter: Adapter) -> Result<ModelId, DispatchError>;
}

/// The versions of datanets.
pub trait Versions {
    /// Records and bytes of a version; `None` where there is no such version.
    fn info(version: VersionRef) -> Option<(u64, u64)>;
}

/// The stake behind workers.
pub trait WorkerStakes {
    /// Takes `amount` from the worker's free balance and bonds it behind the worker.
    fn bond(worker: &AccountId, amount: Balance) -> DispatchResult;

    /// Stake behind the worker that counts, in units.
    fn active(worker: &AccountId) -> Balance;

    /// Takes `ppm` parts per million of the stake behind the worker; a share of it goes to the
    /// reporter. Gives what was taken, in units.
    fn slash(worker: &AccountId, ppm: u32, reporter: Option<AccountId>) -> Balance;
}
