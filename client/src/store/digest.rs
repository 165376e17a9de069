//! Digests and their text forms.

use super::StoreError;
use cid::{multihash::Multihash, Cid};
use sha2::{Digest as _, Sha256};
use tributary_primitives::{Digest, H256};

/// Multicodec of raw bytes.
const RAW: u64 = 0x55;
/// Multihash code of sha2-256.
const SHA2_256: u64 = 0x12;

/// sha2-256 of bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    H256(Sha256::digest(bytes).into())
}

/// A digest as 64 hexadecimal digits, as in a blob's key.
pub fn digest_hex(digest: &Digest) -> String {
    hex::encode(digest.as_bytes())
}

/// A digest as people pass it on: a CIDv1 of raw bytes (`bafkrei…`).
pub fn cid_of(digest: &Digest) -> String {
    let hash = Multihash::<64>::wrap(SHA2_256, digest.as_bytes())
        .expect("32 bytes fit into a multihash of 64; qed");
    Cid::new_v1(RAW, hash).to_string()
}

/// Reads a digest in any of its forms: 64 digits, with or without `0x`, or a CIDv1.
pub fn parse_digest(text: &str) -> Result<Digest, StoreError> {
    let text = text.trim();
    let bad = || StoreError::BadDigest(text.into());
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 64 {
        if let Ok(bytes) = hex::decode(digits) {
            return <[u8; 32]>::try_from(bytes).map(H256).map_err(|_| bad());
        }
    }
    let cid: Cid = text.parse().map_err(|_| bad())?;
    if cid.codec() != RAW || cid.hash().code() != SHA2_256 {
        return Err(bad());
    }
    <[u8; 32]>::try_from(cid.hash().digest()).map(H256).map_err(|_| bad())
}
