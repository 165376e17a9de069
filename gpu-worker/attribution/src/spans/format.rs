//! The span index as a file.
//!
//! Little-endian throughout: magic (8 bytes), layout (u16), reserved (u16, zero), records n (u32),
//! contributions k (u32), places t (u32), digest (32 bytes); then k ids of 32 bytes, n first places
//! (u32), n contribution numbers (u32), the text as t tokens (u32), the suffix array as t places
//! (u32): eight bytes a token. The digest is sha2-256 of a domain tag and of every other byte.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{MAX_TEXT, SEPARATOR};
use crate::format::{ContributionId, MAX_CONTRIBUTIONS, MAX_ROWS};
use crate::storage::{replace_file, Bytes};
use crate::{IndexError, Result};

const MAGIC: &[u8; 8] = b"TRIBSPAN";
const LAYOUT: u16 = 1;
/// The header without its digest.
const FRONT: usize = 8 + 2 + 2 + 4 * 3;
const HEADER: usize = FRONT + 32;
/// Separates the digest from every other sha2-256 in the system.
const ROOT_DOMAIN: &[u8] = b"tributary/span-index/1";

/// A built span index, in memory or mapped from a file. Always valid: it can only be made by
/// building or by checked reading.
pub struct SpanIndex {
    bytes: Bytes,
    records: usize,
    contributions: Vec<ContributionId>,
    /// Tokens and separators.
    places: usize,
    root: [u8; 32],
}

impl std::fmt::Debug for SpanIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanIndex")
            .field("records", &self.records)
            .field("contributions", &self.contributions.len())
            .field("tokens", &self.tokens())
            .finish_non_exhaustive()
    }
}

impl SpanIndex {
    /// Maps a file and checks all of it: digest, structure and order. Reads the file once and
    /// needs four bytes a token while it checks; afterwards pages are loaded as queries touch them.
    ///
    /// The file must not be changed in place while it is open; [`Self::save`] never does.
    pub fn open(path: &Path) -> Result<Self> {
        Self::checked(Bytes::map(path)?)
    }

    /// Checks an index that is in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::checked(Bytes::Owned(bytes))
    }

    /// The bytes of this index; every index has exactly one form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.all()
    }

    /// Writes the index beside `path`, then renames it over `path`.
    pub fn save(&self, path: &Path) -> Result<()> {
        replace_file(path, self.as_bytes())
    }

    /// The digest that commits to every byte.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Ids of the contributions, in the order of their numbers.
    pub fn contributions(&self) -> &[ContributionId] {
        &self.contributions
    }

    /// How many records were indexed.
    pub fn records(&self) -> usize {
        self.records
    }

    /// How many tokens were indexed, separators left out.
    pub fn tokens(&self) -> usize {
        self.places - self.records
    }

    /// Tokens and separators.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// The token at a place of the text; past its end, the separator.
    pub(super) fn token(&self, place: usize) -> u32 {
        match place < self.places {
            true => self.word(self.text_at() + 4 * place),
            false => SEPARATOR,
        }
    }

    /// The place that is number `rank` in the order of what follows.
    pub(super) fn place(&self, rank: usize) -> usize {
        self.word(self.text_at() + 4 * (self.places + rank)) as usize
    }

    /// The record that holds a place of the text.
    pub(super) fn record_of(&self, place: usize) -> usize {
        let (mut low, mut high) = (0, self.records); // the last record that starts at or before
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.start(middle) <= place {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    }

    /// Place of a record's first token.
    pub(super) fn start(&self, record: usize) -> usize {
        self.word(self.table_at() + 4 * record) as usize
    }

    /// Contribution number of a record.
    pub(super) fn owner(&self, record: usize) -> u32 {
        self.word(self.table_at() + 4 * (self.records + record))
    }

    fn table_at(&self) -> usize {
        HEADER + 32 * self.contributions.len()
    }

    fn text_at(&self) -> usize {
        self.table_at() + 8 * self.records
    }

    /// The number at a byte offset; the lengths were checked, so it is always there.
    fn word(&self, at: usize) -> u32 {
        self.bytes
            .all()
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(SEPARATOR, u32::from_le_bytes)
    }

    fn checked(bytes: Bytes) -> Result<Self> {
        let all = bytes.all();
        let truncated = |expected: u64| IndexError::Truncated { expected, found: all.len() as u64 };
        let front = Front::read(all)?;
        let expected = front.length();
        let length = all.len() as u64;
        if length < expected {
            return Err(truncated(expected));
        }
        if length > expected {
            return Err(IndexError::TooLong(length - expected));
        }
        let root = digest(&all[..FRONT], &all[HEADER..]);
        if root != all[FRONT..HEADER] {
            return Err(IndexError::Digest);
        }
        let ids = &all[HEADER..HEADER + 32 * front.contributions as usize];
        let contributions: Vec<ContributionId> = ids.as_chunks::<32>().0.to_vec();
        let index = Self {
            records: front.records as usize,
            contributions,
            places: front.places as usize,
            root,
            bytes,
        };
        crate::format::check_distinct(&index.contributions)?;
        index.check_records()?;
        index.check_order()?;
        Ok(index)
    }

    /// Records follow each other without a gap, each closed by the only separator in it.
    fn check_records(&self) -> Result<()> {
        let corrupt = |what| Err(IndexError::Corrupt(what));
        let known = self.contributions.len() as u32;
        let mut place = 0;
        for record in 0..self.records {
            if self.start(record) != place {
                return corrupt("a record does not begin where the one before it ends");
            }
            let contribution = self.owner(record);
            if contribution >= known {
                let row = record as u32;
                return Err(IndexError::UnknownContribution { row, contribution });
            }
            while place < self.places && self.token(place) != SEPARATOR {
                place += 1;
            }
            if place == self.places {
                return corrupt("a record is not closed");
            }
            place += 1;
        }
        match place == self.places {
            true => Ok(()),
            false => corrupt("tokens stand after the last record"),
        }
    }

    /// The suffix array names every place once, in ascending order of what follows: two
    /// neighbours differ in their first token, or agree in it and are in order one place further.
    fn check_order(&self) -> Result<()> {
        const NONE: u32 = u32::MAX;
        let mut rank = vec![NONE; self.places];
        for i in 0..self.places {
            match rank.get_mut(self.place(i)) {
                Some(r) if *r == NONE => *r = i as u32,
                Some(_) => return Err(IndexError::Corrupt("the suffix array names a place twice")),
                None => return Err(IndexError::Corrupt("the suffix array names no place")),
            }
        }
        // One more than the rank of what follows a place's first token; 0 at the end of the text.
        let next = |place: usize| rank.get(place + 1).map_or(0, |r| u64::from(*r) + 1);
        for i in 1..self.places {
            let (a, b) = (self.place(i - 1), self.place(i));
            if (self.token(a), next(a)) >= (self.token(b), next(b)) {
                return Err(IndexError::Unsorted(i as u64));
            }
        }
        Ok(())
    }
}

/// The header's numbers.
struct Front {
    records: u32,
    contributions: u32,
    places: u32,
}

impl Front {
    fn read(all: &[u8]) -> Result<Self> {
        let found = all.len() as u64;
        let short = IndexError::Truncated { expected: HEADER as u64, found };
        if all.get(..8).is_some_and(|magic| magic != MAGIC) {
            return Err(IndexError::Magic("a span index"));
        }
        let Some(header) = all.get(..HEADER) else { return Err(short) };
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        if half(8) != LAYOUT {
            return Err(IndexError::Version { found: half(8), known: LAYOUT });
        }
        if half(10) != 0 {
            return Err(IndexError::Corrupt("a reserved field is not zero"));
        }
        let front = Self { records: word(12), contributions: word(16), places: word(20) };
        let sizes = [
            ("the number of records", front.records, u64::from(MAX_ROWS)),
            ("the number of contributions", front.contributions, MAX_CONTRIBUTIONS.into()),
            ("the number of tokens", front.places, MAX_TEXT),
        ];
        for (what, found, max) in sizes {
            if !(1..=max).contains(&found.into()) {
                return Err(IndexError::Size { what, found: found.into(), max });
            }
        }
        if front.places < front.records {
            return Err(IndexError::Corrupt("there are more records than places"));
        }
        Ok(front)
    }

    fn length(&self) -> u64 {
        HEADER as u64
            + 32 * u64::from(self.contributions)
            + 8 * u64::from(self.records)
            + 8 * u64::from(self.places)
    }
}

fn digest(front: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((ROOT_DOMAIN.len() as u64).to_le_bytes());
    hash.update(ROOT_DOMAIN);
    hash.update(front);
    hash.update(body);
    hash.finalize().into()
}

/// The bytes of an index, its digest filled in.
pub(super) fn write_bytes(
    contributions: &[ContributionId],
    starts: &[u32],
    record_contribution: &[u32],
    text: &[u32],
    sorted: &[i32],
) -> Vec<u8> {
    let size = HEADER + 32 * contributions.len() + 8 * starts.len() + 8 * text.len();
    let mut out = Vec::with_capacity(size);
    out.extend(MAGIC);
    out.extend(LAYOUT.to_le_bytes());
    out.extend(0u16.to_le_bytes());
    for number in [starts.len(), contributions.len(), text.len()] {
        out.extend((number as u32).to_le_bytes());
    }
    out.extend([0; 32]);
    out.extend(contributions.iter().flatten());
    for numbers in [starts, record_contribution, text] {
        out.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
    }
    out.extend(sorted.iter().flat_map(|v| v.to_le_bytes()));
    let root = digest(&out[..FRONT], &out[HEADER..]);
    out[FRONT..HEADER].copy_from_slice(&root);
    out
}
