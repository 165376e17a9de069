//! How a fee is shared. Chain and workers compute it with the same function, so that a batch that
//! a worker adds up off the chain is the batch that the chain expects.

use crate::{
    money::{split, PPM},
    views::SharesView,
    Balance,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// What each side gets of a fee, in units; the parts add up to the fee.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct FeeParts {
    /// The platform's, taken from the whole fee before the others.
    #[serde(with = "crate::money::as_string")]
    pub platform: Balance,
    /// The worker's.
    #[serde(with = "crate::money::as_string")]
    pub worker: Balance,
    /// The model owner's.
    #[serde(with = "crate::money::as_string")]
    pub owner: Balance,
    /// The model's ancestors'.
    #[serde(with = "crate::money::as_string")]
    pub ancestors: Balance,
    /// Of those who stake behind the model.
    #[serde(with = "crate::money::as_string")]
    pub stakers: Balance,
    /// The contributors'; what of it no contribution explains goes to the commons.
    #[serde(with = "crate::money::as_string")]
    pub contributors: Balance,
}

impl FeeParts {
    /// Sum of the parts: the fee that was split.
    pub fn total(&self) -> Balance {
        [self.worker, self.owner, self.ancestors, self.stakers, self.contributors]
            .into_iter()
            .fold(self.platform, Balance::saturating_add)
    }
}

/// Why shares cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharesError {
    /// The platform's share is above 1,000,000 parts per million.
    Platform,
    /// The five shares of the net fee do not add up to 1,000,000 parts per million.
    Sum,
}

impl core::fmt::Display for SharesError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Platform => "the platform's share must be at most 1,000,000 ppm",
            Self::Sum => "the shares of the net fee must add up to 1,000,000 ppm",
        })
    }
}

#[cfg(feature = "std")]
impl std::error::Error for SharesError {}

impl SharesView {
    /// The shares of the net fee: worker, owner, ancestors, stakers, contributors.
    fn net(&self) -> [u64; 5] {
        [self.worker, self.owner, self.ancestors, self.stakers, self.contributors].map(u64::from)
    }

    /// Checks that the platform's share is a share and that the others add up to one.
    pub fn check(&self) -> Result<(), SharesError> {
        if self.platform > PPM {
            return Err(SharesError::Platform);
        }
        if self.net().iter().sum::<u64>() != u64::from(PPM) {
            return Err(SharesError::Sum);
        }
        Ok(())
    }
}

/// Splits `fees` by `shares`: first the platform's part, then the net fee, both by largest
/// remainder (see [`split`]).
///
/// The parts add up to `fees` whatever the shares are. Shares that fail [`SharesView::check`] are
/// read as weights, a platform's share above one as one; a net fee that nobody has a share of
/// goes to the worker.
pub fn split_fee(fees: Balance, shares: &SharesView) -> FeeParts {
    let platform_ppm = shares.platform.min(PPM);
    let outer = [u64::from(platform_ppm), u64::from(PPM.saturating_sub(platform_ppm))];
    let platform = split(fees, &outer).and_then(|parts| parts.first().copied()).unwrap_or(0);
    let net = fees.saturating_sub(platform);
    match split(net, &shares.net()).as_deref() {
        Some(&[worker, owner, ancestors, stakers, contributors]) => {
            FeeParts { platform, worker, owner, ancestors, stakers, contributors }
        }
        _ => FeeParts { platform, worker: net, ..Default::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::CAP;
    use proptest::prelude::*;

    const SHARES: SharesView = SharesView {
        platform: 50_000,
        worker: 400_000,
        owner: 150_000,
        ancestors: 50_000,
        stakers: 50_000,
        contributors: 350_000,
    };

    #[test]
    fn a_round_fee_is_split_by_the_shares() {
        let parts = split_fee(2_000_000, &SHARES);
        // 5 % of 2,000,000 is 100,000; the rest are shares of the net 1,900,000.
        let expected = FeeParts {
            platform: 100_000,
            worker: 760_000,
            owner: 285_000,
            ancestors: 95_000,
            stakers: 95_000,
            contributors: 665_000,
        };
        assert_eq!(parts, expected);
        assert_eq!(parts.total(), 2_000_000);
    }

    #[test]
    fn single_units_go_to_the_largest_remainder() {
        // 5 % of one unit rounds down to nothing, so the unit is net; 0.40 of it is the worker's.
        assert_eq!(split_fee(1, &SHARES), FeeParts { worker: 1, ..Default::default() });
        // Of two units net, 0.80 are the worker's and 0.70 the contributors'.
        let two = FeeParts { worker: 1, contributors: 1, ..Default::default() };
        assert_eq!(split_fee(2, &SHARES), two);
        assert_eq!(split_fee(0, &SHARES), FeeParts::default());
    }

    #[test]
    fn a_platform_of_one_takes_all_and_shares_of_nothing_leave_the_worker_all() {
        let all = SharesView { platform: PPM, ..SHARES };
        assert_eq!(split_fee(7, &all), FeeParts { platform: 7, ..Default::default() });
        let none = SharesView {
            platform: 0,
            worker: 0,
            owner: 0,
            ancestors: 0,
            stakers: 0,
            contributors: 0,
        };
        assert_eq!(split_fee(7, &none), FeeParts { worker: 7, ..Default::default() });
    }

    #[test]
    fn shares_are_checked() {
        assert_eq!(SHARES.check(), Ok(()));
        let platform = SharesView { platform: PPM + 1, ..SHARES };
        assert_eq!(platform.check(), Err(SharesError::Platform));
        let less = SharesView { worker: 399_999, ..SHARES };
        assert_eq!(less.check(), Err(SharesError::Sum));
        // Five shares of 2^32 − 1 must not wrap around to a sum of one.
        let huge = SharesView {
            worker: u32::MAX,
            owner: u32::MAX,
            ancestors: u32::MAX,
            stakers: u32::MAX,
            contributors: u32::MAX,
            ..SHARES
        };
        assert_eq!(huge.check(), Err(SharesError::Sum));
    }

    proptest! {
        #[test]
        fn parts_always_add_up(
            fees in 0..=CAP,
            shares in any::<[u32; 6]>(),
        ) {
            let [platform, worker, owner, ancestors, stakers, contributors] = shares;
            let shares = SharesView { platform, worker, owner, ancestors, stakers, contributors };
            prop_assert_eq!(split_fee(fees, &shares).total(), fees);
        }
    }
}
