//! The RPC methods beside those that every node of the SDK has.

mod settlement;

use std::sync::Arc;

use jsonrpsee::RpcModule;
use mmr_rpc::{Mmr, MmrApiServer};
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use polkadot_sdk::*;
use sc_client_api::Backend as _;
use sc_consensus_babe::BabeWorkerHandle;
use sc_consensus_babe_rpc::{Babe, BabeApiServer};
use sc_consensus_beefy::communication::notification::{
    BeefyBestBlockStream, BeefyVersionedFinalityProofStream,
};
use sc_consensus_beefy_rpc::{Beefy, BeefyApiServer};
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState,
};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::{
    dev::{Dev, DevApiServer},
    SubscriptionTaskExecutor,
};
use sp_consensus_beefy::ecdsa_crypto::AuthorityId as BeefyId;
use sp_keystore::KeystorePtr;
use substrate_frame_rpc_system::{System, SystemApiServer};
use tributary_runtime::{opaque::Block, BlockNumber, Hash};

use settlement::{Settlement, SettlementRpcServer};

use crate::service::{FullBackend, FullClient, FullPool, FullSelectChain};

/// What BABE's methods need.
pub struct BabeDeps {
    pub worker_handle: BabeWorkerHandle<Block>,
    pub keystore: KeystorePtr,
}

/// What GRANDPA's methods need.
pub struct GrandpaDeps {
    pub shared_voter_state: SharedVoterState,
    pub shared_authority_set: SharedAuthoritySet<Hash, BlockNumber>,
    pub justification_stream: GrandpaJustificationStream<Block>,
    pub finality_provider: Arc<FinalityProofProvider<FullBackend, Block>>,
}

/// What BEEFY's methods need.
pub struct BeefyDeps {
    pub finality_proof_stream: BeefyVersionedFinalityProofStream<Block, BeefyId>,
    pub best_block_stream: BeefyBestBlockStream<Block>,
}

/// What all methods together need.
pub struct FullDeps {
    pub client: Arc<FullClient>,
    pub backend: Arc<FullBackend>,
    pub pool: Arc<FullPool>,
    pub select_chain: FullSelectChain,
    pub subscription_executor: SubscriptionTaskExecutor,
    pub babe: BabeDeps,
    pub grandpa: GrandpaDeps,
    pub beefy: BeefyDeps,
}

/// Why the methods cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("two RPC methods have one name: {0}")]
    Register(#[from] jsonrpsee::core::RegisterMethodError),
    #[error("BEEFY's RPC cannot start: {0}")]
    Beefy(#[from] sc_consensus_beefy_rpc::Error),
    #[error("the MMR needs the database's off-chain storage, which is missing")]
    NoOffchainStorage,
}

/// All methods in one module.
pub fn create_full(deps: FullDeps) -> Result<RpcModule<()>, Error> {
    let FullDeps {
        client,
        backend,
        pool,
        select_chain,
        subscription_executor,
        babe,
        grandpa,
        beefy,
    } = deps;
    let mut io = RpcModule::new(());

    io.merge(System::new(client.clone(), pool).into_rpc())?;
    io.merge(TransactionPayment::new(client.clone()).into_rpc())?;
    io.merge(Dev::new(client.clone()).into_rpc())?;
    io.merge(
        Babe::new(client.clone(), babe.worker_handle, babe.keystore, select_chain).into_rpc(),
    )?;
    io.merge(
        Grandpa::new(
            subscription_executor.clone(),
            grandpa.shared_authority_set,
            grandpa.shared_voter_state,
            grandpa.justification_stream,
            grandpa.finality_provider,
        )
        .into_rpc(),
    )?;
    io.merge(
        Beefy::<Block, BeefyId>::new(
            beefy.finality_proof_stream,
            beefy.best_block_stream,
            subscription_executor,
        )?
        .into_rpc(),
    )?;
    let offchain = backend.offchain_storage().ok_or(Error::NoOffchainStorage)?;
    io.merge(Mmr::new(client.clone(), offchain).into_rpc())?;
    io.merge(Settlement::new(client, backend).into_rpc())?;

    Ok(io)
}
