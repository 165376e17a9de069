//! Sealing a secret under a password, or under random bytes.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    aead::{Aead, KeyInit, Payload},
    ChaCha20Poly1305, Nonce,
};
use rand::{rngs::OsRng, RngCore};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Memory, passes and lanes of argon2id for new keys: the second of RFC 9106's recommendations,
/// 64 MiB in 3 passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// More than this is not spent on a file that somebody else may have written.
const MEMORY_MAX_KIB: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;

/// How the sealing key is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Kdf {
    /// Argon2id of a password.
    Argon2id { salt: String, memory_kib: u32, passes: u32, lanes: u32 },
    /// The bytes of the file beside the key file.
    File,
}

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub kdf: Kdf,
    pub cipher: String,
    pub nonce: String,
    pub text: String,
}

const CIPHER: &str = "chacha20poly1305";

/// What a sealing key is made from.
pub(super) enum Secret<'a> {
    Password(&'a str),
    File(&'a [u8; 32]),
}

/// Why opening failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// The file does not make sense.
    Bad(String),
    /// The secret is not the right one, or the file was changed.
    Wrong,
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

fn derive(kdf: &Kdf, secret: &Secret<'_>) -> Result<Zeroizing<[u8; 32]>, String> {
    match (kdf, secret) {
        (Kdf::File, Secret::File(bytes)) => Ok(Zeroizing::new(**bytes)),
        (Kdf::Argon2id { salt, memory_kib, passes, lanes }, Secret::Password(password)) => {
            if *memory_kib > MEMORY_MAX_KIB || *passes > PASSES_MAX {
                return Err("its argon2 settings ask for too much".into());
            }
            let params = Params::new(*memory_kib, *passes, *lanes, Some(32))
                .map_err(|error| error.to_string())?;
            let salt = hex::decode(salt).map_err(|_| "its salt is not hexadecimal".to_string())?;
            let mut key = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(password.as_bytes(), &salt, key.as_mut())
                .map_err(|error| error.to_string())?;
            Ok(key)
        }
        _ => Err("the kind of secret does not fit".into()),
    }
}

/// Seals `text`; `bound` is not secret but cannot be changed afterwards.
pub(super) fn seal(text: &[u8], bound: &[u8], secret: &Secret<'_>) -> Result<Sealed, String> {
    let kdf = match secret {
        Secret::File(_) => Kdf::File,
        Secret::Password(_) => Kdf::Argon2id {
            salt: hex::encode(random::<16>()),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
        },
    };
    let key = derive(&kdf, secret)?;
    let nonce = random::<12>();
    let sealed = ChaCha20Poly1305::new(key.as_ref().into())
        .encrypt(Nonce::from_slice(&nonce), Payload { msg: text, aad: bound })
        .map_err(|error| error.to_string())?;
    Ok(Sealed { kdf, cipher: CIPHER.into(), nonce: hex::encode(nonce), text: hex::encode(sealed) })
}

/// Opens what [`seal`] sealed.
pub(super) fn open(
    sealed: &Sealed,
    bound: &[u8],
    secret: &Secret<'_>,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let bad = |reason: &str| OpenError::Bad(reason.into());
    if sealed.cipher != CIPHER {
        return Err(bad("its cipher is unknown"));
    }
    let key = derive(&sealed.kdf, secret).map_err(OpenError::Bad)?;
    let nonce: [u8; 12] = hex::decode(&sealed.nonce)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| bad("its nonce is not 12 bytes"))?;
    let text = hex::decode(&sealed.text).map_err(|_| bad("its text is not hexadecimal"))?;
    ChaCha20Poly1305::new(key.as_ref().into())
        .decrypt(Nonce::from_slice(&nonce), Payload { msg: &text, aad: bound })
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Wrong)
}
