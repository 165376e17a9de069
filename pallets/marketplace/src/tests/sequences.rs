//! Random sequences of calls, with `try_state` after each and conservation over all.

use super::signed;
use crate::mock::*;
use polkadot_sdk::frame_support::storage::with_storage_layer;
use proptest::prelude::*;
use tributary_primitives::{AccountId, Balance, ChannelId, ModelId};

#[derive(Clone, Debug)]
enum Op {
    List(u64, Balance),
    Delist(u64),
    Open(usize, Balance),
    TopUp(usize, u64, Balance),
    Redeem { channel: u64, cumulative: Balance, total: Balance },
    Close(usize, u64),
    Settle(u64),
    Pass(u32),
}

fn person(index: usize) -> AccountId {
    [ada(), ben(), WORKER, STRANGER][index % 4].clone()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = 0..4usize;
    let channel = 0..6u64;
    let amount = prop_oneof![0..300u128, 0..60_000u128];
    let op = prop_oneof![
        1 => (0..110u64, 0..100u128).prop_map(|(a, b)| Op::List(a, b)),
        1 => (0..110u64).prop_map(Op::Delist),
        4 => (who.clone(), amount.clone()).prop_map(|(a, b)| Op::Open(a, b)),
        2 => (who.clone(), channel.clone(), amount.clone()).prop_map(|(a, b, c)| Op::TopUp(a, b, c)),
        5 => (channel.clone(), amount.clone(), amount).prop_map(|(channel, cumulative, total)| {
            Op::Redeem { channel, cumulative, total: total.min(cumulative + 1) }
        }),
        2 => (who, channel.clone()).prop_map(|(a, b)| Op::Close(a, b)),
        2 => channel.prop_map(Op::Settle),
        2 => (0..6u32).prop_map(Op::Pass),
    ];
    proptest::collection::vec(op, 1..60)
}

/// Carries an operation out as an extrinsic would be: either whole or not at all.
fn run(op: Op) {
    let _ = with_storage_layer(|| match op {
        Op::List(model, price) => {
            Marketplace::list_model(signed(OWNER), ModelId(model), price, price)
        }
        Op::Delist(model) => Marketplace::delist_model(signed(OWNER), ModelId(model)),
        Op::Open(who, amount) => Marketplace::open_channel(signed(person(who)), WORKER, amount),
        Op::TopUp(who, channel, amount) => {
            Marketplace::top_up(signed(person(who)), ChannelId(channel), amount)
        }
        Op::Redeem { channel, cumulative, total } => {
            let (voucher, signature) = voucher(ChannelId(channel), cumulative);
            Marketplace::redeem(signed(WORKER), voucher, signature, total)
        }
        Op::Close(who, channel) => {
            Marketplace::close_channel(signed(person(who)), ChannelId(channel))
        }
        Op::Settle(channel) => Marketplace::settle_channel(signed(STRANGER), ChannelId(channel)),
        Op::Pass(blocks) => {
            pass(blocks);
            Ok(())
        }
    });
    Marketplace::do_try_state().expect("the state is sound after every call");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_calls_leaves_a_sound_state(ops in ops()) {
        ExtBuilder::default()
            .with_channel(ada(), WORKER, 1_000)
            .with_channel(ben(), WORKER, 1_000)
            .build_and_execute(|| ops.into_iter().for_each(run));
    }
}
