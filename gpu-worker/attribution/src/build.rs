//! From gradients to an index, in memory.

use nalgebra::DMatrix;

use crate::format::{ContributionId, Index};
use crate::layout::Layout;
use crate::quantise::{quantise, quantise_or_zero, QuantisedRow};
use crate::sketch::Sketch;
use crate::solve::{damped, Damping};
use crate::storage::Bytes;
use crate::{IndexError, Result};

/// Takes record gradients one by one, then builds the index: for as many records as there are
/// dimensions or fewer. [`DiskBuilder`](crate::DiskBuilder) is for more.
pub struct Builder {
    layout: Layout,
    contributions: Vec<ContributionId>,
    /// Per row: its contribution and its unit-length projection.
    rows: Vec<Option<(u32, Vec<f32>)>>,
}

impl Builder {
    /// A builder for `records` rows over the given contributions.
    pub fn new(
        sketch: Sketch,
        damping: Damping,
        contributions: Vec<ContributionId>,
        records: u32,
    ) -> Result<Self> {
        let k = contributions.len() as u32;
        let layout =
            Layout { sketch, damping, rows: records, contributions: k, form: 0 }.checked()?;
        let rows = (0..records).map(|_| None).collect();
        Ok(Self { layout, contributions, rows })
    }

    /// Names how the gradients are made, for [`Index::form`]; 0 unless named.
    pub fn form(mut self, form: u32) -> Self {
        self.layout.form = form;
        self
    }

    /// Sets row `row` to the gradient of one record of contribution number `contribution`.
    pub fn set(&mut self, row: u32, contribution: u32, gradient: &[f32]) -> Result<()> {
        let unit = checked_row(&self.layout, row, contribution, gradient)?;
        if let Some(place) = self.rows.get_mut(row as usize) {
            *place = Some((contribution, unit));
        }
        Ok(())
    }

    /// Solves for W and P in f64 and quantises all.
    ///
    /// Costs `3 n² d + 4n³` multiplications for `n` rows of `d` dimensions, and `2n³` more for each
    /// doubling of λ.
    pub fn build(self) -> Result<Index> {
        let n = self.rows.len();
        let d = self.layout.sketch.dims as usize;
        let mut owners = Vec::with_capacity(n);
        let mut a = DMatrix::<f32>::zeros(d, n); // rows of A stand in columns
        for (index, row) in self.rows.into_iter().enumerate() {
            let (contribution, unit) = row.ok_or(IndexError::NoDirection(index as u64))?;
            owners.push(contribution);
            a.column_mut(index).copy_from_slice(&unit);
        }
        // A plain product: `tr_mul` takes dot products one by one, several times slower.
        let gram = (a.transpose() * &a).cast::<f64>(); // [n, n]
        let solved = damped(&gram, d, self.layout.damping)?;
        // Columns are rows of W and of P.
        let w = &a * solved.divides.cast::<f32>(); // [d, n]
        let mut p = &a * solved.explains.cast::<f32>(); // [d, n]
        if n > d {
            p *= a.transpose(); // [d, d]
        }

        type Quantise = fn(&[f32]) -> Option<QuantisedRow>;
        let quantised = |from: &DMatrix<f32>, quantise: Quantise| -> Result<Vec<QuantisedRow>> {
            let row = |(i, column): (usize, nalgebra::DVectorView<f32>)| {
                quantise(column.as_slice()).ok_or(IndexError::NoDirection(i as u64))
            };
            from.column_iter().enumerate().map(row).collect()
        };
        let all =
            [quantised(&a, quantise)?, quantised(&w, quantise)?, quantised(&p, quantise_or_zero)?];
        let [a, w, p] = all.each_ref().map(|rows| rows.iter().map(|r| r.scale).collect::<Vec<_>>());
        let layout = Layout { damping: solved.damping, ..self.layout };
        let mut bytes = layout.front(&self.contributions, &owners, [&a, &w, &p]);
        bytes.reserve_exact(layout.length() - bytes.len());
        for row in all.iter().flatten() {
            bytes.extend(row.integers.iter().map(|v| *v as u8));
        }
        Index::checked(Bytes::Owned(bytes))
    }
}

/// A record's unit-length projection, once its numbers are known to fit.
pub(crate) fn checked_row(
    layout: &Layout,
    row: u32,
    contribution: u32,
    gradient: &[f32],
) -> Result<Vec<f32>> {
    if contribution >= layout.contributions {
        return Err(IndexError::UnknownContribution { row, contribution });
    }
    if row >= layout.rows {
        let (found, max) = (u64::from(row) + 1, u64::from(layout.rows));
        return Err(IndexError::Size { what: "the row", found, max });
    }
    layout.sketch.unit(gradient)?.ok_or(IndexError::NoDirection(u64::from(row)))
}
