//! The runtime of Tributary: which pallets the chain has, and where each is configured.
//!
//! This file is the table of contents. `configs/` has one file per theme, `apis.rs` what the node
//! and dApps can ask, `genesis_config_presets.rs` how the named networks start.

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "512"]

extern crate alloc;

pub mod apis;
pub mod configs;
pub mod constants;
pub mod genesis_config_presets;
mod types;

#[cfg(test)]
mod tests;

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

use alloc::{borrow::Cow, vec::Vec};
use polkadot_sdk::*;

pub use apis::{RuntimeApi, RUNTIME_API_VERSIONS};
pub use configs::consensus::SessionKeys;
pub use tributary_primitives::bridge::LeafExtra;
pub use types::*;

/// The version of the runtime and of what wallets and nodes must agree on with it.
#[sp_version::runtime_version]
pub const VERSION: sp_version::RuntimeVersion = sp_version::RuntimeVersion {
    spec_name: Cow::Borrowed("tributary"),
    impl_name: Cow::Borrowed("tributary-node"),
    authoring_version: 1,
    spec_version: 1,
    impl_version: 1,
    apis: RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// The configuration of BABE at genesis.
pub const BABE_GENESIS_EPOCH_CONFIG: sp_consensus_babe::BabeEpochConfiguration =
    sp_consensus_babe::BabeEpochConfiguration {
        c: constants::time::PRIMARY_PROBABILITY,
        allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
    };

/// The pallets. Hooks run in the order of this list, and that matters in two places: BABE must set
/// the author before the others ask for it, and a session's change must reach BEEFY before the MMR
/// appends the leaf that names the next authorities (Session, Beefy, Mmr, BeefyMmrLeaf).
#[frame_support::runtime]
mod runtime {
    use super::*;

    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    // The ground.
    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Babe = pallet_babe;
    #[runtime::pallet_index(2)]
    pub type Timestamp = pallet_timestamp;

    // Money.
    #[runtime::pallet_index(3)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(4)]
    pub type TransactionPayment = pallet_transaction_payment;
    #[runtime::pallet_index(5)]
    pub type Vesting = pallet_vesting;

    // Validators and finality.
    #[runtime::pallet_index(6)]
    pub type Authorship = pallet_authorship;
    #[runtime::pallet_index(7)]
    pub type Staking = pallet_staking;
    #[runtime::pallet_index(8)]
    pub type VoterList = pallet_bags_list<Instance1>;
    #[runtime::pallet_index(9)]
    pub type Offences = pallet_offences;
    #[runtime::pallet_index(10)]
    pub type Historical = pallet_session::historical;
    #[runtime::pallet_index(11)]
    pub type Session = pallet_session;
    #[runtime::pallet_index(12)]
    pub type Grandpa = pallet_grandpa;
    #[runtime::pallet_index(13)]
    pub type Beefy = pallet_beefy;
    #[runtime::pallet_index(14)]
    pub type Mmr = pallet_mmr;
    #[runtime::pallet_index(15)]
    pub type BeefyMmrLeaf = pallet_beefy_mmr;
    #[runtime::pallet_index(16)]
    pub type AuthorityDiscovery = pallet_authority_discovery;

    // Governance.
    #[runtime::pallet_index(20)]
    pub type Preimage = pallet_preimage;
    #[runtime::pallet_index(21)]
    pub type Scheduler = pallet_scheduler;
    #[runtime::pallet_index(22)]
    pub type ConvictionVoting = pallet_conviction_voting;
    #[runtime::pallet_index(23)]
    pub type Referenda = pallet_referenda;
    #[runtime::pallet_index(24)]
    pub type Origins = configs::governance::origins;
    #[runtime::pallet_index(25)]
    pub type Treasury = pallet_treasury;
    // Without a key it does nothing; only the preset for development sets one.
    #[runtime::pallet_index(29)]
    pub type Sudo = pallet_sudo;

    // Conveniences.
    #[runtime::pallet_index(30)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(31)]
    pub type Multisig = pallet_multisig;
    #[runtime::pallet_index(32)]
    pub type Proxy = pallet_proxy;

    // What this chain is for.
    #[runtime::pallet_index(50)]
    pub type Token = pallet_token;
    #[runtime::pallet_index(51)]
    pub type Datanets = pallet_datanets;
    #[runtime::pallet_index(52)]
    pub type Stakes = pallet_stakes;
    #[runtime::pallet_index(53)]
    pub type Compute = pallet_compute;
    #[runtime::pallet_index(54)]
    pub type Attribution = pallet_attribution;
    #[runtime::pallet_index(55)]
    pub type Marketplace = pallet_marketplace;
    #[runtime::pallet_index(56)]
    pub type Settlement = pallet_settlement;
}
