//! The state machine that brings batches to the chain.

use super::{prepare, PutBlob, SettleChain};
use crate::{
    error::{Result, WorkerError},
    journal::{Batch, BatchStep, ChannelTotal, Journal},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tracing::{info, warn};
use tributary_primitives::{
    views::{BatchState, BatchView},
    AccountId, Balance, BatchId, ChannelId,
};

/// The chain takes no more models in one batch.
const MAX_MODELS: usize = 64;
/// Answers of one batch; more wait for the next.
const MAX_ANSWERS: u32 = 50_000;
/// Channels that are looked at for being closed in one round.
const WATCHED_CHANNELS: usize = 256;
/// Name under which the journal remembers where to look for the worker's next batch.
const SCAN: &str = "batch_scan";

/// When answers are settled.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// As soon as no answer was given for this long.
    pub idle: Duration,
    /// As soon as an answer is this old.
    pub max_age: Duration,
    /// As soon as there are this many.
    pub max_answers: u64,
}

/// Brings the journal's answers to the chain, one batch after the other.
pub struct Settler {
    journal: Journal,
    chain: Arc<dyn SettleChain>,
    blobs: Arc<dyn PutBlob>,
    worker: AccountId,
    policy: Policy,
}

/// What one round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Batches that reached the chain.
    pub submitted: Vec<u32>,
    /// Batches that became final.
    pub finalized: Vec<u32>,
    /// Answers whose fee was lost.
    pub lost: u64,
}

impl Settler {
    /// A settler for the batches of `worker`.
    pub fn new(
        journal: Journal,
        chain: Arc<dyn SettleChain>,
        blobs: Arc<dyn PutBlob>,
        worker: AccountId,
        policy: Policy,
    ) -> Self {
        Self { journal, chain, blobs, worker, policy }
    }

    /// One round: finalises what can be, takes the open batch as far as it goes, and starts the
    /// next if it is due at `now_ms` (milliseconds since 1970).
    ///
    /// After an error the next round goes on where this one stopped.
    pub async fn round(&self, now_ms: u64) -> Result<Progress> {
        let mut progress = Progress::default();
        for batch in self.journal.submitted_batches()? {
            if self.finalize(&batch).await? {
                progress.finalized.push(batch.sequence);
            }
        }
        if self.journal.unsubmitted_batch()?.is_none() && self.is_due(now_ms).await? {
            let next = self.chain.next_sequence(&self.worker).await?;
            self.compare(next)?;
            if let Some(batch) = self.journal.cut_batch(next, MAX_ANSWERS, MAX_MODELS)? {
                info!(batch = batch.sequence, fees = %batch.fees, "answers collected for a batch");
            }
        }
        // A step back leaves the batch in the journal, so that this ends after a few turns.
        while let Some(batch) = self.journal.unsubmitted_batch()? {
            match batch.step {
                BatchStep::Collected => progress.lost += self.redeem(&batch).await?,
                BatchStep::Redeemed => self.store(&batch).await?,
                _ => {
                    self.submit(&batch).await?;
                    progress.submitted.push(batch.sequence);
                }
            }
        }
        Ok(progress)
    }

    /// Compares the number of batches here and on chain, before another is begun.
    fn compare(&self, next: u32) -> Result<()> {
        let Some(ours) = self.journal.next_sequence()? else { return Ok(()) };
        // A batch that waits for its window may be taken back by a fork, and is then seen to.
        let waiting = !self.journal.submitted_batches()?.is_empty();
        if next == ours || (next < ours && waiting) {
            return Ok(());
        }
        Err(WorkerError::Disagreement(if next < ours {
            format!(
                "the next batch is number {ours} here and {next} on chain; the data folder \
                 belongs to a chain that no longer exists, use a new one"
            )
        } else {
            format!(
                "the next batch is number {ours} here and {next} on chain; another worker \
                 settles with this account, or the data folder is an old copy"
            )
        }))
    }

    async fn is_due(&self, now_ms: u64) -> Result<bool> {
        let pending = self.journal.pending()?;
        let since = |then: u64| Duration::from_millis(now_ms.saturating_sub(then));
        if pending.answers == 0 {
            return Ok(false);
        }
        if pending.answers >= self.policy.max_answers
            || since(pending.newest_ms) >= self.policy.idle
            || since(pending.oldest_ms) >= self.policy.max_age
        {
            return Ok(true);
        }
        // A consumer who closes a channel leaves the worker only so many blocks to redeem.
        for id in pending.channels.into_iter().take(WATCHED_CHANNELS) {
            if self.chain.channel(id).await?.is_some_and(|channel| channel.closes_at.is_some()) {
                info!(channel = id.0, "the channel is being closed, settling at once");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Redeems every channel of the batch up to its total. Returns how many answers were lost.
    async fn redeem(&self, batch: &Batch) -> Result<u64> {
        let mut gone = Vec::new();
        for due in self.journal.batch_totals(batch.sequence)? {
            if !self.redeem_channel(&due).await? {
                gone.push(due.channel);
            }
        }
        let lost = if gone.is_empty() { 0 } else { self.write_off(batch, &gone).await? };
        // The batch may be gone with its last channel; then there is nothing to note.
        self.journal.batch_redeemed(batch.sequence)?;
        Ok(lost)
    }

    /// `false` when the chain has no such channel any more and is not known to have paid.
    async fn redeem_channel(&self, due: &ChannelTotal) -> Result<bool> {
        let row = self.journal.channel(due.channel)?.ok_or_else(|| {
            WorkerError::damaged("channel", format!("channel {} is not there", due.channel))
        })?;
        let Some(view) = self.chain.channel(due.channel).await? else {
            return Ok(row.redeemed >= due.total);
        };
        self.journal.note_redeemed(due.channel, view.redeemed)?;
        if view.redeemed >= due.total {
            return Ok(true);
        }
        let outcome = self.chain.redeem(&row.voucher, &row.signature, due.total).await;
        // Whatever the call said, the chain knows better: it may have been included before the
        // connection broke, or refused because an earlier attempt was included after all.
        match (self.chain.channel(due.channel).await?, outcome) {
            (Some(view), _) if view.redeemed >= due.total => {
                self.journal.note_redeemed(due.channel, view.redeemed)?;
                info!(channel = due.channel.0, total = %due.total, "channel redeemed");
                Ok(true)
            }
            (None, Ok(())) => {
                self.journal.note_redeemed(due.channel, due.total)?;
                Ok(true)
            }
            (_, Err(error)) => Err(error),
            (Some(view), Ok(())) => Err(WorkerError::Disagreement(format!(
                "channel {} was redeemed up to {} units, but the chain says {}",
                due.channel, due.total, view.redeemed
            ))),
        }
    }

    /// Takes channels that the chain settled before they were redeemed out of the batch, unless
    /// the worker's revenue shows that they were redeemed after all.
    async fn write_off(&self, batch: &Batch, gone: &[ChannelId]) -> Result<u64> {
        let mut fees: BTreeMap<ChannelId, Balance> = BTreeMap::new();
        for receipt in self.journal.batch_receipts(batch.sequence)? {
            let sum = fees.entry(receipt.channel).or_default();
            *sum = sum.saturating_add(receipt.fee);
        }
        let of = |id: &ChannelId| fees.get(id).copied().unwrap_or(0);
        let redeemed: Balance =
            fees.keys().filter(|id| !gone.contains(id)).fold(0, |sum, id| sum + of(id));
        let revenue = self.chain.revenue(&self.worker).await?;
        let mut surplus = revenue.saturating_sub(redeemed);
        let mut lost = 0;
        for id in gone {
            if of(id) <= surplus {
                surplus -= of(id);
                continue;
            }
            let answers = self.journal.write_off(batch.sequence, *id)?;
            warn!(
                channel = id.0,
                answers,
                fees = %of(id),
                "the channel was settled before it could be redeemed; its fees are lost"
            );
            lost += answers;
        }
        Ok(lost)
    }

    /// Computes the payouts and stores the list of them.
    async fn store(&self, batch: &Batch) -> Result<()> {
        let receipts = self.journal.batch_receipts(batch.sequence)?;
        let shares = self.chain.shares().await?;
        let mut prepared = prepare(batch.sequence, &receipts, &shares);
        let list = serde_json::to_vec(&prepared.payouts)
            .map_err(|e| WorkerError::Internal(format!("the payouts as JSON: {e}")))?;
        prepared.batch.payouts_blob = self.blobs.put(list).await?;
        self.journal.batch_stored(batch.sequence, &prepared.batch)
    }

    /// Submits the batch, unless the chain has it already.
    async fn submit(&self, batch: &Batch) -> Result<()> {
        let Some(prepared) = &batch.prepared else {
            return self.journal.batch_back(batch.sequence, BatchStep::Redeemed);
        };
        let next = self.chain.next_sequence(&self.worker).await?;
        if next < batch.sequence {
            return Err(WorkerError::Disagreement(format!(
                "the next batch is number {} here and {next} on chain; \
                 the data folder belongs to a chain that no longer exists",
                batch.sequence
            )));
        }
        if next == batch.sequence {
            if let Err(error) = self.chain.submit_batch(prepared).await {
                if self.chain.next_sequence(&self.worker).await? <= batch.sequence {
                    // The shares may have changed, or a redemption may have been undone by a
                    // fork: start over, with a look at the chain before each step.
                    if matches!(error, WorkerError::Refused { .. }) {
                        self.journal.batch_back(batch.sequence, BatchStep::Collected)?;
                    }
                    return Err(error);
                }
            }
        }
        let view = self.find(batch.sequence).await?;
        if view.payouts_root != prepared.payouts_root || view.fees != batch.fees {
            return Err(WorkerError::Disagreement(format!(
                "batch {} of this worker on chain is not the one in the journal; \
                 only one worker may run with one account",
                batch.sequence
            )));
        }
        self.journal.batch_submitted(batch.sequence, view.id)?;
        info!(batch = batch.sequence, id = view.id.0, fees = %batch.fees, "batch submitted");
        Ok(())
    }

    /// The worker's batch of this number on chain.
    async fn find(&self, sequence: u32) -> Result<BatchView> {
        let mut from = BatchId(self.journal.number(SCAN)?.unwrap_or(0));
        loop {
            let page = self.chain.batches(from).await?;
            let Some(last) = page.last().map(|batch| batch.id) else {
                return Err(WorkerError::ChainAnswer(format!(
                    "batch {sequence} of this worker is counted but not listed"
                )));
            };
            let ours = |b: &BatchView| b.worker == self.worker && b.sequence == sequence;
            if let Some(found) = page.into_iter().find(ours) {
                self.journal.set_number(SCAN, found.id.0)?;
                return Ok(found);
            }
            from = BatchId(last.0.saturating_add(1));
        }
    }

    /// Finalises a submitted batch if its window is over. Returns whether it is final.
    async fn finalize(&self, batch: &Batch) -> Result<bool> {
        let view = match batch.id {
            Some(id) => self.chain.batch(id).await?,
            None => None,
        };
        let ours = |b: &BatchView| b.worker == self.worker && b.sequence == batch.sequence;
        let Some(view) = view.filter(ours) else {
            // A fork took it back.
            warn!(batch = batch.sequence, "the chain no longer has the batch, submitting again");
            self.journal.set_number(SCAN, 0)?;
            self.journal.batch_back(batch.sequence, BatchStep::Collected)?;
            return Ok(false);
        };
        if let BatchState::Pending { final_at } = view.state {
            if self.chain.height().await? < final_at {
                return Ok(false);
            }
            let outcome = self.chain.finalize_batch(view.id).await;
            let now = self.chain.batch(view.id).await?;
            if !now.is_some_and(|batch| batch.state == BatchState::Final) {
                return outcome.map(|()| false);
            }
        }
        self.journal.batch_final(batch.sequence)?;
        info!(batch = batch.sequence, id = view.id.0, "batch final, its payouts can be claimed");
        Ok(true)
    }
}
