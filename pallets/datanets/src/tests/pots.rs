use super::*;
use crate::{Error, Event, Policy, SponsorUsage, Sponsorship, Usage};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, weights::Weight},
    sp_runtime::TokenError,
};
use tributary_primitives::DatanetId;

fn open() -> ExtBuilder {
    ExtBuilder::default().with_datanet("net", Policy::Open)
}

fn weight() -> Weight {
    Weight::from_parts(1_000, 1_000)
}

fn sponsor() -> Result<(), DispatchError> {
    Datanets::sponsor(NET, 200, weight())
}

#[test]
fn anybody_funds_and_only_the_owner_withdraws() {
    open().build_and_execute(|| {
        let pot = Datanets::pot(NET);
        assert_ok!(Datanets::fund_pot(signed(&BOB), NET, 500));
        assert_eq!(free(&pot), 500);
        assert_eq!(last_event(), Event::PotFunded { datanet: NET, from: BOB, amount: 500 }.into());
        assert_noop!(Datanets::withdraw_pot(signed(&BOB), NET, 1), Error::<Test>::NotOwner);
        assert_ok!(Datanets::withdraw_pot(signed(&ALICE), NET, 200));
        assert_eq!(free(&pot), 300);
        assert_eq!(
            last_event(),
            Event::PotWithdrawn { datanet: NET, to: ALICE, amount: 200 }.into()
        );
        // Leaving dust would burn it; taking everything does not.
        assert!(Datanets::withdraw_pot(signed(&ALICE), NET, 300 - ED + 1).is_err());
        assert_eq!(free(&pot), 300);
        assert_ok!(Datanets::withdraw_pot(signed(&ALICE), NET, 300));
        assert_eq!(free(&pot), 0);
        assert_eq!(free(&ALICE), RICH - DEPOSIT + 500);
    });
}

#[test]
fn moving_nothing_too_much_or_elsewhere_is_refused() {
    open().build_and_execute(|| {
        let unknown = DatanetId(3);
        assert_noop!(Datanets::fund_pot(signed(&BOB), NET, 0), Error::<Test>::NothingToMove);
        assert_noop!(Datanets::fund_pot(signed(&BOB), unknown, 1), Error::<Test>::UnknownDatanet);
        assert_noop!(Datanets::fund_pot(RuntimeOrigin::root(), NET, 1), BAD_ORIGIN);
        assert_noop!(
            Datanets::fund_pot(signed(&BOB), NET, ED - 1),
            DispatchError::Token(TokenError::BelowMinimum)
        );
        assert_noop!(
            Datanets::fund_pot(signed(&BOB), NET, RICH),
            DispatchError::Token(TokenError::NotExpendable)
        );
        assert_noop!(Datanets::withdraw_pot(signed(&ALICE), NET, 0), Error::<Test>::NothingToMove);
        assert_noop!(
            Datanets::withdraw_pot(signed(&ALICE), unknown, 1),
            Error::<Test>::UnknownDatanet
        );
        assert_noop!(Datanets::withdraw_pot(RuntimeOrigin::root(), NET, 1), BAD_ORIGIN);
        assert_noop!(
            Datanets::withdraw_pot(signed(&ALICE), NET, 1),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
    });
}

#[test]
fn a_pot_pays_while_it_may_and_can() {
    open().build_and_execute(|| {
        assert_noop!(Datanets::sponsor(DatanetId(4), 200, weight()), Error::<Test>::UnknownDatanet);
        assert_noop!(sponsor(), Error::<Test>::SponsorshipOff);
        sponsor_up_to(NET, 9);
        assert_noop!(sponsor(), Error::<Test>::PotTooLow);
        // It keeps its existential deposit.
        assert_ok!(Datanets::fund_pot(signed(&BOB), NET, FEE + ED - 1));
        assert!(!Datanets::can_sponsor(NET, 200, weight()));
        assert_noop!(sponsor(), Error::<Test>::PotTooLow);
        assert_ok!(Datanets::fund_pot(signed(&BOB), NET, 1));
        assert!(Datanets::can_sponsor(NET, 200, weight()));
        assert_ok!(sponsor());
        assert_eq!(free(&Datanets::pot(NET)), ED);
        assert_eq!(last_event(), Event::Sponsored { datanet: NET, fee: FEE }.into());
        assert_noop!(sponsor(), Error::<Test>::PotTooLow);

        let off = Sponsorship { enabled: false, max_per_period: 9 };
        assert_ok!(Datanets::set_sponsorship(signed(&ALICE), NET, off));
        assert_noop!(sponsor(), Error::<Test>::SponsorshipOff);
    });
}

#[test]
fn a_period_has_its_limit() {
    open().with_pots(10_000).with_limit(2).build_and_execute(|| {
        assert_ok!(sponsor());
        assert_ok!(sponsor());
        assert!(!Datanets::can_sponsor(NET, 200, weight()));
        assert_noop!(sponsor(), Error::<Test>::RateLimited);
        run_to(PERIOD - 1);
        assert_noop!(sponsor(), Error::<Test>::RateLimited);
        // WHEN the next period begins THEN it pays again
        run(1);
        assert_ok!(sponsor());
        assert_eq!(SponsorUsage::<Test>::get(NET), Usage { period: 1, calls: 1 });
        // The owner can lower the limit below what was used.
        sponsor_up_to(NET, 1);
        assert_noop!(sponsor(), Error::<Test>::RateLimited);
    });
}

#[test]
fn the_limit_holds_for_signed_messages() {
    open().with_pots(10_000).with_limit(1).build_and_execute(|| {
        let pair = key(7);
        let call = |content| contribution_call(offer(NET, content, account(&pair)), &pair);
        assert_ok!(apply(call(1)).unwrap());
        assert_eq!(apply(call(2)), Err(Datanets::refusal(Error::RateLimited)));
        assert_eq!(
            apply(retirement_call(ContributionId(0), &pair)),
            Err(Datanets::refusal(Error::RateLimited))
        );
        run(PERIOD);
        assert_ok!(apply(call(2)).unwrap());
    });
}

#[test]
fn every_datanet_has_its_own_pot() {
    open().with_datanet("other", Policy::Open).build_and_execute(|| {
        assert_ne!(Datanets::pot(NET), Datanets::pot(DatanetId(1)));
        assert_ok!(Datanets::fund_pot(signed(&BOB), DatanetId(1), 1_000));
        sponsor_up_to(NET, 9);
        sponsor_up_to(DatanetId(1), 9);
        assert_noop!(sponsor(), Error::<Test>::PotTooLow);
        assert!(Datanets::can_sponsor(DatanetId(1), 200, weight()));
    });
}
