//! Typed ids. Each is its own type, so that one can never be passed for another.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::fmt;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
            DecodeWithMemTracking, MaxEncodedLen, TypeInfo, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id after this one; `None` when the space is used up.
            pub fn next(self) -> Option<Self> {
                self.0.checked_add(1).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }
    )*};
}

ids! {
    /// A datanet.
    DatanetId(u32);
    /// A contribution, numbered over all datanets.
    ContributionId(u64);
    /// A training job.
    JobId(u64);
    /// A model: a base model or an adapter.
    ModelId(u64);
    /// A payment channel.
    ChannelId(u64);
    /// A settlement batch.
    BatchId(u64);
}

/// One version of one datanet.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct VersionRef {
    /// The datanet.
    pub datanet: DatanetId,
    /// Its version number, from 1.
    pub number: u32,
}

/// What stake can stand behind.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub enum Subject {
    /// A datanet.
    Datanet(DatanetId),
    /// A contribution.
    Contribution(ContributionId),
    /// A model.
    Model(ModelId),
    /// A worker, by its account.
    Worker(crate::AccountId),
}
