//! Consensus: BABE makes blocks, GRANDPA finalises them, BEEFY signs what Ethereum can check.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use futures::StreamExt;
use polkadot_sdk::*;
use sc_client_api::BlockchainEvents;
use sc_consensus_babe::{BabeLink, BabeParams, SlotProportion};
use sc_consensus_beefy::{BeefyNetworkParams, BeefyParams, BeefyVoterLinks};
use sc_consensus_grandpa::{GrandpaParams, LinkHalf, SharedVoterState, VotingRulesBuilder};
use sc_consensus_slots::BackoffAuthoringOnFinalizedHeadLagging;
use sc_network::{multiaddr::Multiaddr, service::traits::NetworkService, Event};
use sc_network_sync::SyncingService;
use sc_service::{Configuration, Error, Role, TaskManager};
use sc_telemetry::TelemetryHandle;
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_babe::{inherents::InherentDataProvider as SlotProvider, SlotDuration};
use sp_consensus_beefy::{ecdsa_crypto::AuthorityId as BeefyId, mmr::MmrRootProvider};
use sp_keystore::KeystorePtr;
use sp_timestamp::InherentDataProvider as TimestampProvider;
use substrate_prometheus_endpoint::Registry;
use tributary_runtime::{opaque::Block, BlockNumber};

use super::{
    network::{BeefyChannel, GrandpaChannel},
    partial::{FullBlockImport, JUSTIFICATION_PERIOD},
    FullBackend, FullClient, FullPool, FullSelectChain,
};
use crate::l1::{Inherent as L1Inherent, L1};

/// BEEFY signs every eighth block at the latest: a signature costs gas to check, so that there is
/// no point in one for each block.
const BEEFY_MIN_BLOCK_DELTA: u32 = 8;

/// What consensus takes from the configuration, which the service consumes.
pub struct Settings {
    role: Role,
    node_name: String,
    force_authoring: bool,
    grandpa: bool,
    registry: Option<Registry>,
    publish_non_global_ips: bool,
    public_addresses: Vec<Multiaddr>,
    network_path: Option<std::path::PathBuf>,
}

impl Settings {
    pub fn new(config: &Configuration) -> Self {
        Self {
            role: config.role,
            node_name: config.network.node_name.clone(),
            force_authoring: config.force_authoring,
            grandpa: !config.disable_grandpa,
            registry: config.prometheus_registry().cloned(),
            publish_non_global_ips: config.network.allow_non_globals_in_dht,
            public_addresses: config.network.public_addresses.clone(),
            network_path: config.network.net_config_path.clone(),
        }
    }
}

/// What all protocols share.
pub struct Parts {
    pub client: Arc<FullClient>,
    pub backend: Arc<FullBackend>,
    pub transaction_pool: Arc<FullPool>,
    pub keystore: KeystorePtr,
    pub network: Arc<dyn NetworkService>,
    pub sync: Arc<SyncingService<Block>>,
    pub telemetry: Option<TelemetryHandle>,
    pub l1: Arc<L1>,
    pub settings: Settings,
}

impl Parts {
    /// Only validators vote, and only who votes needs keys.
    fn voting_keystore(&self) -> Option<KeystorePtr> {
        self.settings.role.is_authority().then(|| self.keystore.clone())
    }
}

/// What a block's author states about the world: the slot, the time, and Ethereum.
pub type Inherents = (SlotProvider, TimestampProvider, L1Inherent);

/// States slot and time as of now; `l1` is the author's or the importer's view of Ethereum.
pub fn inherents(slot_duration: SlotDuration, l1: L1Inherent) -> Inherents {
    let timestamp = TimestampProvider::from_system_time();
    let slot = SlotProvider::from_timestamp_and_slot_duration(*timestamp, slot_duration);
    (slot, timestamp, l1)
}

/// Follows Ethereum and prepares what this node's blocks say of it. Not essential: a chain without
/// Ethereum is still a chain.
pub fn start_l1(parts: &Parts, tasks: &TaskManager) {
    // Blocks of the initial sync give no notification, so that none of them is prepared for.
    let new_best = parts
        .client
        .import_notification_stream()
        .filter_map(|block| futures::future::ready(block.is_new_best.then_some(())));
    tasks.spawn_handle().spawn(
        "l1-follower",
        "settlement",
        parts.l1.clone().follow(parts.settings.role.is_authority(), new_best),
    );
}

/// Lets validators find each other's addresses by their keys.
pub fn start_authority_discovery(parts: &Parts, tasks: &TaskManager) {
    if !parts.settings.role.is_authority() {
        return;
    }
    let events = parts.network.event_stream("authority-discovery").filter_map(|event| async move {
        match event {
            Event::Dht(event) => Some(event),
            _ => None,
        }
    });
    let (worker, _service) = sc_authority_discovery::new_worker_and_service_with_config(
        sc_authority_discovery::WorkerConfig {
            publish_non_global_ips: parts.settings.publish_non_global_ips,
            public_addresses: parts.settings.public_addresses.clone(),
            strict_record_validation: true,
            persisted_cache_directory: parts.settings.network_path.clone(),
            ..Default::default()
        },
        parts.client.clone(),
        Arc::new(parts.network.clone()),
        Box::pin(events),
        sc_authority_discovery::Role::PublishAndDiscover(parts.keystore.clone()),
        parts.settings.registry.clone(),
        tasks.spawn_handle(),
    );
    tasks.spawn_handle().spawn("authority-discovery-worker", "authority-discovery", worker.run());
}

/// Makes blocks, on validators.
pub fn start_babe(
    parts: &Parts,
    select_chain: FullSelectChain,
    block_import: FullBlockImport,
    babe_link: BabeLink<Block>,
    tasks: &TaskManager,
) -> Result<(), Error> {
    if !parts.settings.role.is_authority() {
        return Ok(());
    }
    let proposer = sc_basic_authorship::ProposerFactory::new(
        tasks.spawn_handle(),
        parts.client.clone(),
        parts.transaction_pool.clone(),
        parts.settings.registry.as_ref(),
        parts.telemetry.clone(),
    );
    let slot_duration = babe_link.config().slot_duration();
    let l1 = parts.l1.clone();
    let babe = sc_consensus_babe::start_babe(BabeParams {
        keystore: parts.keystore.clone(),
        client: parts.client.clone(),
        select_chain,
        env: proposer,
        block_import,
        sync_oracle: parts.sync.clone(),
        justification_sync_link: parts.sync.clone(),
        create_inherent_data_providers: move |parent, ()| {
            let l1 = L1Inherent::author(&l1, parent);
            async move { Ok(inherents(slot_duration, l1)) }
        },
        force_authoring: parts.settings.force_authoring,
        // When finality lags, blocks come more slowly instead of piling up.
        backoff_authoring_blocks: Some(
            BackoffAuthoringOnFinalizedHeadLagging::<BlockNumber>::default(),
        ),
        babe_link,
        block_proposal_slot_portion: SlotProportion::new(2f32 / 3f32),
        max_block_proposal_slot_portion: None,
        telemetry: parts.telemetry.clone(),
    })?;
    tasks.spawn_essential_handle().spawn_blocking("babe-proposer", "block-authoring", babe);
    Ok(())
}

/// Finalises blocks, on validators, and follows finality on all other nodes.
pub fn start_grandpa(
    parts: &Parts,
    link: LinkHalf<Block, FullClient, FullSelectChain>,
    channel: GrandpaChannel,
    shared_voter_state: SharedVoterState,
    tasks: &TaskManager,
) -> Result<(), Error> {
    if !parts.settings.grandpa {
        return Ok(());
    }
    let voter = sc_consensus_grandpa::run_grandpa_voter(GrandpaParams {
        config: sc_consensus_grandpa::Config {
            gossip_duration: Duration::from_millis(1_000 / 3),
            justification_generation_period: JUSTIFICATION_PERIOD,
            observer_enabled: false,
            local_role: parts.settings.role,
            name: Some(parts.settings.node_name.clone()),
            keystore: parts.voting_keystore(),
            telemetry: parts.telemetry.clone(),
            protocol_name: channel.protocol,
        },
        link,
        network: parts.network.clone(),
        sync: parts.sync.clone(),
        notification_service: channel.notifications,
        telemetry: parts.telemetry.clone(),
        voting_rule: VotingRulesBuilder::default().build(),
        prometheus_registry: parts.settings.registry.clone(),
        shared_voter_state,
        offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(
            parts.transaction_pool.clone(),
        ),
    })?;
    tasks.spawn_essential_handle().spawn_blocking("grandpa-voter", "finality", voter);
    Ok(())
}

/// Signs MMR roots with keys that Ethereum can check, on validators, and follows on others.
///
/// The task is essential: a validator that does not sign endangers the bridge, and whoever runs it
/// must notice.
pub fn start_beefy(
    parts: &Parts,
    links: BeefyVoterLinks<Block, BeefyId>,
    channel: BeefyChannel,
    tasks: &TaskManager,
) {
    let justifications_protocol_name = channel.justifications.protocol_name();
    let gadget =
        sc_consensus_beefy::start_beefy_gadget::<_, _, _, _, _, _, _, BeefyId>(BeefyParams {
            client: parts.client.clone(),
            backend: parts.backend.clone(),
            payload_provider: MmrRootProvider::new(parts.client.clone()),
            runtime: parts.client.clone(),
            key_store: parts.voting_keystore(),
            network_params: BeefyNetworkParams {
                network: Arc::new(parts.network.clone()),
                sync: parts.sync.clone(),
                notification_service: channel.notifications,
                gossip_protocol_name: channel.protocol,
                justifications_protocol_name,
                _phantom: PhantomData::<Block>,
            },
            min_block_delta: BEEFY_MIN_BLOCK_DELTA,
            prometheus_registry: parts.settings.registry.clone(),
            links,
            on_demand_justifications_handler: channel.justifications,
            is_authority: parts.settings.role.is_authority(),
        });
    tasks.spawn_essential_handle().spawn_blocking("beefy-gadget", "finality", gadget);
}

/// Keeps the nodes of the MMR in canonical order, so that proofs can be made of them.
pub fn start_mmr(parts: &Parts, tasks: &TaskManager) {
    tasks.spawn_essential_handle().spawn_blocking(
        "mmr-gadget",
        "finality",
        mmr_gadget::MmrGadget::start(
            parts.client.clone(),
            parts.backend.clone(),
            sp_mmr_primitives::INDEXING_PREFIX.to_vec(),
        ),
    );
}
