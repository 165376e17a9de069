//! Keys: sr25519 pairs, kept encrypted.
//!
//! A key file `NAME.json` (readable by its owner alone) holds the account in the clear and the
//! secret sealed by ChaCha20-Poly1305. With a password, the sealing key is argon2id of it. Without
//! one, the sealing key is 32 random bytes in `NAME.secret` beside the key file, equally readable
//! by its owner alone: that protects a copied key file, not a copied folder. Whoever keeps more
//! than a payout key there should give a password.

mod files;
mod seal;

pub use files::{KeyInfo, KeyStore, Protection};

use crate::ErrorKind;
use polkadot_sdk::sp_core::{
    crypto::Ss58Codec,
    sr25519::{Pair as Sr25519, Signature},
    Pair,
};
use std::{fmt, path::PathBuf};
use tributary_primitives::{signing::Signable, AccountId, MultiSignature, H256};
use zeroize::Zeroizing;

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key's name cannot be a file name everywhere.
    #[error("`{0}` is not a name for a key: use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`")]
    BadName(String),
    /// There is no key of this name.
    #[error("there is no key `{name}` in {folder}; `tributary key list` shows those there are")]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A key of this name is there already.
    #[error("there is a key `{0}` already; choose another name, or delete that one first")]
    Exists(String),
    /// The password does not open the key.
    #[error("the password does not open the key `{0}`")]
    WrongPassword(String),
    /// The key has a password and none was given.
    #[error("the key `{0}` has a password; give it at the prompt or in TRIBUTARY_PASSWORD")]
    PasswordNeeded(String),
    /// The random secret that opens the key is missing or damaged.
    #[error("the secret {path} that opens the key `{name}` is missing or damaged; restore it, or import the key again from its words")]
    SecretMissing {
        /// The key.
        name: String,
        /// Where its secret should be.
        path: PathBuf,
    },
    /// Others can read the file.
    #[error("{path} can be read by others (mode {mode:03o}); run `chmod 600 {path}` and think about whether it was read")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key file.
    #[error("{path} is not a key file: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What was given is not a secret from which a key can be made.
    #[error("that is no secret of a key: give 12 to 24 words, a 0x… seed of 32 bytes, or a development name like //Alice")]
    BadSecret,
    /// Sealing failed.
    #[error("cannot seal the key: {0}")]
    Seal(String),
    /// What was given is not an account.
    #[error("`{0}` is not an account: give an address that begins with 5, or 0x and 64 digits")]
    BadAddress(String),
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl KeyError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName(_) | Self::BadSecret | Self::BadAddress(_) => ErrorKind::Usage,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Exists(_)
            | Self::WrongPassword(_)
            | Self::PasswordNeeded(_)
            | Self::SecretMissing { .. }
            | Self::TooOpen { .. }
            | Self::BadFile { .. }
            | Self::Seal(_)
            | Self::Io { .. } => ErrorKind::Failed,
        }
    }
}

/// An sr25519 key.
#[derive(Clone)]
pub struct Key {
    pair: Sr25519,
    account: AccountId,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.address()).finish()
    }
}

impl Key {
    fn new(pair: Sr25519) -> Self {
        Self { account: AccountId::from(pair.public().0), pair }
    }

    /// A fresh key, with the twelve words from which it can be made again.
    pub fn generate() -> (Self, Zeroizing<String>) {
        let (pair, words, _) = Sr25519::generate_with_phrase(None);
        (Self::new(pair), Zeroizing::new(words))
    }

    /// The key of words (with an optional `//path`), of a `0x` seed, or of a development name like
    /// `//Alice`.
    pub fn from_uri(uri: &str) -> Result<Self, KeyError> {
        Sr25519::from_string(uri.trim(), None).map(Self::new).map_err(|_| KeyError::BadSecret)
    }

    /// Its account.
    pub fn account(&self) -> AccountId {
        self.account.clone()
    }

    /// Its account as people write it.
    pub fn address(&self) -> String {
        address(&self.account)
    }

    pub(crate) fn sign_sr25519(&self, bytes: &[u8]) -> Signature {
        self.pair.sign(bytes)
    }

    /// Signs bytes.
    pub fn sign_bytes(&self, bytes: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.sign_sr25519(bytes))
    }

    /// Signs a message for the chain of this genesis hash.
    pub fn sign<M: Signable>(&self, message: &M, genesis: &H256) -> MultiSignature {
        self.sign_bytes(&message.signing_payload(genesis))
    }
}

/// An account as people write it.
pub fn address(account: &AccountId) -> String {
    account.to_ss58check()
}

/// Reads an account from its address, or from `0x` and 64 digits.
pub fn parse_address(text: &str) -> Result<AccountId, KeyError> {
    let text = text.trim();
    let bad = || KeyError::BadAddress(text.into());
    if let Some(digits) = text.strip_prefix("0x") {
        let bytes = hex::decode(digits).map_err(|_| bad())?;
        return <[u8; 32]>::try_from(bytes).map(AccountId::from).map_err(|_| bad());
    }
    AccountId::from_ss58check(text).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
