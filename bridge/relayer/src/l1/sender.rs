//! Gets calls mined: each purpose once, whatever happens in between.
//!
//! 1. Is it still needed? The caller's question is asked right before anything is paid.
//! 2. Would it succeed? A simulation says so; a refusal costs nothing.
//! 3. Nonce, gas and the signed bytes go to the journal, then to the node.
//! 4. No block after a while: signed again, an eighth dearer, with the same nonce. If it is no
//!    longer needed by then, an empty transaction to oneself takes the nonce instead.
//! 5. After a restart the journal's open transactions are sent again as they were.

use super::{
    fees::{FeePolicy, Fees},
    At, Call, L1Error, L1Key, Receipt, Revert, B256, L1,
};
use crate::journal::{Attempt, Entry, Journal, State};
use ethers::{
    signers::Signer,
    types::{transaction::eip2718::TypedTransaction, Eip1559TransactionRequest},
    utils::keccak256,
};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

/// How often a purpose may be mined and fail.
const MAX_TRIES: u32 = 3;
/// Most gas that one transaction may have (EIP-7825).
const MAX_GAS: u64 = 1 << 24;
/// Gas of a transaction that does nothing.
const CANCEL_GAS: u64 = 21_000;
/// Polls for which a nonce must be seen as used before the transaction counts as lost: nodes
/// behind one address are not always at the same block.
const LOST_AFTER_POLLS: u32 = 5;

/// A transaction that was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub hash: B256,
    /// Its block.
    pub block: u64,
    /// What it took.
    pub gas_used: u64,
}

/// How a purpose ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By this transaction, now or earlier.
    Mined(Mined),
    /// Without one: somebody else was first, or it was no longer needed.
    Otherwise(String),
    /// The contract refuses it as things stand; nothing was paid.
    Refused(Revert),
}

impl Outcome {
    /// Whether it is done, by whomever.
    pub fn is_done(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// Whether a transaction of ours did it: what is on Ethereum has changed.
    pub fn is_mined(&self) -> bool {
        matches!(self, Self::Mined(_))
    }
}

struct Inner {
    l1: L1,
    key: L1Key,
    journal: Journal,
    policy: FeePolicy,
    confirmations: u64,
    poll: Duration,
    /// Held while a nonce is chosen and its first version written and sent.
    nonces: Mutex<()>,
    /// One follower for each purpose.
    following: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Names of errors that say that somebody else was first.
    lost_races: &'static [&'static str],
}

/// Sends transactions of one account. Clones share its nonces.
#[derive(Clone)]
pub struct Sender {
    inner: Arc<Inner>,
}

impl Sender {
    /// A sender for this key. `confirmations` is how many blocks, its own included, make a
    /// transaction count.
    pub fn new(
        l1: L1,
        key: L1Key,
        journal: Journal,
        policy: FeePolicy,
        confirmations: u64,
        poll: Duration,
    ) -> Self {
        let inner = Inner {
            l1,
            key,
            journal,
            policy,
            confirmations: confirmations.max(1),
            poll,
            nonces: Mutex::default(),
            following: Mutex::default(),
            lost_races: super::abi::LOST_RACES,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The account.
    pub fn address(&self) -> super::Address {
        self.inner.key.address()
    }

    /// The connection.
    pub fn l1(&self) -> &L1 {
        &self.inner.l1
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// What it may pay.
    pub fn policy(&self) -> &FeePolicy {
        &self.inner.policy
    }

    /// Sends again whatever was under way when the process ended, in the order of its nonces.
    /// Gives the purposes that are still open.
    pub async fn resume(&self) -> Result<Vec<String>, L1Error> {
        let inner = &self.inner;
        let _turn = inner.nonces.lock().await;
        let mut open = Vec::new();
        for entry in inner.journal.open_entries()? {
            if let Some(last) = inner.journal.attempts(&entry.purpose)?.last() {
                info!(
                    purpose = entry.purpose,
                    nonce = entry.nonce,
                    "sending again after a restart"
                );
                self.broadcast(&last.raw).await?;
            }
            open.push(entry.purpose);
        }
        Ok(open)
    }

    /// Follows a transaction of an earlier run to its end.
    pub async fn settle(&self, purpose: &str) -> Result<Outcome, L1Error> {
        let Some(entry) = self.inner.journal.entry(purpose)? else {
            return Ok(Outcome::Otherwise("nothing was intended".into()));
        };
        let call = entry.call.clone();
        self.execute(purpose, &call, || async { Ok(true) }).await
    }

    /// Gets `call` mined for this purpose, or finds that it is done. `needed` is asked right before
    /// each payment.
    pub async fn execute<F, R>(
        &self,
        purpose: &str,
        call: &Call,
        needed: F,
    ) -> Result<Outcome, L1Error>
    where
        F: Fn() -> R,
        R: Future<Output = Result<bool, L1Error>>,
    {
        let inner = &self.inner;
        let turn = {
            let mut following = inner.following.lock().await;
            following.retain(|_, lock| Arc::strong_count(lock) > 1);
            following.entry(purpose.into()).or_default().clone()
        };
        let _turn = turn.lock().await;
        loop {
            let entry = inner.journal.intend(purpose, call)?;
            match entry.state {
                State::Done => match entry.mined {
                    Some(hash) if inner.l1.receipt(hash).await?.is_none() => {
                        warn!(purpose, ?hash, "the chain went another way; starting again");
                        inner.journal.undone(purpose)?;
                        continue;
                    }
                    _ => return Ok(earlier(&entry)),
                },
                State::Intended if entry.tries >= MAX_TRIES => {
                    return Err(L1Error::GaveUp {
                        purpose: purpose.into(),
                        tries: entry.tries,
                        reason: entry.note,
                    });
                }
                State::Sent => {}
                State::Intended | State::Failed => {
                    if !needed().await? {
                        let note = "it was done before anything was sent";
                        inner.journal.done_otherwise(purpose, note)?;
                        return Ok(Outcome::Otherwise(note.into()));
                    }
                    if let Some(outcome) = self.begin(purpose, call).await? {
                        return Ok(outcome);
                    }
                }
            }
            match self.follow(purpose, &needed).await? {
                End::Lost => {
                    warn!(purpose, "another transaction took its nonce; starting again");
                    inner.journal.lost_nonce(purpose)?;
                }
                End::Ended(outcome) => return Ok(outcome),
            }
        }
    }

    /// Simulates, chooses a nonce, writes down, sends. `Some` when it ends here.
    async fn begin(&self, purpose: &str, call: &Call) -> Result<Option<Outcome>, L1Error> {
        let inner = &self.inner;
        let from = self.address();
        let estimate = match inner.l1.estimate(call, from).await {
            Ok(gas) => gas,
            Err(L1Error::Reverted(revert)) => return self.refused(purpose, revert).map(Some),
            Err(other) => return Err(other),
        };
        // State moves between now and inclusion.
        let roomy = estimate.saturating_add(estimate / 5).saturating_add(20_000);
        let gas = roomy.min(MAX_GAS).max(estimate);
        let fees = inner.l1.offer(&inner.policy).await?;
        let needs = fees.max_fee.saturating_mul(gas.into()).saturating_add(call.value);
        let balance = inner.l1.balance(from).await?;
        if balance < needs {
            return Err(L1Error::Poor { account: from, balance, needed: needs });
        }
        let _turn = inner.nonces.lock().await;
        let taken: Vec<u64> =
            inner.journal.open_entries()?.iter().filter_map(|entry| entry.nonce).collect();
        let mut nonce = inner.l1.nonce(from).await?;
        while taken.contains(&nonce) {
            nonce = nonce.saturating_add(1);
        }
        let head = inner.l1.head(At::Latest).await?.number;
        let attempt = self.sign(call, nonce, gas, fees, head, false).await?;
        inner.journal.begin(purpose, nonce, gas, &attempt)?;
        info!(purpose, nonce, gas, hash = ?attempt.hash, "sending");
        self.broadcast(&attempt.raw).await?;
        Ok(None)
    }

    fn refused(&self, purpose: &str, revert: Revert) -> Result<Outcome, L1Error> {
        if revert.is_any(self.inner.lost_races) {
            self.inner.journal.done_otherwise(purpose, &revert.to_string())?;
            return Ok(Outcome::Otherwise(revert.to_string()));
        }
        debug!(purpose, %revert, "refused in simulation");
        Ok(Outcome::Refused(revert))
    }

    async fn sign(
        &self,
        call: &Call,
        nonce: u64,
        gas: u64,
        fees: Fees,
        at_block: u64,
        cancels: bool,
    ) -> Result<Attempt, L1Error> {
        let inner = &self.inner;
        let mut request = Eip1559TransactionRequest::new()
            .from(self.address())
            .nonce(nonce)
            .gas(gas)
            .max_fee_per_gas(fees.max_fee)
            .max_priority_fee_per_gas(fees.tip)
            .chain_id(inner.l1.chain_id())
            .value(call.value)
            .data(call.data.clone());
        if let Some(to) = call.to {
            request = request.to(to);
        }
        let transaction = TypedTransaction::Eip1559(request);
        let signature = inner
            .key
            .0
            .sign_transaction(&transaction)
            .await
            .map_err(|error| L1Error::Signing(error.to_string()))?;
        let raw = transaction.rlp_signed(&signature).to_vec();
        Ok(Attempt { hash: keccak256(&raw).into(), raw, fees, at_block, cancels })
    }

    /// Sends bytes that are in the journal. What the node says against them is looked at when they
    /// are followed: they may be mined already.
    async fn broadcast(&self, raw: &[u8]) -> Result<(), L1Error> {
        match self.inner.l1.send_raw(raw).await {
            Err(error) if error.message().is_some() => {
                warn!(%error, "the node did not take a transaction");
                Ok(())
            }
            other => other,
        }
    }

    /// Waits for one of the versions to be mined, and raises the offer while none is.
    async fn follow<F, R>(&self, purpose: &str, needed: &F) -> Result<End, L1Error>
    where
        F: Fn() -> R,
        R: Future<Output = Result<bool, L1Error>>,
    {
        let inner = &self.inner;
        let mut gone = 0;
        loop {
            let entry = inner.journal.entry(purpose)?;
            let Some((entry, nonce)) = entry.and_then(|e| e.nonce.map(|nonce| (e, nonce))) else {
                return Ok(End::Lost);
            };
            let attempts = inner.journal.attempts(purpose)?;
            let Some(last) = attempts.last() else { return Ok(End::Lost) };
            let head = inner.l1.head(At::Latest).await?.number;
            let mut found = None;
            for attempt in attempts.iter().rev() {
                if let Some(receipt) = inner.l1.receipt(attempt.hash).await? {
                    found = Some((attempt.cancels, receipt));
                    break;
                }
            }
            match found {
                Some((cancels, receipt)) => {
                    gone = 0;
                    let deep = head.saturating_sub(receipt.block).saturating_add(1);
                    if deep >= inner.confirmations {
                        return self.ended(&entry, cancels, receipt).await.map(End::Ended);
                    }
                }
                None if inner.l1.nonce(self.address()).await? > nonce => {
                    gone += 1;
                    if gone >= LOST_AFTER_POLLS {
                        return Ok(End::Lost);
                    }
                }
                None if head >= last.at_block.saturating_add(inner.policy.bump_after) => {
                    gone = 0;
                    self.raise(&entry, nonce, last, head, needed().await?).await?;
                }
                None => gone = 0,
            }
            tokio::time::sleep(inner.poll).await;
        }
    }

    /// Signs and sends a dearer version; the same bytes again when the limit is reached.
    async fn raise(
        &self,
        entry: &Entry,
        nonce: u64,
        last: &Attempt,
        head: u64,
        needed: bool,
    ) -> Result<(), L1Error> {
        let inner = &self.inner;
        // At the market's limit, what was offered stays.
        let now = inner.l1.offer(&inner.policy).await.unwrap_or(last.fees);
        let Some(fees) = inner.policy.bumped(last.fees, now) else {
            warn!(purpose = entry.purpose, "the fee limit is reached; sending again as it was");
            return self.broadcast(&last.raw).await;
        };
        let nothing =
            Call { to: Some(self.address()), data: Vec::new(), value: Default::default() };
        let (call, gas) = match needed && !last.cancels {
            true => (&entry.call, entry.gas),
            false => (&nothing, CANCEL_GAS),
        };
        let attempt = self.sign(call, nonce, gas, fees, head, gas == CANCEL_GAS).await?;
        inner.journal.add_attempt(&entry.purpose, &attempt)?;
        info!(purpose = entry.purpose, nonce, needed, hash = ?attempt.hash, "raising the offer");
        self.broadcast(&attempt.raw).await
    }

    async fn ended(
        &self,
        entry: &Entry,
        cancels: bool,
        receipt: Receipt,
    ) -> Result<Outcome, L1Error> {
        let inner = &self.inner;
        let purpose = &entry.purpose;
        if cancels {
            let note = "it was done before it was mined";
            inner.journal.done_otherwise(purpose, note)?;
            return Ok(Outcome::Otherwise(note.into()));
        }
        if receipt.success {
            inner.journal.done(purpose, receipt.hash, receipt.block, receipt.gas_used)?;
            info!(purpose, hash = ?receipt.hash, block = receipt.block, gas = receipt.gas_used, "done");
            return Ok(Outcome::Mined(Mined {
                hash: receipt.hash,
                block: receipt.block,
                gas_used: receipt.gas_used,
            }));
        }
        // Carried out again at its own block, the call says why it failed.
        let again = inner.l1.simulate(&entry.call, self.address(), At::Number(receipt.block)).await;
        let revert = match again {
            Err(L1Error::Reverted(revert)) => revert,
            _ => Revert { name: String::new(), detail: "it failed in its block".into() },
        };
        warn!(purpose, hash = ?receipt.hash, %revert, "mined, but it failed");
        if revert.is_any(inner.lost_races) {
            inner.journal.done_otherwise(purpose, &revert.to_string())?;
            return Ok(Outcome::Otherwise(revert.to_string()));
        }
        inner.journal.failed(purpose, &revert.to_string())?;
        Ok(Outcome::Refused(revert))
    }
}

enum End {
    /// Its nonce went to another transaction.
    Lost,
    Ended(Outcome),
}

fn earlier(entry: &Entry) -> Outcome {
    match (entry.mined, entry.block, entry.gas_used) {
        (Some(hash), Some(block), Some(gas_used)) => {
            Outcome::Mined(Mined { hash, block, gas_used })
        }
        _ => Outcome::Otherwise(entry.note.clone()),
    }
}
