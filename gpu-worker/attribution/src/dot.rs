//! Inner products of 8-bit integers: where all of scoring's time goes.

/// A query's integers, widened once so that products need no conversion on one side.
pub(crate) struct Wide(Vec<i16>);

impl Wide {
    pub(crate) fn new(integers: &[i8]) -> Self {
        Self(integers.iter().map(|v| i16::from(*v)).collect())
    }

    /// The inner product with a row of `i8`.
    ///
    /// Never wraps: at most 2¹⁶ products of at most 128², which is 2³⁰. Integers add up to the same
    /// in any order, so the result does not depend on the instructions used.
    pub(crate) fn dot(&self, row: &[u8]) -> i32 {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions, as just asked.
            return unsafe { dot_avx2(row, &self.0) };
        }
        dot_plain(row, &self.0)
    }
}

#[inline(always)]
fn dot_plain(row: &[u8], query: &[i16]) -> i32 {
    row.iter().zip(query).fold(0i32, |sum, (x, y)| {
        sum.wrapping_add(i32::from(i16::from(*x as i8)).wrapping_mul(i32::from(*y)))
    })
}

/// The same, compiled for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(row: &[u8], query: &[i16]) -> i32 {
    dot_plain(row, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_gives_the_same() {
        for length in [0, 1, 7, 64, 1000, 1 << 16] {
            for (x, y) in [(-127i8, -127i8), (-127, 127), (127, 1), (-128, -128)] {
                let row = vec![x as u8; length];
                let wide = Wide::new(&vec![y; length]);
                let expected = length as i64 * i64::from(x) * i64::from(y);
                assert_eq!(i64::from(wide.dot(&row)), expected);
                assert_eq!(i64::from(dot_plain(&row, &wide.0)), expected);
            }
        }
        let row: Vec<u8> = (0..333u32).map(|i| (i * 77 % 256) as u8).collect();
        let query: Vec<i8> = (0..333u32).map(|i| (i * 131 % 255) as i8).collect();
        let wide = Wide::new(&query);
        assert_eq!(wide.dot(&row), dot_plain(&row, &wide.0));
    }
}
