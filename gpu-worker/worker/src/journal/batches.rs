//! Batches: which answers they settle, and how far each came.

use super::{amount, channels, decoded, encoded, from_sql, to_sql, Journal};
use crate::error::{Result, WorkerError};
use rusqlite::{params, Connection, Row};
use std::collections::{BTreeMap, BTreeSet};
use tributary_client::calls::attribution::NewBatch;
use tributary_primitives::{signing::Receipt, Balance, BatchId, ChannelId, MultiSignature};

/// The last step that is known to have been taken for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchStep {
    /// Its answers are chosen; vouchers may have been redeemed in part.
    Collected,
    /// Every voucher is redeemed.
    Redeemed,
    /// Payouts are computed and their list is in the object store; it may have been submitted.
    Stored,
    /// The chain has it and it may be challenged.
    Submitted,
    /// Its payouts can be claimed.
    Final,
}

impl BatchStep {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Collected, "collected"),
        (Self::Redeemed, "redeemed"),
        (Self::Stored, "stored"),
        (Self::Submitted, "submitted"),
        (Self::Final, "final"),
    ];

    /// Name in the journal and in metrics.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(step, _)| *step)
            .ok_or_else(|| WorkerError::damaged("batch", format!("step `{name}`")))
    }
}

/// A batch of answers that are settled together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its number among the worker's batches, from 0.
    pub sequence: u32,
    /// How far it came.
    pub step: BatchStep,
    /// Fees of its answers, in units.
    pub fees: Balance,
    /// Its id on chain, once it is known.
    pub id: Option<BatchId>,
    /// What is or will be submitted, once it is computed.
    pub prepared: Option<NewBatch>,
}

/// Up to which total a batch redeems a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTotal {
    /// The channel.
    pub channel: ChannelId,
    /// What the chain has to have redeemed of it, in units.
    pub total: Balance,
}

impl Journal {
    /// Chooses the answers of the next batch: the oldest, at most `max_answers` of at most
    /// `max_models` models. `None` when there are none, or when a batch is not submitted yet.
    ///
    /// `next_on_chain` numbers the first batch of an empty journal.
    pub fn cut_batch(
        &self,
        next_on_chain: u32,
        max_answers: u32,
        max_models: usize,
    ) -> Result<Option<Batch>> {
        self.write(|tx| {
            if unsubmitted(tx)?.is_some() {
                return Ok(None);
            }
            let rows: Vec<(i64, i64, i64, String)> = tx
                .prepare(
                    "SELECT id, channel, model, fee FROM answers
                     WHERE batch IS NULL AND lost = 0 ORDER BY id LIMIT ?1",
                )?
                .query_map([max_answers], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let count = rows.len();
            let (mut models, mut chosen) = (BTreeSet::new(), BTreeMap::<i64, Balance>::new());
            let (mut last, mut fees) = (None, 0 as Balance);
            for (id, channel, model, fee) in rows {
                if models.len() == max_models && !models.contains(&model) {
                    break;
                }
                models.insert(model);
                let fee = amount(&fee)?;
                fees = fees.saturating_add(fee);
                let of_channel = chosen.entry(channel).or_default();
                *of_channel = of_channel.saturating_add(fee);
                last = Some(id);
            }
            let Some(last) = last else { return Ok(None) };
            if fees == 0 {
                // The chain takes no batch that settles nothing. Free answers go along with paid
                // ones; a whole batch of them is left out, or nothing would ever follow.
                if count == max_answers as usize {
                    tx.execute(
                        "UPDATE answers SET lost = 2 WHERE batch IS NULL AND lost = 0 AND id <= ?1",
                        [last],
                    )?;
                }
                return Ok(None);
            }
            let sequence = next_sequence(tx)?.unwrap_or(next_on_chain);
            tx.execute(
                "INSERT INTO batches (sequence, step, fees) VALUES (?1, 'collected', ?2)",
                params![sequence, fees.to_string()],
            )?;
            tx.execute(
                "UPDATE answers SET batch = ?1 WHERE batch IS NULL AND lost = 0 AND id <= ?2",
                params![sequence, last],
            )?;
            for (channel, _) in chosen {
                let id = ChannelId(from_sql(channel));
                // Answers that came after the batch are spent, too, but it does not redeem them.
                let later = sum_fees(tx, "batch IS NULL AND lost = 0 AND channel = ?1", channel)?;
                let total = channels::must(tx, id)?.spent.saturating_sub(later);
                tx.execute(
                    "INSERT INTO batch_channels VALUES (?1, ?2, ?3)",
                    params![sequence, channel, total.to_string()],
                )?;
            }
            unsubmitted(tx)
        })
    }

    /// Number of the next batch; `None` when there was none yet.
    pub fn next_sequence(&self) -> Result<Option<u32>> {
        self.read(next_sequence)
    }

    /// The batch that is being brought to the chain.
    pub fn unsubmitted_batch(&self) -> Result<Option<Batch>> {
        self.read(unsubmitted)
    }

    /// Batches that wait for the end of their window, oldest first.
    pub fn submitted_batches(&self) -> Result<Vec<Batch>> {
        self.read(|connection| batches(connection, "step = 'submitted'"))
    }

    /// All batches, oldest first.
    pub fn batches(&self) -> Result<Vec<Batch>> {
        self.read(|connection| batches(connection, "1"))
    }

    /// Up to which totals the batch redeems its channels, by channel.
    pub fn batch_totals(&self, sequence: u32) -> Result<Vec<ChannelTotal>> {
        self.read(|connection| {
            let rows: Vec<(i64, String)> = connection
                .prepare_cached(
                    "SELECT channel, total FROM batch_channels WHERE batch = ?1 ORDER BY channel",
                )?
                .query_map([sequence], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            rows.into_iter()
                .map(|(channel, total)| {
                    Ok(ChannelTotal {
                        channel: ChannelId(from_sql(channel)),
                        total: amount(&total)?,
                    })
                })
                .collect()
        })
    }

    /// Receipts of the batch's answers, by channel and number.
    pub fn batch_receipts(&self, sequence: u32) -> Result<Vec<Receipt>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT receipt FROM answers WHERE batch = ?1 AND lost = 0
                 ORDER BY channel, sequence",
            )?;
            let mut rows = statement.query([sequence])?;
            let mut receipts = Vec::new();
            while let Some(row) = rows.next()? {
                let bytes: Vec<u8> = row.get(0)?;
                let (receipt, _): (Receipt, MultiSignature) = decoded("receipt", &bytes)?;
                receipts.push(receipt);
            }
            Ok(receipts)
        })
    }

    /// Notes that every voucher of the batch is redeemed.
    pub fn batch_redeemed(&self, sequence: u32) -> Result<()> {
        self.set_step(sequence, BatchStep::Redeemed, None, None)
    }

    /// Notes what will be submitted.
    pub fn batch_stored(&self, sequence: u32, prepared: &NewBatch) -> Result<()> {
        self.set_step(sequence, BatchStep::Stored, None, Some(prepared))
    }

    /// Notes that the chain has the batch.
    pub fn batch_submitted(&self, sequence: u32, id: BatchId) -> Result<()> {
        self.set_step(sequence, BatchStep::Submitted, Some(id), None)
    }

    /// Notes that the batch's payouts can be claimed.
    pub fn batch_final(&self, sequence: u32) -> Result<()> {
        self.set_step(sequence, BatchStep::Final, None, None)
    }

    /// Takes the batch back to an earlier step, because the chain says that it is not further.
    pub fn batch_back(&self, sequence: u32, step: BatchStep) -> Result<()> {
        self.set_step(sequence, step, None, None)
    }

    fn set_step(
        &self,
        sequence: u32,
        step: BatchStep,
        id: Option<BatchId>,
        prepared: Option<&NewBatch>,
    ) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "UPDATE batches SET step = ?2, batch = coalesce(?3, batch),
                 prepared = coalesce(?4, prepared) WHERE sequence = ?1",
                params![sequence, step.name(), id.map(|id| to_sql(id.0)), prepared.map(encoded)],
            )?;
            Ok(())
        })
    }

    /// Gives up the fees of a channel that cannot be redeemed any more, and takes its answers out
    /// of the batch. A batch that settles nothing then is forgotten, and its number used again.
    /// Returns how many answers were lost.
    pub fn write_off(&self, sequence: u32, channel: ChannelId) -> Result<u64> {
        self.write(|tx| {
            let key = params![sequence, to_sql(channel.0)];
            let lost = tx.execute(
                "UPDATE answers SET lost = 1, batch = NULL WHERE batch = ?1 AND channel = ?2",
                key,
            )?;
            tx.execute("DELETE FROM batch_channels WHERE batch = ?1 AND channel = ?2", key)?;
            let fees = sum_fees(tx, "batch = ?1 AND lost = 0", i64::from(sequence))?;
            if fees == 0 {
                // At most free answers are left; they go along with the next batch.
                tx.execute("UPDATE answers SET batch = NULL WHERE batch = ?1", [sequence])?;
                tx.execute("DELETE FROM batch_channels WHERE batch = ?1", [sequence])?;
                tx.execute("DELETE FROM batches WHERE sequence = ?1", [sequence])?;
            } else {
                tx.execute(
                    "UPDATE batches SET fees = ?2 WHERE sequence = ?1",
                    params![sequence, fees.to_string()],
                )?;
            }
            Ok(lost as u64)
        })
    }
}

/// Sum of the fees of the answers for which `condition` holds, `?1` being `key`.
fn sum_fees(connection: &Connection, condition: &str, key: i64) -> Result<Balance> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT fee FROM answers WHERE {condition}"))?;
    let mut rows = statement.query([key])?;
    let mut sum: Balance = 0;
    while let Some(row) = rows.next()? {
        sum = sum.saturating_add(amount(&row.get::<_, String>(0)?)?);
    }
    Ok(sum)
}

fn next_sequence(connection: &Connection) -> Result<Option<u32>> {
    let last: Option<i64> =
        connection.query_row("SELECT max(sequence) FROM batches", [], |row| row.get(0))?;
    last.map(|last| Ok(sequence(last)?.saturating_add(1))).transpose()
}

fn unsubmitted(connection: &Connection) -> Result<Option<Batch>> {
    Ok(batches(connection, "step IN ('collected', 'redeemed', 'stored')")?.into_iter().next())
}

fn sequence(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|e| WorkerError::damaged("batch", e))
}

type Raw = (i64, String, String, Option<i64>, Option<Vec<u8>>);

fn batches(connection: &Connection, condition: &str) -> Result<Vec<Batch>> {
    let query = format!(
        "SELECT sequence, step, fees, batch, prepared FROM batches WHERE {condition}
         ORDER BY sequence"
    );
    let get = |row: &Row<'_>| -> rusqlite::Result<Raw> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let rows: Vec<Raw> =
        connection.prepare_cached(&query)?.query_map([], get)?.collect::<rusqlite::Result<_>>()?;
    rows.into_iter()
        .map(|(number, step, fees, id, prepared)| {
            Ok(Batch {
                sequence: sequence(number)?,
                step: BatchStep::parse(&step)?,
                fees: amount(&fees)?,
                id: id.map(|id| BatchId(from_sql(id))),
                prepared: prepared.map(|bytes| decoded("batch", &bytes)).transpose()?,
            })
        })
        .collect()
}
