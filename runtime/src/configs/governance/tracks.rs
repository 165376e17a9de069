//! How long each kind of decision takes and how much agreement it needs.

use alloc::borrow::Cow;
use frame_support::traits::OriginTrait;
use pallet_referenda::{Curve, Track, TrackInfo};
use polkadot_sdk::*;
use sp_runtime::{str_array, FixedI64};

use super::origins::Origin as Office;
use crate::{
    constants::{
        money::OPEN,
        time::{period, DAYS, HOURS, MINUTES},
    },
    Balance, BlockNumber, RuntimeOrigin,
};

/// From everything to just over half, in a straight line over the decision period.
const APPROVAL_ROOT: Curve = Curve::make_reciprocal(4, 28, percent(80), percent(50), percent(100));
/// Support for root falls from half of all OPEN to none.
const SUPPORT_ROOT: Curve = Curve::make_linear(28, 28, percent(0), percent(50));
const APPROVAL_OFFICE: Curve = Curve::make_linear(17, 28, percent(50), percent(100));
const SUPPORT_OFFICE: Curve = Curve::make_reciprocal(12, 28, percent(1), percent(0), percent(50));

const fn percent(x: i128) -> FixedI64 {
    FixedI64::from_rational(x as u128, 100)
}

static TRACKS: [Track<u16, Balance, BlockNumber>; 4] = [
    Track {
        id: 0,
        info: TrackInfo {
            name: str_array("root"),
            max_deciding: 1,
            decision_deposit: 10_000 * OPEN,
            prepare_period: period(2 * HOURS, MINUTES),
            decision_period: period(14 * DAYS, 5 * MINUTES),
            confirm_period: period(DAYS, MINUTES),
            min_enactment_period: period(DAYS, MINUTES),
            min_approval: APPROVAL_ROOT,
            min_support: SUPPORT_ROOT,
        },
    },
    Track {
        id: 1,
        info: TrackInfo {
            name: str_array("treasury_spender"),
            max_deciding: 10,
            decision_deposit: 500 * OPEN,
            prepare_period: period(2 * HOURS, MINUTES),
            decision_period: period(14 * DAYS, 5 * MINUTES),
            confirm_period: period(2 * DAYS, MINUTES),
            min_enactment_period: period(DAYS, MINUTES),
            min_approval: APPROVAL_OFFICE,
            min_support: SUPPORT_OFFICE,
        },
    },
    Track {
        id: 2,
        info: TrackInfo {
            name: str_array("general_admin"),
            max_deciding: 10,
            decision_deposit: 500 * OPEN,
            prepare_period: period(2 * HOURS, MINUTES),
            decision_period: period(14 * DAYS, 5 * MINUTES),
            confirm_period: period(3 * HOURS, MINUTES),
            min_enactment_period: period(10 * MINUTES, MINUTES),
            min_approval: APPROVAL_OFFICE,
            min_support: SUPPORT_OFFICE,
        },
    },
    Track {
        id: 3,
        info: TrackInfo {
            name: str_array("parameter_admin"),
            max_deciding: 10,
            decision_deposit: 1_000 * OPEN,
            prepare_period: period(2 * HOURS, MINUTES),
            decision_period: period(14 * DAYS, 5 * MINUTES),
            confirm_period: period(DAYS, MINUTES),
            min_enactment_period: period(DAYS, MINUTES),
            min_approval: APPROVAL_OFFICE,
            min_support: SUPPORT_OFFICE,
        },
    },
];

/// The tracks, by office.
pub struct Tracks;
impl pallet_referenda::TracksInfo<Balance, BlockNumber> for Tracks {
    type Id = u16;
    type RuntimeOrigin = <RuntimeOrigin as OriginTrait>::PalletsOrigin;

    fn tracks() -> impl Iterator<Item = Cow<'static, Track<Self::Id, Balance, BlockNumber>>> {
        TRACKS.iter().map(Cow::Borrowed)
    }

    fn track_for(origin: &Self::RuntimeOrigin) -> Result<Self::Id, ()> {
        match origin {
            crate::OriginCaller::system(frame_system::RawOrigin::Root) => Ok(0),
            crate::OriginCaller::Origins(Office::TreasurySpender) => Ok(1),
            crate::OriginCaller::Origins(Office::GeneralAdmin) => Ok(2),
            crate::OriginCaller::Origins(Office::ParameterAdmin) => Ok(3),
            _ => Err(()),
        }
    }
}
