//! Builds the node, in steps to be read from top to bottom: the parts that every command needs
//! (`partial`), the network (`network`), what serves others (RPC), and consensus (`consensus`).

mod consensus;
mod l1;
mod network;
mod partial;

use polkadot_sdk::*;
use sc_executor::WasmExecutor;
use sc_network::config::NetworkBackendType;
use sc_service::{Configuration, Error, TaskManager};
use tributary_runtime::{opaque::Block, RuntimeApi};

pub use partial::new_partial;

use crate::l1::Settings as L1Settings;

/// What the runtime can call of the host.
pub type HostFunctions = (sp_io::SubstrateHostFunctions,);
pub type FullExecutor = WasmExecutor<HostFunctions>;
pub type FullClient = sc_service::TFullClient<Block, RuntimeApi, FullExecutor>;
pub type FullBackend = sc_service::TFullBackend<Block>;
pub type FullSelectChain = sc_consensus::LongestChain<FullBackend, Block>;
pub type FullPool = sc_transaction_pool::TransactionPoolHandle<Block, FullClient>;

/// Builds the whole node over the network library that the configuration asks for.
pub fn new_full(config: Configuration, l1: &L1Settings) -> Result<TaskManager, Error> {
    match config.network.network_backend {
        NetworkBackendType::Libp2p => build::<sc_network::NetworkWorker<_, _>>(config, l1),
        NetworkBackendType::Litep2p => build::<sc_network::Litep2pNetworkBackend>(config, l1),
    }
}

fn build<Net>(mut config: Configuration, l1: &L1Settings) -> Result<TaskManager, Error>
where
    Net: sc_network::NetworkBackend<Block, tributary_runtime::Hash>,
{
    // 1. Database, client, pool, block import.
    let parts = partial::new_partial(&mut config, l1)?;
    let sc_service::PartialComponents {
        client,
        backend,
        mut task_manager,
        import_queue,
        keystore_container,
        select_chain,
        transaction_pool,
        other:
            partial::Other {
                block_import,
                grandpa_link,
                babe_link,
                beefy_links,
                rpc,
                l1,
                mut telemetry,
            },
    } = parts;
    let shared_voter_state = rpc.shared_voter_state.clone();

    // 2. The network.
    let network = network::build::<Net>(network::Params {
        config: &config,
        client: client.clone(),
        backend: backend.clone(),
        transaction_pool: transaction_pool.clone(),
        task_manager: &task_manager,
        import_queue,
        authority_set: grandpa_link.shared_authority_set().clone(),
    })?;

    // 3. Work that the runtime does beside the chain.
    if config.offchain_worker.enabled {
        network::spawn_offchain_workers(
            &config,
            &client,
            &backend,
            &transaction_pool,
            &keystore_container,
            &network,
            &task_manager,
        )?;
    }

    // 4. RPC, metrics, telemetry: what others see of the node.
    let settings = consensus::Settings::new(&config);
    sc_service::spawn_tasks(sc_service::SpawnTasksParams {
        config,
        client: client.clone(),
        backend: backend.clone(),
        task_manager: &mut task_manager,
        keystore: keystore_container.keystore(),
        transaction_pool: transaction_pool.clone(),
        rpc_builder: Box::new(move |executor| rpc.build(executor)),
        network: network.service.clone(),
        sync_service: network.sync.clone(),
        system_rpc_tx: network.system_rpc_tx,
        tx_handler_controller: network.tx_handler_controller,
        telemetry: telemetry.as_mut(),
        tracing_execute_block: None,
    })?;

    // 5. Consensus: who makes blocks, and who finalises them.
    let parts = consensus::Parts {
        client,
        backend,
        transaction_pool,
        keystore: keystore_container.keystore(),
        network: network.service,
        sync: network.sync,
        telemetry: telemetry.as_ref().map(|t| t.handle()),
        l1,
        settings,
    };
    consensus::start_authority_discovery(&parts, &task_manager);
    consensus::start_babe(&parts, select_chain, block_import, babe_link, &task_manager)?;
    consensus::start_grandpa(
        &parts,
        grandpa_link,
        network.grandpa,
        shared_voter_state,
        &task_manager,
    )?;
    consensus::start_beefy(&parts, beefy_links, network.beefy, &task_manager);
    consensus::start_mmr(&parts, &task_manager);

    // 6. Ethereum.
    consensus::start_l1(&parts, &task_manager);

    Ok(task_manager)
}
