use super::*;
use crate::{Agenda, Ballots, Datanets as Rows, Error, Event, Log, Policy};
use polkadot_sdk::frame_support::{assert_noop, assert_ok};
use tributary_primitives::{log::LogEntry, signing::Retirement};

#[test]
fn the_payout_account_or_the_owner_retires() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let (a, b) = (contribute(NET, 1), contribute(NET, 2));
        run(REVIEW);
        for stranger in CURATORS {
            assert_noop!(
                Datanets::retire_contribution(signed(&stranger), a),
                Error::<Test>::NotPayout
            );
        }
        assert_ok!(Datanets::retire_contribution(signed(&BOB), a));
        assert_eq!(state(a), State::Retired { at: 1 + REVIEW });
        assert_eq!(
            last_event(),
            Event::Retired { contribution: a, datanet: NET, entry: Some(2) }.into()
        );
        assert_eq!(Log::<Test>::get(NET, 2), Some(LogEntry::Retired { contribution: a }));
        assert_ok!(Datanets::retire_contribution(signed(&ALICE), b));
        let net = Rows::<Test>::get(NET).unwrap();
        assert_eq!((net.live, net.live_records, net.live_bytes), (0, 0, 0));
        // Models that were trained on them still pay.
        assert_eq!(Datanets::payout_account(a), Some(BOB));
    });
}

#[test]
fn what_is_not_live_cannot_be_retired() {
    ExtBuilder::default().with_datanet("net", curated(3)).build_and_execute(|| {
        let (a, b) = (contribute(NET, 1), contribute(NET, 2));
        assert_noop!(
            Datanets::retire_contribution(signed(&BOB), ContributionId(9)),
            Error::<Test>::UnknownContribution
        );
        assert_noop!(Datanets::retire_contribution(RuntimeOrigin::root(), a), BAD_ORIGIN);
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), a, false));
        assert_noop!(Datanets::retire_contribution(signed(&BOB), a), Error::<Test>::NotLive);
        assert_ok!(Datanets::retire_contribution(signed(&BOB), b));
        assert_noop!(Datanets::retire_contribution(signed(&BOB), b), Error::<Test>::NotLive);
    });
}

#[test]
fn what_is_under_review_goes_without_a_trace_in_the_log() {
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert_ok!(Datanets::retire_contribution(signed(&BOB), id));
        assert_eq!(
            last_event(),
            Event::Retired { contribution: id, datanet: NET, entry: None }.into()
        );
        assert!(Agenda::<Test>::iter().next().is_none());
        run(REVIEW + 1);
        assert_eq!(state(id), State::Retired { at: 1 });
        assert_eq!(Log::<Test>::iter().count(), 0);
    });
}

#[test]
fn anybody_retires_for_the_key_that_signed() {
    // GIVEN a contribution by a key without account, in a datanet whose pot is empty
    ExtBuilder::default().with_datanet("net", Policy::Open).build_and_execute(|| {
        let (pair, other) = (key(7), key(8));
        let offered = offer(NET, 1, account(&pair));
        assert_ok!(Datanets::submit_for(signed(&BOB), offered.clone(), sign(&offered, &pair)));
        run(REVIEW);
        let id = ContributionId(0);
        let retire = |contribution, valid_until, pair| {
            let retirement = Retirement { contribution, valid_until };
            let signature = sign(&retirement, pair);
            Datanets::retire_for(signed(&BOB), retirement, signature)
        };
        let now = 1 + REVIEW;
        assert_noop!(retire(ContributionId(5), now, &pair), Error::<Test>::UnknownContribution);
        assert_noop!(retire(id, now - 1, &pair), Error::<Test>::Expired);
        assert_noop!(retire(id, now, &other), Error::<Test>::BadSignature);
        let retirement = Retirement { contribution: id, valid_until: now };
        let signature = sign(&retirement, &pair);
        assert_noop!(
            Datanets::retire_for(RuntimeOrigin::root(), retirement, signature),
            BAD_ORIGIN
        );
        // WHEN Bob sends the wish THEN it is done
        assert_ok!(retire(id, now, &pair));
        assert_eq!(state(id), State::Retired { at: now });
        assert_noop!(retire(id, now, &pair), Error::<Test>::NotLive);
    });
}

#[test]
fn votes_go_with_it() {
    ExtBuilder::default().with_datanet("net", curated(2)).build_and_execute(|| {
        let id = contribute(NET, 1);
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), id, true));
        assert_ok!(Datanets::retire_contribution(signed(&ALICE), id));
        assert!(!Ballots::<Test>::contains_key(id));
        assert_noop!(Datanets::vote(signed(&CURATORS[1]), id, true), Error::<Test>::NotPending);
    });
}
