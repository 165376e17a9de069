//! Answers and their signed receipts.

use super::{channels, decoded, encoded, from_sql, to_sql, Journal};
use crate::error::{Result, WorkerError};
use rusqlite::{params, OptionalExtension};
use tributary_primitives::{signing::Receipt, Balance, ChannelId, MultiSignature};

/// An answer that was given and has to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the worker states about it.
    pub receipt: Receipt,
    /// The worker's signature on that.
    pub signature: MultiSignature,
    /// Everything spent through the channel, this answer included, in units.
    pub spent: Balance,
}

/// The answers that no batch settles yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// How many.
    pub answers: u64,
    /// When the first was given, in milliseconds since 1970.
    pub oldest_ms: u64,
    /// When the last was given, in milliseconds since 1970.
    pub newest_ms: u64,
    /// Channels that owe for them.
    pub channels: Vec<ChannelId>,
}

impl Journal {
    /// Writes down an answer before its last part goes to the client.
    ///
    /// `sign` gets the answer's number in the channel and makes its receipt. The fee must be
    /// covered by the voucher: whoever admitted the request saw to that, and it is checked again.
    pub fn record_answer(
        &self,
        channel: ChannelId,
        now_ms: u64,
        sign: impl FnOnce(u64) -> (Receipt, MultiSignature),
    ) -> Result<Answer> {
        self.write(|tx| {
            let row = channels::must(tx, channel)?;
            let sequence = row.answers.saturating_add(1);
            let (receipt, signature) = sign(sequence);
            let spent = channels::spend(tx, &row, receipt.fee)?;
            if spent > row.voucher.cumulative {
                return Err(WorkerError::Disagreement(format!(
                    "answer {sequence} of channel {channel} would spend {spent} units of {}",
                    row.voucher.cumulative
                )));
            }
            tx.prepare_cached(
                "INSERT INTO answers (channel, sequence, model, fee, receipt, given_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                to_sql(channel.0),
                to_sql(sequence),
                to_sql(receipt.model.0),
                receipt.fee.to_string(),
                encoded(&(&receipt, &signature)),
                to_sql(now_ms),
            ])?;
            Ok(Answer { receipt, signature, spent })
        })
    }

    /// The receipt of one answer.
    pub fn receipt(
        &self,
        channel: ChannelId,
        sequence: u64,
    ) -> Result<Option<(Receipt, MultiSignature)>> {
        self.read(|connection| {
            let raw: Option<Vec<u8>> = connection
                .prepare_cached("SELECT receipt FROM answers WHERE channel = ?1 AND sequence = ?2")?
                .query_row(params![to_sql(channel.0), to_sql(sequence)], |row| row.get(0))
                .optional()?;
            raw.map(|bytes| decoded("receipt", &bytes)).transpose()
        })
    }

    /// What waits to be settled.
    pub fn pending(&self) -> Result<Pending> {
        self.read(|connection| {
            let (answers, oldest, newest): (i64, Option<i64>, Option<i64>) = connection
                .prepare_cached(
                    "SELECT count(*), min(given_ms), max(given_ms) FROM answers
                     WHERE batch IS NULL AND lost = 0",
                )?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT channel FROM answers WHERE batch IS NULL AND lost = 0
                 ORDER BY channel",
            )?;
            let channels = statement
                .query_map([], |row| row.get::<_, i64>(0))?
                .map(|id| Ok(ChannelId(from_sql(id?))))
                .collect::<Result<Vec<_>>>()?;
            Ok(Pending {
                answers: from_sql(answers),
                oldest_ms: from_sql(oldest.unwrap_or(0)),
                newest_ms: from_sql(newest.unwrap_or(0)),
                channels,
            })
        })
    }

    /// Number of answers whose fee could not be redeemed any more.
    pub fn lost_answers(&self) -> Result<u64> {
        self.read(|connection| {
            let lost: i64 =
                connection.query_row("SELECT count(*) FROM answers WHERE lost = 1", [], |row| {
                    row.get(0)
                })?;
            Ok(from_sql(lost))
        })
    }
}
