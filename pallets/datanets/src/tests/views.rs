use super::*;
use crate::{Log, Policy};
use polkadot_sdk::frame_support::assert_ok;
use tributary_primitives::{
    views::{ContributionState, DatanetView, PolicyView, Text, MAX_PAGE},
    DatanetId, VersionRef,
};

#[test]
fn datanets_are_shown() {
    let builder = ExtBuilder::default()
        .with_datanet("net", Policy::Open)
        .with_datanet("picked", curated(2))
        .with_pots(700);
    builder.build_and_execute(|| {
        contribute(NET, 1);
        contribute(NET, 2);
        run(REVIEW);
        assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        let shown = DatanetView {
            id: NET,
            name: "net".into(),
            owner: ALICE,
            policy: PolicyView::Open,
            licence: "CC-BY-4.0".into(),
            consent: CONSENT,
            min_stake: 0,
            contributions: 2,
            live: 2,
            versions: 1,
            log_length: 2,
            pot: Datanets::pot(NET),
            pot_balance: 700,
        };
        assert_eq!(Datanets::view_datanet(NET), Some(shown.clone()));
        assert_eq!(Datanets::datanet(NET), Some(shown.clone()));
        assert_eq!(Datanets::view_datanet_by_name("net".into()), Some(shown.clone()));
        assert_eq!(Datanets::datanet_by_name(name("net")), Some(shown));
        assert_eq!(Datanets::view_datanet(DatanetId(2)), None);
        assert_eq!(Datanets::view_datanet_by_name("nets".into()), None);
        assert_eq!(Datanets::view_datanet_by_name(Text(vec![b'a'; 65])), None);
        assert_eq!(
            Datanets::view_datanet(DatanetId(1)).unwrap().policy,
            PolicyView::Curated { quorum: 2, curators: CURATORS.to_vec() }
        );

        let ids = |from, limit| -> Vec<u32> {
            let page = Datanets::view_datanets(DatanetId(from), limit);
            page.into_iter().map(|net| net.id.0).collect()
        };
        assert_eq!(ids(0, 10), vec![0, 1]);
        assert_eq!(ids(1, u32::MAX), vec![1]);
        assert_eq!(ids(0, 1), vec![0]);
        assert_eq!(ids(u32::MAX, u32::MAX), Vec::<u32>::new());
    });
}

#[test]
fn contributions_are_shown() {
    let builder =
        ExtBuilder::default().with_datanet("net", Policy::Open).with_datanet("other", curated(3));
    builder.build_and_execute(|| {
        let a = contribute(NET, 1);
        let b = contribute(DatanetId(1), 2);
        let c = contribute(NET, 3);
        let d = contribute(DatanetId(1), 4);
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), d, false));
        run(REVIEW);
        assert_ok!(Datanets::retire_contribution(signed(&BOB), c));

        let at = 1 + REVIEW;
        for (id, expected) in [
            (a, ContributionState::Accepted { at }),
            (b, ContributionState::Pending { due: None }),
            (c, ContributionState::Retired { at }),
            (d, ContributionState::Rejected),
        ] {
            assert_eq!(Datanets::contribution(id).unwrap().state, expected);
        }
        let shown = Datanets::view_contribution(c).unwrap();
        assert_eq!((shown.id, shown.datanet, shown.payout), (c, NET, BOB));
        assert_eq!((shown.content, shown.records, shown.bytes), (digest(3), 3, 300));
        assert_eq!(shown.submitted, 1);
        assert_eq!(Datanets::view_contribution(ContributionId(9)), None);
        assert_eq!(Datanets::view_contribution_by_content(digest(3)).unwrap().id, c);
        assert_eq!(Datanets::contribution_by_content(digest(4)), None);

        let ids = |views: Vec<tributary_primitives::views::ContributionView>| -> Vec<_> {
            views.into_iter().map(|view| view.id).collect()
        };
        assert_eq!(ids(Datanets::view_contributions(NET, 0, 10)), vec![a, c]);
        assert_eq!(ids(Datanets::view_contributions(NET, 1, 10)), vec![c]);
        assert_eq!(ids(Datanets::view_contributions(NET, 0, 1)), vec![a]);
        assert!(Datanets::view_contributions(DatanetId(8), 0, 10).is_empty());
        assert_eq!(ids(Datanets::view_contributions_of(BOB, 10)), vec![a, b, c, d]);
        assert_eq!(Datanets::view_contributions_of(BOB, 3).len(), 3);
        assert!(Datanets::view_contributions_of(ALICE, 10).is_empty());
    });
}

#[test]
fn versions_and_the_log_are_shown() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        for content in 1..=3 {
            contribute(NET, content);
            run(REVIEW);
            assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        }
        let second = VersionRef { datanet: NET, number: 2 };
        let shown = Datanets::view_version(second).unwrap();
        assert_eq!((shown.version, shown.length, shown.contributions), (second, 2, 2));
        assert_eq!((shown.records, shown.bytes, shown.cut), (6, 600, 1 + 2 * REVIEW));
        assert_eq!(Datanets::version(second), Some(shown.clone()));
        assert_eq!(Datanets::view_version(VersionRef { datanet: NET, number: 4 }), None);

        let numbers = |from, limit| -> Vec<u32> {
            let page = Datanets::view_versions(NET, from, limit);
            page.into_iter().map(|view| view.version.number).collect()
        };
        assert_eq!(numbers(0, 10), vec![1, 2, 3]);
        assert_eq!(numbers(2, 1), vec![2]);
        assert!(numbers(4, 1).is_empty());
        assert!(Datanets::view_versions(DatanetId(5), 0, 9).is_empty());

        let log = Datanets::view_log(NET, 0, u32::MAX);
        assert_eq!(log.len(), 3);
        assert_eq!(Datanets::view_log(NET, 1, 1), vec![Log::<Test>::get(NET, 1).unwrap()]);
        assert!(Datanets::view_log(NET, 3, 9).is_empty());
    });
}

#[test]
fn a_page_has_an_end() {
    ExtBuilder::default().with_datanet("net", curated(1)).build_and_execute(|| {
        for content in 0..=MAX_PAGE {
            let mut offered = offer(NET, 0, BOB);
            offered.content = tributary_primitives::H256::from_low_u64_be(u64::from(content));
            assert_ok!(Datanets::contribute(signed(&BOB), offered));
        }
        assert_eq!(Datanets::view_contributions(NET, 0, u32::MAX).len() as u32, MAX_PAGE);
        assert_eq!(Datanets::view_contributions_of(BOB, u32::MAX).len() as u32, MAX_PAGE);
        assert_eq!(Datanets::view_contributions(NET, 1, u32::MAX).len() as u32, MAX_PAGE);
    });
}
