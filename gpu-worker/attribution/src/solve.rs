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

/// The dampings of an index, both in millionths: 10,000 is 0.01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damping {
    /// λ, which decides how much of an answer counts as explained. Asked for, it is the least: it
    /// is raised where the rows fill the space, so that at most a quarter of a random direction
    /// counts as explained.
    pub lambda: u32,
    /// μ, which decides how that is divided among the records. It is never below the λ that an
    /// index ends up with.
    pub mu: u32,
}

impl Damping {
    /// The least that λ and μ may be.
    pub const LEAST: u32 = 100;
    /// The most that they may be.
    pub const MOST: u32 = 1_000_000_000;
}

/// Damped inverses and the dampings that they have.
pub(crate) struct Damped {
    /// `(G + λI)⁻¹`.
    pub explains: DMatrix<f64>,
    /// `(G + μI)⁻¹`.
    pub divides: DMatrix<f64>,
    pub damping: Damping,
}

impl Damped {
    /// λ as a number.
    pub(crate) fn lambda(&self) -> f64 {
        f64::from(self.damping.lambda) / 1e6
    }
}

/// The largest part of a random direction that an index may explain, as a fraction of 1 over this.
const CHANCE: f64 = 4.0;

/// Both inverses of `G`, with the least λ of `λ₀ · 2^k` for which at most a quarter of a random
/// direction counts as explained.
///
/// The expected explained part of a random direction of `dims` dimensions is `Σᵢ sᵢ/(sᵢ + λ) / dims`
/// over the eigenvalues `sᵢ` of G, the effective dimension per dimension (Alaoui and Mahoney 2015);
/// its numerator is `m − λ tr (G + λI)⁻¹` for G of size m.
pub(crate) fn damped(g: &DMatrix<f64>, dims: usize, asked: Damping) -> Result<Damped> {
    let with = |millionths: u32| {
        let mut with = g.clone();
        for i in 0..g.nrows() {
            with[(i, i)] += f64::from(millionths) / 1e6;
        }
        inverse(with)
    };
    let mut lambda = asked.lambda;
    let explains = loop {
        let inverse = with(lambda)?;
        let effective = g.nrows() as f64 - f64::from(lambda) / 1e6 * inverse.trace();
        let next = lambda.saturating_mul(2);
        if effective <= dims as f64 / CHANCE || next > Damping::MOST {
            break inverse;
        }
        lambda = next;
    };
    let mu = asked.mu.max(lambda);
    let divides = match mu == lambda {
        true => explains.clone(),
        false => with(mu)?,
    };
    Ok(Damped { explains, divides, damping: Damping { lambda, mu } })
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
        let asked = Damping { lambda: 10_000, mu: 30_000 };
        let few = damped(&gram(40, 8), 40, asked).unwrap();
        assert_eq!(few.damping, asked);
        let g = gram(40, 200);
        let all = damped(&g, 40, asked).unwrap();
        assert!(all.damping.lambda > 1_000_000);
        assert_eq!(all.damping.mu, all.damping.lambda, "nothing is divided more finely");
        assert_eq!(all.divides, all.explains);
        let effective = |millionths: u32| -> f64 {
            let lambda = f64::from(millionths) / 1e6;
            g.symmetric_eigenvalues().iter().map(|s| s / (s + lambda)).sum()
        };
        assert!(effective(all.damping.lambda) <= 10.0);
        assert!(effective(all.damping.lambda / 2) > 10.0, "no more than needed");
    }
}
