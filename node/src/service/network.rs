//! The network: which protocols the node speaks, and with whom it syncs.

use std::sync::Arc;

use futures::FutureExt;
use polkadot_sdk::*;
use sc_consensus::DefaultImportQueue;
use sc_consensus_beefy::communication::request_response::BeefyJustifsRequestHandler;
use sc_consensus_grandpa::SharedAuthoritySet;
use sc_network::{
    config::FullNetworkConfiguration, service::traits::NetworkService, NetworkBackend,
    NotificationService, ProtocolName,
};
use sc_network_sync::{SyncingService, WarpSyncConfig};
use sc_service::{Configuration, Error, KeystoreContainer, TaskManager};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_blockchain::HeaderBackend;
use tributary_runtime::{opaque::Block, BlockNumber, Hash};

use super::{FullBackend, FullClient, FullPool};

/// What the network is built from.
pub struct Params<'a> {
    pub config: &'a Configuration,
    pub client: Arc<FullClient>,
    pub backend: Arc<FullBackend>,
    pub transaction_pool: Arc<FullPool>,
    pub task_manager: &'a TaskManager,
    pub import_queue: DefaultImportQueue<Block>,
    pub authority_set: SharedAuthoritySet<Hash, BlockNumber>,
}

/// A running network.
pub struct Network {
    pub service: Arc<dyn NetworkService>,
    pub sync: Arc<SyncingService<Block>>,
    pub system_rpc_tx: sc_utils::mpsc::TracingUnboundedSender<sc_rpc::system::Request<Block>>,
    pub tx_handler_controller: sc_network_transactions::TransactionsHandlerController<Hash>,
    pub grandpa: GrandpaChannel,
    pub beefy: BeefyChannel,
}

/// Where GRANDPA's votes go.
pub struct GrandpaChannel {
    pub protocol: ProtocolName,
    pub notifications: Box<dyn NotificationService>,
}

/// Where BEEFY's votes go, and where justifications are asked for.
pub struct BeefyChannel {
    pub protocol: ProtocolName,
    pub notifications: Box<dyn NotificationService>,
    pub justifications: BeefyJustifsRequestHandler<Block, FullClient>,
}

/// Adds the protocols of consensus to the usual ones and starts the network.
pub fn build<Net: NetworkBackend<Block, Hash>>(params: Params) -> Result<Network, Error> {
    let Params {
        config,
        client,
        backend,
        transaction_pool,
        task_manager,
        import_queue,
        authority_set,
    } = params;
    let registry = config.prometheus_config.as_ref().map(|c| c.registry.clone());
    let genesis = client.info().genesis_hash;
    let fork_id = config.chain_spec.fork_id();

    let mut net_config =
        FullNetworkConfiguration::<Block, Hash, Net>::new(&config.network, registry.clone());
    let metrics = Net::register_notification_metrics(registry.as_ref());
    let peers = net_config.peer_store_handle();

    let grandpa_protocol =
        sc_consensus_grandpa::protocol_standard_name(&genesis, &config.chain_spec);
    let (grandpa_config, grandpa_notifications) =
        sc_consensus_grandpa::grandpa_peers_set_config::<_, Net>(
            grandpa_protocol.clone(),
            metrics.clone(),
            peers.clone(),
        );
    net_config.add_notification_protocol(grandpa_config);

    let beefy_protocol = sc_consensus_beefy::gossip_protocol_name(genesis, fork_id);
    let (beefy_config, beefy_notifications) =
        sc_consensus_beefy::communication::beefy_peers_set_config::<_, Net>(
            beefy_protocol.clone(),
            metrics.clone(),
            peers,
        );
    net_config.add_notification_protocol(beefy_config);
    let (beefy_justifications, beefy_requests) =
        BeefyJustifsRequestHandler::new::<_, Net>(genesis, fork_id, client.clone(), registry);
    net_config.add_request_response_protocol(beefy_requests);

    // A new node need not execute all of history: it follows GRANDPA's justifications from one
    // set of authorities to the next.
    let warp = Arc::new(sc_consensus_grandpa::warp_proof::NetworkProvider::new(
        backend,
        authority_set,
        Vec::default(),
    ));

    let (service, system_rpc_tx, tx_handler_controller, sync, _bitswap) =
        sc_service::build_network(sc_service::BuildNetworkParams {
            config,
            net_config,
            client,
            transaction_pool,
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue,
            block_announce_validator_builder: None,
            warp_sync_config: Some(WarpSyncConfig::WithProvider(warp)),
            block_relay: None,
            metrics,
            gap_sync_body_policy: None,
        })?;

    Ok(Network {
        service,
        sync,
        system_rpc_tx,
        tx_handler_controller,
        grandpa: GrandpaChannel {
            protocol: grandpa_protocol,
            notifications: grandpa_notifications,
        },
        beefy: BeefyChannel {
            protocol: beefy_protocol,
            notifications: beefy_notifications,
            justifications: beefy_justifications,
        },
    })
}

/// Runs the runtime's off-chain workers after each block.
pub fn spawn_offchain_workers(
    config: &Configuration,
    client: &Arc<FullClient>,
    backend: &Arc<FullBackend>,
    transaction_pool: &Arc<FullPool>,
    keystore: &KeystoreContainer,
    network: &Network,
    task_manager: &TaskManager,
) -> Result<(), Error> {
    use sc_client_api::Backend as _;

    let workers = sc_offchain::OffchainWorkers::new(sc_offchain::OffchainWorkerOptions {
        runtime_api_provider: client.clone(),
        keystore: Some(keystore.keystore()),
        offchain_db: backend.offchain_storage(),
        transaction_pool: Some(OffchainTransactionPoolFactory::new(transaction_pool.clone())),
        network_provider: Arc::new(network.service.clone()),
        is_validator: config.role.is_authority(),
        enable_http_requests: false,
        custom_extensions: |_| vec![],
    })?;
    task_manager.spawn_handle().spawn(
        "offchain-workers-runner",
        "offchain-worker",
        workers.run(client.clone(), task_manager.spawn_handle()).boxed(),
    );
    Ok(())
}
