use super::last_event;
use crate::{mock::*, EmissionClock, EmissionCurve, Emitted, Event, Halving};
use polkadot_sdk::{frame_support::traits::ConstU64, sp_core::ConstU128};
use proptest::prelude::*;
use tributary_primitives::{Balance, CAP, OPEN};

/// 250,000,000 OPEN, half of what is left in every four years.
type Schedule = Halving<ConstU128<{ 250_000_000 * OPEN }>, ConstU64<FOUR_YEARS>>;
const FOUR_YEARS: u64 = 4 * 365 * 24 * 3_600 * 1_000 + 24 * 3_600 * 1_000;

#[test]
fn each_period_pays_half_of_what_is_left() {
    ExtBuilder::default().build_and_execute(|| {
        let mut left: Balance = 1_000_000;
        for _ in 0..20 {
            let (paid, rest) = Token::era_payout(0, 0, PERIOD);
            assert_eq!(rest, 0);
            assert_eq!(paid, left - left / 2);
            left /= 2;
            assert_eq!(Emitted::<Test>::get(), 1_000_000 - left);
        }
        // The last half unit is rounded towards paying: nothing is left, nothing more is paid.
        assert_eq!(left, 0);
        assert_eq!(Token::era_payout(0, 0, PERIOD), (0, 0));
        assert_eq!(Emitted::<Test>::get(), 1_000_000);
    });
}

#[test]
fn within_a_period_pay_is_even() {
    ExtBuilder::default().build_and_execute(|| {
        for era in 1..=10u128 {
            assert_eq!(Token::era_payout(0, 0, PERIOD / 10), (50_000, 0));
            assert_eq!(
                last_event(),
                Event::EraEmitted { amount: 50_000, total: 50_000 * era }.into()
            );
        }
        assert_eq!(Token::era_payout(0, 0, PERIOD / 10), (25_000, 0));
        assert_eq!(EmissionClock::<Test>::get(), 11 * PERIOD / 10);
    });
}

#[test]
fn neither_stake_nor_issuance_changes_the_pay() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(Token::era_payout(CAP, CAP, PERIOD), (500_000, 0));
    });
}

#[test]
fn a_clock_that_jumps_pays_no_more_than_the_longest_era() {
    ExtBuilder::default().build_and_execute(|| {
        let (paid, _) = Token::era_payout(0, 0, u64::MAX);
        assert_eq!(paid, <Test as crate::Config>::Emission::emitted_by(MaxEraMillis::get()));
        assert_eq!(EmissionClock::<Test>::get(), MaxEraMillis::get());
    });
}

#[test]
fn a_smaller_budget_after_an_upgrade_is_kept() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(Token::era_payout(0, 0, PERIOD).0, 500_000);
        // WHEN the curve is replaced by one with less left than it would pay
        Budget::set(500_100);
        // THEN what is left is all that is paid
        assert_eq!(Token::era_payout(0, 0, PERIOD).0, 100);
        assert_eq!(Token::era_payout(0, 0, PERIOD).0, 0);
        Budget::set(1_000_000);
    });
}

#[test]
fn the_schedule_ends_within_its_budget() {
    assert_eq!(Schedule::emitted_by(0), 0);
    assert_eq!(Schedule::emitted_by(FOUR_YEARS), 125_000_000 * OPEN);
    assert_eq!(Schedule::emitted_by(2 * FOUR_YEARS), 187_500_000 * OPEN);
    assert_eq!(Schedule::emitted_by(FOUR_YEARS / 2), 62_500_000 * OPEN);
    assert_eq!(Schedule::emitted_by(u64::MAX), 250_000_000 * OPEN);
    assert_eq!(<() as EmissionCurve>::emitted_by(u64::MAX), 0);
}

#[test]
fn a_period_of_zero_is_read_as_one_millisecond() {
    assert_eq!(Halving::<ConstU128<8>, ConstU64<0>>::emitted_by(1), 4);
}

proptest! {
    #[test]
    fn the_schedule_never_falls_nor_passes_its_budget(
        at in 0..200 * FOUR_YEARS,
        more in 0..2 * FOUR_YEARS,
    ) {
        let (before, after) = (Schedule::emitted_by(at), Schedule::emitted_by(at + more));
        prop_assert!(before <= after);
        prop_assert!(after <= 250_000_000 * OPEN);
    }
}
