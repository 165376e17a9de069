//! The influence index's header and where everything stands in its file.

use crate::format::{ContributionId, MAX_CONTRIBUTIONS, MAX_DIMS, MAX_ROWS};
use crate::sketch::Sketch;
use crate::solve::Damping;
use crate::{IndexError, Result};

const MAGIC: &[u8; 8] = b"TRIBINFL";
const LAYOUT: u16 = 2;
const HEADER: usize = 8 + 2 + 2 + 4 * 6 + 8 + 8;

/// Sizes of an index, from which every offset in its file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub sketch: Sketch,
    pub damping: Damping,
    pub rows: u32,
    pub contributions: u32,
    /// How the caller made the gradients; only compared.
    pub form: u32,
}

impl Layout {
    pub(crate) fn checked(self) -> Result<Self> {
        let sizes = [
            ("the number of rows", self.rows, MAX_ROWS),
            ("the number of dimensions", self.sketch.dims, MAX_DIMS),
            ("the number of contributions", self.contributions, MAX_CONTRIBUTIONS),
        ];
        for (what, found, max) in sizes {
            if !(1..=max).contains(&found) {
                return Err(IndexError::Size { what, found: found.into(), max: max.into() });
            }
        }
        for (name, found) in [('λ', self.damping.lambda), ('μ', self.damping.mu)] {
            if !(Damping::LEAST..=Damping::MOST).contains(&found) {
                return Err(IndexError::Damping { name, found });
            }
        }
        Ok(self)
    }

    fn n(&self) -> usize {
        self.rows as usize
    }

    fn d(&self) -> usize {
        self.sketch.dims as usize
    }

    /// Where the ids stand.
    pub(crate) fn ids_at(&self) -> usize {
        HEADER
    }

    /// Rows of P: one for each record, or for each dimension where those are fewer.
    pub(crate) fn m(&self) -> usize {
        self.n().min(self.d())
    }

    /// Where the contribution number of each row stands; the scales of A, W and P follow.
    pub(crate) fn owners_at(&self) -> usize {
        HEADER + 32 * self.contributions as usize
    }

    pub(crate) fn scales_at(&self, which: Matrix) -> usize {
        self.owners_at() + 4 * self.n() * (1 + which as usize)
    }

    /// Where a row of a matrix stands.
    pub(crate) fn row_at(&self, which: Matrix, row: usize) -> usize {
        let cells = self.scales_at(Matrix::P) + 4 * self.m();
        cells + (which as usize * self.n() + row) * self.d()
    }

    /// Length of the file.
    pub(crate) fn length(&self) -> usize {
        self.row_at(Matrix::P, self.m())
    }

    /// Everything before the integers of A; `scales` are those of A, W and P.
    pub(crate) fn front(
        &self,
        contributions: &[ContributionId],
        owners: &[u32],
        scales: [&[u32]; 3],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.row_at(Matrix::A, 0));
        out.extend(MAGIC);
        out.extend(LAYOUT.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.extend(self.sketch.dims.to_le_bytes());
        out.extend(self.damping.lambda.to_le_bytes());
        out.extend(self.contributions.to_le_bytes());
        out.extend(self.form.to_le_bytes());
        out.extend(self.damping.mu.to_le_bytes());
        out.extend(self.sketch.seed.to_le_bytes());
        out.extend(self.sketch.input.to_le_bytes());
        out.extend(contributions.iter().flatten());
        for numbers in std::iter::once(owners).chain(scales) {
            out.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        }
        out
    }

    /// Reads the header and checks it against the file's length.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let truncated = |expected: usize| IndexError::Truncated {
            expected: expected as u64,
            found: bytes.len() as u64,
        };
        if bytes.get(..8).is_some_and(|magic| magic != MAGIC) {
            return Err(IndexError::Magic("an influence index"));
        }
        let Some(header) = bytes.get(..HEADER) else { return Err(truncated(HEADER)) };
        let mut reader = Reader { bytes: header, at: 8 };
        let layout = reader.u16();
        if layout != LAYOUT {
            return Err(IndexError::Version { found: layout, known: LAYOUT });
        }
        let reserved = reader.u16();
        let (rows, dims) = (reader.u32(), reader.u32());
        let (lambda, contributions) = (reader.u32(), reader.u32());
        let (form, mu) = (reader.u32(), reader.u32());
        if reserved != 0 {
            return Err(IndexError::Corrupt("a reserved field is not zero"));
        }
        let sketch = Sketch { seed: reader.u64(), input: reader.u64(), dims };
        // The damping last: a file of another length is told so first.
        let damping = Damping { lambda: Damping::LEAST, mu: Damping::LEAST };
        let sizes = Self { sketch, damping, rows, contributions, form }.checked()?;
        let expected = sizes.length();
        if bytes.len() < expected {
            return Err(truncated(expected));
        }
        if bytes.len() > expected {
            return Err(IndexError::TooLong((bytes.len() - expected) as u64));
        }
        Self { damping: Damping { lambda, mu }, ..sizes }.checked()
    }
}

/// One of the matrices; its number is its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matrix {
    /// The rows themselves.
    A = 0,
    /// What divides: `(A Aᵀ + μI)⁻¹ A`.
    W = 1,
    /// What explains: `(A Aᵀ + λI)⁻¹ A`, or `Aᵀ (A Aᵀ + λI)⁻¹ A` where that has fewer rows.
    P = 2,
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
