//! Keys of Ethereum: the relayer's own, from an encrypted file, and the validators' as the
//! contracts know them.

use super::{Address, L1Error};
use ethers::{
    core::k256::ecdsa::VerifyingKey,
    signers::{LocalWallet, Signer},
};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Environment variable with the password of the key file.
pub const PASSWORD_VARIABLE: &str = "TRIBUTARY_L1_PASSWORD";

/// Where a key file and its password are.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// The key file: in Ethereum's own encrypted format (version 3), or, for development alone, `0x`
    /// and 64 digits.
    pub file: PathBuf,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
}

/// A key that signs transactions.
#[derive(Clone)]
pub struct L1Key(pub(super) LocalWallet);

impl std::fmt::Debug for L1Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("L1Key").field(&self.address()).finish()
    }
}

impl L1Key {
    /// A key from its 32 bytes.
    pub fn from_bytes(secret: &[u8]) -> Result<Self, L1Error> {
        LocalWallet::from_bytes(secret)
            .map(Self)
            .map_err(|_| L1Error::BadKey("it must be 32 bytes, not zero, below the order".into()))
    }

    /// A key from `0x` and 64 digits: for development and tests.
    pub fn from_hex(secret: &str) -> Result<Self, L1Error> {
        let text = secret.trim();
        let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map_err(|error| L1Error::BadKey(error.to_string()))?;
        Self::from_bytes(&Zeroizing::new(bytes))
    }

    /// Opens a key file. The password of an encrypted one comes from its file, from the environment,
    /// or from the terminal.
    pub fn open(source: &KeySource) -> Result<Self, L1Error> {
        let text = std::fs::read_to_string(&source.file).map(Zeroizing::new).map_err(|error| {
            L1Error::Keystore { path: source.file.clone(), reason: error.to_string() }
        })?;
        if !text.trim_start().starts_with('{') {
            return Self::from_hex(&text);
        }
        let password = password(source)?;
        let secret = eth_keystore::decrypt_key(&source.file, password.as_bytes())
            .map(Zeroizing::new)
            .map_err(|error| L1Error::Keystore {
                path: source.file.clone(),
                reason: error.to_string(),
            })?;
        Self::from_bytes(&secret)
    }

    /// Writes this key, encrypted, to a new file that only its owner can read.
    pub fn save(&self, path: &Path, password: &str) -> Result<(), L1Error> {
        let bad = |reason: String| L1Error::Keystore { path: path.into(), reason };
        if path.exists() {
            return Err(bad("it exists already, and is not overwritten".into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| bad("it has no name".into()))?;
        let secret = Zeroizing::new(self.0.signer().to_bytes().to_vec());
        let mut rng = rand::thread_rng();
        eth_keystore::encrypt_key(folder, &mut rng, secret.as_slice(), password, Some(name))
            .map_err(|error| bad(error.to_string()))?;
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| bad(error.to_string()))
    }

    /// A new key.
    pub fn generate() -> Self {
        Self(LocalWallet::new(&mut rand::thread_rng()))
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.0.address()
    }
}

fn password(source: &KeySource) -> Result<Zeroizing<String>, L1Error> {
    if let Some(path) = &source.password_file {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| L1Error::Keystore { path: path.clone(), reason: error.to_string() })?;
        return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_string()));
    }
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        return Ok(Zeroizing::new(password));
    }
    if !std::io::stdin().is_terminal() {
        return Err(L1Error::PasswordNeeded { path: source.file.clone() });
    }
    rpassword::prompt_password(format!("Password of {}: ", source.file.display()))
        .map(Zeroizing::new)
        .map_err(|error| L1Error::Keystore { path: source.file.clone(), reason: error.to_string() })
}

/// The Ethereum address of a compressed secp256k1 key, as the authority sets hold it.
pub fn address_of(public: &[u8; 33]) -> Result<Address, L1Error> {
    let key = VerifyingKey::from_sec1_bytes(public)
        .map_err(|error| L1Error::BadKey(error.to_string()))?;
    Ok(ethers::utils::public_key_to_address(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first account of Hardhat's and anvil's well-known mnemonic.
    const FIRST: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_saved_key_is_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let (file, words) = (folder.path().join("key.json"), folder.path().join("password"));
        let key = L1Key::from_hex(FIRST).unwrap();
        assert_eq!(format!("{:?}", key.address()), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
        key.save(&file, "correct").unwrap();
        assert!(matches!(key.save(&file, "other"), Err(L1Error::Keystore { .. })));

        let mut source = KeySource { file, password_file: Some(words.clone()) };
        std::fs::write(&words, "correct\n").unwrap();
        assert_eq!(L1Key::open(&source).unwrap().address(), key.address());
        std::fs::write(&words, "wrong\n").unwrap();
        assert!(matches!(L1Key::open(&source), Err(L1Error::Keystore { .. })));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, format!("{FIRST}\n")).unwrap();
        source.file = plain;
        assert_eq!(L1Key::open(&source).unwrap().address(), key.address());
        source.file = folder.path().join("missing.json");
        assert!(matches!(L1Key::open(&source), Err(L1Error::Keystore { .. })));
    }

    #[test]
    fn addresses_are_those_that_ethereum_derives() {
        let key = L1Key::from_hex(FIRST).unwrap();
        let point = key.0.signer().verifying_key().to_encoded_point(true);
        let public: [u8; 33] = point.as_bytes().try_into().unwrap();
        assert_eq!(address_of(&public).unwrap(), key.address());
        assert!(address_of(&[7; 33]).is_err());
    }
}
