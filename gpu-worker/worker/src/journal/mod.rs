//! The journal: everything that the worker acknowledged, on disk before it was acknowledged.
//!
//! One SQLite file in write-ahead mode with full synchronisation: a commit that returned survives
//! a crash of the process and of the machine. Amounts are stored as decimal text, since SQLite's
//! integers have 64 bits; ids are stored as the same 64 bits, signed.
//!
//! | table            | a row is                                                               |
//! |------------------|------------------------------------------------------------------------|
//! | `meta`           | a fact about the journal: whose it is, for which chain                  |
//! | `channels`       | a channel: what was spent, the best voucher, what the chain redeemed    |
//! | `answers`        | an answer with its signed receipt, and the batch that settles it        |
//! | `batches`        | a batch and the step of its settlement that it reached                  |
//! | `batch_channels` | up to which total a batch redeems a channel                             |
//! | `jobs`           | a job that this worker claimed, and how far it came                     |

mod answers;
mod batches;
mod channels;
mod jobs;

pub use answers::{Answer, Pending};
pub use batches::{Batch, BatchStep, ChannelTotal};
pub use channels::ChannelRow;
pub use jobs::{JobRow, JobStep};

use crate::error::{hash_text, Result, WorkerError};
use codec::{Decode, Encode};
use rusqlite::{params, Connection, OptionalExtension, Transaction};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tributary_primitives::{AccountId, Balance, H256};

/// 2 since receipts name a commitment; receipts of version 1 cannot be read.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    consumer BLOB NOT NULL,
    spent TEXT NOT NULL,
    redeemed TEXT NOT NULL,
    answers INTEGER NOT NULL,
    cumulative TEXT NOT NULL,
    voucher BLOB NOT NULL
) STRICT;
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel INTEGER NOT NULL REFERENCES channels (id),
    sequence INTEGER NOT NULL,
    model INTEGER NOT NULL,
    fee TEXT NOT NULL,
    receipt BLOB NOT NULL,
    given_ms INTEGER NOT NULL,
    batch INTEGER REFERENCES batches (sequence),
    -- 0 to be settled, 1 its fee was lost, 2 it was free and is left out
    lost INTEGER NOT NULL DEFAULT 0,
    UNIQUE (channel, sequence)
) STRICT;
CREATE INDEX answers_by_batch ON answers (batch, lost, id);
CREATE TABLE batches (
    sequence INTEGER PRIMARY KEY,
    step TEXT NOT NULL,
    fees TEXT NOT NULL,
    batch INTEGER,
    prepared BLOB
) STRICT;
CREATE TABLE batch_channels (
    batch INTEGER NOT NULL REFERENCES batches (sequence),
    channel INTEGER NOT NULL REFERENCES channels (id),
    total TEXT NOT NULL,
    PRIMARY KEY (batch, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    step TEXT NOT NULL,
    result BLOB,
    note TEXT NOT NULL DEFAULT ''
) STRICT;
";

/// A handle on the journal; clones share one connection.
#[derive(Clone)]
pub struct Journal {
    connection: Arc<Mutex<Connection>>,
}

impl Journal {
    /// Opens the journal at `path`, or makes one, for this chain and worker.
    ///
    /// Errors when the file belongs to another chain or worker, when its schema is of a later
    /// version, or when the disk does not work.
    pub fn open(path: &Path, genesis: &H256, worker: &AccountId) -> Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                tx.execute_batch(SCHEMA)?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            SCHEMA_VERSION => {}
            other => {
                return Err(WorkerError::damaged(
                    "schema",
                    format!("version {other}, this worker reads {SCHEMA_VERSION}"),
                ))
            }
        }
        belongs_to(&tx, "chain", hash_text(genesis))?;
        belongs_to(&tx, "worker", worker.to_string())?;
        tx.commit()?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs `work` in one transaction, which is committed when it succeeds.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let out = work(&tx)?;
        tx.commit()?;
        Ok(out)
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolled it back, so that the connection is as good as before.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the journal can be written at this moment.
    pub fn check(&self) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO meta VALUES ('checked', '1')
                 ON CONFLICT (key) DO UPDATE SET value = value",
                [],
            )?;
            Ok(())
        })
    }
}

/// Notes whose the journal is, or checks it.
fn belongs_to(tx: &Transaction<'_>, what: &'static str, expected: String) -> Result<()> {
    let found: Option<String> = tx
        .query_row("SELECT value FROM meta WHERE key = ?1", [what], |row| row.get(0))
        .optional()?;
    match found {
        None => {
            tx.execute("INSERT INTO meta VALUES (?1, ?2)", params![what, expected])?;
            Ok(())
        }
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(WorkerError::JournalForeign { what, found, expected }),
    }
}

/// Ids keep their 64 bits; SQLite reads them as signed.
pub(crate) fn to_sql(id: u64) -> i64 {
    i64::from_ne_bytes(id.to_ne_bytes())
}

pub(crate) fn from_sql(id: i64) -> u64 {
    u64::from_ne_bytes(id.to_ne_bytes())
}

pub(crate) fn amount(text: &str) -> Result<Balance> {
    text.parse().map_err(|e| WorkerError::damaged("amount", e))
}

pub(crate) fn decoded<T: Decode>(what: &'static str, bytes: &[u8]) -> Result<T> {
    let mut rest = bytes;
    let value = T::decode(&mut rest).map_err(|e| WorkerError::damaged(what, e))?;
    if !rest.is_empty() {
        return Err(WorkerError::damaged(what, "bytes are left over"));
    }
    Ok(value)
}

pub(crate) fn encoded(value: &impl Encode) -> Vec<u8> {
    value.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    #[test]
    fn a_journal_serves_one_chain_and_one_worker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        drop(Journal::open(&path, &H256::repeat_byte(1), &who(1)).unwrap());
        drop(Journal::open(&path, &H256::repeat_byte(1), &who(1)).unwrap());
        for (genesis, worker, what) in
            [(H256::repeat_byte(2), who(1), "chain"), (H256::repeat_byte(1), who(2), "worker")]
        {
            match Journal::open(&path, &genesis, &worker) {
                Err(WorkerError::JournalForeign { what: found, .. }) => assert_eq!(found, what),
                other => panic!("{:?}", other.err()),
            }
        }
    }

    #[test]
    fn a_later_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        drop(Journal::open(&path, &H256::zero(), &who(1)).unwrap());
        let raw = Connection::open(&path).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(
            Journal::open(&path, &H256::zero(), &who(1)),
            Err(WorkerError::JournalDamaged { what: "schema", .. })
        ));
    }

    #[test]
    fn ids_keep_their_bits() {
        for id in [0, 1, u64::MAX, 1 << 63] {
            assert_eq!(from_sql(to_sql(id)), id);
        }
    }
}
