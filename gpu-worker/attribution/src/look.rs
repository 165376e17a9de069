//! The pass over the rows: what queries find there, in integers.

use crate::dot::Wide;
use crate::format::Index;
use crate::layout::Matrix;
use crate::quantise::{Query, SCALE_BITS};

/// Bits dropped from each scaled product, so that the largest sum fits into 128 bits:
/// a product has at most 32 + 30 bits, less 16; two of them 92, and 2²⁰ rows 112.
pub(crate) const DROPPED_BITS: u32 = 16;

/// What a query finds at a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// `aᵢ cᵢ` in units of 2^-(2·SCALE_BITS − 2·DROPPED_BITS), the query's own scale left out.
    pub part: i128,
    /// `aᵢ` in units of 2^-SCALE_BITS, the query's own scale left out.
    pub along: i64,
}

/// What a query finds in an index.
pub(crate) struct Seen {
    /// Row by row.
    pub rows: Vec<Found>,
    /// `qᵀ P q`, in the units of [`Found::part`].
    pub explained: i128,
}

impl Index {
    /// What every query finds; all have the index's length. The number of threads does not bear
    /// on it, because integers add up to the same in any order.
    pub(crate) fn look(&self, queries: &[Query], threads: usize) -> Vec<Seen> {
        let wide: Vec<Wide> = queries.iter().map(|q| Wide::new(q.integers())).collect();
        let found = self.rows_found(&wide, threads);
        let explained = self.explained(queries, &wide, &found, threads);
        found.into_iter().zip(explained).map(|(rows, explained)| Seen { rows, explained }).collect()
    }

    /// A query's product with a row: 31 bits and a sign times 32 bits, in units of 2^-SCALE_BITS.
    pub(crate) fn along(&self, which: Matrix, row: usize, query: &Wide) -> i64 {
        i64::from(query.dot(self.row(which, row))) * i64::from(self.scales(which)[row])
    }

    fn rows_found(&self, queries: &[Wide], threads: usize) -> Vec<Vec<Found>> {
        let at = |row: usize, query: &Wide| {
            let a = self.along(Matrix::A, row, query);
            let c = self.along(Matrix::W, row, query);
            Found { part: dropped(a) * dropped(c), along: a }
        };
        let mut found = vec![vec![Found::default(); self.rows()]; queries.len()];
        let size = self.rows().div_ceil(threads.max(1)).max(1);
        // Each thread has rows of its own, and their places in every query's list.
        let mut shares: Vec<Vec<&mut [Found]>> = Vec::new();
        for list in &mut found {
            for (share, chunk) in list.chunks_mut(size).enumerate() {
                match shares.get_mut(share) {
                    Some(of) => of.push(chunk),
                    None => shares.push(vec![chunk]),
                }
            }
        }
        let fill = |(share, mut lists): (usize, Vec<&mut [Found]>)| {
            let rows = lists.first().map_or(0, |list| list.len());
            for i in 0..rows {
                for (list, query) in lists.iter_mut().zip(queries) {
                    list[i] = at(share * size + i, query);
                }
            }
        };
        share_out(shares.into_iter().enumerate().collect(), fill);
        found
    }

    /// `qᵀ P q` of every query. Where P stands for records, it is the sum of `aᵢ (P q)ᵢ`; where it
    /// stands for dimensions, that of `qⱼ (P q)ⱼ`.
    fn explained(
        &self,
        queries: &[Query],
        wide: &[Wide],
        found: &[Vec<Found>],
        threads: usize,
    ) -> Vec<i128> {
        let rows = self.scales(Matrix::P).len();
        let by_record = self.rows() <= self.sketch().dims as usize;
        let size = rows.div_ceil(threads.max(1)).max(1);
        let ranges = (0..rows).step_by(size).map(|start| start..rows.min(start + size)).collect();
        let sums = share_out(ranges, |range: std::ops::Range<usize>| {
            let mut sums = vec![0i128; queries.len()];
            for row in range {
                for (((sum, query), wide), found) in
                    sums.iter_mut().zip(queries).zip(wide).zip(found)
                {
                    let left = match by_record {
                        true => found[row].along,
                        false => i64::from(query.integers()[row]) << SCALE_BITS,
                    };
                    *sum += dropped(left) * dropped(self.along(Matrix::P, row, wide));
                }
            }
            sums
        });
        let mut all = vec![0; queries.len()];
        for part in sums {
            all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        all
    }
}

/// Runs `work` on every share, on a thread each where there are several.
fn share_out<T: Send, R: Send>(shares: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if shares.len() <= 1 {
        return shares.into_iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || work(share))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn dropped(along: i64) -> i128 {
    i128::from(along >> DROPPED_BITS)
}
