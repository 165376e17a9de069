//! What the pallet keeps.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::{
    frame_support::{traits::ConstU32, BoundedVec},
    sp_core::{H160, H256},
};
use scale_info::TypeInfo;
use tributary_primitives::{
    bridge::{withdrawal::nonce, FailureReason, Withdrawal, MAX_MESSAGE},
    Balance,
};

/// What a withdrawal calls its target with: a message, or the call to the bridge, which is shorter.
pub type MessageData = BoundedVec<u8, ConstU32<MAX_MESSAGE>>;

/// A withdrawal without what follows from its position.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct WithdrawalRow {
    /// Who made it, as Ethereum sees it.
    pub sender: H160,
    /// Who is called.
    pub target: H160,
    /// Gas that the call must get.
    pub gas_limit: u64,
    /// What the target is called with.
    pub data: MessageData,
}

impl WithdrawalRow {
    /// As Ethereum knows it.
    pub fn at(self, index: u32) -> Withdrawal {
        Withdrawal {
            nonce: nonce(index),
            sender: self.sender,
            target: self.target,
            value: 0.into(),
            gas_limit: self.gas_limit.into(),
            data: self.data.into_inner(),
        }
    }
}

/// How many deposits there are.
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
pub struct Counts {
    /// Whose hashes are known.
    pub known: u64,
    /// That have been executed, successfully or not.
    pub executed: u64,
    /// The rolling hash over all that are known.
    pub rolling: H256,
}

impl Counts {
    /// Known and not yet executed.
    pub fn waiting(&self) -> u64 {
        self.known.saturating_sub(self.executed)
    }
}

/// A deposit of OPEN that could not be credited and can be sent back.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct FailedDeposit {
    /// Who made it on Ethereum.
    pub from: H160,
    /// Units that lie locked for it.
    pub amount: Balance,
    /// Why it failed.
    pub reason: FailureReason,
}

/// A time in which the bridge stands still.
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
pub struct Pause<BlockNumber> {
    /// The block in which it began.
    pub since: BlockNumber,
    /// The last block that it covers.
    pub until: BlockNumber,
}

/// What a deposit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<AccountId> {
    /// OPEN was credited.
    Credited {
        /// Who got it.
        who: AccountId,
        /// Units.
        amount: Balance,
    },
    /// A dispatcher took the message.
    Delivered {
        /// Who sent it.
        from: H160,
        /// Which dispatcher.
        to: H160,
    },
    /// Nothing.
    Failed {
        /// Why.
        reason: FailureReason,
        /// What can be sent back: to whom, and how many units.
        refund: Option<(H160, Balance)>,
    },
}
