//! What Ethereum sees of the chain: the Merkle mountain range whose root BEEFY signs, and the
//! leaves in it.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::parameter_types;
use pallet_beefy_mmr::{BeefyEcdsaToEthereum, DepositBeefyDigest};
use polkadot_sdk::*;
use scale_info::TypeInfo;
use sp_consensus_beefy::mmr::{BeefyDataProvider, MmrLeafVersion};
use sp_core::{H160, H256};
use sp_io::hashing::keccak_256;
use sp_runtime::traits::Keccak256;

use crate::{BeefyMmrLeaf, BlockNumber, Hash, Runtime, System};

/// What each leaf says beyond the parent block and the next authorities.
///
/// Ethereum decodes a leaf by offsets, so that every field has a fixed length: 104 bytes in all,
/// hashes raw and in the order below, the number little-endian.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct LeafExtra {
    /// Which chain speaks to which portal: see [`domain`].
    pub domain: H256,
    /// The root of the tree of withdrawals.
    pub withdrawal_root: H256,
    /// The number of the Ethereum block up to which deposits have been taken in.
    pub l1_origin_number: u64,
    /// The hash of that block.
    pub l1_origin_hash: H256,
}

/// `keccak256(chain id ‖ portal ‖ genesis hash)`, each as a 32-byte word as `abi.encode` has it.
///
/// A leaf that was made for one pair of chain and portal means nothing to any other.
pub fn domain(l1_chain_id: u64, portal: H160, genesis: H256) -> H256 {
    let mut words = [0u8; 96];
    words[24..32].copy_from_slice(&l1_chain_id.to_be_bytes());
    words[44..64].copy_from_slice(portal.as_bytes());
    words[64..].copy_from_slice(genesis.as_bytes());
    H256(keccak_256(&words))
}

/// The one place from which the leaf's extra data comes.
///
/// As long as the chain is joined to no portal, the domain names chain 0 and the zero address, and
/// there are no withdrawals and no origin.
pub struct LeafExtraProvider;
impl BeefyDataProvider<LeafExtra> for LeafExtraProvider {
    fn extra_data() -> LeafExtra {
        let genesis = System::block_hash::<BlockNumber>(0);
        LeafExtra { domain: domain(0, H160::zero(), genesis), ..Default::default() }
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
