//! Random deposits, withdrawals, pauses and refunds: what crossed must add up after each step.

use crate::{mock::*, Deposits, Failed, Withdrawals};
use polkadot_sdk::frame_support::storage::with_storage_layer;
use proptest::prelude::*;
use tributary_primitives::{
    bridge::{calls::FinalizeBridge, Advance, L2_BRIDGE},
    AccountId, Balance, OPEN,
};

#[derive(Clone, Debug)]
enum Step {
    Deposit(bool, Balance),
    Message(bool),
    Block(u8),
    Bodies(u8),
    Withdraw(bool, Balance),
    Send(u8),
    Refund(u8),
    Pause(u32),
    Next(u8),
}

fn amount() -> impl Strategy<Value = Balance> {
    prop_oneof![Just(1), Just(ED), 100..1_000u128, OPEN..100 * OPEN, Just(ROOM)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), amount()).prop_map(|(who, amount)| Step::Deposit(who, amount)),
        any::<bool>().prop_map(Step::Message),
        (0..4u8).prop_map(Step::Block),
        (0..6u8).prop_map(Step::Bodies),
        (any::<bool>(), amount()).prop_map(|(who, amount)| Step::Withdraw(who, amount)),
        any::<u8>().prop_map(Step::Send),
        (0..8u8).prop_map(Step::Refund),
        (0..6u32).prop_map(Step::Pause),
        (0..5u8).prop_map(Step::Next),
    ]
}

/// Units that withdrawals of OPEN carry, together.
fn promised() -> Balance {
    Withdrawals::<Test>::iter_values()
        .filter(|row| row.sender == L2_BRIDGE)
        .map(|row| FinalizeBridge::decode(&row.data).unwrap().amount.as_u128())
        .sum()
}

fn take(step: Step, ethereum: &mut Ethereum, locked: &mut Balance) {
    let who = |first: bool| if first { ALICE } else { AccountId::new([8; 32]) };
    match step {
        Step::Deposit(first, amount) => {
            ethereum.open(&who(first), amount);
            *locked += amount;
        }
        Step::Message(good) => {
            let data: &[u8] = if good { b"good" } else { b"refuse" };
            ethereum.deposit(CAROL, DISPATCHER, data.to_vec());
        }
        Step::Block(bodies) => {
            let executed = Deposits::<Test>::get().executed as usize;
            let end = ethereum.deposits.len().min(executed + usize::from(bodies));
            let bodies = ethereum.deposits[executed..end].to_vec();
            let offered = Advance { origin: Some(ethereum.block()), bodies };
            let made = Settlement::acceptable(offered).expect("the origin is good");
            // What an author makes is taken, but for the second one in a block.
            if !crate::Advanced::<Test>::get() {
                advance(made).unwrap();
            } else {
                ethereum.forget_last();
            }
        }
        Step::Bodies(count) => {
            let counts = Deposits::<Test>::get();
            let (from, known) = (counts.executed as usize, counts.known as usize);
            let end = known.min(from + usize::from(count));
            let bodies = ethereum.deposits[from..end].to_vec();
            let _ = with_storage_layer(|| advance(Advance { origin: None, bodies }));
        }
        Step::Withdraw(first, amount) => {
            let origin = RuntimeOrigin::signed(who(first));
            let _ = with_storage_layer(|| Settlement::withdraw(origin, CAROL, amount));
        }
        Step::Send(byte) => {
            let data = vec![byte].try_into().unwrap();
            let origin = RuntimeOrigin::signed(ALICE);
            let _ = with_storage_layer(|| Settlement::send_message(origin, CAROL, 1, data));
        }
        Step::Refund(index) => {
            let origin = RuntimeOrigin::signed(BOB);
            let _ = with_storage_layer(|| Settlement::refund_deposit(origin, index.into()));
        }
        Step::Pause(length) => {
            let until = System::block_number() + length;
            let origin = RuntimeOrigin::signed(GUARD);
            let _ = with_storage_layer(|| Settlement::pause(origin, until));
        }
        Step::Next(blocks) => (0..blocks).for_each(|_| next_block()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_crosses_adds_up(steps in proptest::collection::vec(step(), 1..50)) {
        ExtBuilder::default().build_and_execute(|| {
            let mut ethereum = Ethereum::default();
            let mut locked: Balance = 0;
            for step in steps {
                take(step, &mut ethereum, &mut locked);
                Settlement::do_try_state().unwrap();
                // Everything that Ethereum has locked was minted, waits, or goes back; everything
                // that goes to Ethereum was burnt here or goes back.
                let (minted, burnt) = Crossed::get();
                let back: Balance = Failed::<Test>::iter_values().map(|failed| failed.amount).sum();
                let refunded = promised() - burnt;
                let counts = Deposits::<Test>::get();
                if counts.executed as usize == ethereum.deposits.len() {
                    assert_eq!(locked, minted + back + refunded);
                } else {
                    assert!(locked >= minted + back + refunded);
                }
                // The messages that were taken gave Bob one unit each.
                let told = Told::get().len() as Balance;
                // What is left of an account below the existential deposit ceases to exist.
                assert!(Balances::total_issuance() <= 2_000 * OPEN + minted + told - burnt);
            }
        });
    }
}
