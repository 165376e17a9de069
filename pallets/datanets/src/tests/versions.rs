use super::*;
use crate::{Error, Event, Log, Policy, Version, Versions};
use polkadot_sdk::frame_support::{assert_noop, assert_ok};
use tributary_primitives::{
    log::{members, LogEntry},
    tree::Frontier,
    DatanetId, VersionRef,
};

/// Root over entries, computed from nothing but them.
fn root_of(entries: &[LogEntry]) -> tributary_primitives::H256 {
    let mut tree = Frontier::default();
    entries.iter().for_each(|entry| {
        tree.append(entry.leaf()).unwrap();
    });
    tree.root()
}

fn entries(length: u32) -> Vec<LogEntry> {
    (0..length).map(|position| Log::<Test>::get(NET, position).unwrap()).collect()
}

#[test]
fn versions_are_cuts_of_the_log() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        // GIVEN two accepted contributions
        let (a, b) = (contribute(NET, 1), contribute(NET, 2));
        run(REVIEW);
        // WHEN a version is cut
        assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        // THEN it covers both, and its root is that of the log
        let first = Version {
            length: 2,
            root: root_of(&entries(2)),
            contributions: 2,
            records: 6,
            bytes: 600,
            cut: 1 + REVIEW,
        };
        assert_eq!(Versions::<Test>::get(NET, 1), Some(first));
        assert_eq!(
            last_event(),
            Event::VersionCut {
                version: VersionRef { datanet: NET, number: 1 },
                length: 2,
                root: first.root,
                contributions: 2,
                records: 6,
            }
            .into()
        );

        // WHEN one is retired and another accepted
        assert_ok!(Datanets::retire_contribution(signed(&BOB), a));
        let c = contribute(NET, 3);
        run(REVIEW);
        assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        // THEN the next version is without the one and with the other
        let second = Versions::<Test>::get(NET, 2).unwrap();
        assert_eq!((second.length, second.contributions, second.records), (4, 2, 6));
        assert_eq!(second.root, root_of(&entries(4)));
        let ids: Vec<_> = members(&entries(4)).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, vec![b, c]);
        // AND the first is as it was
        assert_eq!(Versions::<Test>::get(NET, 1), Some(first));
    });
}

#[test]
fn the_owner_cuts_and_only_what_is_new() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let cut = |who: &AccountId| Datanets::cut_version(signed(who), NET);
        assert_noop!(
            Datanets::cut_version(signed(&ALICE), DatanetId(4)),
            Error::<Test>::UnknownDatanet
        );
        assert_noop!(Datanets::cut_version(RuntimeOrigin::root(), NET), BAD_ORIGIN);
        assert_noop!(cut(&BOB), Error::<Test>::NotOwner);
        assert_noop!(cut(&ALICE), Error::<Test>::NothingNew);
        contribute(NET, 1);
        assert_noop!(cut(&ALICE), Error::<Test>::NothingNew);
        run(REVIEW);
        assert_ok!(cut(&ALICE));
        assert_noop!(cut(&ALICE), Error::<Test>::NothingNew);
    });
}

#[test]
fn only_what_may_be_trained_on_is_offered_for_training() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let mut consent = CONSENT;
        consent.train = false;
        assert_ok!(Datanets::create_datanet(
            signed(&ALICE),
            name("look-only"),
            Policy::Open,
            licence("MIT"),
            consent,
            0
        ));
        let other = DatanetId(1);
        contribute(NET, 1);
        contribute(other, 2);
        run(REVIEW);
        for id in [NET, other] {
            assert_ok!(Datanets::cut_version(signed(&ALICE), id));
        }
        let info = |datanet, number| Datanets::version_info(VersionRef { datanet, number });
        assert_eq!(info(NET, 1), Some((3, 300)));
        assert_eq!(info(NET, 2), None);
        assert_eq!(info(DatanetId(7), 1), None);
        assert_eq!(info(other, 1), None);
    });
}
