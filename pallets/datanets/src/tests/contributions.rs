use super::*;
use crate::{
    Agenda, ByContent, Contribution, Datanets as Rows, Error, Event, InDatanet, NextContribution,
    OfPayout, Policy, MAX_CONTRIBUTIONS,
};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, traits::Get},
    frame_system,
    sp_core::{ecdsa, ed25519, Pair, H256},
    sp_runtime::TokenError,
};
use tributary_primitives::{
    signing::{ContributionOffer, Signable},
    DatanetId, MultiSignature,
};

fn open() -> ExtBuilder {
    ExtBuilder::default().with_datanet("net", Policy::Open)
}

#[test]
fn an_account_contributes() {
    open().build_and_execute(|| {
        run_to(5);
        let offered = offer(NET, 1, BOB);
        assert_ok!(Datanets::contribute(signed(&BOB), offered.clone()));
        let (id, due) = (ContributionId(0), Some(5 + REVIEW));
        assert_eq!(
            Contributions::<Test>::get(id),
            Some(Contribution {
                datanet: NET,
                position: 0,
                payout: BOB,
                content: digest(1),
                records_root: offered.records_root,
                records: 3,
                bytes: 300,
                submitted: 5,
                state: State::Pending { due },
            })
        );
        assert_eq!(ByContent::<Test>::get(digest(1)), Some(id));
        assert_eq!(InDatanet::<Test>::get(NET, 0), Some(id));
        assert!(OfPayout::<Test>::contains_key(BOB, id));
        assert_eq!(
            last_event(),
            Event::Contributed {
                contribution: id,
                datanet: NET,
                payout: BOB,
                content: digest(1),
                due
            }
            .into()
        );
    });
}

#[test]
fn the_payout_account_itself_must_send_it() {
    open().build_and_execute(|| {
        assert_noop!(
            Datanets::contribute(signed(&ALICE), offer(NET, 1, BOB)),
            Error::<Test>::NotPayout
        );
        assert_noop!(Datanets::contribute(RuntimeOrigin::root(), offer(NET, 1, BOB)), BAD_ORIGIN);
    });
}

/// Sends an offer in each of the three ways; all must give the same error and change nothing.
fn refused(offered: ContributionOffer, error: Error<Test>) {
    let pair = key(7);
    let offered = ContributionOffer { payout: account(&pair), ..offered };
    let signature = sign(&offered, &pair);
    let error: DispatchError = error.into();
    assert_noop!(Datanets::contribute(signed(&offered.payout), offered.clone()), error);
    assert_noop!(Datanets::submit_for(signed(&BOB), offered.clone(), signature.clone()), error);
    let authorized = frame_system::Origin::<Test>::Authorized;
    assert_noop!(Datanets::contribute_signed(authorized.into(), offered, signature), error);
}

#[test]
fn impossible_offers_are_refused_in_all_ways() {
    open().with_pots(10_000).build_and_execute(|| {
        run_to(3);
        let good = offer(NET, 1, BOB);
        contribute(NET, 9);
        let limit = <MaxShardBytes as Get<u64>>::get();
        for (bad, error) in [
            (ContributionOffer { valid_until: 2, ..good.clone() }, Error::Expired),
            (ContributionOffer { records: 0, ..good.clone() }, Error::NoRecords),
            (ContributionOffer { bytes: 2, ..good.clone() }, Error::BadSize),
            (ContributionOffer { bytes: limit + 1, ..good.clone() }, Error::ShardTooLarge),
            (ContributionOffer { datanet: DatanetId(5), ..good.clone() }, Error::UnknownDatanet),
            (ContributionOffer { content: digest(9), ..good.clone() }, Error::DuplicateContent),
        ] {
            refused(bad, error);
        }
        // The limits themselves are allowed.
        let last = ContributionOffer { valid_until: 3, bytes: limit, ..good.clone() };
        assert_ok!(Datanets::contribute(signed(&BOB), last));
        let least = ContributionOffer { content: digest(2), bytes: 3, ..good };
        assert_ok!(Datanets::contribute(signed(&BOB), least));
    });
}

#[test]
fn the_same_content_is_refused_in_another_datanet_too() {
    open().with_datanet("other", Policy::Open).with_pots(10_000).build_and_execute(|| {
        contribute(NET, 1);
        refused(offer(DatanetId(1), 1, BOB), Error::DuplicateContent);
        // Retiring does not free it either: a signed offer cannot be brought in again.
        assert_ok!(Datanets::retire_contribution(signed(&BOB), ContributionId(0)));
        refused(offer(NET, 1, BOB), Error::DuplicateContent);
    });
}

#[test]
fn full_blocks_spill_and_then_refuse() {
    open().with_pots(10_000).build_and_execute(|| {
        // GIVEN two places in each of three blocks
        for content in 0..(PER_BLOCK * (SPILL + 1)) as u8 {
            let id = contribute(NET, content);
            let due = 1 + REVIEW + u32::from(content) / PER_BLOCK;
            assert_eq!(state(id), State::Pending { due: Some(due) });
        }
        // WHEN all are taken THEN the next is refused
        refused(offer(NET, 100, BOB), Error::TooManyPending);
        // WHEN somebody gives up a place THEN it is found
        assert_ok!(Datanets::retire_contribution(signed(&BOB), ContributionId(3)));
        let id = contribute(NET, 100);
        assert_eq!(state(id), State::Pending { due: Some(2 + REVIEW) });
        // WHEN a block passes THEN there is room again at the end
        run(1);
        let id = contribute(NET, 101);
        assert_eq!(state(id), State::Pending { due: Some(2 + REVIEW + SPILL) });
    });
}

#[test]
fn full_datanets_and_spent_ids_refuse() {
    let mut ext = open().with_pots(10_000).build();
    // The books are broken on purpose, so they are not checked at the end.
    ext.execute_with(|| {
        Rows::<Test>::mutate_extant(NET, |net| net.contributions = MAX_CONTRIBUTIONS);
        refused(offer(NET, 1, BOB), Error::DatanetFull);
    });
    open().with_pots(10_000).build_and_execute(|| {
        NextContribution::<Test>::put(ContributionId(u64::MAX));
        refused(offer(NET, 1, BOB), Error::IdsExhausted);
    });
}

#[test]
fn anybody_submits_what_another_signed() {
    open().build_and_execute(|| {
        let pair = key(7);
        let offered = offer(NET, 1, account(&pair));
        assert_ok!(Datanets::submit_for(signed(&BOB), offered.clone(), sign(&offered, &pair)));
        let row = Contributions::<Test>::get(ContributionId(0)).unwrap();
        assert_eq!(row.payout, account(&pair));
        // The key still has no account, and nobody but Bob paid anything.
        assert!(!frame_system::Account::<Test>::contains_key(account(&pair)));
        assert_noop!(
            Datanets::submit_for(RuntimeOrigin::root(), offered.clone(), sign(&offered, &pair)),
            BAD_ORIGIN
        );
    });
}

#[test]
fn every_kind_of_key_can_sign() {
    open().build_and_execute(|| {
        let genesis = System::block_hash(0);
        let ed = ed25519::Pair::from_seed(&[1; 32]);
        let ec = ecdsa::Pair::from_seed(&[2; 32]);
        let by_ed = offer(NET, 1, AccountId::new(ed.public().0));
        let hashed = polkadot_sdk::sp_io::hashing::blake2_256(ec.public().as_ref());
        let by_ec = offer(NET, 2, AccountId::new(hashed));
        let signed_ed: MultiSignature = ed.sign(&by_ed.signing_payload(&genesis)).into();
        let signed_ec: MultiSignature = ec.sign(&by_ec.signing_payload(&genesis)).into();
        assert_ok!(Datanets::submit_for(signed(&BOB), by_ed, signed_ed));
        assert_ok!(Datanets::submit_for(signed(&BOB), by_ec, signed_ec));
    });
}

#[test]
fn wrong_signatures_are_refused() {
    open().build_and_execute(|| {
        let pair = key(7);
        let offered = offer(NET, 1, account(&pair));
        let elsewhere: MultiSignature =
            pair.sign(&offered.signing_payload(&H256::repeat_byte(1))).into();
        let other = ContributionOffer { records: 2, ..offered.clone() };
        for bad in [sign(&offered, &key(8)), sign(&other, &pair), elsewhere] {
            assert_noop!(
                Datanets::submit_for(signed(&BOB), offered.clone(), bad),
                Error::<Test>::BadSignature
            );
        }
    });
}

#[test]
fn stake_comes_from_whoever_sends_it() {
    ExtBuilder::default().with_staked_datanet("net", 500).build_and_execute(|| {
        contribute(NET, 1);
        assert_eq!(free(&BOB), RICH - 500);
        let pair = key(7);
        let offered = offer(NET, 2, account(&pair));
        assert_ok!(Datanets::submit_for(signed(&ALICE), offered.clone(), sign(&offered, &pair)));
        assert_eq!(free(&STAKES), ED + 1_000);
        // Without the stake nothing is left behind.
        assert_noop!(
            Datanets::contribute(signed(&COLLECTOR), offer(NET, 3, COLLECTOR)),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
    });
}

#[test]
fn what_is_due_is_accepted_and_nothing_before() {
    open().build_and_execute(|| {
        let (a, b) = (contribute(NET, 1), contribute(NET, 2));
        run_to(REVIEW);
        assert_eq!(state(a), State::Pending { due: Some(1 + REVIEW) });
        run(1);
        assert_eq!(state(a), State::Accepted { at: 1 + REVIEW });
        assert_eq!(state(b), State::Accepted { at: 1 + REVIEW });
        assert!(Agenda::<Test>::iter().next().is_none());
        assert_eq!(
            last_event(),
            Event::Accepted { contribution: b, datanet: NET, entry: 1 }.into()
        );
        let net = Rows::<Test>::get(NET).unwrap();
        assert_eq!((net.live, net.live_records, net.live_bytes), (2, 6, 600));
    });
}
