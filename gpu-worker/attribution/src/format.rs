//! The index as bytes, in memory or mapped from its file.
//!
//! Little-endian throughout: magic (8 bytes), layout (u16), reserved (u16, zero), rows n (u32),
//! dimensions d (u32), λ in millionths (u32), contributions k (u32), form (u32), μ in millionths
//! (u32), sketch seed (u64), gradient length (u64); then k ids of 32 bytes, n contribution numbers
//! (u32), n scales of A (u32), n scales of W (u32), m scales of P (u32), n·d integers of A, n·d
//! integers of W, m·d integers of P, where m is the lesser of n and d.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::layout::{Layout, Matrix};
use crate::sketch::Sketch;
use crate::solve::Damping;
use crate::storage::{replace_file, Bytes};
use crate::{IndexError, Result};

/// The caller's name for a contribution, usually a digest.
pub type ContributionId = [u8; 32];

/// Separates the root from every other sha2-256 in the system.
const ROOT_DOMAIN: &[u8] = b"tributary/influence-index/2";
pub(crate) const MAX_ROWS: u32 = 1 << 20;
pub(crate) const MAX_DIMS: u32 = 1 << 16;
pub(crate) const MAX_CONTRIBUTIONS: u32 = 1 << 16;

/// A built influence index. Always valid: it can only be made by building or by checked reading.
///
/// The integers stay in the file that it was opened from; contributions and scales, up to 16 bytes
/// a row, are held in memory. Clones share both.
#[derive(Clone)]
pub struct Index {
    bytes: Arc<Bytes>,
    layout: Layout,
    pub(crate) contributions: Arc<[ContributionId]>,
    /// Contribution number of each row.
    pub(crate) row_contribution: Arc<[u32]>,
    /// Scales of the rows of A, W and P.
    scales: [Arc<[u32]>; 3],
}

impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Index {}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Index {
    /// The projection that queries must use.
    pub fn sketch(&self) -> Sketch {
        self.layout.sketch
    }

    /// How it was solved.
    pub fn damping(&self) -> Damping {
        self.layout.damping
    }

    /// The caller's number for how the gradients were made; queries must be made in the same way.
    pub fn form(&self) -> u32 {
        self.layout.form
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
        let bytes = self.as_bytes();
        let mut hash = Sha256::new();
        hash.update((ROOT_DOMAIN.len() as u64).to_le_bytes());
        hash.update(ROOT_DOMAIN);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
        hash.finalize().into()
    }

    /// The bytes of this index; every index has exactly one form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.all()
    }

    /// A copy of [`Self::as_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// Reads and checks an index.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::checked(Bytes::Owned(bytes.to_vec()))
    }

    /// Maps a file and checks all of it, which reads it once; afterwards pages are loaded as
    /// queries touch them. The file must not be changed in place while it is open; nothing in this
    /// crate does.
    pub fn open(path: &Path) -> Result<Self> {
        Self::checked(Bytes::map(path)?)
    }

    /// Writes the index beside `path`, then renames it over `path`.
    pub fn save(&self, path: &Path) -> Result<()> {
        replace_file(path, self.as_bytes())
    }

    /// The integers of one row, each an `i8`.
    pub(crate) fn row(&self, which: Matrix, row: usize) -> &[u8] {
        let at = self.layout.row_at(which, row);
        &self.bytes.all()[at..at + self.layout.sketch.dims as usize]
    }

    /// The scales of a matrix's rows.
    pub(crate) fn scales(&self, which: Matrix) -> &[u32] {
        &self.scales[which as usize]
    }

    pub(crate) fn checked(bytes: Bytes) -> Result<Self> {
        let all = bytes.all();
        let layout = Layout::read(all)?;
        let n = layout.rows as usize;
        let words = |at: usize, count: usize| -> Arc<[u32]> {
            all[at..at + 4 * count].as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
        };
        let contributions: Arc<[ContributionId]> =
            all[layout.ids_at()..layout.owners_at()].as_chunks().0.into();
        let row_contribution = words(layout.owners_at(), n);
        let scales = [(Matrix::A, n), (Matrix::W, n), (Matrix::P, layout.m())]
            .map(|(which, count)| words(layout.scales_at(which), count));
        check_distinct(&contributions)?;
        for (row, &contribution) in row_contribution.iter().enumerate() {
            if contribution as usize >= contributions.len() {
                return Err(IndexError::UnknownContribution { row: row as u32, contribution });
            }
        }
        if scales.iter().flat_map(|of| of.iter()).any(|scale| *scale == 0) {
            return Err(IndexError::Corrupt("a row's scale is zero"));
        }
        // -128 has no counterpart; quantisation never writes it.
        if all[layout.row_at(Matrix::A, 0)..].contains(&(i8::MIN as u8)) {
            return Err(IndexError::Corrupt("a row holds -128"));
        }
        Ok(Self { bytes: Arc::new(bytes), layout, contributions, row_contribution, scales })
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
