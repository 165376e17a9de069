//! Submitting calls and waiting for them.

use super::{error, AtBlock, CallData, Chain, ChainError, Config, Included};
use crate::{
    calls::{
        system::{BatchAll, Sudo},
        Call,
    },
    keys::Key,
};
use polkadot_sdk::sp_crypto_hashing::blake2_256;
use rand::Rng;
use std::{sync::Arc, time::Duration};
use subxt::{
    config::{
        ClientState, DefaultExtrinsicParamsBuilder, DefaultTransactionExtensions,
        TransactionExtensions,
    },
    ext::frame_decode,
    rpcs::{self, methods::legacy::TransactionStatus},
    tx::Signer,
    utils::AccountId32,
};
use tokio::time::Instant;
use tributary_primitives::H256;

/// How long to wait for a block to hold a transaction.
const INCLUSION: Duration = Duration::from_secs(120);
/// How long to wait for a block to become final.
const FINALITY: Duration = Duration::from_secs(300);
/// Blocks for which a signed transaction is valid.
const MORTALITY: u64 = 64;
/// How often a transaction is signed anew when another one took its nonce.
const NONCE_ATTEMPTS: u32 = 10;

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// A best block holds the transaction: a few seconds, and it could still be undone.
    #[default]
    Block,
    /// A final block holds the transaction.
    Final,
}

/// Hash of an encoded transaction.
pub(crate) fn hash(encoded: &[u8]) -> H256 {
    H256(blake2_256(encoded))
}

impl Signer<Config> for Key {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.account().into())
    }

    fn sign(&self, payload: &[u8]) -> subxt::utils::MultiSignature {
        subxt::utils::MultiSignature::Sr25519(self.sign_sr25519(payload).0)
    }
}

impl Chain {
    /// Signs and submits a call, and waits until a best block holds it. A call that fails in the
    /// chain is an error.
    pub async fn submit<C: Call>(&self, call: &C, key: &Key) -> Result<Included, ChainError> {
        self.submit_wait(call, key, Wait::Block).await
    }

    /// Signs and submits a call, and waits.
    pub async fn submit_wait<C: Call>(
        &self,
        call: &C,
        key: &Key,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        let data = self.call_data(call).await?;
        self.submit_data(&data, key, wait).await
    }

    /// Signs and submits an encoded call, and waits.
    pub async fn submit_data(
        &self,
        data: &CallData,
        key: &Key,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        let account = key.account();
        let mut attempt = 1;
        loop {
            let lock = {
                let mut locks = self.inner.signing.lock().await;
                Arc::clone(locks.entry(account.clone()).or_default())
            };
            // The pool knows the nonces of what it holds, so the lock is needed only until the
            // transaction is in it; then the next one of this account may be signed.
            let turn = lock.lock().await;
            let sent = async {
                let encoded = self.signed(data, key).await?;
                let from = self.best().await?.number;
                let watched = self.watch(&encoded).await?;
                Ok((encoded, from, watched))
            }
            .await;
            drop(turn);
            match sent {
                Ok((encoded, from, watched)) => {
                    return self.follow(hash(&encoded), from, watched, wait).await;
                }
                Err(error) if ChainError::is_nonce_conflict(&error) && attempt < NONCE_ATTEMPTS => {
                    tracing::debug!(call = data.call(), %error, "signing anew");
                    // Others sign for the same account: a pause of random length lets one of them
                    // go first.
                    let pause = rand::thread_rng().gen_range(100..800);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Submits a call that the chain authorises by what it carries, without an account, and waits.
    pub async fn submit_general<C: Call>(
        &self,
        call: &C,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        let best = self.best().await?;
        let at = self.at(best.hash).await?;
        let data = CallData::new(call, at.metadata_ref())?;
        let encoded = general(&data, &at)?;
        let watched = match self.watch(&encoded).await {
            Err(ChainError::Rejected { reason, custom: Some(index) }) => {
                return Err(authorization_error(&data, &at, index, reason));
            }
            other => other?,
        };
        self.follow(hash(&encoded), best.number, watched, wait).await
    }

    /// Submits a call as root, where the chain has a sudo key and `key` is it. A call that fails
    /// as root is an error.
    pub async fn sudo(
        &self,
        data: &CallData,
        key: &Key,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        let included = self.submit_wait(&Sudo(data.clone()), key, wait).await?;
        // The outer call succeeds even when the inner one does not.
        if let Some(event) = included.events.iter().find(|event| event.is("Sudo", "Sudid")) {
            if let Some((1, error)) = event.fields.split_first() {
                let metadata = self.at(included.block).await?.metadata();
                return Err(super::events::dispatch_error(error, metadata));
            }
        }
        Ok(included)
    }

    /// Submits several calls that are carried out together, or not at all.
    pub async fn batch_all(
        &self,
        calls: Vec<CallData>,
        key: &Key,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        self.submit_wait(&BatchAll(calls), key, wait).await
    }

    /// What a signed call would cost, in units.
    pub async fn fee<C: Call>(&self, call: &C, key: &Key) -> Result<u128, ChainError> {
        let data = self.call_data(call).await?;
        let encoded = self.signed(&data, key).await?;
        let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        // RuntimeDispatchInfo: weight (two compact numbers), class, partial fee.
        let (_, _, _, fee): (codec::Compact<u64>, codec::Compact<u64>, u8, u128) =
            self.runtime_api("TransactionPaymentApi_query_info", &(Raw(encoded), length)).await?;
        Ok(fee)
    }

    /// Looks for a transaction in the blocks from `from` up to the best one.
    pub async fn find_transaction(
        &self,
        tx: H256,
        from: u32,
    ) -> Result<Option<Included>, ChainError> {
        let best = self.best().await?.number;
        for number in from..=best {
            let block = self.block_hash(number).await?;
            if let Some(included) = self.outcome(tx, block).await? {
                return Ok(Some(included));
            }
        }
        Ok(None)
    }

    async fn signed(&self, data: &CallData, key: &Key) -> Result<Vec<u8>, ChainError> {
        let account = AccountId32(key.account().into());
        let nonce = self
            .retrying(|| async { Ok(self.inner.legacy.system_account_next_index(&account).await?) })
            .await?;
        // The finalised block is on every fork, so that the transaction is valid on every fork. If
        // finality stands still, validity must not run out with it.
        let (finalized, best) = (self.finalized().await?, self.best().await?);
        let lag = u64::from(best.number.saturating_sub(finalized.number));
        let anchor = if lag < MORTALITY / 2 { finalized } else { best };
        let at = self.at(anchor.hash).await?;
        let params = DefaultExtrinsicParamsBuilder::<Config>::new()
            .nonce(nonce)
            .mortal_from_unchecked(
                MORTALITY,
                u64::from(anchor.number),
                subxt::utils::H256(anchor.hash.0),
            )
            .build();
        let payload = data.payload();
        let build = |error: subxt::error::ExtrinsicError| ChainError::Args {
            call: format!("{}::{}", data.pallet(), data.call()),
            reason: error.to_string(),
        };
        let mut signable = at.tx().create_signable_offline(&payload, params).map_err(build)?;
        Ok(signable.sign(key).map_err(build)?.into_encoded())
    }

    async fn watch(&self, encoded: &[u8]) -> Result<Watched, ChainError> {
        match self.inner.legacy.author_submit_and_watch_extrinsic(encoded).await {
            Ok(statuses) => Ok(Some(statuses)),
            Err(rpcs::Error::User(user)) => Err(error::rejection(&user)),
            // The node may or may not have got it: sending the same bytes again is harmless, and
            // the blocks show whether it went in.
            Err(lost) if error::is_transient(&lost) => {
                let again = self
                    .retrying(|| async {
                        match self.inner.legacy.author_submit_extrinsic(encoded).await {
                            Ok(_) => Ok(None),
                            Err(rpcs::Error::User(user)) => Ok(Some(user)),
                            Err(other) => Err(other.into()),
                        }
                    })
                    .await?;
                match again.as_ref().map(error::rejection) {
                    None => Ok(None),
                    Some(ChainError::Rejected { reason, .. })
                        if reason.to_ascii_lowercase().contains("already") =>
                    {
                        Ok(None)
                    }
                    // Outdated can mean that it is already in a block.
                    Some(rejected) if rejected.is_nonce_conflict() => Ok(None),
                    Some(rejected) => Err(rejected),
                }
            }
            Err(other) => Err(ChainError::Unreachable {
                url: self.inner.url.clone(),
                reason: other.to_string(),
            }),
        }
    }

    /// Follows a transaction until it is where it was waited for. When the node's reports break
    /// off, the blocks themselves are searched.
    async fn follow(
        &self,
        tx: H256,
        from: u32,
        mut watched: Watched,
        wait: Wait,
    ) -> Result<Included, ChainError> {
        let started = Instant::now();
        while let Some(statuses) = watched.as_mut() {
            let left = INCLUSION.saturating_sub(started.elapsed());
            let status = match tokio::time::timeout(left, statuses.next()).await {
                Err(_) => return Err(not_included(tx)),
                Ok(None | Some(Err(_))) => break,
                Ok(Some(Ok(status))) => status,
            };
            let block = match status {
                TransactionStatus::InBlock(block) | TransactionStatus::Finalized(block) => block,
                TransactionStatus::Invalid => {
                    return Err(thrown_out("it became invalid: what it needs is no longer so"));
                }
                TransactionStatus::Dropped => return Err(thrown_out("the pool is full")),
                TransactionStatus::Usurped(_) => {
                    return Err(thrown_out("another transaction of the account took its place"));
                }
                TransactionStatus::Future
                | TransactionStatus::Ready
                | TransactionStatus::Broadcast(_)
                | TransactionStatus::Retracted(_)
                | TransactionStatus::FinalityTimeout(_) => continue,
            };
            if let Some(included) = self.outcome(tx, H256(block.0)).await? {
                self.failure(&included).await?;
                return self.settled(included, wait).await;
            }
        }
        while started.elapsed() < INCLUSION {
            if let Some(included) = self.find_transaction(tx, from).await? {
                self.failure(&included).await?;
                return self.settled(included, wait).await;
            }
            tokio::time::sleep(super::POLL).await;
        }
        Err(not_included(tx))
    }

    /// Waits for finality if that was asked for. The transaction may meanwhile have moved to
    /// another block.
    async fn settled(&self, mut included: Included, wait: Wait) -> Result<Included, ChainError> {
        if wait == Wait::Block {
            return Ok(included);
        }
        let started = Instant::now();
        while started.elapsed() < FINALITY {
            if self.finalized().await?.number >= included.number {
                if self.block_hash(included.number).await? == included.block {
                    included.finalized = true;
                    return Ok(included);
                }
                let from = included.number.saturating_sub(8);
                if let Some(moved) = self.find_transaction(included.tx, from).await? {
                    self.failure(&moved).await?;
                    included = moved;
                }
            }
            tokio::time::sleep(super::POLL).await;
        }
        Err(ChainError::Timeout {
            what: format!("finality of block {}", included.number),
            seconds: FINALITY.as_secs(),
            advice: "check that more than two thirds of the validators are running".into(),
        })
    }
}

/// A pallet that does not authorise a call says why by the index of one of its errors.
fn authorization_error(data: &CallData, at: &AtBlock, index: u8, reason: String) -> ChainError {
    let pallet = at.metadata_ref().pallet_by_name(data.pallet());
    match pallet.as_ref().and_then(|pallet| pallet.error_variant_by_index(index)) {
        Some(variant) => ChainError::Module {
            pallet: data.pallet().into(),
            error: variant.name.clone(),
            docs: super::events::text(&variant.docs),
        },
        None => ChainError::Rejected { reason, custom: Some(index) },
    }
}

/// Reports of the node on a transaction; `None` when they broke off.
type Watched = Option<rpcs::client::RpcSubscription<TransactionStatus<subxt::utils::H256>>>;

fn not_included(tx: H256) -> ChainError {
    ChainError::Timeout {
        what: format!("inclusion of transaction {tx:?}"),
        seconds: INCLUSION.as_secs(),
        advice: "check that the chain makes blocks, then try again".into(),
    }
}

fn thrown_out(reason: &str) -> ChainError {
    ChainError::Rejected { reason: reason.into(), custom: None }
}

/// A general transaction of version 5: no signature, no account, and every transaction extension
/// at its neutral value (immortal, nonce 0, no tip, no metadata hash).
fn general(data: &CallData, at: &AtBlock) -> Result<Vec<u8>, ChainError> {
    let wrong = |reason: String| ChainError::Args {
        call: format!("{}::{}", data.pallet(), data.call()),
        reason,
    };
    let params = DefaultExtrinsicParamsBuilder::<Config>::new().immortal().build();
    let state = ClientState::<Config> {
        genesis_hash: at.genesis_hash().ok_or_else(|| wrong("the chain has no genesis".into()))?,
        spec_version: at.spec_version(),
        transaction_version: at.transaction_version(),
        metadata: at.metadata(),
    };
    let extensions = <DefaultTransactionExtensions<Config> as TransactionExtensions<Config>>::new(
        &state, params,
    )
    .map_err(|error| wrong(error.to_string()))?;
    let metadata = at.metadata_ref();
    let version = frame_decode::extrinsics::best_v5_general_transaction_extension_version(
        &extensions,
        metadata,
        metadata.types(),
    )
    .map_err(|error| wrong(error.to_string()))?;
    let payload = data.payload();
    frame_decode::extrinsics::encode_v5_general(
        data.pallet(),
        data.call(),
        subxt::tx::Payload::call_data(&payload),
        version,
        &extensions,
        metadata,
        metadata.types(),
    )
    .map_err(|error| wrong(error.to_string()))
}

/// Bytes that encode as themselves.
struct Raw(Vec<u8>);

impl codec::Encode for Raw {
    fn encode_to<O: codec::Output + ?Sized>(&self, to: &mut O) {
        to.write(&self.0);
    }
}
