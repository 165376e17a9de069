//! Logarithms in integers.

/// Fractional bits of [`log2`].
const FRACTION: u32 = 16;

/// `log₂ x` in units of 2⁻¹⁶, never above the true value and less than 2⁻¹⁶ below it. `x` is not
/// zero; zero counts as one.
///
/// The mantissa is squared once for each fractional bit: the square of a number in `[1, 2)` reaches
/// 2 exactly when the next bit of its logarithm is one.
pub(super) fn log2(x: u64) -> u64 {
    let x = x.max(1);
    let whole = x.ilog2();
    // In [1, 2) with 63 bits after the point.
    let mut mantissa = u128::from(x) << (63 - whole);
    let mut result = u64::from(whole);
    for _ in 0..FRACTION {
        mantissa = (mantissa * mantissa) >> 63;
        result <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            result |= 1;
        }
    }
    result
}

/// The information of something that makes up `count` of `total`, in units of 2⁻¹⁶ bits.
pub(super) fn information(count: u64, total: u64) -> u64 {
    log2(total).saturating_sub(log2(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_agree_with_floats() {
        for x in (1..4000).chain([1 << 20, (1 << 31) - 2, 3 << 40, u64::MAX]) {
            let exact = (x as f64).log2() * 65_536.0;
            let found = log2(x) as f64;
            assert!(found <= exact + 1e-3 && exact - found < 1.001, "{x}: {found} {exact}");
        }
        assert_eq!(log2(1 << 9), 9 << 16);
        assert_eq!(information(8, 64), 3 << 16);
        assert_eq!(information(64, 64), 0);
    }
}
