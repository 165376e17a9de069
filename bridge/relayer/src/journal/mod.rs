//! The journal: every transaction that the relayer means to send to Ethereum, on disk before it is
//! sent.
//!
//! One SQLite file in write-ahead mode with full synchronisation. A transaction has a *purpose*, a
//! short text that names what it is for (`anchor/1200`, `finalize/0x…`); there is one row for each
//! purpose, so that nothing is paid for twice. Its nonce is fixed, and each signed version of it
//! stored, before the first byte leaves: after a crash the same bytes are sent again.
//!
//! | table         | a row is                                                             |
//! |---------------|----------------------------------------------------------------------|
//! | `meta`        | a fact about the journal: its chain, its account                      |
//! | `transactions`| something to be done on Ethereum, and how far it came                 |
//! | `attempts`    | a signed version of a transaction: one for each fee that was offered  |
//! | `commitments` | a signed commitment of the validators, to compare later ones with     |

use crate::l1::{Address, Call, Fees, B256, U256};
use rusqlite::{params, Connection, OptionalExtension, Row, Transaction};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE transactions (
    purpose TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    recipient BLOB,
    data BLOB NOT NULL,
    value BLOB NOT NULL,
    gas INTEGER NOT NULL DEFAULT 0,
    nonce INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    mined BLOB,
    block INTEGER,
    gas_used INTEGER,
    changed_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_transaction_each_nonce ON transactions (nonce)
    WHERE state = 'sent';
CREATE TABLE attempts (
    hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL REFERENCES transactions (purpose),
    raw BLOB NOT NULL,
    max_fee BLOB NOT NULL,
    tip BLOB NOT NULL,
    at_block INTEGER NOT NULL,
    cancels INTEGER NOT NULL,
    number INTEGER NOT NULL,
    UNIQUE (purpose, number)
) STRICT;
CREATE TABLE commitments (
    set_id INTEGER NOT NULL,
    block INTEGER NOT NULL,
    root BLOB NOT NULL,
    signed BLOB NOT NULL,
    PRIMARY KEY (set_id, block, root)
) STRICT, WITHOUT ROWID;
";

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, or the file.
    #[error("the journal cannot be read or written: {0}; check the data folder's disk")]
    Sqlite(#[from] rusqlite::Error),
    /// It belongs to another chain or account.
    #[error(
        "the journal is of {what} {found}, not of {expected}; give each relayer its own --data-dir"
    )]
    Foreign {
        /// What differs.
        what: &'static str,
        /// What the journal says.
        found: String,
        /// What this relayer has.
        expected: String,
    },
    /// It holds something that cannot be.
    #[error("the journal is damaged at {what}: {reason}")]
    Damaged {
        /// Where.
        what: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// It was written by a later version.
    #[error("the journal has version {found}, this relayer reads {SCHEMA_VERSION}; update it")]
    Version {
        /// Its version.
        found: i64,
    },
}

/// Outcome of reading or writing the journal.
pub type Result<T> = std::result::Result<T, JournalError>;

/// How far a transaction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be sent; nothing was.
    Intended,
    /// It has a nonce, and signed versions that may have been sent.
    Sent,
    /// It did what it should, or somebody else did.
    Done,
    /// It was mined and failed; it may be intended again.
    Failed,
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Result<Self> {
        [Self::Intended, Self::Sent, Self::Done, Self::Failed]
            .into_iter()
            .find(|state| state.text() == text)
            .ok_or_else(|| damaged("state", text))
    }
}

/// A transaction in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub purpose: String,
    /// How far it came.
    pub state: State,
    /// The call.
    pub call: Call,
    /// Its gas limit, once it has a nonce.
    pub gas: u64,
    /// Its nonce, once it has one.
    pub nonce: Option<u64>,
    /// How often it was mined and failed.
    pub tries: u32,
    /// What was said about its end.
    pub note: String,
    /// The version that was mined.
    pub mined: Option<B256>,
    /// Its block.
    pub block: Option<u64>,
    /// What it took.
    pub gas_used: Option<u64>,
}

/// A signed version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its hash.
    pub hash: B256,
    /// The bytes to send.
    pub raw: Vec<u8>,
    /// What it offers.
    pub fees: Fees,
    /// The newest block when it was signed.
    pub at_block: u64,
    /// Whether it does nothing but use up the nonce.
    pub cancels: bool,
}

/// A handle on the journal; clones share one connection.
#[derive(Clone)]
pub struct Journal {
    connection: Arc<Mutex<Connection>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    /// Opens the journal at `path`, or makes one, for this chain (and its portal) and account.
    pub fn open(path: &Path, chain: &str, account: Address) -> Result<Self> {
        Self::prepare(Connection::open(path)?, chain, account)
    }

    /// A journal that is forgotten with the process: for single commands of people, who see how
    /// they end.
    pub fn in_memory(chain: &str, account: Address) -> Result<Self> {
        Self::prepare(Connection::open_in_memory()?, chain, account)
    }

    fn prepare(mut connection: Connection, chain: &str, account: Address) -> Result<Self> {
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        match tx.pragma_query_value(None, "user_version", |row| row.get(0))? {
            0 => {
                tx.execute_batch(SCHEMA)?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            SCHEMA_VERSION => {}
            found => return Err(JournalError::Version { found }),
        }
        belongs_to(&tx, "chain", chain.into())?;
        belongs_to(&tx, "account", format!("{account:?}"))?;
        tx.commit()?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolled it back, so that the connection is as good as before.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let out = work(&tx)?;
        tx.commit()?;
        Ok(out)
    }

    /// Whether the journal can be written at this moment.
    pub fn check(&self) -> Result<()> {
        self.set_note("checked", "1")
    }

    /// A fact that a duty noted.
    pub fn note(&self, key: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        Ok(self.lock().query_row(sql, [key], |row| row.get(0)).optional()?)
    }

    /// Notes a fact.
    pub fn set_note(&self, key: &str, value: &str) -> Result<()> {
        self.write(|tx| {
            let sql = "INSERT INTO meta VALUES (?1, ?2)
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            tx.execute(sql, params![key, value])?;
            Ok(())
        })
    }

    /// The transaction of a purpose.
    pub fn entry(&self, purpose: &str) -> Result<Option<Entry>> {
        let sql = format!("{SELECT} WHERE purpose = ?1");
        self.lock().query_row(&sql, [purpose], |row| Ok(entry(row))).optional()?.transpose()
    }

    /// Transactions that may be under way, in the order of their nonces.
    pub fn open_entries(&self) -> Result<Vec<Entry>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare(&format!("{SELECT} WHERE state = 'sent' ORDER BY nonce"))?;
        let rows = statement.query_map([], |row| Ok(entry(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Every transaction whose purpose begins so, however far it came.
    pub fn entries(&self, purpose_begins: &str) -> Result<Vec<Entry>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare(&format!("{SELECT} WHERE substr(purpose, 1, length(?1)) = ?1"))?;
        let rows = statement.query_map([purpose_begins], |row| Ok(entry(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Writes down what is to be done, and gives how far it came. A purpose that is known keeps its
    /// row while it is under way and when a transaction of ours did it; otherwise it takes the new
    /// call: it failed, nothing was sent yet, or somebody else did what may have come undone.
    pub fn intend(&self, purpose: &str, call: &Call) -> Result<Entry> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO transactions (purpose, state, recipient, data, value, changed_ms)
                 VALUES (?1, 'intended', ?2, ?3, ?4, ?5)
                 ON CONFLICT (purpose) DO UPDATE SET
                    state = 'intended', recipient = excluded.recipient, data = excluded.data,
                    value = excluded.value, nonce = NULL, changed_ms = excluded.changed_ms
                 WHERE state IN ('intended', 'failed') OR (state = 'done' AND mined IS NULL)",
                params![
                    purpose,
                    call.to.map(|to| to.as_bytes().to_vec()),
                    call.data,
                    number(call.value),
                    now_ms()
                ],
            )?;
            tx.query_row(&format!("{SELECT} WHERE purpose = ?1"), [purpose], |row| Ok(entry(row)))?
        })
    }

    /// Fixes a transaction's nonce and gas, with its first signed version. After this it may be
    /// sent.
    pub fn begin(&self, purpose: &str, nonce: u64, gas: u64, first: &Attempt) -> Result<()> {
        self.write(|tx| {
            let changed = tx.execute(
                "UPDATE transactions SET state = 'sent', nonce = ?2, gas = ?3, changed_ms = ?4
                 WHERE purpose = ?1 AND state = 'intended'",
                params![purpose, signed(nonce)?, signed(gas)?, now_ms()],
            )?;
            if changed != 1 {
                return Err(damaged("begin", purpose));
            }
            // Versions of an earlier, failed try are of no interest any more.
            tx.execute("DELETE FROM attempts WHERE purpose = ?1", [purpose])?;
            insert(tx, purpose, first)
        })
    }

    /// Adds a signed version of a transaction that has a nonce.
    pub fn add_attempt(&self, purpose: &str, attempt: &Attempt) -> Result<()> {
        self.write(|tx| insert(tx, purpose, attempt))
    }

    /// Signed versions of a transaction, oldest first.
    pub fn attempts(&self, purpose: &str) -> Result<Vec<Attempt>> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT hash, raw, max_fee, tip, at_block, cancels FROM attempts
             WHERE purpose = ?1 ORDER BY number",
        )?;
        let rows = statement.query_map([purpose], |row| Ok(attempt(row)))?;
        rows.map(|row| row?).collect()
    }

    /// A transaction was mined and did what it should.
    pub fn done(&self, purpose: &str, hash: B256, block: u64, gas_used: u64) -> Result<()> {
        self.end(purpose, State::Done, "", Some((hash, block, gas_used)))
    }

    /// What a transaction was for is done, by somebody else or because it is no longer needed.
    pub fn done_otherwise(&self, purpose: &str, note: &str) -> Result<()> {
        self.end(purpose, State::Done, note, None)
    }

    /// A transaction was mined and failed.
    pub fn failed(&self, purpose: &str, note: &str) -> Result<()> {
        self.end(purpose, State::Failed, note, None)
    }

    fn end(
        &self,
        purpose: &str,
        state: State,
        note: &str,
        mined: Option<(B256, u64, u64)>,
    ) -> Result<()> {
        self.write(|tx| {
            let (hash, block, gas) = match mined {
                Some((hash, block, gas)) => {
                    (Some(hash.as_bytes().to_vec()), Some(signed(block)?), Some(signed(gas)?))
                }
                None => (None, None, None),
            };
            tx.execute(
                "UPDATE transactions SET state = ?2, note = ?3, mined = ?4, block = ?5,
                    gas_used = ?6, changed_ms = ?7, tries = tries + (?2 = 'failed')
                 WHERE purpose = ?1",
                params![purpose, state.text(), note, hash, block, gas, now_ms()],
            )?;
            Ok(())
        })
    }

    /// A transaction that was mined is in no block any more: the chain went another way.
    pub fn undone(&self, purpose: &str) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "UPDATE transactions SET state = 'intended', nonce = NULL, mined = NULL,
                    changed_ms = ?2
                 WHERE purpose = ?1 AND state = 'done'",
                params![purpose, now_ms()],
            )?;
            Ok(())
        })
    }

    /// A transaction lost its nonce to another one: nothing of it can be mined any more.
    pub fn lost_nonce(&self, purpose: &str) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM attempts WHERE purpose = ?1", [purpose])?;
            tx.execute(
                "UPDATE transactions SET state = 'intended', nonce = NULL, changed_ms = ?2
                 WHERE purpose = ?1 AND state = 'sent'",
                params![purpose, now_ms()],
            )?;
            Ok(())
        })
    }

    /// Keeps a signed commitment, and gives one of the same set and block with another root, if
    /// there is one.
    pub fn commitment(
        &self,
        set: u64,
        block: u32,
        root: B256,
        signed_commitment: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        self.write(|tx| {
            let set = signed(set)?;
            tx.execute(
                "INSERT INTO commitments VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                params![set, block, root.as_bytes(), signed_commitment],
            )?;
            Ok(tx
                .query_row(
                    "SELECT signed FROM commitments WHERE set_id = ?1 AND block = ?2 AND root != ?3",
                    params![set, block, root.as_bytes()],
                    |row| row.get(0),
                )
                .optional()?)
        })
    }

    /// Forgets commitments of sets before this one.
    pub fn forget_commitments(&self, before_set: u64) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM commitments WHERE set_id < ?1", [signed(before_set)?])?;
            Ok(())
        })
    }
}

const SELECT: &str = "SELECT purpose, state, recipient, data, value, gas, nonce, tries, note,
    mined, block, gas_used FROM transactions";

fn belongs_to(tx: &Transaction<'_>, what: &'static str, expected: String) -> Result<()> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let found: Option<String> = tx.query_row(sql, [what], |row| row.get(0)).optional()?;
    match found {
        None => {
            tx.execute("INSERT INTO meta VALUES (?1, ?2)", params![what, expected])?;
            Ok(())
        }
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(JournalError::Foreign { what, found, expected }),
    }
}

fn insert(tx: &Transaction<'_>, purpose: &str, attempt: &Attempt) -> Result<()> {
    tx.execute(
        "INSERT INTO attempts SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7,
            (SELECT COUNT(*) FROM attempts WHERE purpose = ?2)",
        params![
            attempt.hash.as_bytes(),
            purpose,
            attempt.raw,
            number(attempt.fees.max_fee),
            number(attempt.fees.tip),
            signed(attempt.at_block)?,
            attempt.cancels
        ],
    )?;
    Ok(())
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    let recipient: Option<Vec<u8>> = row.get(2)?;
    let to = recipient
        .map(|bytes| {
            <[u8; 20]>::try_from(bytes).map(Address::from).map_err(|_| damaged("recipient", ""))
        })
        .transpose()?;
    let mined: Option<Vec<u8>> = row.get(9)?;
    Ok(Entry {
        purpose: row.get(0)?,
        state: State::read(&row.get::<_, String>(1)?)?,
        call: Call { to, data: row.get(3)?, value: wide(&row.get::<_, Vec<u8>>(4)?)? },
        gas: unsigned(row.get(5)?)?,
        nonce: row.get::<_, Option<i64>>(6)?.map(unsigned).transpose()?,
        tries: row.get(7)?,
        note: row.get(8)?,
        mined: mined.map(|bytes| hash(&bytes)).transpose()?,
        block: row.get::<_, Option<i64>>(10)?.map(unsigned).transpose()?,
        gas_used: row.get::<_, Option<i64>>(11)?.map(unsigned).transpose()?,
    })
}

fn attempt(row: &Row<'_>) -> Result<Attempt> {
    Ok(Attempt {
        hash: hash(&row.get::<_, Vec<u8>>(0)?)?,
        raw: row.get(1)?,
        fees: Fees {
            max_fee: wide(&row.get::<_, Vec<u8>>(2)?)?,
            tip: wide(&row.get::<_, Vec<u8>>(3)?)?,
        },
        at_block: unsigned(row.get(4)?)?,
        cancels: row.get(5)?,
    })
}

fn hash(bytes: &[u8]) -> Result<B256> {
    <[u8; 32]>::try_from(bytes).map(B256::from).map_err(|_| damaged("hash", "not 32 bytes"))
}

/// 256 bits as 32 bytes, most significant first.
fn number(value: U256) -> Vec<u8> {
    let mut bytes = [0; 32];
    value.to_big_endian(&mut bytes);
    bytes.to_vec()
}

fn wide(bytes: &[u8]) -> Result<U256> {
    if bytes.len() != 32 {
        return Err(damaged("number", "not 32 bytes"));
    }
    Ok(U256::from_big_endian(bytes))
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| damaged("number", value))
}

fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| damaged("number", value))
}

fn damaged(what: &'static str, reason: impl ToString) -> JournalError {
    JournalError::Damaged { what, reason: reason.to_string() }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|time| i64::try_from(time.as_millis()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
