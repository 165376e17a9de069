//! From gradients to an index, on disk: memory does not grow with the number of records.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nalgebra::DMatrix;

use crate::build::checked_row;
use crate::format::{ContributionId, Index};
use crate::layout::{Layout, Matrix};
use crate::quantise::{quantise, quantise_or_zero, QuantisedRow, SCALE_BITS};
use crate::sketch::Sketch;
use crate::solve::{damped, Damping};
use crate::storage::{io, part_of};
use crate::{IndexError, Result};

/// Rows read, multiplied and written at once.
const BLOCK: usize = 512;
/// No contribution has this number.
const UNSET: u32 = u32::MAX;

/// Takes record gradients in any order and writes their rows, already as 8-bit integers, to where
/// they stand in the finished file; then solves in the space of dimensions instead of that of
/// records:
///
/// ```text
/// W = (A Aᵀ + μI)⁻¹ A = A (AᵀA + μI)⁻¹
/// P = (A Aᵀ + λI)⁻¹ A = A (AᵀA + λI)⁻¹            up to as many records as dimensions
/// P = Aᵀ (A Aᵀ + λI)⁻¹ A = I − λ (AᵀA + λI)⁻¹     beyond
/// ```
///
/// (the push-through identity, a case of Woodbury's). `AᵀA` is summed block by block over the rows,
/// and W and P are made from the same rows in a second pass. Memory: four matrices of `d × d` in f64
/// and two in f32, and 12 bytes a record. Time: `2 n d²` multiplications, `4 d³`, and `2 d³` more for
/// every doubling of λ.
///
/// Dropped before [`Self::finish`], it leaves nothing behind.
pub struct DiskBuilder {
    layout: Layout,
    contributions: Vec<ContributionId>,
    owners: Vec<u32>,
    a_scales: Vec<u32>,
    path: PathBuf,
    part: Part,
}

/// The unfinished file; removed when it is dropped before it takes its name.
struct Part {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path); // nobody is left to be told
        }
    }
}

impl DiskBuilder {
    /// Like [`Builder::new`](crate::Builder::new), for an index that will stand at `path`.
    pub fn create(
        path: &Path,
        sketch: Sketch,
        damping: Damping,
        contributions: Vec<ContributionId>,
        records: u32,
    ) -> Result<Self> {
        let k = contributions.len() as u32;
        let layout =
            Layout { sketch, damping, rows: records, contributions: k, form: 0 }.checked()?;
        let part = part_of(path);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(|e| io(&part, &e))?;
        let part = Part { path: part, file, kept: false };
        part.file.set_len(layout.length() as u64).map_err(|e| io(&part.path, &e))?;
        Ok(Self {
            layout,
            contributions,
            owners: vec![UNSET; records as usize],
            a_scales: vec![0; records as usize],
            path: path.to_path_buf(),
            part,
        })
    }

    /// Names how the gradients are made, for [`Index::form`]; 0 unless named.
    pub fn form(mut self, form: u32) -> Self {
        self.layout.form = form;
        self
    }

    /// Sets row `row` to the gradient of one record of contribution number `contribution`.
    pub fn set(&mut self, row: u32, contribution: u32, gradient: &[f32]) -> Result<()> {
        let unit = checked_row(&self.layout, row, contribution, gradient)?;
        let quantised = quantise(&unit).ok_or(IndexError::NoDirection(u64::from(row)))?;
        let bytes: Vec<u8> = quantised.integers.iter().map(|v| *v as u8).collect();
        self.write(self.layout.row_at(Matrix::A, row as usize), &bytes)?;
        if let (Some(owner), Some(scale)) =
            (self.owners.get_mut(row as usize), self.a_scales.get_mut(row as usize))
        {
            (*owner, *scale) = (contribution, quantised.scale);
        }
        Ok(())
    }

    /// Solves, writes the rest and gives the finished index, mapped from its file.
    pub fn finish(mut self) -> Result<Index> {
        if let Some(row) = self.owners.iter().position(|o| *o == UNSET) {
            return Err(IndexError::NoDirection(row as u64));
        }
        let d = self.layout.sketch.dims as usize;
        let n = self.layout.rows as usize;
        let mut gram = DMatrix::<f64>::zeros(d, d);
        for start in (0..n).step_by(BLOCK) {
            let block = self.block(start)?; // [d, rows]
            gram += (&block * block.transpose()).cast::<f64>();
        }
        let solved = damped(&gram, d, self.layout.damping)?;
        drop(gram);
        self.layout.damping = solved.damping;
        let lambda = solved.lambda();
        let divides = solved.divides.cast::<f32>();
        let (mut w, mut p) = (Vec::with_capacity(n), Vec::with_capacity(self.layout.m()));
        if n > d {
            let all = DMatrix::identity(d, d) - &solved.explains * lambda;
            p = self.put(Matrix::P, 0, &all.cast(), quantise_or_zero)?;
        }
        let explains = (n <= d).then(|| solved.explains.cast::<f32>());
        for start in (0..n).step_by(BLOCK) {
            let block = self.block(start)?; // [d, rows]
            w.extend(self.put(Matrix::W, start, &(&divides * &block), quantise)?);
            if let Some(explains) = &explains {
                p.extend(self.put(Matrix::P, start, &(explains * &block), quantise_or_zero)?);
            }
        }
        let scales = [&self.a_scales[..], &w, &p];
        let front = self.layout.front(&self.contributions, &self.owners, scales);
        self.write(0, &front)?;
        self.part.file.sync_all().map_err(|e| io(&self.part.path, &e))?;
        std::fs::rename(&self.part.path, &self.path).map_err(|e| io(&self.path, &e))?;
        self.part.kept = true;
        Index::open(&self.path)
    }

    /// The rows from `start` on, up to [`BLOCK`] of them, as columns `[d, rows]`: what the integers
    /// stand for, so that W belongs to the very rows that are scored.
    fn block(&self, start: usize) -> Result<DMatrix<f32>> {
        let d = self.layout.sketch.dims as usize;
        let rows = BLOCK.min(self.layout.rows as usize - start);
        let mut bytes = vec![0; rows * d];
        let at = self.layout.row_at(Matrix::A, start) as u64;
        self.part.file.read_exact_at(&mut bytes, at).map_err(|e| io(&self.part.path, &e))?;
        let unit = 1.0 / f64::from(2u32).powi(SCALE_BITS as i32);
        let mut block = DMatrix::<f32>::zeros(d, rows);
        let scales = self.a_scales.iter().skip(start);
        for ((mut column, integers), scale) in
            block.column_iter_mut().zip(bytes.chunks_exact(d)).zip(scales)
        {
            let step = (f64::from(*scale) * unit) as f32;
            column.iter_mut().zip(integers).for_each(|(v, i)| *v = f32::from(*i as i8) * step);
        }
        Ok(block)
    }

    /// Quantises columns and writes them as the rows of a matrix from `start` on; gives their scales.
    fn put(
        &self,
        which: Matrix,
        start: usize,
        columns: &DMatrix<f32>,
        quantise: fn(&[f32]) -> Option<QuantisedRow>,
    ) -> Result<Vec<u32>> {
        let (mut bytes, mut scales) = (Vec::with_capacity(columns.len()), vec![]);
        for (i, column) in columns.column_iter().enumerate() {
            let row =
                quantise(column.as_slice()).ok_or(IndexError::NoDirection((start + i) as u64))?;
            bytes.extend(row.integers.iter().map(|v| *v as u8));
            scales.push(row.scale);
        }
        self.write(self.layout.row_at(which, start), &bytes)?;
        Ok(scales)
    }

    fn write(&self, at: usize, bytes: &[u8]) -> Result<()> {
        self.part.file.write_all_at(bytes, at as u64).map_err(|e| io(&self.part.path, &e))
    }
}
