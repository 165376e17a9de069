//! What holds across pallets.

use frame_support::traits::InstanceFilter;
use pallet_referenda::TracksInfo;
use polkadot_sdk::*;

use crate::{
    configs::{
        consensus::{EpochDuration, ReportLongevity},
        governance::{origins::Origin as Office, tracks::Tracks},
        staking::{BagThresholds, BondingDuration, SessionsPerEra, SlashDeferDuration},
        utility::ProxyType,
    },
    AccountId, OriginCaller, Runtime, RuntimeCall,
};

#[test]
fn a_call_is_small() {
    // Calls are copied a lot: into the queue of the scheduler, into batches, into proxies.
    let size = core::mem::size_of::<RuntimeCall>();
    assert!(size <= 1_024, "RuntimeCall has {size} bytes: box what is large in it");
}

#[test]
fn equivocations_can_be_reported_while_the_stake_is_bonded() {
    let bonded =
        u64::from(BondingDuration::get()) * u64::from(SessionsPerEra::get()) * EpochDuration::get();
    assert_eq!(ReportLongevity::get(), bonded);
    assert!(SlashDeferDuration::get() < BondingDuration::get());
}

#[test]
fn bags_rise() {
    assert!(BagThresholds::get().windows(2).all(|w| w[0] < w[1]));
    assert_eq!(BagThresholds::get().last(), Some(&u64::MAX));
}

#[test]
fn every_office_has_a_track_and_others_have_none() {
    let track = |origin: OriginCaller| Tracks::track_for(&origin);
    assert_eq!(track(frame_system::RawOrigin::Root.into()), Ok(0));
    assert_eq!(track(Office::TreasurySpender.into()), Ok(1));
    assert_eq!(track(Office::GeneralAdmin.into()), Ok(2));
    assert_eq!(track(Office::ParameterAdmin.into()), Ok(3));
    assert_eq!(track(frame_system::RawOrigin::Signed(AccountId::from([1; 32])).into()), Err(()));
    assert_eq!(Tracks::check_integrity(), Ok(()));
    assert_eq!(Tracks::tracks().count(), 4);
}

#[test]
fn proxies_may_do_what_their_type_says() {
    let transfer = RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive {
        dest: AccountId::from([1; 32]).into(),
        value: 1,
    });
    let chill = RuntimeCall::Staking(pallet_staking::Call::<Runtime>::chill {});
    assert!(ProxyType::Any.filter(&transfer));
    assert!(!ProxyType::NonTransfer.filter(&transfer));
    assert!(!ProxyType::Staking.filter(&transfer));
    assert!(!ProxyType::Governance.filter(&transfer));
    assert!(ProxyType::Staking.filter(&chill));
    assert!(!ProxyType::Governance.filter(&chill));
    assert!(ProxyType::Any.is_superset(&ProxyType::Governance));
    assert!(!ProxyType::NonTransfer.is_superset(&ProxyType::Governance));
    assert!(!ProxyType::Staking.is_superset(&ProxyType::Any));
}
