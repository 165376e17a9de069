//! The crate's error, and what kinds of it there are.

use crate::{
    chain::ChainError, channels::ChannelError, home::HomeError, keys::KeyError, shards::ShardError,
    store::StoreError, vouchers::VoucherError, worker_api::WorkerError,
};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Something went wrong here: a file, a disk, a program.
    Failed,
    /// What was given is not of the right form.
    Usage,
    /// What was asked for does not exist.
    NotFound,
    /// The other side does not answer; trying later may help.
    Unreachable,
    /// The other side answered, and said no.
    Refused,
}

impl ErrorKind {
    /// A short name, as used in JSON and in metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The book of payment channels.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The folder in which everything local is kept.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Shards of records.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Vouchers.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    /// A worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Chain(error) => error.kind(),
            Self::Channel(error) => error.kind(),
            Self::Home(_) => ErrorKind::Failed,
            Self::Key(error) => error.kind(),
            Self::Shard(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Voucher(_) => ErrorKind::Usage,
            Self::Worker(error) => error.kind(),
        }
    }
}
