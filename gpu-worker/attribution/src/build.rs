//! From gradients to an index.

use nalgebra::{Cholesky, DMatrix};

use crate::format::{ContributionId, Index, MAX_CONTRIBUTIONS, MAX_ROWS};
use crate::quantise::quantise;
use crate::sketch::Sketch;
use crate::{IndexError, Result};

/// Takes record gradients one by one, then builds the index.
pub struct Builder {
    sketch: Sketch,
    lambda_millionths: u32,
    contributions: Vec<ContributionId>,
    /// Per row: its contribution and its unit-length projection.
    rows: Vec<Option<(u32, Vec<f32>)>>,
}

impl Builder {
    /// A builder for `records` rows over the given contributions. `lambda_millionths` is λ in
    /// millionths: 10,000 is 0.01.
    pub fn new(
        sketch: Sketch,
        lambda_millionths: u32,
        contributions: Vec<ContributionId>,
        records: u32,
    ) -> Result<Self> {
        Index::check_sizes(records, sketch.dims, contributions.len() as u32)?;
        Index::check_lambda(lambda_millionths)?;
        debug_assert!(records <= MAX_ROWS && contributions.len() as u32 <= MAX_CONTRIBUTIONS);
        let rows = (0..records).map(|_| None).collect();
        Ok(Self { sketch, lambda_millionths, contributions, rows })
    }

    /// Sets row `row` to the gradient of one record of contribution number `contribution`.
    pub fn set(&mut self, row: u32, contribution: u32, gradient: &[f32]) -> Result<()> {
        if contribution as usize >= self.contributions.len() {
            return Err(IndexError::UnknownContribution { row, contribution });
        }
        let count = self.rows.len() as u64;
        let place = self.rows.get_mut(row as usize).ok_or(IndexError::Size {
            what: "the row",
            found: u64::from(row) + 1,
            max: count,
        })?;
        let unit = self.sketch.unit(gradient)?.ok_or(IndexError::NoDirection(u64::from(row)))?;
        *place = Some((contribution, unit));
        Ok(())
    }

    /// Solves for `W = (A Aᵀ + λI)⁻¹ A` in f64 and quantises both.
    ///
    /// Costs `n² d + n³/3` multiplications for `n` rows of `d` dimensions.
    pub fn build(self) -> Result<Index> {
        let n = self.rows.len();
        let d = self.sketch.dims as usize;
        let mut row_contribution = Vec::with_capacity(n);
        let mut a = DMatrix::<f32>::zeros(d, n); // rows of A stand in columns
        for (index, row) in self.rows.into_iter().enumerate() {
            let (contribution, unit) = row.ok_or(IndexError::NoDirection(index as u64))?;
            row_contribution.push(contribution);
            a.column_mut(index).copy_from_slice(&unit);
        }
        let lambda = f64::from(self.lambda_millionths) / 1e6;
        // A plain product: `tr_mul` takes dot products one by one, several times slower.
        let mut gram = (a.transpose() * &a).cast::<f64>(); // [n, n]
        for i in 0..n {
            gram[(i, i)] += lambda;
        }
        let factor = Cholesky::new(gram).ok_or(IndexError::NotPositiveDefinite)?;
        // The inverse once, then one product, is cheaper than solving for d right-hand sides.
        let inverse = factor.inverse().cast::<f32>();
        let w = &a * inverse; // [d, n]: columns are rows of W

        let mut index = Index {
            sketch: self.sketch,
            lambda_millionths: self.lambda_millionths,
            contributions: self.contributions,
            row_contribution,
            a_scales: Vec::with_capacity(n),
            w_scales: Vec::with_capacity(n),
            a: Vec::with_capacity(n * d),
            w: Vec::with_capacity(n * d),
        };
        for i in 0..n {
            let sides =
                [(&a, &mut index.a, &mut index.a_scales), (&w, &mut index.w, &mut index.w_scales)];
            for (from, integers, scales) in sides {
                let row =
                    quantise(from.column(i).as_slice()).ok_or(IndexError::NoDirection(i as u64))?;
                integers.extend(row.integers);
                scales.push(row.scale);
            }
        }
        index.validated()
    }
}
