use super::*;
use crate::{Agenda, Ballots, Error, Event, Frontiers, Policy, Rejections};
use polkadot_sdk::frame_support::{assert_noop, assert_ok};
use tributary_primitives::{tree::Frontier, DatanetId};

fn with_quorum(quorum: u32) -> ExtBuilder {
    ExtBuilder::default().with_datanet("net", curated(quorum))
}

fn vote(curator: usize, id: ContributionId, aye: bool) -> Result<(), DispatchError> {
    Datanets::vote(signed(&CURATORS[curator]), id, aye)
}

#[test]
fn a_quorum_accepts() {
    with_quorum(2).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert_eq!(state(id), State::Pending { due: None });
        assert_ok!(vote(0, id, true));
        assert_eq!(
            last_event(),
            Event::Voted { contribution: id, curator: CURATORS[0].clone(), aye: true }.into()
        );
        assert_ok!(vote(1, id, false));
        run(20);
        assert_eq!(state(id), State::Pending { due: None });
        assert_ok!(vote(2, id, true));
        assert_eq!(state(id), State::Accepted { at: 21 });
        assert_eq!(
            last_event(),
            Event::Accepted { contribution: id, datanet: NET, entry: 0 }.into()
        );
        assert!(!Ballots::<Test>::contains_key(id));
    });
}

#[test]
fn it_is_rejected_when_a_quorum_has_become_impossible() {
    for (quorum, nays) in [(1, 3), (2, 2), (3, 1)] {
        with_quorum(quorum).build_and_execute(|| {
            let id = contribute(NET, 1);
            for curator in 0..nays {
                assert_eq!(state(id), State::Pending { due: None });
                assert_ok!(vote(curator, id, false));
            }
            assert_eq!(state(id), State::Rejected);
            assert_eq!(last_event(), Event::Rejected { contribution: id, datanet: NET }.into());
        });
    }
}

#[test]
fn what_was_rejected_can_be_offered_elsewhere_only() {
    with_quorum(3).with_datanet("other", Policy::Open).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert_ok!(vote(0, id, false));
        assert_eq!(Rejections::<Test>::get(NET, digest(1)), Some(id));
        assert_noop!(
            Datanets::contribute(signed(&BOB), offer(NET, 1, BOB)),
            Error::<Test>::AlreadyRejected
        );
        let other = contribute(DatanetId(1), 1);
        run(REVIEW);
        assert!(matches!(state(other), State::Accepted { .. }));
    });
}

#[test]
fn votes_are_checked() {
    with_quorum(2).with_datanet("open", Policy::Open).build_and_execute(|| {
        let (id, in_open) = (contribute(NET, 1), contribute(DatanetId(1), 2));
        assert_noop!(vote(0, ContributionId(9), true), Error::<Test>::UnknownContribution);
        assert_noop!(vote(0, in_open, true), Error::<Test>::NotCurated);
        assert_noop!(Datanets::vote(signed(&BOB), id, true), Error::<Test>::NotCurator);
        assert_noop!(Datanets::vote(RuntimeOrigin::root(), id, true), BAD_ORIGIN);
        assert_ok!(vote(0, id, true));
        assert_noop!(vote(0, id, true), Error::<Test>::AlreadyVoted);
        assert_noop!(vote(0, id, false), Error::<Test>::AlreadyVoted);
        assert_ok!(vote(1, id, true));
        assert_noop!(vote(2, id, true), Error::<Test>::NotPending);
    });
}

#[test]
fn votes_of_former_curators_do_not_count() {
    with_quorum(2).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert_ok!(vote(0, id, true));
        // WHEN the curators become Bob and the second one
        let curators = vec![BOB, CURATORS[1].clone()].try_into().unwrap();
        let policy = Policy::Curated { quorum: 2, curators };
        assert_ok!(Datanets::set_policy(signed(&ALICE), NET, policy));
        assert_noop!(vote(2, id, true), Error::<Test>::NotCurator);
        assert_ok!(Datanets::vote(signed(&BOB), id, true));
        // THEN one vote is missing still
        assert_eq!(state(id), State::Pending { due: None });
        assert_eq!(Ballots::<Test>::get(id).into_inner(), vec![(BOB, true)]);
        assert_ok!(vote(1, id, true));
        assert_eq!(state(id), State::Accepted { at: 1 });
    });
}

#[test]
fn a_datanet_that_becomes_curated_leaves_the_rest_to_its_curators() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let (a, b, c) = (contribute(NET, 1), contribute(NET, 2), contribute(NET, 3));
        assert_ok!(Datanets::set_policy(signed(&ALICE), NET, curated(1)));
        // WHEN a curator decides before the window has passed
        assert_ok!(vote(0, a, true));
        assert_eq!(state(a), State::Accepted { at: 1 });
        // THEN its place on the agenda is free
        assert_eq!(Agenda::<Test>::get(1 + REVIEW).into_inner(), vec![b]);
        // WHEN the window passes THEN nothing is accepted by itself
        run(REVIEW + 1);
        assert_eq!(state(b), State::Pending { due: None });
        assert_eq!(state(c), State::Pending { due: None });
        assert_eq!(last_event(), Event::AwaitsCurators { contribution: c }.into());
        assert_ok!(vote(2, b, true));
        assert_eq!(state(b), State::Accepted { at: 2 + REVIEW });
    });
}

#[test]
fn a_datanet_that_becomes_open_takes_what_waited() {
    with_quorum(3).build_and_execute(|| {
        let (a, b) = (contribute(NET, 1), contribute(NET, 2));
        assert_ok!(vote(0, a, true));
        assert_noop!(Datanets::reschedule(signed(&BOB), a), Error::<Test>::NotWaiting);
        assert_ok!(Datanets::set_policy(signed(&ALICE), NET, Policy::Open));
        assert_noop!(Datanets::reschedule(RuntimeOrigin::root(), a), BAD_ORIGIN);
        assert_noop!(
            Datanets::reschedule(signed(&BOB), ContributionId(9)),
            Error::<Test>::UnknownContribution
        );
        assert_ok!(Datanets::reschedule(signed(&BOB), a));
        let due = 1 + REVIEW;
        assert_eq!(last_event(), Event::Rescheduled { contribution: a, due }.into());
        assert_noop!(Datanets::reschedule(signed(&BOB), a), Error::<Test>::NotWaiting);
        run(REVIEW);
        assert_eq!(state(a), State::Accepted { at: due });
        assert_eq!(state(b), State::Pending { due: None });
        assert_noop!(Datanets::reschedule(signed(&BOB), a), Error::<Test>::NotWaiting);
    });
}

#[test]
fn a_full_agenda_refuses_to_reschedule() {
    with_quorum(3).with_datanet("open", Policy::Open).build_and_execute(|| {
        let waiting = contribute(NET, 200);
        for content in 0..(PER_BLOCK * (SPILL + 1)) as u8 {
            contribute(DatanetId(1), content);
        }
        assert_ok!(Datanets::set_policy(signed(&ALICE), NET, Policy::Open));
        assert_noop!(Datanets::reschedule(signed(&BOB), waiting), Error::<Test>::TooManyPending);
    });
}

#[test]
fn a_full_log_is_an_error_and_not_a_panic() {
    let full =
        || Frontiers::<Test>::insert(NET, Frontier { length: u32::MAX, ..Default::default() });
    // The books are broken on purpose, so they are not checked at the end.
    with_quorum(1).build().execute_with(|| {
        let id = contribute(NET, 1);
        full();
        assert_noop!(vote(0, id, true), Error::<Test>::LogFull);
    });
    ExtBuilder::default().with_datanet("net", Policy::Open).build().execute_with(|| {
        let id = contribute(NET, 1);
        full();
        run(REVIEW);
        let error = Error::<Test>::LogFull.into();
        assert_eq!(last_event(), Event::AcceptanceFailed { contribution: id, error }.into());
        assert_eq!(state(id), State::Pending { due: None });
    });
}
