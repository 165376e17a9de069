//! Quantiles of what was measured.

use serde::Serialize;

/// The middle and the tail of a sample, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are at most this.
    pub p50_ms: f64,
    /// Of a hundred values, 99 are at most this.
    pub p99_ms: f64,
    /// How many values there are.
    pub count: usize,
}

impl Spread {
    /// Of seconds, in any order. Zeros if there are none.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self {
            p50_ms: quantile(&seconds, 0.5) * 1e3,
            p99_ms: quantile(&seconds, 0.99) * 1e3,
            count: seconds.len(),
        }
    }
}

/// The nearest-rank quantile of sorted values; 0 if there are none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((spread.p50_ms, spread.p99_ms, spread.count), (100_000.0, 198_000.0, 200));
        assert_eq!(Spread::of(vec![]).p99_ms, 0.0);
        assert_eq!(quantile(&[7.0], 0.01), 7.0);
    }
}
