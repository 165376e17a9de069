//! How the named networks start.
//!
//! - `development`: one validator, Alice, and a sudo key, hers too;
//! - `local_testnet`: two validators, Alice and Bob;
//! - `staging`: four validators, a treasury and vesting, to rehearse a launch.
//!
//! All keys come from seeds that anybody can know. A network that is to last replaces them: see
//! `chain-specs/README.md`.

use alloc::{format, string::ToString, vec, vec::Vec};
use frame_support::build_struct_json_patch;
use polkadot_sdk::*;
use sp_authority_discovery::AuthorityId as AuthorityDiscoveryId;
use sp_consensus_babe::AuthorityId as BabeId;
use sp_consensus_beefy::ecdsa_crypto::AuthorityId as BeefyId;
use sp_consensus_grandpa::AuthorityId as GrandpaId;
use sp_core::{crypto::get_public_from_string_or_panic, sr25519};
use sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use sp_keyring::Sr25519Keyring;
use sp_staking::StakerStatus;
use tributary_primitives::bridge::{L2_NOTES, L2_TELLER};

use crate::{
    configs::{governance::TreasuryAccount, staking::MaxValidators},
    constants::{
        money::{EXISTENTIAL_DEPOSIT, OPEN},
        time::DAYS,
    },
    AccountId, Attribution, Balance, BalancesConfig, BlockNumber, RuntimeGenesisConfig,
    SessionConfig, SessionKeys, SettlementConfig, Stakes, StakingConfig, SudoConfig, VestingConfig,
    BABE_GENESIS_EPOCH_CONFIG,
};

/// The name of the preset to rehearse a launch with.
pub const STAGING_RUNTIME_PRESET: &str = "staging";

/// What each of the twelve well-known accounts starts with on networks for development.
pub const DEV_ENDOWMENT: Balance = 1_000_000 * OPEN;

/// What each validator has at stake when a network starts.
pub const VALIDATOR_STAKE: Balance = 100_000 * OPEN;

/// The allocation of the staging network. Together with the whole schedule of emission it leaves
/// room below the cap.
pub mod staging_allocation {
    use super::*;

    /// How many validators the network starts with.
    pub const VALIDATORS: u32 = 4;
    /// What each of them holds, its stake included.
    pub const VALIDATOR: Balance = 1_000_000 * OPEN;
    /// In the treasury from the first block.
    pub const TREASURY: Balance = 146_000_000 * OPEN;
    /// For data sets, training and research that the chain's start needs.
    pub const COMMUNITY: Balance = 200_000_000 * OPEN;
    /// For those who built it, and it is theirs only as time passes.
    pub const BUILDERS: Balance = 150_000_000 * OPEN;
    /// The builders' part begins to vest after a year …
    pub const VESTING_START: BlockNumber = 365 * DAYS;
    /// … and has vested three years later.
    pub const VESTING_LENGTH: BlockNumber = 3 * 365 * DAYS;
}

/// A validator as a genesis knows it.
struct Validator {
    stash: AccountId,
    keys: SessionKeys,
}

impl Validator {
    /// The session keys come from `//<seed>`; so they do for nodes that are started with the
    /// well-known names.
    fn new(stash: AccountId, seed: &str) -> Self {
        let keys = SessionKeys {
            babe: get_public_from_string_or_panic::<BabeId>(seed),
            grandpa: get_public_from_string_or_panic::<GrandpaId>(seed),
            beefy: get_public_from_string_or_panic::<BeefyId>(seed),
            authority_discovery: get_public_from_string_or_panic::<AuthorityDiscoveryId>(seed),
        };
        Self { stash, keys }
    }
}

/// The whole genesis. The authorities of BABE, GRANDPA and BEEFY stay empty here: they come from
/// the session keys.
fn genesis(
    validators: Vec<Validator>,
    balances: Vec<(AccountId, Balance)>,
    vesting: Vec<(AccountId, BlockNumber, BlockNumber, Balance)>,
    sudo: Option<AccountId>,
) -> serde_json::Value {
    let count = validators.len() as u32;
    let mut balances = balances;
    for pot in pots() {
        if !balances.iter().any(|(account, _)| *account == pot) {
            balances.push((pot, EXISTENTIAL_DEPOSIT));
        }
    }
    build_struct_json_patch!(RuntimeGenesisConfig {
        balances: BalancesConfig { balances },
        vesting: VestingConfig { vesting },
        babe: pallet_babe::GenesisConfig { epoch_config: BABE_GENESIS_EPOCH_CONFIG },
        session: SessionConfig {
            keys: validators
                .iter()
                .map(|v| (v.stash.clone(), v.stash.clone(), v.keys.clone()))
                .collect(),
        },
        staking: StakingConfig {
            validator_count: count.max(MINIMUM_SEATS),
            minimum_validator_count: 1,
            max_validator_count: Some(MaxValidators::get()),
            stakers: validators
                .iter()
                .map(|v| {
                    (v.stash.clone(), v.stash.clone(), VALIDATOR_STAKE, StakerStatus::Validator)
                })
                .collect(),
            min_validator_bond: 10_000 * OPEN,
            min_nominator_bond: 10 * OPEN,
            slash_reward_fraction: sp_runtime::Perbill::from_percent(10),
        },
        sudo: SudoConfig { key: sudo },
        settlement: SettlementConfig { dispatchers: vec![L2_NOTES, L2_TELLER] },
    })
}

/// Seats for validators that a network offers from the start, so that others can join.
const MINIMUM_SEATS: u32 = 4;

/// The accounts of the chain itself. They exist from the first block, since an account that does not
/// exist can receive nothing below the existential deposit, and shares of fees can be that small.
fn pots() -> [AccountId; 4] {
    [TreasuryAccount::get(), Stakes::pot(), Attribution::pot(), Attribution::commons()]
}

/// Alice, Bob, Charlie, Dave, Eve, Ferdie, and their stashes.
fn dev_accounts() -> Vec<AccountId> {
    use Sr25519Keyring::*;
    [
        Alice,
        Bob,
        Charlie,
        Dave,
        Eve,
        Ferdie,
        AliceStash,
        BobStash,
        CharlieStash,
        DaveStash,
        EveStash,
        FerdieStash,
    ]
    .iter()
    .map(|key| key.to_account_id())
    .collect()
}

fn dev_balances() -> Vec<(AccountId, Balance)> {
    dev_accounts().into_iter().map(|account| (account, DEV_ENDOWMENT)).collect()
}

/// One validator, and a sudo key.
fn development() -> serde_json::Value {
    genesis(
        vec![Validator::new(Sr25519Keyring::AliceStash.to_account_id(), "Alice")],
        dev_balances(),
        vec![],
        Some(Sr25519Keyring::Alice.to_account_id()),
    )
}

/// Two validators.
fn local_testnet() -> serde_json::Value {
    genesis(
        vec![
            Validator::new(Sr25519Keyring::AliceStash.to_account_id(), "Alice"),
            Validator::new(Sr25519Keyring::BobStash.to_account_id(), "Bob"),
        ],
        dev_balances(),
        vec![],
        None,
    )
}

fn staging_account(role: &str) -> AccountId {
    get_public_from_string_or_panic::<sr25519::Public>(&format!("tributary//staging//{role}"))
        .into()
}

/// Four validators, a filled treasury, and builders whose part vests.
fn staging() -> serde_json::Value {
    use staging_allocation::*;

    let validators: Vec<_> = (0..VALIDATORS)
        .map(|i| {
            Validator::new(
                staging_account(&format!("validator//{i}")),
                &format!("tributary//staging//session//{i}"),
            )
        })
        .collect();
    let builders = staging_account("builders");
    let mut balances: Vec<_> = validators.iter().map(|v| (v.stash.clone(), VALIDATOR)).collect();
    balances.push((TreasuryAccount::get(), TREASURY));
    balances.push((staging_account("community"), COMMUNITY));
    balances.push((builders.clone(), BUILDERS));

    genesis(validators, balances, vec![(builders, VESTING_START, VESTING_LENGTH, 0)], None)
}

/// The patch of a preset, as JSON.
pub fn get_preset(id: &PresetId) -> Option<Vec<u8>> {
    let patch = match id.as_ref() {
        DEV_RUNTIME_PRESET => development(),
        LOCAL_TESTNET_RUNTIME_PRESET => local_testnet(),
        STAGING_RUNTIME_PRESET => staging(),
        _ => return None,
    };
    Some(patch.to_string().into_bytes())
}

/// The names that [`get_preset`] knows.
pub fn preset_names() -> Vec<PresetId> {
    vec![
        PresetId::from(DEV_RUNTIME_PRESET),
        PresetId::from(LOCAL_TESTNET_RUNTIME_PRESET),
        PresetId::from(STAGING_RUNTIME_PRESET),
    ]
}
