use super::{bad_origin, events, free};
use crate::{mock::*, Error, Event, MessageData, Tree, Withdrawals};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_core::{H160, H256, U256},
    sp_runtime::TokenError,
};
use tributary_primitives::{
    bridge::{
        calls::FinalizeBridge,
        domain, sender_address,
        tree::{self, empty_root},
        withdrawal::nonce,
        LeafExtra, Withdrawal, L2_BRIDGE, L2_OPEN,
    },
    AccountId, OPEN,
};

fn alice() -> RuntimeOrigin {
    RuntimeOrigin::signed(ALICE)
}

fn message(bytes: &[u8]) -> MessageData {
    bytes.to_vec().try_into().unwrap()
}

#[test]
fn open_is_burnt_here_and_promised_there() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Settlement::withdraw(alice(), CAROL, 3 * OPEN));
        assert_eq!(free(&ALICE), 997 * OPEN);
        assert_eq!(Crossed::get(), (0, 3 * OPEN));
        let account: &[u8] = ALICE.as_ref();
        let call = FinalizeBridge {
            local_token: TOKEN,
            remote_token: L2_OPEN,
            from: sender_address(&ALICE),
            to: CAROL,
            amount: U256::from(3 * OPEN),
            extra_data: account.to_vec(),
        };
        let withdrawal = Withdrawal {
            nonce: nonce(0),
            sender: L2_BRIDGE,
            target: BRIDGE,
            value: 0.into(),
            gas_limit: 200_000.into(),
            data: call.encode(),
        };
        assert_eq!(Settlement::view_withdrawal(0), Some(withdrawal.clone()));
        assert_eq!(
            events(),
            [
                Event::WithdrawalAppended {
                    index: 0,
                    hash: withdrawal.hash(),
                    sender: L2_BRIDGE,
                    target: BRIDGE
                },
                Event::Withdrawn { who: ALICE, to: CAROL, amount: 3 * OPEN, withdrawal: 0 },
            ]
        );
    });
}

#[test]
fn a_message_says_who_sent_it() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Settlement::send_message(alice(), CAROL, 77_000, message(b"hello")));
        let expected = Withdrawal {
            nonce: nonce(0),
            sender: sender_address(&ALICE),
            target: CAROL,
            value: 0.into(),
            gas_limit: 77_000.into(),
            data: b"hello".to_vec(),
        };
        assert_eq!(Settlement::view_withdrawal(0), Some(expected));
        assert_eq!(
            events().pop(),
            Some(Event::MessageSent { who: ALICE, target: CAROL, withdrawal: 0 })
        );
        // The longest one, with the most gas.
        let long = message(&[7; 4_096]);
        assert_ok!(Settlement::send_message(alice(), CAROL, MaxGas::get(), long));
    });
}

#[test]
fn what_cannot_be_withdrawn_is_refused() {
    ExtBuilder::default().build_and_execute(|| {
        let to_carol = |amount| Settlement::withdraw(alice(), CAROL, amount);
        assert_noop!(to_carol(MinWithdrawal::get() - 1), Error::<Test>::TooLittle);
        assert_noop!(to_carol(1_000 * OPEN + 1), TokenError::FundsUnavailable);
        assert_noop!(to_carol(u128::MAX), TokenError::FundsUnavailable);
        assert_noop!(Settlement::withdraw(RuntimeOrigin::root(), CAROL, OPEN), bad_origin());
        assert_noop!(Settlement::withdraw(RuntimeOrigin::none(), CAROL, OPEN), bad_origin());
        for target in [H160::zero(), PORTAL, BRIDGE, MESSENGER, TOKEN] {
            assert_noop!(Settlement::withdraw(alice(), target, OPEN), Error::<Test>::BadTarget);
            assert_noop!(
                Settlement::send_message(alice(), target, 1, message(b"")),
                Error::<Test>::BadTarget
            );
        }
        assert_noop!(
            Settlement::send_message(alice(), CAROL, MaxGas::get() + 1, message(b"")),
            Error::<Test>::TooMuchGas
        );
        let unsigned = Settlement::send_message(RuntimeOrigin::none(), CAROL, 1, message(b""));
        assert_eq!(unsigned, Err(bad_origin()));
        // All of it can go.
        assert_ok!(to_carol(1_000 * OPEN));
        assert_eq!(free(&ALICE), 0);
    });
}

#[test]
fn a_full_tree_takes_no_more() {
    ExtBuilder::default().build().execute_with(|| {
        Tree::<Test>::mutate(|tree| tree.length = u32::MAX);
        assert_noop!(Settlement::withdraw(alice(), CAROL, OPEN), Error::<Test>::TreeFull);
        let sent = Settlement::send_message(alice(), CAROL, 1, message(b""));
        assert_eq!(sent, Err(Error::<Test>::TreeFull.into()));
        assert_eq!(free(&ALICE), 1_000 * OPEN);
    });
}

#[test]
fn nothing_leaves_an_unjoined_or_paused_chain() {
    ExtBuilder::default().unjoined().build_and_execute(|| {
        assert_noop!(Settlement::withdraw(alice(), CAROL, OPEN), Error::<Test>::NotJoined);
        let sent = Settlement::send_message(alice(), CAROL, 1, message(b""));
        assert_eq!(sent, Err(Error::<Test>::NotJoined.into()));
        assert_noop!(Settlement::refund_deposit(alice(), 0), Error::<Test>::NotJoined);
    });
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Settlement::pause(RuntimeOrigin::root(), 1));
        assert_noop!(Settlement::withdraw(alice(), CAROL, OPEN), Error::<Test>::Paused);
        let sent = Settlement::send_message(alice(), CAROL, 1, message(b""));
        assert_eq!(sent, Err(Error::<Test>::Paused.into()));
        next_block();
        assert_ok!(Settlement::withdraw(alice(), CAROL, OPEN));
    });
}

#[test]
fn every_withdrawal_is_proven_at_every_later_block() {
    ExtBuilder::default().build_and_execute(|| {
        let mut roots = vec![Settlement::view_state().withdrawal_root];
        assert_eq!(roots, [empty_root()]);
        for number in 0..21u8 {
            assert_ok!(Settlement::send_message(alice(), CAROL, number.into(), message(&[number])));
            roots.push(Settlement::view_state().withdrawal_root);
        }
        for count in 0..=21u32 {
            for index in 0..count {
                let proof = Settlement::view_withdrawal_proof(index, count).unwrap();
                let leaf = Settlement::view_withdrawal(index).unwrap().hash();
                assert!(tree::verify(&roots[count as usize], &leaf, index, &proof));
            }
            assert_eq!(Settlement::view_withdrawal_proof(count, count), None);
        }
        assert_eq!(Settlement::view_withdrawal_proof(0, 22), None);
        assert_eq!(Settlement::view_withdrawal(21), None);
        assert_eq!(Withdrawals::<Test>::iter().count(), 21);
    });
}

#[test]
fn a_leaf_says_what_was_when_the_last_block_ended() {
    ExtBuilder::default().build_and_execute(|| {
        let genesis = System::block_hash(0u32);
        let empty = LeafExtra {
            domain: domain(31_337, PORTAL, genesis),
            withdrawal_root: empty_root(),
            l1_origin_number: 100,
            l1_origin_hash: H256::repeat_byte(0x64),
        };
        assert_eq!(Settlement::leaf_extra(), empty);
        next_block();
        // WHEN something changes within a block
        let mut ethereum = Ethereum::default();
        ethereum.open(&BOB, 500);
        assert_ok!(advance(ethereum.advance()));
        assert_ok!(Settlement::withdraw(alice(), CAROL, OPEN));
        // THEN the leaf made in it does not say so
        assert_eq!(Settlement::leaf_extra(), empty);
        let state = Settlement::view_state();
        next_block();
        // but the next one does.
        let extra = Settlement::leaf_extra();
        assert_eq!(extra.withdrawal_root, state.withdrawal_root);
        assert_eq!(extra.l1_origin_number, 101);
        assert_eq!(extra.l1_origin_hash, state.origin.unwrap().hash);
        assert_eq!(extra.domain, state.domain);
    });
}

#[test]
fn two_senders_are_two_addresses() {
    let (one, other) = (sender_address(&ALICE), sender_address(&AccountId::new([4; 32])));
    assert_ne!(one, other);
    assert_ne!(one, L2_BRIDGE);
}
