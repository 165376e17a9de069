//! Channels: what was spent, and the best voucher for it.

use super::{amount, decoded, encoded, from_sql, to_sql, Journal};
use crate::error::Result;
use rusqlite::{params, Connection, OptionalExtension, Transaction};
use tributary_primitives::{signing::Voucher, AccountId, Balance, ChannelId, MultiSignature};

/// A channel as the journal knows it. Amounts are in units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// The channel.
    pub id: ChannelId,
    /// Who pays.
    pub consumer: AccountId,
    /// Fees of all answers so far.
    pub spent: Balance,
    /// What the chain had redeemed when it was last looked at.
    pub redeemed: Balance,
    /// Answers given so far; the number of the last one.
    pub answers: u64,
    /// The voucher that promises most.
    pub voucher: Voucher,
    /// Its signature.
    pub signature: MultiSignature,
}

impl Journal {
    /// The channel, if a voucher for it was ever accepted.
    pub fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>> {
        self.read(|connection| channel(connection, id))
    }

    /// Keeps `voucher` if it promises more than the one that is there.
    ///
    /// A channel that is seen for the first time starts at `redeemed`, what the chain has redeemed
    /// of it: a worker that lost its journal must not charge for those answers again.
    pub fn accept_voucher(
        &self,
        consumer: &AccountId,
        voucher: &Voucher,
        signature: &MultiSignature,
        redeemed: Balance,
    ) -> Result<ChannelRow> {
        self.write(|tx| {
            let known = channel(tx, voucher.channel)?;
            let better = known.as_ref().is_none_or(|row| voucher.cumulative > row.voucher.cumulative);
            match &known {
                None => {
                    tx.prepare_cached(
                        "INSERT INTO channels (id, consumer, spent, redeemed, answers, cumulative, voucher)
                         VALUES (?1, ?2, ?3, ?3, 0, ?4, ?5)",
                    )?
                    .execute(params![
                        to_sql(voucher.channel.0),
                        encoded(consumer),
                        redeemed.to_string(),
                        voucher.cumulative.to_string(),
                        encoded(signature),
                    ])?;
                },
                Some(_) if better => {
                    tx.prepare_cached(
                        "UPDATE channels SET cumulative = ?2, voucher = ?3 WHERE id = ?1",
                    )?
                    .execute(params![
                        to_sql(voucher.channel.0),
                        voucher.cumulative.to_string(),
                        encoded(signature),
                    ])?;
                },
                Some(_) => {},
            }
            must(tx, voucher.channel)
        })
    }

    /// Notes what the chain has redeemed of a channel; it only grows.
    pub fn note_redeemed(&self, id: ChannelId, redeemed: Balance) -> Result<()> {
        self.write(|tx| {
            let row = must(tx, id)?;
            if redeemed > row.redeemed {
                tx.execute(
                    "UPDATE channels SET redeemed = ?2 WHERE id = ?1",
                    params![to_sql(id.0), redeemed.to_string()],
                )?;
            }
            Ok(())
        })
    }
}

/// The row of a channel that an answer or a batch refers to.
pub(super) fn must(connection: &Connection, id: ChannelId) -> Result<ChannelRow> {
    channel(connection, id)?.ok_or_else(|| {
        crate::error::WorkerError::damaged("channel", format!("channel {id} is not there"))
    })
}

/// Adds an answer's fee to what was spent.
pub(super) fn spend(tx: &Transaction<'_>, row: &ChannelRow, fee: Balance) -> Result<Balance> {
    let spent = row.spent.saturating_add(fee);
    tx.prepare_cached("UPDATE channels SET spent = ?2, answers = answers + 1 WHERE id = ?1")?
        .execute(params![to_sql(row.id.0), spent.to_string()])?;
    Ok(spent)
}

fn channel(connection: &Connection, id: ChannelId) -> Result<Option<ChannelRow>> {
    type Raw = (i64, Vec<u8>, String, String, i64, String, Vec<u8>);
    let raw: Option<Raw> = connection
        .prepare_cached(
            "SELECT id, consumer, spent, redeemed, answers, cumulative, voucher
             FROM channels WHERE id = ?1",
        )?
        .query_row([to_sql(id.0)], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
            ))
        })
        .optional()?;
    let Some((id, consumer, spent, redeemed, answers, cumulative, signature)) = raw else {
        return Ok(None);
    };
    let id = ChannelId(from_sql(id));
    Ok(Some(ChannelRow {
        id,
        consumer: decoded("channel", &consumer)?,
        spent: amount(&spent)?,
        redeemed: amount(&redeemed)?,
        answers: from_sql(answers),
        voucher: Voucher { channel: id, cumulative: amount(&cumulative)? },
        signature: decoded("voucher", &signature)?,
    }))
}
