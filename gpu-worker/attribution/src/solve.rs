//! The damped inverse, by blocks.

use nalgebra::{Cholesky, DMatrix};

use crate::{IndexError, Result};

/// Rows and columns eliminated at once.
const BLOCK: usize = 64;

/// The inverse of a symmetric positive definite matrix, by Gauss–Jordan elimination with blocks for
/// pivots: `2n³` multiplications, nearly all of them in matrix products.
///
/// Needs no exchange of rows, because every pivot block of a positive definite matrix is a Schur
/// complement and so positive definite itself.
pub(crate) fn inverse(mut g: DMatrix<f64>) -> Result<DMatrix<f64>> {
    let n = g.nrows();
    let mut start = 0;
    while start < n {
        let size = BLOCK.min(n - start);
        let pivot = g.view((start, start), (size, size)).into_owned();
        let pivot = Cholesky::new(pivot).ok_or(IndexError::NotPositiveDefinite)?.inverse();
        let rows = g.rows(start, size).into_owned(); // [size, n]
        let right = &pivot * &rows; // [size, n]
        let left = g.columns(start, size) * &pivot; // [n, size]
        g.gemm(-1.0, &left, &rows, 1.0);
        g.columns_mut(start, size).copy_from(&-left);
        g.rows_mut(start, size).copy_from(&right);
        g.view_mut((start, start), (size, size)).copy_from(&pivot);
        start += size;
    }
    Ok(g)
}

/// A damped inverse and the damping that it has.
pub(crate) struct Damped {
    /// `(G + λI)⁻¹`.
    pub inverse: DMatrix<f64>,
    pub lambda_millionths: u32,
}

/// The largest part of a random direction that an index may explain, as a fraction of 1 over this.
const CHANCE: f64 = 4.0;
/// The most that λ may be.
const LAMBDA_MAX: u32 = 1_000_000_000;

/// `(G + λI)⁻¹` with the least λ of `least · 2^k` for which at most a quarter of a random direction
/// counts as explained.
///
/// The expected explained part of a random direction of `dims` dimensions is `Σᵢ sᵢ/(sᵢ + λ) / dims`
/// over the eigenvalues `sᵢ` of G, the effective dimension per dimension (Alaoui and Mahoney 2015);
/// its numerator is `m − λ tr (G + λI)⁻¹` for G of size m.
pub(crate) fn damped(g: &DMatrix<f64>, dims: usize, least: u32) -> Result<Damped> {
    let mut lambda_millionths = least;
    loop {
        let lambda = f64::from(lambda_millionths) / 1e6;
        let mut with = g.clone();
        for i in 0..g.nrows() {
            with[(i, i)] += lambda;
        }
        let inverse = inverse(with)?;
        let effective = g.nrows() as f64 - lambda * inverse.trace();
        let next = lambda_millionths.saturating_mul(2);
        if effective <= dims as f64 / CHANCE || next > LAMBDA_MAX {
            return Ok(Damped { inverse, lambda_millionths });
        }
        lambda_millionths = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(n: usize, rank: usize) -> DMatrix<f64> {
        let mut state = 1u64;
        let a = DMatrix::from_fn(n, rank, |_, _| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        });
        &a * a.transpose()
    }

    #[test]
    fn blocks_give_the_inverse() {
        for n in [1, 5, 64, 65, 200] {
            let mut g = gram(n, n / 2 + 1);
            for i in 0..n {
                g[(i, i)] += 0.01;
            }
            let product = &g * inverse(g.clone()).unwrap();
            let gap = (product - DMatrix::identity(n, n)).abs().max();
            assert!(gap < 1e-7, "{n}: {gap}");
        }
        let indefinite = DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 1.0]);
        assert_eq!(inverse(indefinite).err(), Some(IndexError::NotPositiveDefinite));
    }

    #[test]
    fn lambda_rises_until_chance_explains_little() {
        // Few directions: as asked. All directions: until a quarter.
        let few = damped(&gram(40, 8), 40, 10_000).unwrap();
        assert_eq!(few.lambda_millionths, 10_000);
        let g = gram(40, 200);
        let all = damped(&g, 40, 10_000).unwrap();
        assert!(all.lambda_millionths > 1_000_000);
        let effective = |millionths: u32| -> f64 {
            let lambda = f64::from(millionths) / 1e6;
            g.symmetric_eigenvalues().iter().map(|s| s / (s + lambda)).sum()
        };
        assert!(effective(all.lambda_millionths) <= 10.0);
        assert!(effective(all.lambda_millionths / 2) > 10.0, "no more than needed");
    }
}
