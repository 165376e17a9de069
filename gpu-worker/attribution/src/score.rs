//! Scoring a query: integers only.

use crate::dot::Wide;
use crate::format::{ContributionId, Index};
use crate::layout::Matrix;
use crate::look::{Found, Seen, DROPPED_BITS};
use crate::quantise::{Query, SCALE_BITS};
use crate::{IndexError, Result};

/// The whole, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Multiplications from which on scoring is shared out to threads: about a millisecond's.
const THREAD_WORK: usize = 1 << 23;

/// One record's part in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordScore {
    /// Row of the index.
    pub row: u32,
    /// Number of its contribution.
    pub contribution: u32,
    /// Its part of ρ, in millionths: parts of a contribution that has a share add up to the share.
    /// Negative when the record speaks against the answer.
    pub ppm: i64,
}

/// How near an answer lies to the nearest record of a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Influence {
    /// Number of the contribution.
    pub contribution: u32,
    /// Its row with the largest influence, the first of them in a tie.
    pub row: u32,
    /// That influence in parts per million; see [`Index::influences`].
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
    /// The largest influence in each contribution that has rows, in the order of their numbers.
    pub influences: Vec<Influence>,
}

/// ‖q‖ of a query, with 16 bits after the point.
struct Length(i128);

impl Length {
    fn of(query: &Query) -> Self {
        let square: u128 = query.integers().iter().map(|v| i128::from(*v).pow(2) as u128).sum();
        Self((square << 32).isqrt() as i128)
    }

    /// `aᵢ / ‖q‖` in parts per million, floored.
    fn cosine(&self, along: i64) -> i64 {
        // 2^16 makes up for the bits after the length's point.
        let a = (i128::from(along) * i128::from(WHOLE_PPM)) << 16;
        let ppm = a.div_euclid(self.0 << SCALE_BITS);
        i64::try_from(ppm).unwrap_or(i64::MAX * ppm.signum() as i64)
    }
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
        let mut all = self.score_all(std::slice::from_ref(query), top)?;
        all.pop().ok_or(IndexError::NoQuery)
    }

    /// Attributes several queries in one pass over the rows, on as many threads as the machine has
    /// where that is worth while.
    pub fn score_all(&self, queries: &[Query], top: usize) -> Result<Vec<Attribution>> {
        let work = self.rows() * self.sketch().dims as usize * queries.len();
        let threads = match work < THREAD_WORK {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, usize::from),
        };
        self.score_on(queries, top, threads)
    }

    /// [`Self::score_all`] on a given number of threads, which does not bear on the result.
    pub fn score_on(
        &self,
        queries: &[Query],
        top: usize,
        threads: usize,
    ) -> Result<Vec<Attribution>> {
        self.check_lengths(queries)?;
        let seen = self.look(queries, threads);
        Ok(queries.iter().zip(seen).map(|(q, seen)| self.attribution(q, &seen, top)).collect())
    }

    /// First-order influence of every record on every answer, in parts per million: the cosine
    /// `aᵢ / ‖q‖` of the record's gradient with the answer's, floored.
    ///
    /// A step of training on the record changes the answer's loss by the product of the two
    /// gradients to first order (Pruthi et al., "Estimating Training Data Influence by Tracing
    /// Gradient Descent", 2020); positive means that the record speaks for the answer. Unlike
    /// the parts of ρ it does not divide credit among records that say the same.
    pub fn influences(&self, queries: &[Query]) -> Result<Vec<Vec<i64>>> {
        self.check_lengths(queries)?;
        let of = |query: &Query| {
            let (wide, length) = (Wide::new(query.integers()), Length::of(query));
            (0..self.rows()).map(|row| length.cosine(self.along(Matrix::A, row, &wide))).collect()
        };
        Ok(queries.iter().map(of).collect())
    }

    fn check_lengths(&self, queries: &[Query]) -> Result<()> {
        let expected = u64::from(self.sketch().dims);
        for query in queries {
            let found = query.integers().len() as u64;
            if found != expected {
                return Err(IndexError::Length { expected, found });
            }
        }
        Ok(())
    }

    /// The largest influence in each contribution that has rows.
    fn nearest(&self, query: &Query, found: &[Found]) -> Vec<Influence> {
        let mut nearest: Vec<Option<(i64, u32)>> = vec![None; self.contributions.len()];
        for (row, (at, &contribution)) in found.iter().zip(self.row_contribution.iter()).enumerate()
        {
            let best = &mut nearest[contribution as usize];
            if best.is_none_or(|(along, _)| along < at.along) {
                *best = Some((at.along, row as u32));
            }
        }
        let length = Length::of(query);
        let named = nearest.into_iter().zip(0u32..);
        named
            .filter_map(|(best, contribution)| {
                let (along, row) = best?;
                Some(Influence { contribution, row, ppm: length.cosine(along) })
            })
            .collect()
    }

    fn attribution(&self, query: &Query, seen: &Seen, top: usize) -> Attribution {
        let found = &seen.rows;
        let length: i128 = query.integers().iter().map(|v| i128::from(*v).pow(2)).sum();
        let length = length << (2 * SCALE_BITS - 2 * DROPPED_BITS);
        let whole = i128::from(WHOLE_PPM);
        // Saturates only where an index was forged with senseless scales.
        let explained = seen.explained.saturating_mul(whole).div_euclid(length).clamp(0, whole);
        let mut sums = vec![0i128; self.contributions.len()];
        for (at, &contribution) in found.iter().zip(self.row_contribution.iter()) {
            sums[contribution as usize] += at.part;
        }
        let ids = &self.contributions;
        let shares = split(explained as u32, &sums, ids);
        let given: u32 = shares.iter().sum();
        let divided: i128 = sums.iter().filter(|sum| **sum > 0).sum();
        let ppm = |part: i128| match divided {
            0 => 0,
            _ => {
                let ppm = part.saturating_mul(explained).div_euclid(divided);
                i64::try_from(ppm).unwrap_or(i64::MAX * part.signum() as i64)
            }
        };
        let mut records: Vec<RecordScore> = found
            .iter()
            .zip(self.row_contribution.iter())
            .enumerate()
            .map(|(row, (at, &contribution))| RecordScore {
                row: row as u32,
                contribution,
                ppm: ppm(at.part),
            })
            .collect();
        let order = |r: &RecordScore| (std::cmp::Reverse(r.ppm), r.row);
        if top < records.len() {
            records.select_nth_unstable_by_key(top, order);
            records.truncate(top);
        }
        records.sort_by_key(order);
        Attribution {
            shares: ids.iter().copied().zip(shares).collect(),
            unattributed_ppm: WHOLE_PPM - given,
            records,
            influences: self.nearest(query, found),
        }
    }
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
