//! What the bridge's contracts say, in Rust's words.

use super::{abi, abi::anchor::Commitment, to_b256, Address, B256, U256};
use tributary_primitives::bridge::leaf::Leaf;

/// A set of validators, as the anchor knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Its number.
    pub id: u64,
    /// How many there are.
    pub length: u32,
    /// Root over their addresses.
    pub root: B256,
}

/// What the anchor says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorState {
    /// The last block that it accepted.
    pub latest_block: u32,
    /// The validators of that block.
    pub current: Authorities,
    /// The validators that come next.
    pub next: Authorities,
    /// Two quorums contradicted each other: nothing is accepted any more.
    pub frozen: bool,
    /// Too long nothing was accepted: nothing is accepted any more.
    pub stale: bool,
    /// When it last accepted a block, in seconds since 1970.
    pub accepted_at: u64,
    /// Seconds after which it is stale.
    pub max_staleness: u64,
    /// Which chain and portal it serves.
    pub domain: B256,
}

/// What validators signed, as the anchor takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedCommitment {
    /// What was signed.
    pub commitment: Commitment,
    /// Who of the set signed: bit `i % 256` of word `i / 256`.
    pub bitmap: Vec<U256>,
    /// 65 bytes (r, s, v) of each who signed, in the set's order.
    pub signatures: Vec<u8>,
    /// 20 bytes of each of the set.
    pub validators: Vec<u8>,
}

impl From<SubmittedCommitment> for abi::anchor::Attestation {
    fn from(from: SubmittedCommitment) -> Self {
        Self {
            commitment: from.commitment,
            bitmap: from.bitmap,
            signatures: from.signatures.into(),
            validators: from.validators.into(),
        }
    }
}

/// The anchor accepted a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// The block.
    pub block: u32,
    /// The set that signed.
    pub set: u64,
    /// Its root.
    pub root: B256,
    /// The Ethereum transaction.
    pub transaction: B256,
    /// The Ethereum block.
    pub l1_block: u64,
}

/// How a game stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GameStatus {
    /// Not decided.
    InProgress,
    /// The output is rejected.
    ChallengerWins,
    /// The output is accepted.
    DefenderWins,
}

/// A game about the output of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Game {
    /// Its number at the factory.
    pub index: u64,
    /// Its contract.
    pub address: Address,
    /// Its type.
    pub game_type: u32,
    /// The block.
    pub l2_block: u32,
    /// What it claims of the block.
    pub claim: B256,
    /// Who made it.
    pub creator: Address,
    /// How it stands.
    pub status: GameStatus,
    /// Whether its claim was proven under an anchor.
    pub proven: bool,
    /// Whether it was proven again after a challenge.
    pub attested: bool,
    /// Who doubts it.
    pub challenger: Option<Address>,
    /// The anchor's block at the challenge.
    pub challenged_at_block: u32,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When it was decided; 0 before.
    pub resolved_at: u64,
    /// When it can be decided.
    pub resolvable_at: u64,
}

/// What an output root is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputProof {
    /// Hash of the leaf.
    pub leaf_hash: B256,
    /// Root of the tree of withdrawals.
    pub withdrawal_root: B256,
    /// Hash of the block.
    pub block_hash: B256,
}

impl From<&Leaf> for OutputProof {
    fn from(leaf: &Leaf) -> Self {
        Self {
            leaf_hash: to_b256(leaf.hash()),
            withdrawal_root: to_b256(leaf.extra.withdrawal_root),
            block_hash: to_b256(leaf.parent_hash),
        }
    }
}

/// A proof of a withdrawal that the portal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenWithdrawal {
    /// Who proved it.
    pub submitter: Address,
    /// Against which game.
    pub game: Address,
    /// When, in seconds since 1970.
    pub time: u64,
}
