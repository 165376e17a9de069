use super::{bad_origin, events, free, refused};
use crate::{mock::*, Deposits, Error, Event, Failed, FailedDeposit, Waiting, Withdrawals};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_core::{H160, U256},
};
use tributary_primitives::{
    bridge::{
        calls::FinalizeBridge, l1_account, l1_alias, Advance, Deposit, DepositData, FailureReason,
        L2_BRIDGE, L2_MESSENGER, L2_OPEN,
    },
    AccountId, Balance, OPEN,
};

const EVE: AccountId = AccountId::new([9; 32]);

/// Makes a deposit known and executes it in one block; returns what became of it.
fn run(ethereum: &mut Ethereum) -> Event<Test> {
    System::reset_events();
    assert_ok!(advance(ethereum.advance()));
    next_block();
    events().pop().expect("something became of it")
}

/// Executes one deposit, which must fail.
fn failure(make: impl FnOnce(&mut Ethereum)) -> (FailureReason, Balance) {
    let mut ethereum = Ethereum::default();
    let seen = Deposits::<Test>::get();
    // This Ethereum goes on where the last one ended.
    assert_eq!(seen.known, 0, "one failure for each state");
    make(&mut ethereum);
    match run(&mut ethereum) {
        Event::DepositFailed { index: 0, hash, reason, refundable } => {
            assert_eq!(hash, ethereum.deposits[0].hash());
            (reason, refundable)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn open_is_credited_to_the_account_that_was_named() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        let deposit = ethereum.open(&EVE, 5 * OPEN);
        assert_eq!(
            run(&mut ethereum),
            Event::DepositCredited { index: 0, hash: deposit.hash(), who: EVE, amount: 5 * OPEN }
        );
        assert_eq!(free(&EVE), 5 * OPEN);
        assert_eq!(Crossed::get(), (5 * OPEN, 0));
        assert_eq!(Waiting::<Test>::iter().count(), 0);
    });
}

#[test]
fn without_an_account_the_address_has_one() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open_call(open_call(700.into(), vec![]));
        run(&mut ethereum);
        assert_eq!(free(&l1_account(H160([0x77; 20]))), 700);
    });
}

#[test]
fn deposits_are_executed_in_order_and_once() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN three known deposits
        let mut ethereum = Ethereum::default();
        let all: Vec<_> = [100, 200, 300].map(|amount| ethereum.open(&EVE, amount)).into();
        assert_ok!(advance(Advance { origin: Some(ethereum.block()), bodies: vec![] }));
        assert_eq!(free(&EVE), 0);
        next_block();
        let bodies = |bodies: &[Deposit]| Advance { origin: None, bodies: bodies.to_vec() };
        // WHEN they come in another order, or with another's in place of the next
        refused(bodies(&all[1..]), Error::WrongDeposit);
        refused(bodies(&[all[1].clone(), all[0].clone()]), Error::WrongDeposit);
        refused(bodies(&[all[0].clone(), all[0].clone()]), Error::WrongDeposit);
        let mut changed = all[0].clone();
        changed.from = CAROL;
        refused(bodies(&[changed]), Error::WrongDeposit);
        // THEN none is executed; in order they are, a few at a time
        assert_ok!(advance(bodies(&all[..2])));
        assert_eq!(free(&EVE), 300);
        next_block();
        refused(bodies(&all[1..2]), Error::WrongDeposit);
        assert_ok!(advance(bodies(&all[2..])));
        assert_eq!(free(&EVE), 600);
        next_block();
        refused(bodies(&all[2..]), Error::WrongDeposit);
    });
}

#[test]
fn a_failing_deposit_stops_no_other() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&EVE, ED - 1);
        ethereum.open(&EVE, 2 * ROOM);
        ethereum.deposit(CAROL, H160([0x99; 20]), vec![]);
        ethereum.open(&EVE, 50);
        run(&mut ethereum);
        assert_eq!(free(&EVE), 50);
        assert_eq!(Deposits::<Test>::get().executed, 4);
        assert_eq!(Failed::<Test>::iter().count(), 2);
        let failed =
            FailedDeposit { from: CAROL, amount: ED - 1, reason: FailureReason::NotCredited };
        assert_eq!(Failed::<Test>::get(0), Some(failed));
        let view = Settlement::view_failed_deposit(1).unwrap();
        assert_eq!((view.from, view.amount), (CAROL, 2 * ROOM));
        assert_eq!(Settlement::view_failed_deposit(2), None);
    });
}

#[test]
fn what_only_the_bridge_can_say_nobody_else_can() {
    // The bridge's own address without its alias, somebody, and somebody's alias.
    for from in [BRIDGE, CAROL, l1_alias(CAROL), l1_alias(MESSENGER), L2_BRIDGE] {
        ExtBuilder::default().build_and_execute(|| {
            let call = open_call(500.into(), vec![]);
            let failed = failure(|eth| drop(eth.deposit(from, L2_BRIDGE, call.encode())));
            assert_eq!(failed, (FailureReason::NotTheBridge, 0));
        });
    }
    for from in [MESSENGER, CAROL, l1_alias(BRIDGE)] {
        ExtBuilder::default().build_and_execute(|| {
            let call = relay_call(DISPATCHER, b"hello");
            let failed = failure(|eth| drop(eth.deposit(from, L2_MESSENGER, call.encode())));
            assert_eq!(failed, (FailureReason::NotTheMessenger, 0));
        });
    }
}

#[test]
fn each_bad_deposit_of_open_fails_for_its_reason() {
    let good = || open_call(500.into(), vec![]);
    let zero = H160::zero();
    let cases: Vec<(FinalizeBridge, FailureReason, Balance)> = vec![
        (FinalizeBridge { local_token: TOKEN, ..good() }, FailureReason::WrongToken, 0),
        (FinalizeBridge { remote_token: L2_OPEN, ..good() }, FailureReason::WrongToken, 0),
        (FinalizeBridge { amount: 0.into(), ..good() }, FailureReason::BadAmount, 0),
        (FinalizeBridge { amount: U256::MAX, ..good() }, FailureReason::BadAmount, 0),
        // 2^128 + 500: nothing may be cut off.
        (
            FinalizeBridge { amount: (U256::one() << 128) + 500, ..good() },
            FailureReason::BadAmount,
            0,
        ),
        (FinalizeBridge { to: zero, ..good() }, FailureReason::BadRecipient, 500),
        (FinalizeBridge { extra_data: vec![1; 31], ..good() }, FailureReason::BadRecipient, 500),
        (FinalizeBridge { extra_data: vec![1; 33], ..good() }, FailureReason::BadRecipient, 500),
        (FinalizeBridge { amount: 9.into(), ..good() }, FailureReason::NotCredited, 9),
        (FinalizeBridge { amount: ROOM.into(), ..good() }, FailureReason::NotCredited, ROOM),
    ];
    for (call, reason, refundable) in cases {
        ExtBuilder::default().build_and_execute(|| {
            let before = Balances::total_issuance();
            let failed = failure(|eth| drop(eth.open_call(call.clone())));
            assert_eq!(failed, (reason, refundable), "{call:?}");
            assert_eq!(Balances::total_issuance(), before);
        });
    }
}

#[test]
fn each_odd_deposit_fails_for_its_reason() {
    let data = |change: &dyn Fn(&mut DepositData)| {
        let mut data = DepositData {
            mint: 0.into(),
            value: 0.into(),
            gas_limit: 1,
            is_creation: false,
            data: vec![],
        };
        change(&mut data);
        data.encode()
    };
    let deposit =
        |opaque_data| Deposit { from: CAROL, to: DISPATCHER, version: 0.into(), opaque_data };
    let good = deposit(data(&|_| {}));
    let cases = [
        (Deposit { version: 1.into(), ..good.clone() }, FailureReason::UnknownVersion),
        (Deposit { version: U256::MAX, ..good.clone() }, FailureReason::UnknownVersion),
        (deposit(vec![]), FailureReason::BadData),
        (deposit(vec![0; 72]), FailureReason::BadData),
        (deposit(data(&|data| data.mint = 1.into())), FailureReason::HasValue),
        (deposit(data(&|data| data.value = 1.into())), FailureReason::HasValue),
        (deposit(data(&|data| data.is_creation = true)), FailureReason::IsCreation),
        (deposit(data(&|data| data.data = vec![0; 4_097])), FailureReason::BadData),
        (deposit(data(&|data| data.data = b"refuse".to_vec())), FailureReason::Refused),
        (Deposit { to: ALICE_ADDRESS, ..good }, FailureReason::NotADispatcher),
    ];
    for (deposit, reason) in cases {
        ExtBuilder::default().build_and_execute(|| {
            assert_eq!(failure(|eth| drop(eth.raw(deposit.clone()))), (reason, 0));
            assert!(Told::get().is_empty());
            // What the dispatcher did before it refused was undone.
            assert_eq!(free(&BOB), 1_000 * OPEN);
        });
    }
}

/// An address that nobody allowed.
const ALICE_ADDRESS: H160 = H160([1; 20]);

#[test]
fn messages_reach_their_dispatcher() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        // Through the portal: the sender is whom the portal names.
        let direct = ethereum.deposit(l1_alias(CAROL), DISPATCHER, b"direct".to_vec());
        let event = run(&mut ethereum);
        let (hash, from) = (direct.hash(), l1_alias(CAROL));
        assert_eq!(event, Event::MessageDelivered { index: 0, hash, from, to: DISPATCHER });
        // Through the messenger: whom the messenger names.
        let relayed = ethereum.message(relay_call(DISPATCHER, b"relayed"));
        let event = run(&mut ethereum);
        let hash = relayed.hash();
        assert_eq!(event, Event::MessageDelivered { index: 1, hash, from: CAROL, to: DISPATCHER });
        let told =
            [(l1_alias(CAROL), b"direct".to_vec(), 100_000), (CAROL, b"relayed".to_vec(), 40_000)];
        assert_eq!(Told::get(), told);
    });
}

#[test]
fn messages_that_the_messenger_cannot_deliver_fail() {
    let wei = {
        let mut call = relay_call(DISPATCHER, b"");
        call.value = 1.into();
        call
    };
    let cases = [
        (relay_call(L2_BRIDGE, b""), FailureReason::NotADispatcher),
        (relay_call(L2_MESSENGER, b""), FailureReason::NotADispatcher),
        (relay_call(DISPATCHER, b"refuse"), FailureReason::Refused),
        (wei, FailureReason::HasValue),
    ];
    for (call, reason) in cases {
        ExtBuilder::default().build_and_execute(|| {
            assert_eq!(failure(|eth| drop(eth.message(call.clone()))), (reason, 0));
        });
    }
    ExtBuilder::default().build_and_execute(|| {
        let failed =
            failure(|eth| drop(eth.deposit(l1_alias(MESSENGER), L2_MESSENGER, vec![1, 2, 3])));
        assert_eq!(failed, (FailureReason::BadData, 0));
    });
}

#[test]
fn a_failed_deposit_goes_back_once() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&EVE, 2 * ROOM);
        run(&mut ethereum);
        assert_noop!(Settlement::refund_deposit(RuntimeOrigin::none(), 0), bad_origin());
        assert_noop!(
            Settlement::refund_deposit(RuntimeOrigin::signed(BOB), 1),
            Error::<Test>::NoSuchDeposit
        );
        // WHEN anybody sends it back
        assert_ok!(Settlement::refund_deposit(RuntimeOrigin::signed(BOB), 0));
        // THEN the withdrawal pays the one who made it, and nothing was minted or burnt
        let row = Withdrawals::<Test>::get(0).unwrap();
        assert_eq!((row.sender, row.target), (L2_BRIDGE, BRIDGE));
        let call = FinalizeBridge::decode(&row.data).unwrap();
        assert_eq!(call.to, CAROL);
        assert_eq!(call.from, CAROL);
        assert_eq!(call.amount, U256::from(2 * ROOM));
        assert_eq!((call.local_token, call.remote_token), (TOKEN, L2_OPEN));
        let account = l1_account(CAROL);
        assert_eq!(call.extra_data, <AccountId as AsRef<[u8]>>::as_ref(&account));
        assert_eq!(Crossed::get(), (0, 0));
        assert_eq!(
            events().pop(),
            Some(Event::DepositRefunded { index: 0, to: CAROL, amount: 2 * ROOM, withdrawal: 0 })
        );
        assert_noop!(
            Settlement::refund_deposit(RuntimeOrigin::signed(BOB), 0),
            Error::<Test>::NoSuchDeposit
        );
    });
}

#[test]
fn a_pause_stops_execution_and_refunds() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&EVE, 2 * ROOM);
        run(&mut ethereum);
        let next = ethereum.open(&EVE, 500);
        assert_ok!(Settlement::pause(RuntimeOrigin::root(), System::block_number() + 2));
        assert_noop!(
            Settlement::refund_deposit(RuntimeOrigin::signed(BOB), 0),
            Error::<Test>::Paused
        );
        // Origins are taken: the queue grows.
        assert_ok!(advance(Advance { origin: Some(ethereum.block()), bodies: vec![] }));
        assert_eq!(Deposits::<Test>::get().waiting(), 1);
        next_block();
        refused(Advance { origin: None, bodies: vec![next.clone()] }, Error::Paused);
        next_block();
        next_block();
        // It has ended by itself.
        assert_ok!(advance(Advance { origin: None, bodies: vec![next] }));
        assert_eq!(free(&EVE), 500);
    });
}
