//! The folder of key files.

use super::{
    address, parse_address,
    seal::{self, Kdf, OpenError, Sealed, Secret},
    Key, KeyError,
};
use crate::files::{self, Existing};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tributary_primitives::AccountId;
use zeroize::Zeroizing;

const FORMAT: u32 = 1;

/// What opens a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// A password.
    Password,
    /// Random bytes in a file beside it.
    File,
}

/// What can be said of a key without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// Its account, as people write it.
    pub address: String,
    /// Its account.
    #[serde(skip)]
    pub account: AccountId,
    /// What opens it.
    pub protection: Protection,
    /// When it was made or imported, in seconds since 1970.
    pub created: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    format: u32,
    scheme: String,
    address: String,
    created: u64,
    sealed: Sealed,
}

/// The folder of key files.
#[derive(Clone, Debug)]
pub struct KeyStore {
    folder: PathBuf,
}

impl KeyStore {
    /// The keys in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyError> {
        let fits = (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !fits {
            return Err(KeyError::BadName(name.into()));
        }
        Ok(self.folder.join(format!("{name}.json")))
    }

    /// Whether there is a key of this name.
    pub fn exists(&self, name: &str) -> Result<bool, KeyError> {
        Ok(self.path(name)?.exists())
    }

    /// All keys, by name.
    pub fn list(&self) -> Result<Vec<KeyInfo>, KeyError> {
        let failed = |source| KeyError::Io { path: self.folder.clone(), source };
        let mut keys = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keys),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "json")
                && self.path(name).is_ok()
            {
                keys.push(self.info(name)?);
            }
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// What can be said of a key without opening it.
    pub fn info(&self, name: &str) -> Result<KeyInfo, KeyError> {
        let (file, account) = self.read(name)?;
        let protection = match file.sealed.kdf {
            Kdf::Argon2id { .. } => Protection::Password,
            Kdf::File => Protection::File,
        };
        Ok(KeyInfo {
            name: name.into(),
            address: address(&account),
            account,
            protection,
            created: file.created,
        })
    }

    /// Makes a fresh key. The words are returned once and kept only sealed.
    pub fn create(
        &self,
        name: &str,
        password: Option<&str>,
    ) -> Result<(Key, Zeroizing<String>), KeyError> {
        let (key, words) = Key::generate();
        self.write(name, &key, &words, password)?;
        Ok((key, words))
    }

    /// Takes over a key from its words, its seed, or a development name.
    pub fn import(
        &self,
        name: &str,
        secret: &str,
        password: Option<&str>,
    ) -> Result<Key, KeyError> {
        let key = Key::from_uri(secret)?;
        self.write(name, &key, secret.trim(), password)?;
        Ok(key)
    }

    fn write(
        &self,
        name: &str,
        key: &Key,
        uri: &str,
        password: Option<&str>,
    ) -> Result<(), KeyError> {
        let path = self.path(name)?;
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| KeyError::Io { path, source }
        };
        files::private_folder(&self.folder).map_err(io(&self.folder))?;
        if path.exists() {
            return Err(KeyError::Exists(name.into()));
        }
        let bound = bound(&key.account());
        let sealed = match password {
            Some(password) => seal::seal(uri.as_bytes(), &bound, &Secret::Password(password)),
            None => {
                let secret = Zeroizing::new(seal::random::<32>());
                let beside = path.with_extension("secret");
                // The secret is there before the file that needs it; a left-over one opens nothing.
                files::write_private(
                    &beside,
                    hex::encode(secret.as_ref()).as_bytes(),
                    Existing::Replace,
                )
                .map_err(io(&beside))?;
                seal::seal(uri.as_bytes(), &bound, &Secret::File(&secret))
            }
        }
        .map_err(KeyError::Seal)?;
        let file = KeyFile {
            format: FORMAT,
            scheme: "sr25519".into(),
            address: key.address(),
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            sealed,
        };
        let json = serde_json::to_vec_pretty(&file).map_err(|e| KeyError::Seal(e.to_string()))?;
        files::write_private(&path, &json, Existing::Refuse).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                KeyError::Exists(name.into())
            } else {
                KeyError::Io { path: path.clone(), source }
            }
        })
    }

    fn read(&self, name: &str) -> Result<(KeyFile, AccountId), KeyError> {
        let path = self.path(name)?;
        let bytes = self.read_private(name, &path)?;
        let bad = |reason: String| KeyError::BadFile { path: path.clone(), reason };
        let file: KeyFile =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if file.format != FORMAT || file.scheme != "sr25519" {
            return Err(bad(format!("format {} of {} is unknown", file.format, file.scheme)));
        }
        let account = parse_address(&file.address).map_err(|error| bad(error.to_string()))?;
        Ok((file, account))
    }

    fn read_private(&self, name: &str, path: &Path) -> Result<Vec<u8>, KeyError> {
        let io = |source: io::Error| {
            if source.kind() == io::ErrorKind::NotFound {
                KeyError::NotFound { name: name.into(), folder: self.folder.clone() }
            } else {
                KeyError::Io { path: path.into(), source }
            }
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeyError::TooOpen { path: path.into(), mode });
            }
        }
        fs::read(path).map_err(io)
    }

    /// Opens a key.
    pub fn load(&self, name: &str, password: Option<&str>) -> Result<Key, KeyError> {
        let uri = self.export(name, password)?;
        let key = Key::from_uri(&uri)?;
        Ok(key)
    }

    /// The secret of a key: its words, or what it was imported from.
    pub fn export(
        &self,
        name: &str,
        password: Option<&str>,
    ) -> Result<Zeroizing<String>, KeyError> {
        let (file, account) = self.read(name)?;
        let path = self.path(name)?;
        let bound = bound(&account);
        let opened = match file.sealed.kdf {
            Kdf::Argon2id { .. } => {
                let password = password.ok_or_else(|| KeyError::PasswordNeeded(name.into()))?;
                seal::open(&file.sealed, &bound, &Secret::Password(password))
            }
            Kdf::File => {
                let beside = path.with_extension("secret");
                let missing =
                    || KeyError::SecretMissing { name: name.into(), path: beside.clone() };
                let text = match self.read_private(name, &beside) {
                    Err(KeyError::NotFound { .. }) => return Err(missing()),
                    other => Zeroizing::new(other?),
                };
                let secret: Zeroizing<[u8; 32]> = hex::decode(text.trim_ascii())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Zeroizing::new)
                    .ok_or_else(missing)?;
                match seal::open(&file.sealed, &bound, &Secret::File(&secret)) {
                    Err(OpenError::Wrong) => return Err(missing()),
                    other => other,
                }
            }
        };
        let text = opened.map_err(|error| match error {
            OpenError::Wrong => KeyError::WrongPassword(name.into()),
            OpenError::Bad(reason) => KeyError::BadFile { path: path.clone(), reason },
        })?;
        let uri = String::from_utf8(text.to_vec())
            .map(Zeroizing::new)
            .map_err(|error| KeyError::BadFile { path: path.clone(), reason: error.to_string() })?;
        if Key::from_uri(&uri)?.account() != account {
            return Err(KeyError::BadFile { path, reason: "its secret is of another key".into() });
        }
        Ok(uri)
    }

    /// Deletes a key. Without its words nobody can bring it back.
    pub fn delete(&self, name: &str) -> Result<(), KeyError> {
        let path = self.path(name)?;
        fs::remove_file(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                KeyError::NotFound { name: name.into(), folder: self.folder.clone() }
            } else {
                KeyError::Io { path: path.clone(), source }
            }
        })?;
        let beside = path.with_extension("secret");
        match fs::remove_file(&beside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeyError::Io { path: beside, source })
            }
            _ => files::sync_parent(&path).map_err(|source| KeyError::Io { path, source }),
        }
    }
}

/// What a sealed secret is bound to: a key file cannot be made to pass for another account's.
fn bound(account: &AccountId) -> Vec<u8> {
    let mut bound = b"tributary/key:v1".to_vec();
    bound.extend_from_slice(account.as_ref());
    bound
}
