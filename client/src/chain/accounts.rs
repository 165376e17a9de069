//! Accounts, storage and constants, read raw by the metadata's hashers.

use super::{Chain, ChainError};
use codec::{Decode, Encode};
use polkadot_sdk::sp_crypto_hashing::{blake2_128, blake2_256, twox_128, twox_256, twox_64};
use subxt::{ext::frame_decode::storage::StorageHasher, utils::H256 as SubxtHash};
use tributary_primitives::{AccountId, Balance, H256};

/// What an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Balances {
    /// Free, in units.
    #[serde(with = "tributary_primitives::money::as_string")]
    pub free: Balance,
    /// Held for stakes, deposits, escrows and channels, in units.
    #[serde(with = "tributary_primitives::money::as_string")]
    pub held: Balance,
    /// Part of free and held that may not be transferred, in units.
    #[serde(with = "tributary_primitives::money::as_string")]
    pub frozen: Balance,
    /// Transactions that it has signed.
    pub nonce: u32,
    /// Whether it is on chain at all.
    pub exists: bool,
}

impl Balances {
    /// Free and held together.
    pub fn total(&self) -> Balance {
        self.free.saturating_add(self.held)
    }
}

/// `frame_system::AccountInfo` with `pallet_balances::AccountData`.
#[derive(Decode)]
struct AccountInfo {
    nonce: u32,
    _references: [u32; 3],
    free: Balance,
    held: Balance,
    frozen: Balance,
}

impl Chain {
    /// What an account has at the best block.
    pub async fn balance(&self, account: &AccountId) -> Result<Balances, ChainError> {
        self.balance_at(account, None).await
    }

    /// What an account has at a block; at the best one if none is named.
    pub async fn balance_at(
        &self,
        account: &AccountId,
        block: Option<H256>,
    ) -> Result<Balances, ChainError> {
        let info: Option<AccountInfo> =
            self.storage_at("System", "Account", &[account.encode()], block).await?;
        Ok(info.map_or_else(Balances::default, |info| Balances {
            free: info.free,
            held: info.held,
            frozen: info.frozen,
            nonce: info.nonce,
            exists: true,
        }))
    }

    /// Everything that exists, in units.
    pub async fn issuance(&self) -> Result<Balance, ChainError> {
        Ok(self.storage("Balances", "TotalIssuance", &[]).await?.unwrap_or_default())
    }

    /// A storage entry at the best block; `keys` are encoded keys of a map, in order.
    pub async fn storage<R: Decode>(
        &self,
        pallet: &str,
        entry: &str,
        keys: &[Vec<u8>],
    ) -> Result<Option<R>, ChainError> {
        self.storage_at(pallet, entry, keys, None).await
    }

    /// A storage entry at a block; at the best one if none is named.
    pub async fn storage_at<R: Decode>(
        &self,
        pallet: &str,
        entry: &str,
        keys: &[Vec<u8>],
        block: Option<H256>,
    ) -> Result<Option<R>, ChainError> {
        let hash = match block {
            Some(hash) => hash,
            None => self.best().await?.hash,
        };
        let missing = || ChainError::NoSuchItem { pallet: pallet.into(), item: entry.into() };
        let at = self.at(hash).await?;
        let found = at.metadata_ref().pallet_by_name(pallet).ok_or_else(missing)?;
        let storage = found.storage().ok_or_else(missing)?;
        let hashers: Vec<StorageHasher> = storage
            .entry_by_name(entry)
            .ok_or_else(missing)?
            .keys()
            .map(|key| key.hasher)
            .collect();
        let mut key = [twox_128(storage.prefix().as_bytes()), twox_128(entry.as_bytes())].concat();
        if hashers.len() != keys.len() {
            return Err(ChainError::Args {
                call: format!("{pallet}::{entry}"),
                reason: format!("it has {} keys, not {}", hashers.len(), keys.len()),
            });
        }
        for (hasher, part) in hashers.iter().zip(keys) {
            key.extend(hashed(hasher, part));
        }
        let at = Some(SubxtHash(hash.0));
        let bytes = self
            .retrying(|| async { Ok(self.inner.legacy.state_get_storage(&key, at).await?) })
            .await?;
        bytes.map(|bytes| decode(&format!("{pallet}::{entry}"), &bytes)).transpose()
    }

    /// A constant of a pallet.
    pub async fn constant<R: Decode>(&self, pallet: &str, name: &str) -> Result<R, ChainError> {
        let best = self.best().await?;
        let at = self.at(best.hash).await?;
        let bytes = at
            .metadata_ref()
            .pallet_by_name(pallet)
            .and_then(|found| found.constant_by_name(name).map(|c| c.value().to_vec()))
            .ok_or_else(|| ChainError::NoSuchItem { pallet: pallet.into(), item: name.into() })?;
        decode(&format!("{pallet}::{name}"), &bytes)
    }
}

fn decode<R: Decode>(what: &str, bytes: &[u8]) -> Result<R, ChainError> {
    R::decode(&mut &*bytes)
        .map_err(|error| ChainError::Decode { what: what.into(), reason: error.to_string() })
}

fn hashed(hasher: &StorageHasher, key: &[u8]) -> Vec<u8> {
    let with_key = |hash: &[u8]| [hash, key].concat();
    match hasher {
        StorageHasher::Blake2_128 => blake2_128(key).to_vec(),
        StorageHasher::Blake2_256 => blake2_256(key).to_vec(),
        StorageHasher::Blake2_128Concat => with_key(&blake2_128(key)),
        StorageHasher::Twox128 => twox_128(key).to_vec(),
        StorageHasher::Twox256 => twox_256(key).to_vec(),
        StorageHasher::Twox64Concat => with_key(&twox_64(key)),
        StorageHasher::Identity => key.to_vec(),
    }
}
