//! Random sequences of calls, with `try_state` after each and conservation over all.

use crate::mock::*;
use polkadot_sdk::frame_support::{assert_storage_noop, storage::with_storage_layer};
use proptest::prelude::*;
use tributary_primitives::{AccountId, Balance, Subject};

#[derive(Clone, Debug)]
enum Op {
    Bond(usize, usize, Balance),
    Unbond(usize, usize, Balance),
    Withdraw(usize, usize),
    Claim(usize, usize),
    Slash(usize, u32, Option<usize>),
    Reward(usize, Balance),
    Pass(u32),
}

const PEOPLE: [AccountId; 5] = [ADA, BEN, CLEO, DAN, EVE];

fn subject(index: usize) -> Subject {
    [model(), datanet(), Subject::Worker(ADA)][index % 3].clone()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = 0..PEOPLE.len();
    let what = 0..3usize;
    let amount = prop_oneof![0..400u128, 0..50_000u128];
    let ppm = prop_oneof![0..=1_100_000u32, Just(1_000_000), 0..1_000u32];
    let op = prop_oneof![
        4 => (who.clone(), what.clone(), amount.clone()).prop_map(|(a, b, c)| Op::Bond(a, b, c)),
        3 => (who.clone(), what.clone(), amount.clone()).prop_map(|(a, b, c)| Op::Unbond(a, b, c)),
        2 => (who.clone(), what.clone()).prop_map(|(a, b)| Op::Withdraw(a, b)),
        2 => (who.clone(), what.clone()).prop_map(|(a, b)| Op::Claim(a, b)),
        1 => (what.clone(), ppm, proptest::option::of(who)).prop_map(|(a, b, c)| Op::Slash(a, b, c)),
        3 => (what, 0..2_000u128).prop_map(|(a, b)| Op::Reward(a, b)),
        2 => (0..6u32).prop_map(Op::Pass),
    ];
    proptest::collection::vec(op, 1..80)
}

/// Carries an operation out as an extrinsic would be: either whole or not at all.
fn run(op: Op) {
    let signed = |who: usize| RuntimeOrigin::signed(PEOPLE[who].clone());
    let result = with_storage_layer(|| match op.clone() {
        Op::Bond(who, what, amount) => Stakes::bond(signed(who), subject(what), amount),
        Op::Unbond(who, what, amount) => Stakes::unbond(signed(who), subject(what), amount),
        Op::Withdraw(who, what) => Stakes::withdraw_unbonded(signed(who), subject(what)),
        Op::Claim(who, what) => Stakes::claim_rewards(signed(who), subject(what)),
        Op::Slash(what, ppm, reporter) => Stakes::slash(
            RuntimeOrigin::root(),
            subject(what),
            ppm,
            reporter.map(|who| PEOPLE[who].clone()),
        ),
        Op::Reward(what, amount) => Stakes::reward(&PAYER, &subject(what), amount).map(|_| ()),
        Op::Pass(blocks) => {
            pass(blocks);
            Ok(())
        }
    });
    if result.is_err() {
        // The calls check before they write: even without a transaction a failure leaves no trace.
        if !matches!(op, Op::Slash(..)) {
            assert_storage_noop!({
                let _ = match op {
                    Op::Bond(who, what, amount) => Stakes::bond(signed(who), subject(what), amount),
                    Op::Unbond(who, what, amount) => {
                        Stakes::unbond(signed(who), subject(what), amount)
                    }
                    Op::Withdraw(who, what) => {
                        Stakes::withdraw_unbonded(signed(who), subject(what))
                    }
                    Op::Claim(who, what) => Stakes::claim_rewards(signed(who), subject(what)),
                    _ => Ok(()),
                };
            });
        }
    }
    Stakes::do_try_state().expect("the state is sound after every call");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_calls_leaves_a_sound_state(ops in ops()) {
        ExtBuilder::default().build_and_execute(|| ops.into_iter().for_each(run));
    }
}
