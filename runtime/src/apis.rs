//! What can be asked of the runtime from outside.

pub mod decl;

use alloc::vec::Vec;
use codec::Encode;
use frame_support::{
    genesis_builder_helper::{build_state, get_preset},
    traits::KeyOwnerProofSystem,
    view_functions::ViewFunctionId,
    weights::Weight,
};
use pallet_transaction_payment::{FeeDetails, RuntimeDispatchInfo};
use polkadot_sdk::{sp_mmr_primitives as mmr, *};
use sp_api::impl_runtime_apis;
use sp_authority_discovery::AuthorityId as AuthorityDiscoveryId;
use sp_consensus_beefy::{
    ecdsa_crypto::{AuthorityId as BeefyId, Signature as BeefySignature},
    OpaqueKeyOwnershipProof as BeefyKeyOwnershipProof,
};
use sp_consensus_grandpa::AuthorityId as GrandpaId;
use sp_core::{crypto::KeyTypeId, OpaqueMetadata};
use sp_inherents::{CheckInherentsResult, InherentData};
use sp_runtime::{
    traits::Block as BlockT,
    transaction_validity::{TransactionSource, TransactionValidity},
    ApplyExtrinsicResult, ExtrinsicInclusionMode,
};
use sp_session::OpaqueGeneratedSessionKeys;
use sp_version::RuntimeVersion;
use tributary_primitives::{
    bridge::{FailedDepositView, SettlementView, Withdrawal},
    log::LogEntry,
    views::{
        BatchView, ChannelView, ContributionView, DatanetView, JobView, ListingView, ModelView,
        PositionView, SharesView, SupplyView, Text, VersionView, WorkerView,
    },
    BatchId, ChannelId, ContributionId, DatanetId, Digest, JobId, ModelId, Subject, VersionRef,
};

use crate::{
    configs::consensus::EpochDuration, genesis_config_presets, AccountId, Attribution,
    AuthorityDiscovery, Babe, Balance, Beefy, BeefyMmrLeaf, Block, BlockNumber, Compute, Datanets,
    Executive, Grandpa, Hash, Header, Historical, InherentDataExt, Marketplace, Mmr, Nonce,
    Runtime, RuntimeCall, RuntimeGenesisConfig, SessionKeys, Settlement, Stakes, Staking, System,
    Token, TransactionPayment, BABE_GENESIS_EPOCH_CONFIG, VERSION,
};

impl_runtime_apis! {
    impl sp_api::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            VERSION
        }

        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            Executive::execute_block(block)
        }

        fn initialize_block(header: &Header) -> ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }

    impl sp_api::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().into())
        }

        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }

        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }

    impl frame_support::view_functions::runtime_api::RuntimeViewFunction<Block> for Runtime {
        fn execute_view_function(
            id: ViewFunctionId,
            input: Vec<u8>,
        ) -> Result<Vec<u8>, frame_support::view_functions::ViewFunctionDispatchError> {
            Runtime::execute_view_function(id, input)
        }
    }

    impl sp_block_builder::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: <Block as BlockT>::Extrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }

        fn finalize_block() -> Header {
            Executive::finalize_block()
        }

        fn inherent_extrinsics(data: InherentData) -> Vec<<Block as BlockT>::Extrinsic> {
            data.create_extrinsics()
        }

        fn check_inherents(
            block: <Block as BlockT>::LazyBlock,
            data: InherentData,
        ) -> CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }

    impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            tx: <Block as BlockT>::Extrinsic,
            block_hash: Hash,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, tx, block_hash)
        }
    }

    impl sp_offchain::OffchainWorkerApi<Block> for Runtime {
        fn offchain_worker(header: &Header) {
            Executive::offchain_worker(header)
        }
    }

    impl sp_session::SessionKeys<Block> for Runtime {
        fn generate_session_keys(
            owner: Vec<u8>,
            seed: Option<Vec<u8>>,
        ) -> OpaqueGeneratedSessionKeys {
            SessionKeys::generate(&owner, seed).into()
        }

        fn decode_session_keys(encoded: Vec<u8>) -> Option<Vec<(Vec<u8>, KeyTypeId)>> {
            SessionKeys::decode_into_raw_public_keys(&encoded)
        }
    }

    impl sp_consensus_babe::BabeApi<Block> for Runtime {
        fn configuration() -> sp_consensus_babe::BabeConfiguration {
            let epoch_config = Babe::epoch_config().unwrap_or(BABE_GENESIS_EPOCH_CONFIG);
            sp_consensus_babe::BabeConfiguration {
                slot_duration: Babe::slot_duration(),
                epoch_length: EpochDuration::get(),
                c: epoch_config.c,
                authorities: Babe::authorities().to_vec(),
                randomness: Babe::randomness(),
                allowed_slots: epoch_config.allowed_slots,
            }
        }

        fn current_epoch_start() -> sp_consensus_babe::Slot {
            Babe::current_epoch_start()
        }

        fn current_epoch() -> sp_consensus_babe::Epoch {
            Babe::current_epoch()
        }

        fn next_epoch() -> sp_consensus_babe::Epoch {
            Babe::next_epoch()
        }

        fn generate_key_ownership_proof(
            _slot: sp_consensus_babe::Slot,
            authority_id: sp_consensus_babe::AuthorityId,
        ) -> Option<sp_consensus_babe::OpaqueKeyOwnershipProof> {
            Historical::prove((sp_consensus_babe::KEY_TYPE, authority_id))
                .map(|p| p.encode())
                .map(sp_consensus_babe::OpaqueKeyOwnershipProof::new)
        }

        fn submit_report_equivocation_unsigned_extrinsic(
            equivocation_proof: sp_consensus_babe::EquivocationProof<Header>,
            key_owner_proof: sp_consensus_babe::OpaqueKeyOwnershipProof,
        ) -> Option<()> {
            let key_owner_proof = key_owner_proof.decode()?;
            Babe::submit_unsigned_equivocation_report(equivocation_proof, key_owner_proof)
        }
    }

    impl sp_consensus_grandpa::GrandpaApi<Block> for Runtime {
        fn grandpa_authorities() -> sp_consensus_grandpa::AuthorityList {
            Grandpa::grandpa_authorities()
        }

        fn current_set_id() -> sp_consensus_grandpa::SetId {
            pallet_grandpa::CurrentSetId::<Runtime>::get()
        }

        fn submit_report_equivocation_unsigned_extrinsic(
            equivocation_proof: sp_consensus_grandpa::EquivocationProof<Hash, BlockNumber>,
            key_owner_proof: sp_consensus_grandpa::OpaqueKeyOwnershipProof,
        ) -> Option<()> {
            let key_owner_proof = key_owner_proof.decode()?;
            Grandpa::submit_unsigned_equivocation_report(equivocation_proof, key_owner_proof)
        }

        fn generate_key_ownership_proof(
            _set_id: sp_consensus_grandpa::SetId,
            authority_id: GrandpaId,
        ) -> Option<sp_consensus_grandpa::OpaqueKeyOwnershipProof> {
            Historical::prove((sp_consensus_grandpa::KEY_TYPE, authority_id))
                .map(|p| p.encode())
                .map(sp_consensus_grandpa::OpaqueKeyOwnershipProof::new)
        }
    }

    impl sp_consensus_beefy::BeefyApi<Block, BeefyId> for Runtime {
        fn beefy_genesis() -> Option<BlockNumber> {
            pallet_beefy::GenesisBlock::<Runtime>::get()
        }

        fn validator_set() -> Option<sp_consensus_beefy::ValidatorSet<BeefyId>> {
            Beefy::validator_set()
        }

        fn submit_report_double_voting_unsigned_extrinsic(
            equivocation_proof: sp_consensus_beefy::DoubleVotingProof<
                BlockNumber,
                BeefyId,
                BeefySignature,
            >,
            key_owner_proof: BeefyKeyOwnershipProof,
        ) -> Option<()> {
            let key_owner_proof = key_owner_proof.decode()?;
            Beefy::submit_unsigned_double_voting_report(equivocation_proof, key_owner_proof)
        }

        fn submit_report_fork_voting_unsigned_extrinsic(
            equivocation_proof: sp_consensus_beefy::ForkVotingProof<
                Header,
                BeefyId,
                sp_runtime::OpaqueValue,
            >,
            key_owner_proof: BeefyKeyOwnershipProof,
        ) -> Option<()> {
            Beefy::submit_unsigned_fork_voting_report(
                equivocation_proof.try_into()?,
                key_owner_proof.decode()?,
            )
        }

        fn submit_report_future_block_voting_unsigned_extrinsic(
            equivocation_proof: sp_consensus_beefy::FutureBlockVotingProof<BlockNumber, BeefyId>,
            key_owner_proof: BeefyKeyOwnershipProof,
        ) -> Option<()> {
            Beefy::submit_unsigned_future_block_voting_report(
                equivocation_proof,
                key_owner_proof.decode()?,
            )
        }

        fn generate_key_ownership_proof(
            _set_id: sp_consensus_beefy::ValidatorSetId,
            authority_id: BeefyId,
        ) -> Option<BeefyKeyOwnershipProof> {
            Historical::prove((sp_consensus_beefy::KEY_TYPE, authority_id))
                .map(|p| p.encode())
                .map(BeefyKeyOwnershipProof::new)
        }
    }

    #[api_version(3)]
    impl mmr::MmrApi<Block, Hash, BlockNumber> for Runtime {
        fn mmr_root() -> Result<Hash, mmr::Error> {
            Ok(pallet_mmr::RootHash::<Runtime>::get())
        }

        fn mmr_leaf_count() -> Result<mmr::LeafIndex, mmr::Error> {
            Ok(pallet_mmr::NumberOfLeaves::<Runtime>::get())
        }

        fn generate_proof(
            block_numbers: Vec<BlockNumber>,
            best_known_block_number: Option<BlockNumber>,
        ) -> Result<(Vec<mmr::EncodableOpaqueLeaf>, mmr::LeafProof<Hash>), mmr::Error> {
            Mmr::generate_proof(block_numbers, best_known_block_number).map(|(leaves, proof)| {
                let leaves = leaves
                    .into_iter()
                    .map(|leaf| mmr::EncodableOpaqueLeaf::from_leaf(&leaf))
                    .collect();
                (leaves, proof)
            })
        }

        fn generate_ancestry_proof(
            prev_block_number: BlockNumber,
            best_known_block_number: Option<BlockNumber>,
        ) -> Result<mmr::AncestryProof<Hash>, mmr::Error> {
            Mmr::generate_ancestry_proof(prev_block_number, best_known_block_number)
        }

        fn verify_proof(
            leaves: Vec<mmr::EncodableOpaqueLeaf>,
            proof: mmr::LeafProof<Hash>,
        ) -> Result<(), mmr::Error> {
            type Leaf = <<Runtime as pallet_mmr::Config>::LeafData as mmr::LeafDataProvider>::LeafData;
            let leaves = leaves
                .into_iter()
                .map(|leaf| leaf.into_opaque_leaf().try_decode().ok_or(mmr::Error::Verify))
                .collect::<Result<Vec<Leaf>, mmr::Error>>()?;
            Mmr::verify_leaves(leaves, proof)
        }

        fn verify_proof_stateless(
            root: Hash,
            leaves: Vec<mmr::EncodableOpaqueLeaf>,
            proof: mmr::LeafProof<Hash>,
        ) -> Result<(), mmr::Error> {
            let nodes = leaves
                .into_iter()
                .map(|leaf| mmr::DataOrHash::Data(leaf.into_opaque_leaf()))
                .collect();
            pallet_mmr::verify_leaves_proof::<<Runtime as pallet_mmr::Config>::Hashing, _>(
                root, nodes, proof,
            )
        }
    }

    impl pallet_beefy_mmr::BeefyMmrApi<Block, Hash> for Runtime {
        fn authority_set_proof() -> sp_consensus_beefy::mmr::BeefyAuthoritySet<Hash> {
            BeefyMmrLeaf::authority_set_proof()
        }

        fn next_authority_set_proof() -> sp_consensus_beefy::mmr::BeefyNextAuthoritySet<Hash> {
            BeefyMmrLeaf::next_authority_set_proof()
        }
    }

    impl sp_authority_discovery::AuthorityDiscoveryApi<Block> for Runtime {
        fn authorities() -> Vec<AuthorityDiscoveryId> {
            AuthorityDiscovery::authorities()
        }
    }

    impl pallet_staking_runtime_api::StakingApi<Block, Balance, AccountId> for Runtime {
        fn nominations_quota(balance: Balance) -> u32 {
            Staking::api_nominations_quota(balance)
        }

        fn eras_stakers_page_count(era: sp_staking::EraIndex, account: AccountId) -> sp_staking::Page {
            Staking::api_eras_stakers_page_count(era, account)
        }

        fn pending_rewards(era: sp_staking::EraIndex, account: AccountId) -> bool {
            Staking::api_pending_rewards(era, account)
        }
    }

    impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
        fn account_nonce(account: AccountId) -> Nonce {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance> for Runtime {
        fn query_info(
            uxt: <Block as BlockT>::Extrinsic,
            len: u32,
        ) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(uxt, len)
        }

        fn query_fee_details(uxt: <Block as BlockT>::Extrinsic, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_fee_details(uxt, len)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentCallApi<Block, Balance, RuntimeCall>
        for Runtime
    {
        fn query_call_info(call: RuntimeCall, len: u32) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_call_info(call, len)
        }

        fn query_call_fee_details(call: RuntimeCall, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_call_fee_details(call, len)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl sp_genesis_builder::GenesisBuilder<Block> for Runtime {
        fn build_state(config: Vec<u8>) -> sp_genesis_builder::Result {
            build_state::<RuntimeGenesisConfig>(config)
        }

        fn get_preset(id: &Option<sp_genesis_builder::PresetId>) -> Option<Vec<u8>> {
            get_preset::<RuntimeGenesisConfig>(id, genesis_config_presets::get_preset)
        }

        fn preset_names() -> Vec<sp_genesis_builder::PresetId> {
            genesis_config_presets::preset_names()
        }
    }

    impl decl::TokenApi<Block> for Runtime {
        fn supply() -> SupplyView {
            Token::view_supply()
        }
    }

    impl decl::DatanetsApi<Block> for Runtime {
        fn datanet(id: DatanetId) -> Option<DatanetView> {
            Datanets::view_datanet(id)
        }

        fn datanet_by_name(name: Text) -> Option<DatanetView> {
            Datanets::view_datanet_by_name(name)
        }

        fn datanets(from: DatanetId, limit: u32) -> Vec<DatanetView> {
            Datanets::view_datanets(from, limit)
        }

        fn contribution(id: ContributionId) -> Option<ContributionView> {
            Datanets::view_contribution(id)
        }

        fn contributions(datanet: DatanetId, from: u32, limit: u32) -> Vec<ContributionView> {
            Datanets::view_contributions(datanet, from, limit)
        }

        fn contribution_by_content(content: Digest) -> Option<ContributionView> {
            Datanets::view_contribution_by_content(content)
        }

        fn contributions_of(payout: AccountId, limit: u32) -> Vec<ContributionView> {
            Datanets::view_contributions_of(payout, limit)
        }

        fn version(version: VersionRef) -> Option<VersionView> {
            Datanets::view_version(version)
        }

        fn versions(datanet: DatanetId, from: u32, limit: u32) -> Vec<VersionView> {
            Datanets::view_versions(datanet, from, limit)
        }

        fn log(datanet: DatanetId, from: u32, limit: u32) -> Vec<LogEntry> {
            Datanets::view_log(datanet, from, limit)
        }
    }

    impl decl::StakesApi<Block> for Runtime {
        fn position(subject: Subject, who: AccountId) -> PositionView {
            Stakes::view_position(subject, who)
        }

        fn total(subject: Subject) -> Balance {
            Stakes::view_total(subject)
        }
    }

    impl decl::ComputeApi<Block> for Runtime {
        fn worker(account: AccountId) -> Option<WorkerView> {
            Compute::view_worker(account)
        }

        fn workers(limit: u32) -> Vec<WorkerView> {
            Compute::view_workers(limit)
        }

        fn job(id: JobId) -> Option<JobView> {
            Compute::view_job(id)
        }

        fn jobs(from: JobId, limit: u32) -> Vec<JobView> {
            Compute::view_jobs(from, limit)
        }

        fn open_jobs(limit: u32) -> Vec<JobView> {
            Compute::view_open_jobs(limit)
        }
    }

    impl decl::AttributionApi<Block> for Runtime {
        fn model(id: ModelId) -> Option<ModelView> {
            Attribution::view_model(id)
        }

        fn model_by_name(name: Text) -> Option<ModelView> {
            Attribution::view_model_by_name(name)
        }

        fn models(from: ModelId, limit: u32) -> Vec<ModelView> {
            Attribution::view_models(from, limit)
        }

        fn lineage(id: ModelId) -> Vec<ModelView> {
            Attribution::view_lineage(id)
        }

        fn batch(id: BatchId) -> Option<BatchView> {
            Attribution::view_batch(id)
        }

        fn batches(from: BatchId, limit: u32) -> Vec<BatchView> {
            Attribution::view_batches(from, limit)
        }

        fn claimed(batch: BatchId, payouts: Vec<u32>) -> Vec<bool> {
            Attribution::view_claimed(batch, payouts)
        }

        fn shares() -> SharesView {
            Attribution::view_shares()
        }

        fn next_sequence(worker: AccountId) -> u32 {
            Attribution::view_next_sequence(worker)
        }

        fn revenue(worker: AccountId) -> Balance {
            Attribution::view_revenue(worker)
        }
    }

    impl decl::MarketplaceApi<Block> for Runtime {
        fn listing(model: ModelId) -> Option<ListingView> {
            Marketplace::view_listing(model)
        }

        fn listings(from: ModelId, limit: u32) -> Vec<ListingView> {
            Marketplace::view_listings(from, limit)
        }

        fn channel(id: ChannelId) -> Option<ChannelView> {
            Marketplace::view_channel(id)
        }

        fn channels_of(consumer: AccountId) -> Vec<ChannelView> {
            Marketplace::view_channels_of(consumer)
        }
    }

    impl decl::SettlementApi<Block> for Runtime {
        fn state() -> SettlementView {
            Settlement::view_state()
        }

        fn withdrawal(index: u32) -> Option<Withdrawal> {
            Settlement::view_withdrawal(index)
        }

        fn withdrawal_proof(index: u32, leaf_count: u32) -> Option<[Digest; 32]> {
            Settlement::view_withdrawal_proof(index, leaf_count)
        }

        fn failed_deposit(index: u64) -> Option<FailedDepositView> {
            Settlement::view_failed_deposit(index)
        }
    }

    #[cfg(feature = "try-runtime")]
    impl frame_try_runtime::TryRuntime<Block> for Runtime {
        fn on_runtime_upgrade(checks: frame_try_runtime::UpgradeCheckSelect) -> (Weight, Weight) {
            let weight = Executive::try_runtime_upgrade(checks)
                .expect("the tool that calls this reports the error and stops; qed");
            (weight, crate::configs::system::RuntimeBlockWeights::get().max_block)
        }

        fn execute_block(
            block: <Block as BlockT>::LazyBlock,
            state_root_check: bool,
            signature_check: bool,
            select: frame_try_runtime::TryStateSelect,
        ) -> Weight {
            Executive::try_execute_block(block, state_root_check, signature_check, select)
                .expect("the tool that calls this reports the error and stops; qed")
        }
    }
}
