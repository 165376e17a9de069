//! Eight-bit integers with a scale per row.

use crate::sketch::Sketch;
use crate::{IndexError, Result};

/// Scales are fixed-point numbers with this many bits after the point.
pub(crate) const SCALE_BITS: u32 = 32;

/// One quantised row: `value[i] ≈ integers[i] · scale / 2³²`.
pub(crate) struct QuantisedRow {
    pub integers: Vec<i8>,
    pub scale: u32,
}

/// Rounds half away from zero to `-127..=127` of the row's largest magnitude.
///
/// `None` when the scale does not fit: the largest magnitude is zero or above 127.
pub(crate) fn quantise(row: &[f32]) -> Option<QuantisedRow> {
    let largest = row.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
    let scale = (largest / 127.0 * f64::from(2u32).powi(SCALE_BITS as i32)).ceil();
    if !(scale >= 1.0 && scale <= f64::from(u32::MAX)) {
        return None;
    }
    let step = scale / f64::from(2u32).powi(SCALE_BITS as i32);
    let integers =
        row.iter().map(|v| (f64::from(*v) / step).round().clamp(-127.0, 127.0) as i8).collect();
    Some(QuantisedRow { integers, scale: scale as u32 })
}

/// [`quantise`] where a row may be nothing but zeros, which have any scale.
pub(crate) fn quantise_or_zero(row: &[f32]) -> Option<QuantisedRow> {
    match row.iter().all(|v| *v == 0.0) {
        true => Some(QuantisedRow { integers: vec![0; row.len()], scale: 1 }),
        false => quantise(row),
    }
}

/// An answer's projected gradient as 8-bit integers. Only its direction matters, so no scale is
/// kept: this is all that a check of an attribution needs beside the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    integers: Vec<i8>,
}

impl Query {
    /// Projects and quantises an answer's gradient.
    pub fn from_gradient(gradient: &[f32], sketch: &Sketch) -> Result<Self> {
        let row = sketch.unit(gradient)?.ok_or(IndexError::NoQuery)?;
        let row = quantise(&row).ok_or(IndexError::NoQuery)?;
        Ok(Self { integers: row.integers })
    }

    /// A query from stored integers; at least one is not zero, none is −128.
    pub fn from_integers(integers: Vec<i8>) -> Result<Self> {
        if integers.contains(&i8::MIN) {
            return Err(IndexError::Corrupt("a query holds -128"));
        }
        if integers.iter().all(|v| *v == 0) {
            return Err(IndexError::NoQuery);
        }
        Ok(Self { integers })
    }

    /// The integers, as many as the index has dimensions.
    pub fn integers(&self) -> &[i8] {
        &self.integers
    }
}
