//! Scoring a query: integers only.

use crate::format::{ContributionId, Index};
use crate::quantise::{Query, SCALE_BITS};
use crate::{IndexError, Result};

/// The whole, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Bits dropped from each scaled product, so that the largest sum fits into 128 bits:
/// a product has at most 32 + 30 bits, less 16; two of them 92, and 2²⁰ rows 112.
const DROPPED_BITS: u32 = 16;

/// One record's part in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordScore {
    /// Row of the index.
    pub row: u32,
    /// Number of its contribution.
    pub contribution: u32,
    /// Its part of the query's squared length, in millionths; negative when the record speaks
    /// against the answer.
    pub ppm: i64,
}

/// Whose records shaped an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// Share of each contribution of the index, in the order of their numbers, in parts per
    /// million. Together with `unattributed_ppm` they are [`WHOLE_PPM`].
    pub shares: Vec<(ContributionId, u32)>,
    /// What no record explains.
    pub unattributed_ppm: u32,
    /// The records with the largest parts, largest first.
    pub records: Vec<RecordScore>,
}

impl Attribution {
    /// The explained part ρ, in parts per million.
    pub fn explained_ppm(&self) -> u32 {
        WHOLE_PPM - self.unattributed_ppm
    }

    /// The contribution with the largest share, if any has one.
    pub fn largest(&self) -> Option<&(ContributionId, u32)> {
        self.shares.iter().filter(|(_, ppm)| *ppm > 0).max_by_key(|(id, ppm)| (*ppm, *id))
    }
}

impl Index {
    /// Attributes a query, naming the `top` records with the largest parts.
    ///
    /// Rounding: each scaled product is floored at 2⁻¹⁶, ρ is floored to a part per million,
    /// shares are rounded by largest remainder (ties to the smaller contribution id).
    pub fn score(&self, query: &Query, top: usize) -> Result<Attribution> {
        let d = self.sketch.dims as usize;
        let q = query.integers();
        if q.len() != d {
            return Err(IndexError::Length { expected: d as u64, found: q.len() as u64 });
        }
        // In units of 2^-(2·SCALE_BITS - 2·DROPPED_BITS), the query's own scale left out of
        // numerator and denominator alike.
        let parts: Vec<i128> = (0..self.rows())
            .map(|row| {
                let cells = row * d..(row + 1) * d;
                let a = scaled(dot(&self.a[cells.clone()], q), self.a_scales[row]);
                let w = scaled(dot(&self.w[cells], q), self.w_scales[row]);
                a * w
            })
            .collect();
        let length = i128::from(dot(q, q)) << (2 * SCALE_BITS - 2 * DROPPED_BITS);
        // Saturates only where an index was forged with senseless scales.
        let ppm = |part: i128| part.saturating_mul(i128::from(WHOLE_PPM)).div_euclid(length);

        let whole = i128::from(WHOLE_PPM);
        let explained = ppm(parts.iter().sum()).clamp(0, whole) as u32;
        let mut sums = vec![0i128; self.contributions.len()];
        for (part, &contribution) in parts.iter().zip(&self.row_contribution) {
            sums[contribution as usize] += part;
        }
        let ids = &self.contributions;
        let shares = split(explained, &sums, ids);
        let given: u32 = shares.iter().sum();
        let mut records: Vec<RecordScore> = parts
            .iter()
            .enumerate()
            .map(|(row, part)| RecordScore {
                row: row as u32,
                contribution: self.row_contribution[row],
                ppm: i64::try_from(ppm(*part)).unwrap_or(i64::MAX * part.signum() as i64),
            })
            .collect();
        records.sort_by_key(|r| (std::cmp::Reverse(r.ppm), r.row));
        records.truncate(top);
        Ok(Attribution {
            shares: ids.iter().copied().zip(shares).collect(),
            unattributed_ppm: WHOLE_PPM - given,
            records,
        })
    }
}

/// Never wraps: at most 2¹⁶ products of at most 127², below 2³¹. Said without checks, because this
/// is where all the time goes.
fn dot(x: &[i8], y: &[i8]) -> i32 {
    x.iter()
        .zip(y)
        .fold(0i32, |sum, (x, y)| sum.wrapping_add(i32::from(*x).wrapping_mul(i32::from(*y))))
}

fn scaled(product: i32, scale: u32) -> i128 {
    (i128::from(product) * i128::from(scale)) >> DROPPED_BITS
}

/// Splits `total` in proportion to the positive weights, by largest remainder; all of it is given
/// out unless no weight is positive.
fn split(total: u32, weights: &[i128], ids: &[ContributionId]) -> Vec<u32> {
    // Weights may have 112 bits; 2^20 of accuracy beyond a ppm is plenty, and products then fit.
    let largest = weights.iter().copied().max().unwrap_or(0).max(0);
    let shift = (128 - largest.leading_zeros()).saturating_sub(64);
    let weights: Vec<u128> = weights.iter().map(|w| ((*w).max(0) >> shift) as u128).collect();
    let sum: u128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut shares = Vec::with_capacity(weights.len());
    let mut order = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = weight * u128::from(total);
        shares.push((product / sum) as u32);
        order.push((std::cmp::Reverse(product % sum), ids[index], index));
    }
    let left = total - shares.iter().sum::<u32>();
    order.sort();
    for (_, _, index) in order.into_iter().take(left as usize) {
        shares[index] += 1;
    }
    shares
}
