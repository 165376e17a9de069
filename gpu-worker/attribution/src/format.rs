//! The index as bytes.
//!
//! Little-endian throughout: magic (8 bytes), layout (u16), reserved (u16, zero), rows n (u32),
//! dimensions d (u32), λ in millionths (u32), contributions k (u32), reserved (u32, zero), sketch
//! seed (u64), gradient length (u64); then k ids of 32 bytes, n contribution numbers (u32), n
//! scales of A (u32), n scales of W (u32), n·d integers of A, n·d integers of W.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::sketch::Sketch;
use crate::{IndexError, Result};

/// The caller's name for a contribution, usually a digest.
pub type ContributionId = [u8; 32];

const MAGIC: &[u8; 8] = b"TRIBINFL";
const LAYOUT: u16 = 1;
const HEADER: usize = 8 + 2 + 2 + 4 * 5 + 8 + 8;
/// Separates the root from every other sha2-256 in the system.
const ROOT_DOMAIN: &[u8] = b"tributary/influence-index/1";
pub(crate) const MAX_ROWS: u32 = 1 << 20;
pub(crate) const MAX_DIMS: u32 = 1 << 16;
pub(crate) const MAX_CONTRIBUTIONS: u32 = 1 << 16;

/// A built influence index. Always valid: it can only be made by building or by checked reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub(crate) sketch: Sketch,
    pub(crate) lambda_millionths: u32,
    pub(crate) contributions: Vec<ContributionId>,
    /// Contribution number of each row.
    pub(crate) row_contribution: Vec<u32>,
    pub(crate) a_scales: Vec<u32>,
    pub(crate) w_scales: Vec<u32>,
    /// `n · d` integers, row by row.
    pub(crate) a: Vec<i8>,
    pub(crate) w: Vec<i8>,
}

impl Index {
    /// The projection that queries must use.
    pub fn sketch(&self) -> Sketch {
        self.sketch
    }

    /// λ in millionths.
    pub fn lambda_millionths(&self) -> u32 {
        self.lambda_millionths
    }

    /// Ids of the contributions, in the order of their numbers.
    pub fn contributions(&self) -> &[ContributionId] {
        &self.contributions
    }

    /// How many records were indexed.
    pub fn rows(&self) -> usize {
        self.row_contribution.len()
    }

    /// Contribution number of a row.
    pub fn contribution_of(&self, row: usize) -> Option<u32> {
        self.row_contribution.get(row).copied()
    }

    /// The digest that commits to every byte: sha2-256 of a domain tag, the length and the bytes.
    pub fn root(&self) -> [u8; 32] {
        let bytes = self.to_bytes();
        let mut hash = Sha256::new();
        hash.update((ROOT_DOMAIN.len() as u64).to_le_bytes());
        hash.update(ROOT_DOMAIN);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
        hash.finalize().into()
    }

    /// The bytes of this index; every index has exactly one form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.contributions.len() * 32 + self.a.len() * 2);
        out.extend(MAGIC);
        out.extend(LAYOUT.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend((self.row_contribution.len() as u32).to_le_bytes());
        out.extend(self.sketch.dims.to_le_bytes());
        out.extend(self.lambda_millionths.to_le_bytes());
        out.extend((self.contributions.len() as u32).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(self.sketch.seed.to_le_bytes());
        out.extend(self.sketch.input.to_le_bytes());
        out.extend(self.contributions.iter().flatten());
        for numbers in [&self.row_contribution, &self.a_scales, &self.w_scales] {
            out.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        }
        out.extend(self.a.iter().chain(&self.w).map(|v| *v as u8));
        out
    }

    /// Reads and checks an index.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let truncated = |expected: usize| IndexError::Truncated {
            expected: expected as u64,
            found: bytes.len() as u64,
        };
        if bytes.len() < MAGIC.len() {
            return Err(truncated(HEADER));
        }
        if &bytes[..8] != MAGIC {
            return Err(IndexError::Magic("an influence index"));
        }
        if bytes.len() < HEADER {
            return Err(truncated(HEADER));
        }
        let mut reader = Reader { bytes, at: 8 };
        let layout = reader.u16();
        if layout != LAYOUT {
            return Err(IndexError::Version { found: layout, known: LAYOUT });
        }
        let reserved = reader.u16();
        let (n, dims, lambda, k) = (reader.u32(), reader.u32(), reader.u32(), reader.u32());
        if reserved != 0 || reader.u32() != 0 {
            return Err(IndexError::Corrupt("a reserved field is not zero"));
        }
        let (seed, input) = (reader.u64(), reader.u64());
        Self::check_sizes(n, dims, k)?;
        let cells = n as usize * dims as usize;
        let expected = HEADER + 32 * k as usize + 12 * n as usize + 2 * cells;
        if bytes.len() < expected {
            return Err(truncated(expected));
        }
        if bytes.len() > expected {
            return Err(IndexError::TooLong((bytes.len() - expected) as u64));
        }
        let contributions = (0..k).map(|_| reader.take::<32>()).collect();
        let row_contribution = (0..n).map(|_| reader.u32()).collect();
        let a_scales = (0..n).map(|_| reader.u32()).collect();
        let w_scales = (0..n).map(|_| reader.u32()).collect();
        let (a, w) = bytes[reader.at..].split_at(cells);
        let signed = |part: &[u8]| part.iter().map(|v| *v as i8).collect();
        Self {
            sketch: Sketch { seed, input, dims },
            lambda_millionths: lambda,
            contributions,
            row_contribution,
            a_scales,
            w_scales,
            a: signed(a),
            w: signed(w),
        }
        .validated()
    }

    /// Reads an index from a file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| io(path, &e))?;
        Self::from_bytes(&bytes)
    }

    /// Writes the index beside `path`, then renames it over `path`.
    pub fn save(&self, path: &Path) -> Result<()> {
        replace_file(path, &self.to_bytes())
    }

    pub(crate) fn check_sizes(rows: u32, dims: u32, contributions: u32) -> Result<()> {
        let sizes = [
            ("the number of rows", rows, MAX_ROWS),
            ("the number of dimensions", dims, MAX_DIMS),
            ("the number of contributions", contributions, MAX_CONTRIBUTIONS),
        ];
        for (what, found, max) in sizes {
            if !(1..=max).contains(&found) {
                return Err(IndexError::Size { what, found: found.into(), max: max.into() });
            }
        }
        Ok(())
    }

    pub(crate) fn check_lambda(millionths: u32) -> Result<()> {
        match (100..=1_000_000_000).contains(&millionths) {
            true => Ok(()),
            false => Err(IndexError::Lambda(millionths)),
        }
    }

    /// Checks what the byte layout alone does not.
    pub(crate) fn validated(self) -> Result<Self> {
        Self::check_lambda(self.lambda_millionths)?;
        check_distinct(&self.contributions)?;
        for (row, &contribution) in self.row_contribution.iter().enumerate() {
            if contribution as usize >= self.contributions.len() {
                return Err(IndexError::UnknownContribution { row: row as u32, contribution });
            }
        }
        if self.a_scales.iter().chain(&self.w_scales).any(|scale| *scale == 0) {
            return Err(IndexError::Corrupt("a row's scale is zero"));
        }
        // -128 has no counterpart; quantisation never writes it.
        if self.a.iter().chain(&self.w).any(|v| *v == i8::MIN) {
            return Err(IndexError::Corrupt("a row holds -128"));
        }
        Ok(self)
    }
}

/// No contribution is listed twice.
pub(crate) fn check_distinct(contributions: &[ContributionId]) -> Result<()> {
    let mut sorted: Vec<(&ContributionId, u32)> = contributions.iter().zip(0..).collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(IndexError::DuplicateContribution(pair[1].1)),
        None => Ok(()),
    }
}

/// Writes beside `path`, then renames over it.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(|e| io(&part, &e))?;
    std::fs::rename(&part, path).map_err(|e| io(path, &e))
}

pub(crate) fn io(path: &Path, error: &std::io::Error) -> IndexError {
    IndexError::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// Reads fields in order; the caller has checked the length.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        out
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
