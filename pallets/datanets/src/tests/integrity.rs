//! Broken books are found.

use super::*;
use crate::{
    Agenda, Ballots, ByContent, ByName, Datanets as Rows, Frontiers, HoldReason, InDatanet, Log,
    NextContribution, NextDatanet, OfPayout, Policy, Rejections, SponsorUsage, Usage, Versions,
};
use polkadot_sdk::frame_support::{
    assert_ok,
    traits::{fungible::MutateHold, tokens::Precision},
};
use tributary_primitives::{log::LogEntry, DatanetId};

/// Breaks a state with a bit of everything and looks whether it is noticed.
fn found(what: &'static str, damage: impl FnOnce()) {
    let builder = ExtBuilder::default()
        .with_datanet("net", Policy::Open)
        .with_datanet("picked", curated(3))
        .with_pots(1_000);
    builder.build().execute_with(|| {
        let first = contribute(NET, 1);
        contribute(NET, 2);
        run(REVIEW);
        assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        assert_ok!(Datanets::retire_contribution(signed(&BOB), first));
        assert_ok!(Datanets::cut_version(signed(&ALICE), NET));
        contribute(NET, 3);
        let (voted, rejected) = (contribute(DatanetId(1), 4), contribute(DatanetId(1), 5));
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), voted, true));
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), rejected, false));
        assert_ok!(Datanets::do_try_state());
        damage();
        assert_eq!(Datanets::do_try_state(), Err(DispatchError::Other(what)));
    });
}

const FIRST: ContributionId = ContributionId(0);
const SECOND: ContributionId = ContributionId(1);
const PENDING: ContributionId = ContributionId(2);
const NOBODYS: DatanetId = DatanetId(77);

#[test]
fn in_datanets() {
    found("a datanet's id was never given", || NextDatanet::<Test>::put(DatanetId(1)));
    found("a datanet's name is invalid", || {
        Rows::<Test>::mutate_extant(NET, |net| net.name = name("Bad"))
    });
    found("a datanet's licence is invalid", || {
        Rows::<Test>::mutate_extant(NET, |net| net.licence = licence(""))
    });
    found("a name does not lead back", || ByName::<Test>::insert(name("net"), DatanetId(1)));
    found("a name leads nowhere", || ByName::<Test>::insert(name("ghost"), NET));
    found("a policy is invalid", || {
        Rows::<Test>::mutate_extant(NET, |net| net.policy = curated(4))
    });
    found("an owner's hold is not what the deposits add up to", || {
        let reason = HoldReason::Datanet.into();
        assert_ok!(Balances::release(&reason, &ALICE, 1, Precision::Exact));
    });
}

#[test]
fn in_contributions() {
    found("a contribution's id was never given", || NextContribution::<Test>::put(SECOND));
    found("a contribution has no datanet", || {
        Contributions::<Test>::mutate_extant(FIRST, |row| row.datanet = NOBODYS)
    });
    found("a contribution is not where it says", || {
        Contributions::<Test>::mutate_extant(FIRST, |row| row.position = 1)
    });
    found("a contribution is missing at its payout account", || {
        OfPayout::<Test>::remove(BOB, FIRST)
    });
    found("a contribution's size is impossible", || {
        Contributions::<Test>::mutate_extant(FIRST, |row| row.records = 0)
    });
    found("a datanet miscounts its contributions", || {
        Rows::<Test>::mutate_extant(NET, |net| net.contributions = 9)
    });
    found("a position leads nowhere", || InDatanet::<Test>::insert(NET, 9, FIRST));
    found("a payout account's row is orphaned", || OfPayout::<Test>::insert(ALICE, FIRST, ()));
    found("content does not lead to its contribution", || ByContent::<Test>::remove(digest(1)));
    found("content leads nowhere", || ByContent::<Test>::insert(digest(9), FIRST));
    found("a rejection is forgotten", || Rejections::<Test>::remove(DatanetId(1), digest(5)));
    found("a rejection is orphaned", || Rejections::<Test>::insert(NET, digest(9), FIRST));
}

#[test]
fn in_curation() {
    let plan = |ids: Vec<ContributionId>, block| {
        Agenda::<Test>::insert(block, polkadot_sdk::frame_support::BoundedVec::truncate_from(ids))
    };
    found("the agenda was not settled", || plan(vec![PENDING], 1));
    found("an empty block stands on the agenda", || plan(vec![], 50));
    found("the agenda is not what is under review", || plan(vec![PENDING], 50));
    found("votes are kept on what is decided", || {
        Ballots::<Test>::insert(FIRST, Ballots::<Test>::get(ContributionId(3)))
    });
    found("somebody voted twice", || {
        let votes = vec![(BOB, true), (BOB, true)].try_into().unwrap();
        Ballots::<Test>::insert(PENDING, crate::Votes::from(votes))
    });
}

#[test]
fn in_the_log_and_its_versions() {
    let entry = || LogEntry::Retired { contribution: SECOND };
    found("a log has rows past its end", || Log::<Test>::insert(NET, 9, entry()));
    found("a log and its tree differ", || Log::<Test>::insert(NET, 1, entry()));
    found("a log has a gap", || {
        Log::<Test>::remove(NET, 1);
        Log::<Test>::insert(NET, 8, entry());
    });
    found("a log does not replay to what was accepted", || {
        Datanets::append(NET, entry()).unwrap();
    });
    found("a datanet miscounts what is live", || {
        Rows::<Test>::mutate_extant(NET, |net| net.live = 2)
    });
    found("a datanet misjudges its size", || {
        Rows::<Test>::mutate_extant(NET, |net| net.live_bytes = 1)
    });
    let change = |change: fn(&mut crate::Version)| {
        let mut version = Versions::<Test>::get(NET, 2).unwrap();
        change(&mut version);
        Versions::<Test>::insert(NET, 2, version);
    };
    found("a datanet miscounts its versions", || Versions::<Test>::remove(NET, 1));
    found("a version covers what is not there", || change(|version| version.length = 9));
    found("a version brings nothing", || change(|version| version.length = 2));
    found("a version's root is not that of the log", || {
        change(|version| version.root = Default::default())
    });
    found("a version miscounts its contributions", || change(|version| version.contributions = 9));
}

#[test]
fn in_rows_of_datanets_that_do_not_exist() {
    found("a tree has no datanet", || {
        Frontiers::<Test>::insert(NOBODYS, Frontiers::<Test>::get(NET))
    });
    found("a log has no datanet", || {
        Log::<Test>::insert(NOBODYS, 0, LogEntry::Retired { contribution: FIRST })
    });
    found("a version has no datanet", || {
        Versions::<Test>::insert(NOBODYS, 1, Versions::<Test>::get(NET, 1).unwrap())
    });
    found("usage has no datanet", || SponsorUsage::<Test>::insert(NOBODYS, Usage::default()));
}
