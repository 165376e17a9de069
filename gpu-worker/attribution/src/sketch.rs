//! A seeded random projection that keeps inner products: the count sketch.

use crate::{IndexError, Result};

/// Projects gradients of `input` numbers to `dims`: every number is added, with a random sign, to
/// one random place. Inner products are kept on average, with a variance of order `1 / dims`
/// (Charikar, Chen and Farach-Colton, 2002). Place and sign are a hash of seed and position, so
/// nothing is stored and every machine draws the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch {
    /// Draws places and signs.
    pub seed: u64,
    /// Numbers of a gradient.
    pub input: u64,
    /// Numbers of a row.
    pub dims: u32,
}

impl Sketch {
    /// The projection of `gradient`, not yet scaled.
    pub fn project(&self, gradient: &[f32]) -> Result<Vec<f32>> {
        if gradient.len() as u64 != self.input {
            return Err(IndexError::Length { expected: self.input, found: gradient.len() as u64 });
        }
        // Sums in f64, in the order of positions: the result does not depend on the machine.
        let mut sums = vec![0f64; self.dims as usize];
        for (position, value) in gradient.iter().enumerate() {
            let hash = mix(self.seed ^ mix(position as u64));
            // The upper half picks the place without a modulo's bias, the lowest bit the sign.
            let place = ((hash >> 32) * u64::from(self.dims)) >> 32;
            let sign = 1.0 - 2.0 * (hash & 1) as f64;
            sums[place as usize] += sign * f64::from(*value);
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }

    /// The projection of `gradient`, scaled to unit length; `None` if it has no direction.
    pub(crate) fn unit(&self, gradient: &[f32]) -> Result<Option<Vec<f32>>> {
        let mut row = self.project(gradient)?;
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if !(norm.is_finite() && norm > 0.0) {
            return Ok(None);
        }
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
        Ok(Some(row))
    }
}

/// The finaliser of SplitMix64: every input bit moves every output bit.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
