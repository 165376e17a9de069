//! Contributing and retiring by a key that owns nothing.

use super::*;
use crate::{Call, Error, Event, Policy, SponsorUsage, Usage};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    frame_system,
    sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError},
};
use tributary_primitives::{
    signing::{ContributionOffer, Retirement},
    DatanetId,
};

fn open() -> ExtBuilder {
    ExtBuilder::default().with_datanet("net", Policy::Open).with_pots(1_000)
}

/// How the pool names an error.
fn refusal(error: Error<Test>) -> TransactionValidityError {
    Datanets::refusal(error)
}

#[test]
fn a_key_without_account_contributes_and_retires() {
    open().build_and_execute(|| {
        // GIVEN a key that owns nothing
        let pair = key(7);
        let payout = account(&pair);
        let id = ContributionId(0);
        // WHEN it contributes
        assert_eq!(apply(contribution_call(offer(NET, 1, payout.clone()), &pair)), Ok(Ok(())));
        // THEN the pot paid, and no account was made
        assert_eq!(free(&Datanets::pot(NET)), 1_000 - FEE);
        assert_eq!(free(&COLLECTOR), ED + FEE);
        assert!(!frame_system::Account::<Test>::contains_key(&payout));
        assert!(System::events()
            .iter()
            .any(|row| row.event == Event::Sponsored { datanet: NET, fee: FEE }.into()));
        run(REVIEW);
        assert!(matches!(state(id), State::Accepted { .. }));
        // WHEN it retires THEN the pot pays again
        assert_eq!(apply(retirement_call(id, &pair)), Ok(Ok(())));
        assert!(matches!(state(id), State::Retired { .. }));
        assert_eq!(free(&Datanets::pot(NET)), 1_000 - 2 * FEE);
        assert_eq!(SponsorUsage::<Test>::get(NET), Usage { period: 0, calls: 2 });
    });
}

#[test]
fn the_pool_learns_what_excludes_what_and_for_how_long() {
    open().build_and_execute(|| {
        let (one, two) = (key(7), key(8));
        let a = authorize(&contribution_call(offer(NET, 1, account(&one)), &one)).unwrap();
        let b = authorize(&contribution_call(offer(NET, 1, account(&two)), &two)).unwrap();
        let c = authorize(&contribution_call(offer(NET, 2, account(&one)), &one)).unwrap();
        assert_eq!(a.provides, b.provides);
        assert_ne!(a.provides, c.provides);
        assert_eq!((a.longevity, a.propagate, a.requires.len()), (100, true, 0));

        assert_ok!(apply(contribution_call(offer(NET, 1, account(&one)), &one)).unwrap());
        let d = authorize(&retirement_call(ContributionId(0), &one)).unwrap();
        assert!(![a.provides, c.provides].contains(&d.provides));
        // In its last block a message is still good for one block.
        let offered = ContributionOffer { valid_until: 1, ..offer(NET, 3, account(&one)) };
        assert_eq!(authorize(&contribution_call(offered, &one)).unwrap().longevity, 1);
    });
}

#[test]
fn only_the_pallets_own_authorization_will_do() {
    open().build_and_execute(|| {
        let pair = key(7);
        let offered = offer(NET, 1, account(&pair));
        let signature = sign(&offered, &pair);
        for origin in [signed(&BOB), RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(
                Datanets::contribute_signed(origin, offered.clone(), signature.clone()),
                BAD_ORIGIN
            );
        }
        let id = contribute(NET, 2);
        let retirement = Retirement { contribution: id, valid_until: 9 };
        let signature = sign(&retirement, &pair);
        for origin in [signed(&BOB), RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(
                Datanets::retire_signed(origin, retirement.clone(), signature.clone()),
                BAD_ORIGIN
            );
        }
    });
}

#[test]
fn forged_messages_never_enter() {
    open().with_datanet("other", Policy::Open).build_and_execute(|| {
        let pair = key(7);
        let offered = offer(NET, 1, account(&pair));
        let signature = sign(&offered, &pair);
        // Another payout account, more records, or another datanet under the same signature.
        for forged in [
            ContributionOffer { payout: BOB, ..offered.clone() },
            ContributionOffer { records: 300, ..offered.clone() },
            ContributionOffer { datanet: DatanetId(1), ..offered.clone() },
            ContributionOffer { valid_until: 5_000, ..offered.clone() },
        ] {
            let call = Call::contribute_signed { offer: forged, signature: signature.clone() };
            assert_eq!(authorize(&call), Err(refusal(Error::BadSignature)));
        }
        assert_ok!(apply(Call::contribute_signed { offer: offered, signature }).unwrap());
        // The datanet's owner needs an account; only the payout key signs.
        assert_eq!(
            authorize(&retirement_call(ContributionId(0), &key(8))),
            Err(refusal(Error::BadSignature))
        );
        // The signature of an offer is none of a retirement.
        let offered = offer(NET, 2, account(&pair));
        let retirement = Retirement { contribution: ContributionId(0), valid_until: 50 };
        let call = Call::retire_signed { retirement, signature: sign(&offered, &pair) };
        assert_eq!(authorize(&call), Err(refusal(Error::BadSignature)));
    });
}

#[test]
fn no_message_is_good_twice() {
    open().build_and_execute(|| {
        let pair = key(7);
        let call = contribution_call(offer(NET, 1, account(&pair)), &pair);
        assert_ok!(apply(call.clone()).unwrap());
        assert_eq!(apply(call.clone()), Err(refusal(Error::DuplicateContent)));
        run(REVIEW);
        let retire = retirement_call(ContributionId(0), &pair);
        assert_ok!(apply(retire.clone()).unwrap());
        assert_eq!(apply(retire), Err(refusal(Error::NotLive)));
        assert_eq!(apply(call), Err(refusal(Error::DuplicateContent)));
    });
}

#[test]
fn each_reason_has_its_code() {
    let builder = ExtBuilder::default()
        .with_datanet("net", curated(3))
        .with_staked_datanet("staked", 5)
        .with_pots(1_000);
    builder.build_and_execute(|| {
        run_to(3);
        let pair = key(7);
        let good = offer(NET, 1, account(&pair));
        let rejected = contribute(NET, 9);
        assert_ok!(Datanets::vote(signed(&CURATORS[0]), rejected, false));
        for (bad, error) in [
            (ContributionOffer { valid_until: 2, ..good.clone() }, Error::Expired),
            (ContributionOffer { records: 0, ..good.clone() }, Error::NoRecords),
            (ContributionOffer { bytes: 1, ..good.clone() }, Error::BadSize),
            (ContributionOffer { bytes: u64::MAX, ..good.clone() }, Error::ShardTooLarge),
            (ContributionOffer { datanet: DatanetId(5), ..good.clone() }, Error::UnknownDatanet),
            (ContributionOffer { datanet: DatanetId(1), ..good.clone() }, Error::StakeNeeded),
            (ContributionOffer { content: digest(9), ..good.clone() }, Error::AlreadyRejected),
        ] {
            assert_eq!(apply(contribution_call(bad, &pair)), Err(refusal(error)));
        }
        let retirement = Retirement { contribution: rejected, valid_until: 2 };
        let signature = sign(&retirement, &pair);
        let call = Call::retire_signed { retirement, signature };
        assert_eq!(apply(call), Err(refusal(Error::Expired)));
        let unknown = retirement_call(ContributionId(99), &pair);
        assert_eq!(apply(unknown), Err(refusal(Error::UnknownContribution)));
        assert_eq!(apply(retirement_call(rejected, &pair)), Err(refusal(Error::NotLive)));

        // The codes are the errors' indices in the metadata.
        let first: TransactionValidityError = InvalidTransaction::Custom(0).into();
        assert_eq!(refusal(Error::UnknownDatanet), first);
        assert_ne!(refusal(Error::RateLimited), refusal(Error::PotTooLow));
    });
}

#[test]
fn what_changed_since_the_authorization_is_seen() {
    open().build_and_execute(|| {
        let pair = key(7);
        let authorized = || frame_system::Origin::<Test>::Authorized.into();
        let offered = offer(NET, 1, account(&pair));
        let signature = sign(&offered, &pair);
        let id = contribute(NET, 2);
        sponsor_up_to(NET, 0);
        assert_noop!(
            Datanets::contribute_signed(authorized(), offered, signature),
            Error::<Test>::RateLimited
        );
        let retirement = Retirement { contribution: id, valid_until: 50 };
        let signature = sign(&retirement, &pair);
        assert_noop!(
            Datanets::retire_signed(authorized(), retirement, signature),
            Error::<Test>::RateLimited
        );
    });
}

#[test]
fn an_offer_that_needs_stake_is_not_sponsored() {
    let builder = ExtBuilder::default().with_staked_datanet("net", 5).with_pots(1_000);
    builder.build_and_execute(|| {
        let pair = key(7);
        let offered = offer(NET, 1, account(&pair));
        let signature = sign(&offered, &pair);
        assert_noop!(
            Datanets::contribute_signed(
                frame_system::Origin::<Test>::Authorized.into(),
                offered,
                signature
            ),
            Error::<Test>::StakeNeeded
        );
    });
}
