//! OPEN: amounts, their text form, and splitting to the last unit.

use alloc::{string::String, vec::Vec};
use core::fmt;
use polkadot_sdk::sp_core::U256;

/// An amount in units; 10^18 units are one OPEN.
pub type Balance = u128;

/// One OPEN in units (18 decimals).
pub const OPEN: Balance = 1_000_000_000_000_000_000;

/// No more than this ever exists, over both chains together.
pub const CAP: Balance = 1_000_000_000 * OPEN;

/// Parts per million: the unit of every share.
pub const PPM: u32 = 1_000_000;

/// Splits `total` in proportion to `weights` by largest remainder (Hamilton's method).
///
/// The parts always add up to `total`. Equal remainders go to the earlier position. When all
/// weights are zero, nobody has a claim and `None` is returned.
pub fn split(total: Balance, weights: &[u64]) -> Option<Vec<Balance>> {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if sum == 0 {
        return None;
    }
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut given: Balance = 0;
    for (i, w) in weights.iter().enumerate() {
        let (quotient, remainder) = mul_div(total, u128::from(*w), sum);
        parts.push(quotient);
        remainders.push((remainder, i));
        given = given.saturating_add(quotient);
    }
    // Fewer units are left than there are weights, because each remainder is below `sum`.
    let left = total.saturating_sub(given);
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, i) in remainders.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(part) = parts.get_mut(i) {
            *part = part.saturating_add(1);
        }
    }
    Some(parts)
}

/// `(a · b / c, a · b mod c)`, rounded down, for `b <= c` and `c > 0`, so that both fit 128 bits.
fn mul_div(a: u128, b: u128, c: u128) -> (u128, u128) {
    // The product of two 128-bit numbers fits 256 bits.
    let (quotient, remainder) = U256::from(a).saturating_mul(b.into()).div_mod(c.into());
    (quotient.low_u128(), remainder.low_u128())
}

/// Why a text is not an amount of OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not of the form `12.5`.
    NotANumber,
    /// More than 18 decimals.
    TooPrecise,
    /// More than the cap of 1,000,000,000 OPEN.
    AboveCap,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "an amount of OPEN is written like 12.5",
            Self::TooPrecise => "OPEN has 18 decimals and no more",
            Self::AboveCap => "no more than 1,000,000,000 OPEN exist",
        })
    }
}

#[cfg(feature = "std")]
impl std::error::Error for AmountError {}

/// Reads an amount of OPEN such as `12`, `0.5` or `1_000.25` into units. A comma is refused, since
/// half of the world would mean a point by it.
pub fn parse_open(text: &str) -> Result<Balance, AmountError> {
    let clean: String = text.trim().chars().filter(|c| *c != '_').collect();
    let (whole, fraction) = clean.split_once('.').unwrap_or((clean.as_str(), ""));
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(AmountError::NotANumber);
    }
    if fraction.len() > 18 {
        return Err(AmountError::TooPrecise);
    }
    let whole: Balance = match whole {
        "" => 0,
        _ => whole.parse().map_err(|_| AmountError::AboveCap)?,
    };
    let mut units: Balance = 0;
    for position in 0..18 {
        let digit = fraction.as_bytes().get(position).map_or(0, |b| b.saturating_sub(b'0'));
        units = units.saturating_mul(10).saturating_add(Balance::from(digit));
    }
    whole
        .checked_mul(OPEN)
        .and_then(|w| w.checked_add(units))
        .filter(|amount| *amount <= CAP)
        .ok_or(AmountError::AboveCap)
}

/// Writes units as OPEN, exactly, without trailing zeros: `1500000000000000000` is `1.5`.
pub fn format_open(units: Balance) -> String {
    let (whole, fraction) =
        (units.checked_div(OPEN).unwrap_or(0), units.checked_rem(OPEN).unwrap_or(0));
    if fraction == 0 {
        return alloc::format!("{whole}");
    }
    let digits = alloc::format!("{fraction:018}");
    alloc::format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Serialises amounts as decimal strings of units, since JSON numbers lose digits above 2^53.
pub mod as_string {
    use super::Balance;
    use alloc::string::{String, ToString};
    use serde::{de::Error, Deserialize, Deserializer, Serializer};

    /// Writes units as a decimal string.
    pub fn serialize<S: Serializer>(units: &Balance, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&units.to_string())
    }

    /// Reads units from a decimal string.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Balance, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
