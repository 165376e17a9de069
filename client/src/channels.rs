//! A consumer's book of payment channels: how much of each was promised.
//!
//! A promise is written and synced before its voucher leaves, so that after a crash the next one
//! is never below what the worker may already hold. One process at a time may use a channel.

use crate::{
    files::{self, Existing},
    keys::Key,
    vouchers::{self, SignedVoucher},
    ErrorKind,
};
use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};
use tributary_primitives::{
    money::{as_string, format_open},
    AccountId, Balance, ChannelId, H256,
};

/// What can go wrong with the book.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The book does not know the channel.
    #[error("channel {0} is not in the book of this machine; `tributary channel list` shows those that are")]
    Unknown(ChannelId),
    /// Another process uses the channel.
    #[error("another process is using channel {0}; wait until it is done")]
    Busy(ChannelId),
    /// The deposit does not cover the promise.
    #[error(
        "channel {channel} holds {} OPEN, and {} OPEN would be promised; \
         run `tributary channel top-up {channel} {}`",
        format_open(*deposit), format_open(*wanted), format_open(wanted.saturating_sub(*deposit))
    )]
    DepositTooSmall {
        /// The channel.
        channel: ChannelId,
        /// What was put in.
        deposit: Balance,
        /// What would be promised.
        wanted: Balance,
    },
    /// A worker claims more than it was promised.
    #[error(
        "the worker says that {} OPEN of channel {channel} are spent, but only {} OPEN were \
         promised; do not pay it any more",
        format_open(*spent), format_open(*promised)
    )]
    Overspent {
        /// The channel.
        channel: ChannelId,
        /// What the worker says.
        spent: Balance,
        /// What was promised.
        promised: Balance,
    },
    /// A file of the book is damaged.
    #[error("{path} cannot be read: {reason}; move it away, and the channel's state is taken from its worker")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ChannelError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown(_) => ErrorKind::NotFound,
            Self::DepositTooSmall { .. } | Self::Overspent { .. } => ErrorKind::Refused,
            Self::Busy(_) | Self::Damaged { .. } | Self::Io { .. } => ErrorKind::Failed,
        }
    }
}

/// What is known of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The chain it is on.
    pub genesis: H256,
    /// The channel.
    pub channel: ChannelId,
    /// Name of the key that pays.
    pub key: String,
    /// Who is paid.
    pub worker: AccountId,
    /// URL of the worker's API.
    pub endpoint: String,
    /// What was put in, in units.
    #[serde(with = "as_string")]
    pub deposit: Balance,
    /// Highest total ever promised, in units.
    #[serde(with = "as_string")]
    pub promised: Balance,
    /// What the worker last said is spent, in units.
    #[serde(with = "as_string")]
    pub spent: Balance,
}

/// The folder in which the book is kept, one file for each channel of each chain.
#[derive(Clone, Debug)]
pub struct ChannelBook {
    folder: PathBuf,
}

impl ChannelBook {
    /// The book in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, genesis: &H256, channel: ChannelId) -> PathBuf {
        let chain = hex::encode(genesis.as_bytes());
        let short = chain.get(..16).unwrap_or(&chain);
        self.folder.join(format!("{short}-{channel}.json"))
    }

    /// Everything known of the channels on a chain, by number.
    pub fn list(&self, genesis: &H256) -> Result<Vec<ChannelState>, ChannelError> {
        let failed = |source| ChannelError::Io { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut list = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                list.extend(read(&path)?.filter(|state| state.genesis == *genesis));
            }
        }
        list.sort_by_key(|state| state.channel);
        Ok(list)
    }

    /// Writes down a channel that was opened, or found.
    pub fn put(&self, state: &ChannelState) -> Result<(), ChannelError> {
        files::private_folder(&self.folder)
            .map_err(|source| ChannelError::Io { path: self.folder.clone(), source })?;
        write(&self.path(&state.genesis, state.channel), state)
    }

    /// Crosses a channel out.
    pub fn remove(&self, genesis: &H256, channel: ChannelId) -> Result<(), ChannelError> {
        let path = self.path(genesis, channel);
        for path in [path.with_extension("lock"), path] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ChannelError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a channel for this process alone, until the value is dropped.
    pub fn open(&self, genesis: &H256, channel: ChannelId) -> Result<OpenChannel, ChannelError> {
        let path = self.path(genesis, channel);
        if !path.exists() {
            return Err(ChannelError::Unknown(channel));
        }
        let lock_path = path.with_extension("lock");
        let failed = |source| ChannelError::Io { path: lock_path.clone(), source };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed)?;
        if !FileExt::try_lock_exclusive(&lock).map_err(failed)? {
            return Err(ChannelError::Busy(channel));
        }
        // Read after the lock is held: another process may have promised more a moment ago.
        let state = read(&path)?.ok_or(ChannelError::Unknown(channel))?;
        Ok(OpenChannel { path, state, _lock: lock })
    }
}

/// A channel that this process alone may promise from.
#[derive(Debug)]
pub struct OpenChannel {
    path: PathBuf,
    state: ChannelState,
    _lock: File,
}

impl OpenChannel {
    /// What is known of it.
    pub fn state(&self) -> &ChannelState {
        &self.state
    }

    /// Writes down a larger deposit.
    pub fn set_deposit(&mut self, deposit: Balance) -> Result<(), ChannelError> {
        self.state.deposit = deposit;
        write(&self.path, &self.state)
    }

    /// Promises that up to `cumulative` may be taken in total. The promise is on disk when this
    /// returns. A promise never falls below an earlier one, which the worker holds anyway.
    pub fn promise(
        &mut self,
        key: &Key,
        cumulative: Balance,
    ) -> Result<SignedVoucher, ChannelError> {
        let channel = self.state.channel;
        let total = cumulative.max(self.state.promised);
        if total > self.state.deposit {
            let deposit = self.state.deposit;
            return Err(ChannelError::DepositTooSmall { channel, deposit, wanted: total });
        }
        if total > self.state.promised {
            self.state.promised = total;
            write(&self.path, &self.state)?;
        }
        Ok(vouchers::sign(key, &self.state.genesis, channel, total))
    }

    /// Writes down what the worker says is spent.
    pub fn set_spent(&mut self, spent: Balance) -> Result<(), ChannelError> {
        if spent > self.state.promised {
            return Err(ChannelError::Overspent {
                channel: self.state.channel,
                spent,
                promised: self.state.promised,
            });
        }
        self.state.spent = spent;
        write(&self.path, &self.state)
    }
}

fn read(path: &Path) -> Result<Option<ChannelState>, ChannelError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ChannelError::Io { path: path.into(), source }),
        Ok(bytes) => bytes,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ChannelError::Damaged { path: path.into(), reason: error.to_string() })
}

fn write(path: &Path, state: &ChannelState) -> Result<(), ChannelError> {
    let failed = |source| ChannelError::Io { path: path.into(), source };
    let json = serde_json::to_vec_pretty(state).map_err(|error| failed(error.into()))?;
    files::write_private(path, &json, Existing::Replace).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (tempfile::TempDir, ChannelBook, Key) {
        let folder = tempfile::tempdir().unwrap();
        let book = ChannelBook::new(folder.path().join("channels"));
        let key = Key::from_uri("//Consumer").unwrap();
        book.put(&ChannelState {
            genesis: H256::repeat_byte(9),
            channel: ChannelId(4),
            key: "consumer".into(),
            worker: Key::from_uri("//Worker").unwrap().account(),
            endpoint: "http://127.0.0.1:8080".into(),
            deposit: 1_000,
            promised: 0,
            spent: 0,
        })
        .unwrap();
        (folder, book, key)
    }

    const GENESIS: H256 = H256::repeat_byte(9);

    #[test]
    fn a_promise_is_on_disk_before_the_voucher_leaves_and_never_falls() {
        let (_folder, book, key) = book();
        let mut channel = book.open(&GENESIS, ChannelId(4)).unwrap();
        let voucher = channel.promise(&key, 300).unwrap();
        assert_eq!(voucher.voucher.cumulative, 300);
        assert!(voucher.verify(&GENESIS, &key.account()));
        // The process dies here: nothing but the files is left.
        std::mem::drop(channel);
        let mut channel = book.open(&GENESIS, ChannelId(4)).unwrap();
        assert_eq!(channel.state().promised, 300);
        assert_eq!(channel.promise(&key, 200).unwrap().voucher.cumulative, 300);
        channel.set_spent(120).unwrap();
        drop(channel);
        let state = book.list(&GENESIS).unwrap().pop().unwrap();
        assert_eq!((state.promised, state.spent), (300, 120));
    }

    #[test]
    fn no_more_is_promised_than_was_put_in() {
        let (_folder, book, key) = book();
        let mut channel = book.open(&GENESIS, ChannelId(4)).unwrap();
        let error = channel.promise(&key, 1_001).unwrap_err();
        assert!(matches!(
            error,
            ChannelError::DepositTooSmall { deposit: 1_000, wanted: 1_001, .. }
        ));
        assert_eq!(channel.state().promised, 0);
        channel.set_deposit(2_000).unwrap();
        assert_eq!(channel.promise(&key, 1_001).unwrap().voucher.cumulative, 1_001);
        assert!(matches!(channel.set_spent(1_002), Err(ChannelError::Overspent { .. })));
        assert_eq!(channel.state().spent, 0);
    }

    #[test]
    fn one_process_at_a_time() {
        let (_folder, book, _key) = book();
        let first = book.open(&GENESIS, ChannelId(4)).unwrap();
        assert!(matches!(book.open(&GENESIS, ChannelId(4)), Err(ChannelError::Busy(ChannelId(4)))));
        drop(first);
        book.open(&GENESIS, ChannelId(4)).unwrap();
    }

    #[test]
    fn chains_are_kept_apart_and_damage_is_named() {
        let (folder, book, _key) = book();
        let other = H256::repeat_byte(8);
        assert!(book.list(&other).unwrap().is_empty());
        assert!(matches!(book.open(&other, ChannelId(4)), Err(ChannelError::Unknown(_))));
        assert!(matches!(book.open(&GENESIS, ChannelId(5)), Err(ChannelError::Unknown(_))));
        let path = folder.path().join("channels/0909090909090909-4.json");
        fs::write(&path, "{").unwrap();
        assert!(matches!(book.open(&GENESIS, ChannelId(4)), Err(ChannelError::Damaged { .. })));
        book.remove(&GENESIS, ChannelId(4)).unwrap();
        assert!(book.list(&GENESIS).unwrap().is_empty());
    }
}
