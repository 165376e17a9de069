//! What can go wrong in the relayer.

use crate::{addresses::AddressesError, journal::JournalError, l1::L1Error};
use tributary_client::ChainError;

/// What can go wrong in the relayer.
#[derive(Debug, thiserror::Error)]
pub enum RelayerError {
    /// Ethereum.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// The chain.
    #[error(transparent)]
    L2(#[from] ChainError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file of addresses.
    #[error(transparent)]
    Addresses(#[from] AddressesError),
    /// Something in the configuration.
    #[error("{0}")]
    Config(String),
    /// A file.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something the chain gave that should not be possible.
    #[error("{what} of the chain cannot be used: {reason}")]
    Unusable {
        /// What it is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The anchor takes nothing more.
    #[error("the anchor on Ethereum is {why}; nothing can be anchored until people act")]
    AnchorStopped {
        /// Frozen or stale.
        why: &'static str,
    },
    /// A contract refused what should have passed.
    #[error("`{purpose}` was refused: {reason}")]
    Refused {
        /// What it was for.
        purpose: String,
        /// The contract's words.
        reason: String,
    },
    /// A deployment that is not as it should be.
    #[error("{what} is {found}, not {expected}; this deployment must not be used")]
    Wiring {
        /// What differs.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl RelayerError {
    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::L1(error) => error.label(),
            Self::L2(error) => match error.kind() {
                tributary_client::ErrorKind::Unreachable => "l2_unreachable",
                _ => "l2_refused",
            },
            Self::Journal(_) => "journal",
            Self::Addresses(_) | Self::Config(_) => "config",
            Self::Io { .. } => "io",
            Self::Unusable { .. } => "l2_unusable",
            Self::AnchorStopped { .. } => "anchor_stopped",
            Self::Refused { .. } => "refused",
            Self::Wiring { .. } => "wiring",
        }
    }

    /// Whether the same may succeed later, without anybody changing anything here.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::L1(error) => matches!(
                error,
                L1Error::Transport(_)
                    | L1Error::Answer(_)
                    | L1Error::FeeAboveLimit { .. }
                    | L1Error::Poor { .. }
                    | L1Error::NotMined { .. }
                    | L1Error::Journal(_)
            ),
            Self::L2(error) => error.kind() == tributary_client::ErrorKind::Unreachable,
            Self::Journal(_) | Self::Io { .. } => true,
            _ => false,
        }
    }

    /// For failures of the file system.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    pub(crate) fn unusable(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Unusable { what: what.into(), reason: reason.to_string() }
    }
}

/// Outcome of what the relayer does.
pub type Result<T> = std::result::Result<T, RelayerError>;
