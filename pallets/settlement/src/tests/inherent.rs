use super::{bad_origin, refused};
use crate::{mock::*, Call, Deposits, Error};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, inherent::ProvideInherent},
    sp_core::H256,
    sp_inherents::{InherentData, IsFatalError},
};
use tributary_primitives::bridge::{
    keccak, Advance, InherentError, L1Origin, OriginProof, INHERENT_IDENTIFIER,
};

fn data(advance: &Advance) -> InherentData {
    let mut data = InherentData::new();
    data.put_data(INHERENT_IDENTIFIER, advance).unwrap();
    data
}

/// What an author makes of what the node offers.
fn created(offered: &Advance) -> Option<Advance> {
    match Settlement::create_inherent(&data(offered)) {
        Some(Call::advance { advance }) => Some(advance),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_block_can_bring_it() {
    ExtBuilder::default().build_and_execute(|| {
        let good = Ethereum::default().advance();
        for origin in [RuntimeOrigin::root(), RuntimeOrigin::signed(ALICE)] {
            assert_noop!(Settlement::advance(origin, good.clone()), bad_origin());
        }
        assert!(Settlement::is_inherent(&Call::advance { advance: good }));
        assert!(!Settlement::is_inherent(&Call::unpause {}));
    });
}

#[test]
fn what_is_good_goes_into_the_block() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&ALICE, 500);
        let good = ethereum.advance();
        assert_eq!(created(&good), Some(good.clone()));
        assert_ok!(advance(good));
    });
}

#[test]
fn without_data_there_is_no_inherent() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(Settlement::create_inherent(&InherentData::new()), None);
        assert_eq!(created(&Advance::default()), None);
        let mut nonsense = InherentData::new();
        nonsense.put_data(INHERENT_IDENTIFIER, &[0xffu8; 3]).unwrap();
        assert_eq!(Settlement::create_inherent(&nonsense), None);
    });
}

#[test]
fn what_is_bad_stays_out_and_the_rest_goes_in() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN two deposits that are known, and two that are not
        let mut ethereum = Ethereum::default();
        let first = ethereum.open(&ALICE, 500);
        let second = ethereum.open(&ALICE, 600);
        assert_ok!(advance(Advance { origin: Some(ethereum.block()), bodies: vec![] }));
        next_block();
        let third = ethereum.open(&ALICE, 700);
        let fourth = ethereum.open(&ALICE, 800);
        let good = ethereum.block();
        let all = vec![first.clone(), second.clone(), third.clone(), fourth.clone()];

        // WHEN all is good, all goes in, in one block
        let offered = Advance { origin: Some(good.clone()), bodies: all.clone() };
        assert_eq!(created(&offered), Some(offered.clone()));
        // WHEN the origin is bad, what is known goes in
        let mut bad = good.clone();
        bad.deposit_hashes.swap(0, 1);
        let known = Advance { origin: None, bodies: all[..2].to_vec() };
        assert_eq!(
            created(&Advance { origin: Some(bad.clone()), bodies: all.clone() }),
            Some(known)
        );
        // WHEN a body is bad, what is before it goes in
        let mut bodies = all.clone();
        bodies[3].opaque_data.push(0);
        let rest = Advance { origin: Some(good.clone()), bodies: all[..3].to_vec() };
        assert_eq!(created(&Advance { origin: Some(good.clone()), bodies }), Some(rest));
        let skipped = vec![second, third];
        let alone = Advance { origin: Some(good.clone()), bodies: vec![] };
        assert_eq!(
            created(&Advance { origin: Some(good.clone()), bodies: skipped.clone() }),
            Some(alone)
        );
        // WHEN all is bad, nothing does
        assert_eq!(created(&Advance { origin: Some(bad), bodies: skipped }), None);
        // WHEN there are more bodies than deposits, the surplus stays out
        let mut surplus = all.clone();
        surplus.push(fourth);
        assert_eq!(
            created(&Advance { origin: Some(good.clone()), bodies: surplus }),
            Some(offered.clone())
        );
        // THEN what was made is what the chain takes
        assert_ok!(advance(offered));
        assert_eq!(Deposits::<Test>::get().executed, 4);
    });
}

#[test]
fn a_pause_keeps_bodies_out() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&ALICE, 500);
        let offered = ethereum.advance();
        assert_ok!(Settlement::pause(RuntimeOrigin::root(), 3));
        let without = Advance { bodies: vec![], ..offered.clone() };
        assert_eq!(created(&offered), Some(without.clone()));
        refused(offered.clone(), Error::Paused);
        assert_ok!(advance(without));
        assert_eq!(created(&Advance { origin: None, bodies: offered.bodies }), None);
    });
}

#[test]
fn the_node_is_asked_for_the_hash_of_every_header() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        let body = ethereum.open(&ALICE, 500);
        let good = ethereum.block();
        let check = |advance: Advance| {
            Settlement::check_inherent(&Call::advance { advance }, &InherentData::new())
        };
        let question = check(Advance { origin: Some(good.clone()), bodies: vec![] }).unwrap_err();
        let expected =
            L1Origin { number: 101, hash: keccak(&good.header), timestamp: 1_700_001_212 };
        assert_eq!(question, InherentError::Unchecked(expected));
        assert!(!question.is_fatal_error());
        // A lie is a question too: only Ethereum can tell.
        let lie = OriginProof { header: header_rlp(7, 8, H256::repeat_byte(1)), ..good.clone() };
        let question = check(Advance { origin: Some(lie.clone()), bodies: vec![] });
        let expected = L1Origin { number: 7, hash: keccak(&lie.header), timestamp: 8 };
        assert_eq!(question, Err(InherentError::Unchecked(expected)));
        // What is no header at all, Ethereum cannot have.
        let garbage = OriginProof { header: vec![1, 2, 3], ..good };
        let answer = check(Advance { origin: Some(garbage), bodies: vec![] }).unwrap_err();
        assert_eq!(answer, InherentError::Malformed);
        assert!(answer.is_fatal_error());
        // Bodies need no question: their hashes are known.
        assert_eq!(check(Advance { origin: None, bodies: vec![body] }), Ok(()));
    });
}
