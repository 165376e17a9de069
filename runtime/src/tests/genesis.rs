//! Every preset gives a chain that can start.

use polkadot_sdk::*;

use super::externalities;
use crate::{
    constants::money::CAP,
    genesis_config_presets::{get_preset, preset_names, STAGING_RUNTIME_PRESET},
    AccountId, Babe, Balances, Beefy, Grandpa, Runtime, Session, Staking,
};

#[test]
fn every_named_preset_exists_and_no_other() {
    for name in preset_names() {
        assert!(get_preset(&name).is_some(), "{name:?}");
    }
    assert!(get_preset(&"no-such-network".into()).is_none());
}

#[test]
fn every_preset_builds_with_its_validators() {
    for (preset, validators) in [("development", 1), ("local_testnet", 2), ("staging", 4)] {
        externalities(preset).execute_with(|| {
            assert_eq!(Session::validators().len(), validators, "{preset}");
            // The authorities of each protocol come from the session keys.
            assert_eq!(Babe::authorities().len(), validators, "{preset}");
            assert_eq!(Grandpa::grandpa_authorities().len(), validators, "{preset}");
            assert_eq!(Beefy::validator_set().map(|s| s.len()), Some(validators), "{preset}");
            assert_eq!(pallet_staking::Validators::<Runtime>::count() as usize, validators);
            let era = pallet_staking::ActiveEra::<Runtime>::get();
            assert!(era.is_none() || Staking::current_era() == Some(0));
        });
    }
}

#[test]
fn every_preset_stays_below_the_cap() {
    for preset in preset_names() {
        externalities(preset.as_ref()).execute_with(|| {
            let issued = Balances::total_issuance();
            assert!(issued > 0 && issued < CAP, "{preset:?}: {issued}");
        });
    }
}

#[test]
fn sudo_has_a_key_in_development_only() {
    for preset in preset_names() {
        externalities(preset.as_ref()).execute_with(|| {
            let key = pallet_sudo::Key::<Runtime>::get();
            assert_eq!(key.is_some(), preset == "development", "{preset:?}");
        });
    }
}

#[test]
fn the_builders_of_staging_can_transfer_nothing_at_first() {
    externalities(STAGING_RUNTIME_PRESET).execute_with(|| {
        let vesting: Vec<(AccountId, _)> = pallet_vesting::Vesting::<Runtime>::iter().collect();
        assert_eq!(vesting.len(), 1);
        for (who, schedules) in vesting {
            let locked: u128 = schedules.iter().map(|s| s.locked()).sum();
            assert_eq!(locked, Balances::free_balance(&who));
            assert_eq!(Balances::usable_balance(&who), 0);
        }
    });
}
