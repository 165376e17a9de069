use super::*;
use crate::{
    ByName, Curators, Datanet, Datanets as Rows, Error, Event, HoldReason, NextDatanet, Policy,
    Sponsorship,
};
use polkadot_sdk::{
    frame_support::{
        assert_noop, assert_ok,
        traits::{fungible::InspectHold, Hooks},
    },
    sp_runtime::{traits::Get, TokenError},
};
use tributary_primitives::DatanetId;

fn create(who: &AccountId, label: &str, policy: Policy) -> Result<(), DispatchError> {
    Datanets::create_datanet(
        signed(who),
        name(label),
        policy,
        licence("MIT OR (Apache-2.0 WITH LLVM-exception)"),
        CONSENT,
        7,
    )
}

#[test]
fn constants_fit_together() {
    ExtBuilder::default().build_and_execute(Datanets::integrity_test);
}

#[test]
fn a_datanet_is_created_and_its_deposit_held() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(create(&ALICE, "defi-exploits", Policy::Open));
        let datanet = Rows::<Test>::get(NET).unwrap();
        assert_eq!(
            datanet,
            Datanet {
                name: name("defi-exploits"),
                owner: ALICE,
                policy: Policy::Open,
                licence: licence("MIT OR (Apache-2.0 WITH LLVM-exception)"),
                consent: CONSENT,
                min_stake: 7,
                deposit: DEPOSIT,
                sponsorship: Sponsorship { enabled: false, max_per_period: 0 },
                contributions: 0,
                live: 0,
                live_records: 0,
                live_bytes: 0,
                versions: 0,
            }
        );
        assert_eq!(ByName::<Test>::get(name("defi-exploits")), Some(NET));
        assert_eq!(free(&ALICE), RICH - DEPOSIT);
        assert_eq!(Balances::balance_on_hold(&HoldReason::Datanet.into(), &ALICE), DEPOSIT);
        assert_eq!(
            last_event(),
            Event::DatanetCreated { datanet: NET, owner: ALICE, name: name("defi-exploits") }
                .into()
        );
        // A second one adds to the hold.
        assert_ok!(create(&ALICE, "b", curated(2)));
        assert_eq!(Balances::balance_on_hold(&HoldReason::Datanet.into(), &ALICE), 2 * DEPOSIT);
    });
}

#[test]
fn names_are_checked() {
    ExtBuilder::default().with_datanet("taken", Policy::Open).build_and_execute(|| {
        for bad in ["", "Upper", "under_score", "blank ", "ünder", "dot."] {
            assert_noop!(create(&BOB, bad, Policy::Open), Error::<Test>::BadName);
        }
        assert_noop!(create(&BOB, "taken", Policy::Open), Error::<Test>::NameTaken);
        assert_ok!(create(&BOB, &"a-9".repeat(21), Policy::Open));
    });
}

#[test]
fn licences_are_checked() {
    ExtBuilder::default().build_and_execute(|| {
        for bad in ["", "CC-BY-4.0;", "Ünlicensed", "a/b"] {
            assert_noop!(
                Datanets::create_datanet(
                    signed(&BOB),
                    name("n"),
                    Policy::Open,
                    licence(bad),
                    CONSENT,
                    0
                ),
                Error::<Test>::BadLicence
            );
        }
    });
}

#[test]
fn policies_are_checked_when_created_and_when_set() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let nobody = Policy::Curated { quorum: 0, curators: Curators::default() };
        let curators = Curators::try_from(vec![BOB, ALICE, BOB]).unwrap();
        let twice = Policy::Curated { quorum: 1, curators };
        for (bad, error) in [
            (curated(0), Error::<Test>::BadQuorum),
            (curated(4), Error::<Test>::BadQuorum),
            (nobody, Error::<Test>::BadQuorum),
            (twice, Error::<Test>::DuplicateCurator),
        ] {
            let error: DispatchError = error.into();
            assert_noop!(create(&BOB, "n", bad.clone()), error);
            assert_noop!(Datanets::set_policy(signed(&ALICE), NET, bad), error);
        }
        assert_ok!(Datanets::set_policy(signed(&ALICE), NET, curated(3)));
        assert_eq!(Rows::<Test>::get(NET).unwrap().policy, curated(3));
        assert_eq!(last_event(), Event::PolicySet { datanet: NET, policy: curated(3) }.into());
    });
}

#[test]
fn a_deposit_must_be_there() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(
            create(&COLLECTOR, "n", Policy::Open),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
        assert_noop!(
            Datanets::create_datanet(
                RuntimeOrigin::root(),
                name("n"),
                Policy::Open,
                licence("MIT"),
                CONSENT,
                0
            ),
            BAD_ORIGIN
        );
    });
}

#[test]
fn ids_run_out_with_an_error() {
    ExtBuilder::default().build_and_execute(|| {
        NextDatanet::<Test>::put(DatanetId(u32::MAX));
        assert_noop!(create(&ALICE, "n", Policy::Open), Error::<Test>::IdsExhausted);
    });
}

#[test]
fn only_the_owner_rules() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let unknown = DatanetId(9);
        assert_noop!(
            Datanets::set_policy(signed(&BOB), NET, Policy::Open),
            Error::<Test>::NotOwner
        );
        assert_noop!(
            Datanets::set_policy(signed(&ALICE), unknown, Policy::Open),
            Error::<Test>::UnknownDatanet
        );
        let sponsorship = Sponsorship { enabled: true, max_per_period: 5 };
        assert_noop!(
            Datanets::set_sponsorship(signed(&BOB), NET, sponsorship),
            Error::<Test>::NotOwner
        );
        assert_noop!(
            Datanets::set_sponsorship(signed(&ALICE), unknown, sponsorship),
            Error::<Test>::UnknownDatanet
        );
        assert_ok!(Datanets::set_sponsorship(signed(&ALICE), NET, sponsorship));
        assert_eq!(Rows::<Test>::get(NET).unwrap().sponsorship, sponsorship);
        assert_eq!(last_event(), Event::SponsorshipSet { datanet: NET, sponsorship }.into());
    });
}

#[test]
fn others_can_ask() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert!(Datanets::datanet_exists(NET) && !Datanets::datanet_exists(DatanetId(1)));
        assert!(Datanets::contribution_exists(id));
        assert!(!Datanets::contribution_exists(ContributionId(1)));
        assert_eq!(Datanets::payout_account(id), Some(BOB));
        assert_eq!(Datanets::payout_account(ContributionId(1)), None);
        assert_eq!(Datanets::datanet_of(id), Some(NET));
        assert_eq!(Datanets::consent(NET), Some(CONSENT));
        assert_eq!(<ReviewWindow as Get<u32>>::get(), REVIEW);
    });
}
