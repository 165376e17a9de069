//! Shards: files of records, their salted trees, and offers of them to a datanet.
//!
//! A shard is UTF-8 text with one JSON record on each line (see [`Record`] for the forms), all of
//! them answers to learn or all of them preferences: no training could take a shard that has both.
//! Its digest is that of the file as it stands; its tree is over the lines without their line
//! ends, `\r\n` as well as `\n`.

mod kept;
mod record;

pub use kept::{KeptShard, ShardBook};
pub use record::{Message, Record, RecordKind};

use crate::{store::digest_of, ErrorKind};
use rand::{rngs::OsRng, RngCore};
use serde::{Deserialize, Serialize};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use tributary_primitives::{
    records::{self, Seed},
    signing::ContributionOffer,
    tree, AccountId, BlockNumber, DatanetId, Digest, H256,
};

/// Largest shard, in bytes.
pub const SHARD_MAX: u64 = 64 << 20;
/// Longest line, in bytes.
pub const LINE_MAX: usize = 1 << 20;

/// Why a file is not a shard.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A line is not a record.
    #[error("line {line}: {reason}")]
    BadLine {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A line is too long.
    #[error("line {line} has {bytes} bytes, more than {LINE_MAX}; split the record")]
    LongLine {
        /// Its number, from 1.
        line: usize,
        /// Its size.
        bytes: usize,
    },
    /// A line is of another kind than those before it.
    #[error("line {line} is not one of the {kind} that the lines before it are; a training takes answers to learn or preferences, so put each kind into a shard of its own")]
    MixedKinds {
        /// Its number, from 1.
        line: usize,
        /// What the lines before it are.
        kind: RecordKind,
    },
    /// The file is too large.
    #[error("the shard has {bytes} bytes, more than {SHARD_MAX}; split it into several")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The file has no records.
    #[error("the shard has no records; put one JSON object on each line")]
    Empty,
    /// The shard has no such record.
    #[error("the shard has {records} records, so there is no number {index} (they count from 0)")]
    NoSuchRecord {
        /// What was asked for.
        index: u64,
        /// How many there are.
        records: u64,
    },
    /// What was kept of a shard is not there or damaged.
    #[error("{path}: {reason}")]
    Kept {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ShardError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadLine { .. }
            | Self::LongLine { .. }
            | Self::MixedKinds { .. }
            | Self::TooLarge { .. }
            | Self::Empty => ErrorKind::Usage,
            Self::NoSuchRecord { .. } => ErrorKind::NotFound,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Kept { .. } | Self::Io { .. } => ErrorKind::Failed,
        }
    }
}

/// A file of records, checked.
#[derive(Clone, Debug)]
pub struct Shard {
    bytes: Vec<u8>,
    content: Digest,
    lines: Vec<Range<usize>>,
    parsed: Vec<Record>,
    kind: RecordKind,
}

/// Shows that a record belongs to a contribution, without showing any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordProof {
    /// The record: its line, without the line end.
    pub record: String,
    /// Its salt, hexadecimal.
    pub salt: String,
    /// Its place in the tree.
    pub proof: tree::Proof,
}

impl RecordProof {
    /// Whether it holds under the root of a contribution.
    pub fn holds(&self, root: &H256) -> bool {
        hex::decode(&self.salt)
            .ok()
            .and_then(|salt| <[u8; 32]>::try_from(salt).ok())
            .is_some_and(|salt| records::verify(root, &salt, self.record.as_bytes(), &self.proof))
    }
}

impl Shard {
    /// Checks bytes, line by line; the first bad line is named.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ShardError> {
        let size = bytes.len() as u64;
        if size > SHARD_MAX {
            return Err(ShardError::TooLarge { bytes: size });
        }
        let mut lines = Vec::new();
        let mut parsed = Vec::new();
        let mut kind: Option<RecordKind> = None;
        let mut blank: Option<usize> = None;
        let mut start = 0;
        for (number, chunk) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let line = chunk.strip_suffix(b"\n").unwrap_or(chunk);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let range = start..start + line.len();
            start += chunk.len();
            if line.is_empty() {
                blank = blank.or(Some(number));
                continue;
            }
            // Blank lines are harmless at the end of a file only: elsewhere they are a mistake.
            if let Some(line) = blank {
                let reason = "it is blank; put one JSON object on each line".into();
                return Err(ShardError::BadLine { line, reason });
            }
            if line.len() > LINE_MAX {
                return Err(ShardError::LongLine { line: number, bytes: line.len() });
            }
            let record = Record::parse(line)
                .map_err(|reason| ShardError::BadLine { line: number, reason })?;
            let kind = *kind.get_or_insert(record.kind());
            if kind != record.kind() {
                return Err(ShardError::MixedKinds { line: number, kind });
            }
            lines.push(range);
            parsed.push(record);
        }
        let kind = kind.ok_or(ShardError::Empty)?;
        Ok(Self { content: digest_of(&bytes), bytes, lines, parsed, kind })
    }

    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ShardError> {
        let failed = |source| ShardError::Io { path: path.into(), source };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > SHARD_MAX {
            return Err(ShardError::TooLarge { bytes });
        }
        Self::parse(std::fs::read(path).map_err(failed)?)
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the file.
    pub fn content(&self) -> Digest {
        self.content
    }

    /// Number of records, at least 1 and below 2^32 (a record has two bytes at the least).
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }

    /// The records as they stand in the file, without line ends.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.lines.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    /// The records, read.
    pub fn parsed(&self) -> &[Record] {
        &self.parsed
    }

    /// What all of them are.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// A random seed for the salts of a shard.
    pub fn fresh_seed() -> Seed {
        let mut seed = Seed::default();
        OsRng.fill_bytes(&mut seed);
        seed
    }

    /// Root over the salted records.
    pub fn root(&self, seed: &Seed) -> H256 {
        tree::root(&records::leaves(seed, self.records()))
    }

    /// Shows that the record at `index` (from 0) belongs to the shard.
    pub fn prove(&self, seed: &Seed, index: u64) -> Result<RecordProof, ShardError> {
        let leaves = records::leaves(seed, self.records());
        let missing = || ShardError::NoSuchRecord { index, records: leaves.len() as u64 };
        let proof = tree::prove(&leaves, index).ok_or_else(missing)?;
        let at = usize::try_from(index).map_err(|_| missing())?;
        let record = self.records().nth(at).ok_or_else(missing)?;
        Ok(RecordProof {
            record: String::from_utf8_lossy(record).into_owned(),
            salt: hex::encode(records::salt(seed, index)),
            proof,
        })
    }

    /// The offer of this shard to a datanet, to be signed by the payout key.
    pub fn offer(
        &self,
        datanet: DatanetId,
        seed: &Seed,
        payout: AccountId,
        valid_until: BlockNumber,
    ) -> ContributionOffer {
        ContributionOffer {
            datanet,
            content: self.content,
            records_root: self.root(seed),
            records: self.len(),
            bytes: self.bytes.len() as u64,
            payout,
            valid_until,
        }
    }
}

#[cfg(test)]
mod tests;
