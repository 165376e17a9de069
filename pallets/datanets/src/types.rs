//! What the pallet stores.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::{
    frame_support::{traits::ConstU32, BoundedVec},
    sp_core::H256,
};
use scale_info::TypeInfo;
use tributary_primitives::{
    views::{Consent, ContributionState, PolicyView},
    AccountId, Balance, BlockNumber, DatanetId, Digest,
};

/// Longest name, in bytes.
pub const MAX_NAME: u32 = 64;
/// Longest licence expression, in bytes.
pub const MAX_LICENCE: u32 = 64;
/// Most curators of one datanet.
pub const MAX_CURATORS: u32 = 32;
/// Most contributions that one datanet ever takes. Each adds at most two entries to the log, so
/// that the log's positions can never run out.
pub const MAX_CONTRIBUTIONS: u32 = u32::MAX >> 1;

/// A datanet's name: 1 to 64 of `a-z`, `0-9` and `-`.
pub type Name = BoundedVec<u8, ConstU32<MAX_NAME>>;
/// An SPDX licence expression.
pub type Licence = BoundedVec<u8, ConstU32<MAX_LICENCE>>;
/// Who may vote.
pub type Curators = BoundedVec<AccountId, ConstU32<MAX_CURATORS>>;
/// Votes cast on one contribution: who, and whether for it.
pub type Votes = BoundedVec<(AccountId, bool), ConstU32<MAX_CURATORS>>;

/// How contributions to a datanet are accepted.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Policy {
    /// After a review window.
    Open,
    /// When `quorum` of the curators have voted for it.
    Curated {
        /// Votes needed, from 1 to the number of curators.
        quorum: u32,
        /// Who may vote; nobody twice.
        curators: Curators,
    },
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Open => Self::Open,
            Policy::Curated { quorum, curators } => {
                Self::Curated { quorum, curators: curators.into_inner() }
            }
        }
    }
}

/// Whether, and how often, a datanet's pot pays for others' calls.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Sponsorship {
    /// Whether the pot pays at all.
    pub enabled: bool,
    /// Calls that it pays for in one period.
    pub max_per_period: u32,
}

/// Calls that a pot has paid for in one period.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Usage {
    /// The period: the block divided by the length of a period.
    pub period: u32,
    /// Calls paid for in it.
    pub calls: u32,
}

/// A datanet.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Datanet {
    /// Its unique name.
    pub name: Name,
    /// Who runs it.
    pub owner: AccountId,
    /// How contributions are accepted.
    pub policy: Policy,
    /// Licence of its records.
    pub licence: Licence,
    /// What may be done with its records.
    pub consent: Consent,
    /// Stake that a contribution needs, in units.
    pub min_stake: Balance,
    /// What the owner has on hold for it, in units.
    pub deposit: Balance,
    /// Whether, and how often, its pot pays.
    pub sponsorship: Sponsorship,
    /// Contributions ever submitted.
    pub contributions: u32,
    /// Contributions accepted and not retired.
    pub live: u32,
    /// Records in the live contributions.
    pub live_records: u64,
    /// Bytes in the live contributions.
    pub live_bytes: u64,
    /// Number of the latest version; 0 when there is none.
    pub versions: u32,
}

/// Where a contribution stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum State {
    /// Under review.
    Pending {
        /// Block of its acceptance; `None` where curators decide.
        due: Option<BlockNumber>,
    },
    /// Part of the datanet.
    Accepted {
        /// Block in which it was accepted.
        at: BlockNumber,
    },
    /// Voted down by the curators.
    Rejected,
    /// Taken out of later versions.
    Retired {
        /// Block in which it was retired.
        at: BlockNumber,
    },
}

impl From<State> for ContributionState {
    fn from(state: State) -> Self {
        match state {
            State::Pending { due } => Self::Pending { due },
            State::Accepted { at } => Self::Accepted { at },
            State::Rejected => Self::Rejected,
            State::Retired { at } => Self::Retired { at },
        }
    }
}

/// A contribution.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Contribution {
    /// Its datanet.
    pub datanet: DatanetId,
    /// Its position among the datanet's contributions, from 0.
    pub position: u32,
    /// Account that is paid for it.
    pub payout: AccountId,
    /// Digest of the shard.
    pub content: Digest,
    /// Root over the salted records.
    pub records_root: H256,
    /// Number of records.
    pub records: u32,
    /// Size of the shard in bytes.
    pub bytes: u64,
    /// Block in which it was submitted.
    pub submitted: BlockNumber,
    /// Where it stands.
    pub state: State,
}

/// A version of a datanet.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Version {
    /// Entries of the log that it covers.
    pub length: u32,
    /// Root over them.
    pub root: H256,
    /// Contributions in it.
    pub contributions: u32,
    /// Records in it.
    pub records: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Block in which it was cut.
    pub cut: BlockNumber,
}
