//! Database, client, transaction pool and block import: what every command needs.

use std::sync::Arc;

use polkadot_sdk::*;
use sc_consensus::DefaultImportQueue;
use sc_consensus_babe::{BabeBlockImport, BabeLink, BabeWorkerHandle};
use sc_consensus_beefy::{import::BeefyBlockImport, BeefyRPCLinks, BeefyVoterLinks};
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaBlockImport, GrandpaJustificationStream, GrandpaPruningFilter,
    LinkHalf, SharedAuthoritySet, SharedVoterState,
};
use sc_rpc::SubscriptionTaskExecutor;
use sc_service::{Configuration, Error, PartialComponents};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_beefy::ecdsa_crypto::AuthorityId as BeefyId;
use sp_inherents::CreateInherentDataProviders;
use sp_keystore::KeystorePtr;
use tributary_runtime::{opaque::Block, BlockNumber, Hash, RuntimeApi};

use super::{consensus, l1::ClientChain, FullBackend, FullClient, FullPool, FullSelectChain};
use crate::{
    l1::{self, L1},
    rpc,
};

/// Every how many blocks a justification of GRANDPA is kept at least.
pub const JUSTIFICATION_PERIOD: u32 = 512;

type GrandpaImport = GrandpaBlockImport<FullBackend, Block, FullClient, FullSelectChain>;
type BeefyImport = BeefyBlockImport<Block, FullBackend, FullClient, GrandpaImport, BeefyId>;
/// What a block that is imported is held against.
type ImportInherents =
    Arc<dyn CreateInherentDataProviders<Block, (), InherentDataProviders = consensus::Inherents>>;
/// A block passes through BABE, BEEFY and GRANDPA, in this order, into the client.
pub type FullBlockImport =
    BabeBlockImport<Block, FullClient, BeefyImport, ImportInherents, FullSelectChain>;

/// What is left of the import's setup when the parts have been built.
pub struct Other {
    pub block_import: FullBlockImport,
    pub grandpa_link: LinkHalf<Block, FullClient, FullSelectChain>,
    pub babe_link: BabeLink<Block>,
    pub beefy_links: BeefyVoterLinks<Block, BeefyId>,
    pub rpc: RpcSetup,
    pub l1: Arc<L1>,
    pub telemetry: Option<Telemetry>,
}

pub type Partial = PartialComponents<
    FullClient,
    FullBackend,
    FullSelectChain,
    DefaultImportQueue<Block>,
    FullPool,
    Other,
>;

/// Builds the parts. Forces off-chain indexing on, since the MMR's nodes live there: without them
/// nobody could prove anything to Ethereum.
pub fn new_partial(
    config: &mut Configuration,
    l1_settings: &l1::Settings,
) -> Result<Partial, Error> {
    config.offchain_worker.indexing_enabled = true;

    let telemetry = config
        .telemetry_endpoints
        .clone()
        .filter(|endpoints| !endpoints.is_empty())
        .map(|endpoints| -> Result<_, sc_telemetry::Error> {
            let worker = TelemetryWorker::new(16)?;
            let telemetry = worker.handle().new_telemetry(endpoints);
            Ok((worker, telemetry))
        })
        .transpose()?;

    // Blocks with a justification outlive pruning: nodes that warp to the head need them.
    let (client, backend, keystore_container, task_manager) =
        sc_service::new_full_parts::<Block, RuntimeApi, _>(
            config,
            telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
            sc_service::new_wasm_executor(&config.executor),
            vec![Arc::new(GrandpaPruningFilter)],
        )?;
    let client = Arc::new(client);

    let telemetry = telemetry.map(|(worker, telemetry)| {
        task_manager.spawn_handle().spawn("telemetry", None, worker.run());
        telemetry
    });

    let select_chain = sc_consensus::LongestChain::new(backend.clone());
    let transaction_pool = Arc::from(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            config.role.is_authority().into(),
        )
        .with_options(config.transaction_pool.clone())
        .with_prometheus(config.prometheus_registry())
        .build(),
    );

    let (grandpa_import, grandpa_link) = sc_consensus_grandpa::block_import(
        client.clone(),
        JUSTIFICATION_PERIOD,
        &client.clone(),
        select_chain.clone(),
        telemetry.as_ref().map(|t| t.handle()),
    )?;
    let justification_import = grandpa_import.clone();

    let (beefy_import, beefy_links, beefy_rpc_links) =
        sc_consensus_beefy::beefy_block_import_and_links(
            grandpa_import,
            backend.clone(),
            client.clone(),
            config.prometheus_registry().cloned(),
        );

    let l1 = L1::new(
        l1_settings.clone(),
        Arc::new(ClientChain(client.clone())),
        config.prometheus_registry(),
    )
    .map_err(|e| Error::Application(Box::new(e)))?;

    let babe_config = sc_consensus_babe::configuration(&*client)?;
    let slot_duration = babe_config.slot_duration();
    let import_l1 = l1.clone();
    let (block_import, babe_link) = sc_consensus_babe::block_import(
        babe_config,
        beefy_import,
        client.clone(),
        Arc::new(move |parent, ()| {
            let l1 = l1::Inherent::importer(&import_l1, parent);
            async move { Ok(consensus::inherents(slot_duration, l1)) }
        }) as ImportInherents,
        select_chain.clone(),
        OffchainTransactionPoolFactory::new(transaction_pool.clone()),
    )?;

    let (import_queue, babe_worker_handle) =
        sc_consensus_babe::import_queue(sc_consensus_babe::ImportQueueParams {
            link: babe_link.clone(),
            block_import: block_import.clone(),
            justification_import: Some(Box::new(justification_import)),
            client: client.clone(),
            slot_duration,
            spawner: &task_manager.spawn_essential_handle(),
            registry: config.prometheus_registry(),
            telemetry: telemetry.as_ref().map(|t| t.handle()),
        })?;

    let rpc = RpcSetup {
        client: client.clone(),
        backend: backend.clone(),
        pool: transaction_pool.clone(),
        select_chain: select_chain.clone(),
        keystore: keystore_container.keystore(),
        babe_worker_handle,
        shared_voter_state: SharedVoterState::empty(),
        shared_authority_set: grandpa_link.shared_authority_set().clone(),
        justification_stream: grandpa_link.justification_stream(),
        finality_provider: FinalityProofProvider::new_for_service(
            backend.clone(),
            Some(grandpa_link.shared_authority_set().clone()),
        ),
        beefy: beefy_rpc_links,
    };

    Ok(PartialComponents {
        client,
        backend,
        task_manager,
        import_queue,
        keystore_container,
        select_chain,
        transaction_pool,
        other: Other { block_import, grandpa_link, babe_link, beefy_links, rpc, l1, telemetry },
    })
}

/// What the RPC needs of the parts. The service asks for the methods more than once, one server
/// after another, hence a builder.
pub struct RpcSetup {
    client: Arc<FullClient>,
    backend: Arc<FullBackend>,
    pool: Arc<FullPool>,
    select_chain: FullSelectChain,
    keystore: KeystorePtr,
    babe_worker_handle: BabeWorkerHandle<Block>,
    pub shared_voter_state: SharedVoterState,
    shared_authority_set: SharedAuthoritySet<Hash, BlockNumber>,
    justification_stream: GrandpaJustificationStream<Block>,
    finality_provider: Arc<FinalityProofProvider<FullBackend, Block>>,
    beefy: BeefyRPCLinks<Block, BeefyId>,
}

impl RpcSetup {
    /// All methods, for one server.
    pub fn build(
        &self,
        subscription_executor: SubscriptionTaskExecutor,
    ) -> Result<jsonrpsee::RpcModule<()>, Error> {
        rpc::create_full(rpc::FullDeps {
            client: self.client.clone(),
            backend: self.backend.clone(),
            pool: self.pool.clone(),
            select_chain: self.select_chain.clone(),
            subscription_executor,
            babe: rpc::BabeDeps {
                worker_handle: self.babe_worker_handle.clone(),
                keystore: self.keystore.clone(),
            },
            grandpa: rpc::GrandpaDeps {
                shared_voter_state: self.shared_voter_state.clone(),
                shared_authority_set: self.shared_authority_set.clone(),
                justification_stream: self.justification_stream.clone(),
                finality_provider: self.finality_provider.clone(),
            },
            beefy: rpc::BeefyDeps {
                finality_proof_stream: self.beefy.from_voter_justif_stream.clone(),
                best_block_stream: self.beefy.from_voter_best_beefy_stream.clone(),
            },
        })
        .map_err(|e| Error::Application(Box::new(e)))
    }
}
