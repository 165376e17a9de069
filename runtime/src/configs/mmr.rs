//! What Ethereum sees of the chain: the Merkle mountain range whose root BEEFY signs, and the
//! leaves in it.

use frame_support::parameter_types;
use pallet_beefy_mmr::{BeefyEcdsaToEthereum, DepositBeefyDigest};
use polkadot_sdk::*;
use sp_consensus_beefy::mmr::{BeefyDataProvider, MmrLeafVersion};
use sp_core::H256;
use sp_runtime::traits::Keccak256;
use tributary_primitives::bridge::LeafExtra;

use crate::{BeefyMmrLeaf, BlockNumber, Hash, Runtime, Settlement};

/// The one place from which the leaf's extra data comes: what the bridge was when the parent block
/// ended.
pub struct LeafExtraProvider;
impl BeefyDataProvider<LeafExtra> for LeafExtraProvider {
    fn extra_data() -> LeafExtra {
        Settlement::leaf_extra()
    }
}

impl pallet_mmr::Config for Runtime {
    const INDEXING_PREFIX: &'static [u8] = sp_mmr_primitives::INDEXING_PREFIX;
    type Hashing = Keccak256;
    type LeafData = BeefyMmrLeaf;
    type OnNewRoot = DepositBeefyDigest<Runtime>;
    type BlockHashProvider = pallet_mmr::DefaultBlockHashProvider<Runtime>;
    type WeightInfo = ();
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = ();
}

parameter_types! {
    /// The layout of the leaf: `major << 5 | minor`. A new major version is one that Ethereum
    /// must learn to read.
    pub LeafVersion: MmrLeafVersion = MmrLeafVersion::new(0, 0);
}

impl pallet_beefy_mmr::Config for Runtime {
    type LeafVersion = LeafVersion;
    type BeefyAuthorityToMerkleLeaf = BeefyEcdsaToEthereum;
    type LeafExtra = LeafExtra;
    type BeefyDataProvider = LeafExtraProvider;
    type WeightInfo = ();
}

/// A leaf as the runtime encodes it.
pub type MmrLeaf = sp_consensus_beefy::mmr::MmrLeaf<BlockNumber, Hash, H256, LeafExtra>;
