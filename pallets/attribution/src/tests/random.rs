//! Random sequences of calls: whatever happens, the state holds together and money is conserved.

use super::*;
use polkadot_sdk::{
    frame_support::storage::with_storage_layer, sp_core::storage::StateVersion,
    sp_io::storage::root, sp_runtime::DispatchResult,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Redeem { who: u8, amount: Balance },
    Submit { who: u8, early: u32, models: Vec<(u64, Balance, u32)>, payouts: Vec<(u64, Balance)> },
    Finalize { batch: u64 },
    Claim { batch: u64, index: u32, sponsored: bool },
    SetShares { shares: [u32; 3] },
    Stake { model: u64 },
    RegisterBase { who: u8, n: u8, royalty: u32 },
    RegisterAdapter { n: u8, parent: u64 },
    Transfer { who: u8, model: u64, to: u8 },
    BreakPlatform,
    Wait { blocks: u32 },
}

fn steps() -> impl Strategy<Value = Step> {
    // A batch is picked among those that there are, and now and then beyond them.
    let (who, batch) = (1u8..=2, 0u64..1_000);
    // Model, fees, and what is attributed of the contributors' part, in percent.
    let models = proptest::collection::vec((0u64..3, 0u128..2_000, 0u32..=101), 1..3);
    // Weights of payouts, which are scaled to what is attributed; now and then a tree lies.
    let payouts = proptest::collection::vec((0u64..=10, 0u128..100), 0..6);
    prop_oneof![
        4 => (who.clone(), 1u128..9_000).prop_map(|(who, amount)| Step::Redeem { who, amount }),
        4 => (who.clone(), prop_oneof![9 => Just(0u32), 1 => Just(1)], models, payouts).prop_map(
            |(who, early, models, payouts)| Step::Submit { who, early, models, payouts }
        ),
        4 => batch.clone().prop_map(|batch| Step::Finalize { batch }),
        6 => (batch, 0u32..6, any::<bool>())
            .prop_map(|(batch, index, sponsored)| Step::Claim { batch, index, sponsored }),
        1 => [0u32..1_100_000, 0u32..600_000, 0u32..400_000]
            .prop_map(|shares| Step::SetShares { shares }),
        1 => (0u64..4).prop_map(|model| Step::Stake { model }),
        1 => (who.clone(), 0u8..4, 0u32..1_100_000)
            .prop_map(|(who, n, royalty)| Step::RegisterBase { who, n, royalty }),
        1 => (0u8..4, 0u64..5).prop_map(|(n, parent)| Step::RegisterAdapter { n, parent }),
        1 => (who, 0u64..4, 80u8..90).prop_map(|(who, model, to)| Step::Transfer { who, model, to }),
        1 => Just(Step::BreakPlatform),
        3 => (1u32..6).prop_map(|blocks| Step::Wait { blocks }),
    ]
}

/// The batch that a number picks: one of those that there are, or the first that there is not.
fn pick(number: u64) -> BatchId {
    BatchId(number % (NextBatch::<Test>::get().0 + 1))
}

/// Batches as they were submitted, with their payouts, to claim from.
type Lists = Vec<Vec<tributary_primitives::payouts::Payout>>;

fn batch_of(
    who: u8,
    early: u32,
    models: &[(u64, Balance, u32)],
    weights: &[(u64, Balance)],
) -> (NewBatch, Vec<tributary_primitives::payouts::Payout>) {
    let mut totals: Vec<ModelTotal> = vec![];
    for (model, fees, percent) in models {
        let model = ModelId(*model);
        let has_data = Models::<Test>::get(model).is_some_and(|m| !m.versions.is_empty());
        let part = Attribution::quote(*fees).contributors;
        let none = weights.is_empty() || !has_data;
        let attributed = if none { 0 } else { part * Balance::from(*percent) / 100 };
        totals.push(total(model, *fees, attributed));
    }
    let sum: Balance = totals.iter().map(|t| t.attributed).sum();
    let shares: Vec<u64> = weights.iter().map(|(_, w)| *w as u64 + 1).collect();
    let amounts = tributary_primitives::money::split(sum, &shares).unwrap_or_default();
    let list: Vec<_> = match sum {
        0 => vec![],
        _ => weights.iter().map(|(n, _)| *n).zip(amounts).collect(),
    };
    let mut list = payouts_of(&list);
    // One tree in eight promises more than the batch has.
    if let (true, Some(first)) = (sum % 8 == 7, list.first_mut()) {
        first.amount += sum;
    }
    let sequence = NextSequence::<Test>::get(account(who)) + early;
    (new_batch(sequence, totals, &list), list)
}

fn by(n: u8) -> RuntimeOrigin {
    signed(account(n))
}

fn take(step: Step, lists: &mut Lists) -> DispatchResult {
    match step {
        Step::Redeem { who, amount } => {
            redeem(&account(who), amount);
            Ok(())
        }
        Step::Submit { who, early, models, payouts } => {
            let (batch, list) = batch_of(who, early, &models, &payouts);
            Attribution::submit_batch(by(who), batch)?;
            lists.push(list);
            Ok(())
        }
        Step::Finalize { batch } => {
            Attribution::finalize_batch(by(4), pick(batch)).map(|_| ()).map_err(|e| e.error)
        }
        Step::Claim { batch, index, sponsored } => {
            let batch = pick(batch);
            let mut list = lists.get(batch.0 as usize).cloned().unwrap_or_default();
            if list.is_empty() {
                list = payouts();
            }
            let index = index % list.len() as u32;
            let (payout, proof) = (list[index as usize].clone(), proof(&list, index));
            if sponsored {
                let origin = polkadot_sdk::frame_system::Origin::<Test>::Authorized.into();
                Attribution::claim_sponsored(origin, batch, payout, proof)
            } else {
                Attribution::claim(by(4), batch, payout, proof)
            }
        }
        Step::SetShares { shares: [platform, worker, owner] } => {
            let contributors = 1_000_000 - worker.min(600_000) - owner.min(400_000);
            let shares = Shares { platform, worker, owner, ancestors: 0, stakers: 0, contributors };
            Attribution::set_shares(RuntimeOrigin::root(), shares)
        }
        Step::Stake { model } => {
            stake_behind(ModelId(model));
            Ok(())
        }
        Step::RegisterBase { who, n, royalty } => {
            Attribution::register_base(by(who), name(&format!("base-{n}")), digest(n + 1), royalty)
        }
        Step::RegisterAdapter { n, parent } => {
            Attribution::register_adapter(adapter(&format!("adapter-{n}"), ModelId(parent)))
                .map(|_| ())
        }
        Step::Transfer { who, model, to } => {
            Attribution::transfer_model(by(who), ModelId(model), account(to))
        }
        Step::BreakPlatform => {
            break_platform();
            Ok(())
        }
        Step::Wait { blocks } => {
            at(now() + blocks);
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn state_holds_together(sequence in proptest::collection::vec(steps(), 1..80)) {
        ExtBuilder::default().build_and_execute(|| {
            let issuance = Balances::total_issuance();
            let mut lists = Lists::new();
            let mut last = root(StateVersion::V1);
            for step in sequence {
                let shown = format!("{step:?}");
                let outcome = with_storage_layer(|| take(step, &mut lists));
                let next = root(StateVersion::V1);
                if outcome.is_err() {
                    assert_eq!(last, next, "a refused call left a trace: {shown}");
                }
                last = next;
                if let Err(e) = Attribution::do_try_state() {
                    panic!("after {shown}: {e:?}");
                }
                assert_eq!(Balances::total_issuance(), issuance, "after {shown}");
            }
            // In the end every batch can be finalised, and what the pot keeps is what is owed.
            at(now() + WINDOW);
            for id in 0..NextBatch::<Test>::get().0 {
                let _ = Attribution::finalize_batch(signed(dave()), BatchId(id));
                let batch = Batches::<Test>::get(BatchId(id)).unwrap();
                assert_eq!(batch.stage, BatchStage::Final, "batch {id} is stuck");
            }
            // Every payout can be claimed or is refused for a reason that lies in itself.
            for (id, list) in (0..).map(BatchId).zip(&lists) {
                for (index, payout) in (0..).zip(list) {
                    let claim = Attribution::claim(by(4), id, payout.clone(), proof(list, index));
                    let reasons = [
                        Error::<Test>::AlreadyClaimed.into(),
                        Error::<Test>::EmptyPayout.into(),
                        Error::<Test>::UnknownContribution.into(),
                        Error::<Test>::BelowExistentialDeposit.into(),
                        Error::<Test>::BatchExhausted.into(),
                    ];
                    if let Err(error) = claim {
                        assert!(reasons.contains(&error), "{id}, {index}: {error:?}");
                    }
                }
            }
            let unclaimed: Balance = Batches::<Test>::iter_values().map(|b| b.unclaimed).sum();
            let revenue: Balance = Revenue::<Test>::iter_values().sum();
            assert_eq!(balance(&Attribution::pot()), ED + unclaimed + revenue);
        });
    }
}
