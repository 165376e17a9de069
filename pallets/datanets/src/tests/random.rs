//! Random sequences of calls. A failure prints the shortest one that fails and the seed, which
//! proptest also keeps in `proptest-regressions`.

use super::*;
use crate::{Call, Policy, Sponsorship};
use polkadot_sdk::{
    frame_support::traits::UnfilteredDispatchable, sp_io::storage, sp_runtime::StateVersion,
};
use proptest::prelude::*;
use tributary_primitives::{signing::Retirement, Balance, DatanetId};

#[derive(Clone, Debug)]
enum Step {
    Create(u8, u8, u8),
    Contribute(u32, u8),
    ContributeSigned(u32, u8, u8),
    SubmitFor(u32, u8, u8),
    Vote(usize, u64, bool),
    Retire(bool, u64),
    RetireSigned(u64, u8),
    RetireFor(u64, u8),
    Cut(u32),
    SetPolicy(u32, u8),
    SetSponsorship(u32, bool, u32),
    Fund(u32, Balance),
    Withdraw(u32, Balance),
    Reschedule(u64),
    Blocks(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let (net, id, content, signer) = (0..4u32, 0..8u64, 0..24u8, 0..3u8);
    prop_oneof![
        1 => (0..4u8, 0..4u8, 0..2u8).prop_map(|(a, b, c)| Step::Create(a, b, c)),
        4 => (net.clone(), content.clone()).prop_map(|(a, b)| Step::Contribute(a, b)),
        6 => (net.clone(), content.clone(), signer.clone())
            .prop_map(|(a, b, c)| Step::ContributeSigned(a, b, c)),
        3 => (net.clone(), content, signer.clone()).prop_map(|(a, b, c)| Step::SubmitFor(a, b, c)),
        6 => (0..3usize, id.clone(), any::<bool>()).prop_map(|(a, b, c)| Step::Vote(a, b, c)),
        2 => (any::<bool>(), id.clone()).prop_map(|(a, b)| Step::Retire(a, b)),
        3 => (id.clone(), signer).prop_map(|(a, b)| Step::RetireSigned(a, b)),
        2 => (id.clone(), 0..3u8).prop_map(|(a, b)| Step::RetireFor(a, b)),
        3 => net.clone().prop_map(Step::Cut),
        2 => (net.clone(), 0..4u8).prop_map(|(a, b)| Step::SetPolicy(a, b)),
        1 => (net.clone(), any::<bool>(), 0..5u32).prop_map(|(a, b, c)| Step::SetSponsorship(a, b, c)),
        2 => (net.clone(), 0..500u128).prop_map(|(a, b)| Step::Fund(a, b)),
        1 => (net, 0..700u128).prop_map(|(a, b)| Step::Withdraw(a, b)),
        2 => id.prop_map(Step::Reschedule),
        4 => (1..6u32).prop_map(Step::Blocks),
    ]
}

/// 0 is open, 1 to 3 a quorum.
fn policy(quorum: u8) -> Policy {
    match quorum {
        0 => Policy::Open,
        quorum => curated(u32::from(quorum)),
    }
}

/// A call from an account; a failed one changes nothing, as in a block.
fn from(who: &AccountId, call: Call<Test>) {
    let before = storage::root(StateVersion::V1);
    if RuntimeCall::from(call).dispatch_bypass_filter(signed(who)).is_err() {
        let after = storage::root(StateVersion::V1);
        assert_eq!(before, after, "a failed call left something behind");
    }
}

/// A general transaction. If it enters the block, it must succeed: only then did the pot pay.
fn general(call: Call<Test>) {
    if let Ok(result) = apply(call) {
        assert_eq!(result, Ok(()), "an authorized call failed");
    }
}

fn take(step: Step) {
    let net = DatanetId;
    match step {
        Step::Create(label, quorum, stake) => {
            let call = Call::create_datanet {
                name: name(&format!("net-{label}")),
                policy: policy(quorum),
                licence: licence("CC0-1.0"),
                consent: CONSENT,
                min_stake: Balance::from(stake) * 50,
            };
            from(&ALICE, call)
        }
        Step::Contribute(id, content) => {
            from(&BOB, Call::contribute { offer: offer(net(id), content, BOB) })
        }
        Step::ContributeSigned(id, content, signer) => {
            let pair = key(signer);
            general(contribution_call(offer(net(id), content, account(&pair)), &pair))
        }
        Step::SubmitFor(id, content, signer) => {
            let pair = key(signer);
            let offer = offer(net(id), content, account(&pair));
            let signature = sign(&offer, &pair);
            from(&BOB, Call::submit_for { offer, signature })
        }
        Step::Vote(curator, id, aye) => {
            let call = Call::vote { contribution: ContributionId(id), aye };
            from(&CURATORS[curator], call)
        }
        Step::Retire(by_owner, id) => {
            let who = if by_owner { ALICE } else { BOB };
            from(&who, Call::retire_contribution { contribution: ContributionId(id) })
        }
        Step::RetireSigned(id, signer) => {
            general(retirement_call(ContributionId(id), &key(signer)))
        }
        Step::RetireFor(id, signer) => {
            let retirement = Retirement {
                contribution: ContributionId(id),
                valid_until: System::block_number() + 1,
            };
            let signature = sign(&retirement, &key(signer));
            from(&BOB, Call::retire_for { retirement, signature })
        }
        Step::Cut(id) => from(&ALICE, Call::cut_version { datanet: net(id) }),
        Step::SetPolicy(id, quorum) => {
            from(&ALICE, Call::set_policy { datanet: net(id), policy: policy(quorum) })
        }
        Step::SetSponsorship(id, enabled, max_per_period) => {
            let sponsorship = Sponsorship { enabled, max_per_period };
            from(&ALICE, Call::set_sponsorship { datanet: net(id), sponsorship })
        }
        Step::Fund(id, amount) => from(&BOB, Call::fund_pot { datanet: net(id), amount }),
        Step::Withdraw(id, amount) => from(&ALICE, Call::withdraw_pot { datanet: net(id), amount }),
        Step::Reschedule(id) => from(&BOB, Call::reschedule { contribution: ContributionId(id) }),
        Step::Blocks(blocks) => run(blocks),
    }
}

fn hold_after(steps: Vec<Step>) {
    let builder = ExtBuilder::default()
        .with_datanet("net-0", Policy::Open)
        .with_datanet("picked", curated(2))
        .with_pots(2_000)
        .with_limit(4);
    builder.build_and_execute(|| {
        for step in steps {
            take(step);
            Datanets::do_try_state().unwrap();
            assert_eq!(total(), supply());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_books_stand_after_any_calls(steps in proptest::collection::vec(step(), 1..60)) {
        hold_after(steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// `cargo test -p tributary-pallet-datanets -- --ignored`
    #[test]
    #[ignore = "takes minutes"]
    fn the_books_stand_after_many_calls(steps in proptest::collection::vec(step(), 1..400)) {
        hold_after(steps);
    }
}
