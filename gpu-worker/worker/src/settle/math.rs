//! What a batch pays to whom.

use std::collections::BTreeMap;
use tributary_client::calls::attribution::{ModelTotal, NewBatch};
use tributary_primitives::{
    fees::split_fee,
    money::{split, PPM},
    payouts::{self, Payout},
    signing::Receipt,
    tree,
    views::SharesView,
    Balance, ContributionId, Digest, ModelId,
};

/// A batch with its payouts, before the list of them is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The batch; `payouts_blob` is zero until the list is stored.
    pub batch: NewBatch,
    /// One payout for each contribution that is paid, by id.
    pub payouts: Vec<Payout>,
}

#[derive(Default)]
struct Model {
    requests: u64,
    tokens_in: u64,
    tokens_out: u64,
    fees: Balance,
    /// Fee times parts per million, by contribution.
    weights: BTreeMap<ContributionId, u128>,
    unattributed: u128,
}

/// Adds up the receipts of a batch and computes its payouts.
///
/// For each model the chain computes the contributors' part of the fees; it is divided among the
/// contributions in proportion to Σ fee · share over the model's answers, the unattributed shares
/// being one more claimant, by largest remainder. So, to the unit:
///
/// - `attributed + unattributed = contributors' part`, for each model,
/// - `Σ payouts = payouts_total = Σ attributed`.
pub fn prepare(sequence: u32, receipts: &[Receipt], shares: &SharesView) -> Prepared {
    let mut models: BTreeMap<ModelId, Model> = BTreeMap::new();
    for receipt in receipts {
        let model = models.entry(receipt.model).or_default();
        model.requests = model.requests.saturating_add(1);
        model.tokens_in = model.tokens_in.saturating_add(receipt.tokens_in.into());
        model.tokens_out = model.tokens_out.saturating_add(receipt.tokens_out.into());
        model.fees = model.fees.saturating_add(receipt.fee);
        let mut left = u128::from(PPM);
        for share in &receipt.shares {
            let ppm = u128::from(share.ppm).min(left);
            left = left.saturating_sub(ppm);
            let weight = model.weights.entry(share.contribution).or_default();
            *weight = weight.saturating_add(receipt.fee.saturating_mul(ppm));
        }
        model.unattributed = model.unattributed.saturating_add(receipt.fee.saturating_mul(left));
    }
    let mut paid: BTreeMap<ContributionId, Balance> = BTreeMap::new();
    let (mut totals, mut unattributed_total) = (Vec::with_capacity(models.len()), 0 as Balance);
    for (id, model) in models {
        let part = split_fee(model.fees, shares).contributors;
        let mut attributed: Balance = 0;
        for (contribution, amount) in divide(part, &model) {
            attributed = attributed.saturating_add(amount);
            let sum = paid.entry(contribution).or_default();
            *sum = sum.saturating_add(amount);
        }
        unattributed_total = unattributed_total.saturating_add(part.saturating_sub(attributed));
        totals.push(ModelTotal {
            model: id,
            requests: model.requests,
            tokens_in: model.tokens_in,
            tokens_out: model.tokens_out,
            fees: model.fees,
            attributed,
        });
    }
    let payouts: Vec<Payout> = paid
        .into_iter()
        .filter(|(_, amount)| *amount > 0)
        .map(|(contribution, amount)| Payout { contribution, amount })
        .collect();
    let leaves: Vec<_> = receipts.iter().map(Receipt::leaf).collect();
    let batch = NewBatch {
        sequence,
        models: totals,
        payouts_root: payouts::root(&payouts),
        payouts_count: u32::try_from(payouts.len()).unwrap_or(u32::MAX),
        payouts_total: payouts.iter().fold(0, |sum: Balance, p| sum.saturating_add(p.amount)),
        payouts_blob: Digest::zero(),
        unattributed_total,
        receipts_root: tree::root(&leaves),
        receipts_count: receipts.len() as u64,
    };
    Prepared { batch, payouts }
}

/// The contributions' parts of `part`; what is missing to it is unattributed.
fn divide(part: Balance, model: &Model) -> Vec<(ContributionId, Balance)> {
    // Weights are cut to 40 bits: their sum over 2^24 contributions still fits 64 bits, and a
    // trillionth of a fee is far below what attribution can tell apart.
    let largest = model.weights.values().chain([&model.unattributed]).max().copied().unwrap_or(0);
    let shift = (u128::BITS - largest.leading_zeros()).saturating_sub(40);
    let mut weights: Vec<u64> = model
        .weights
        .values()
        .chain([&model.unattributed])
        .map(|weight| u64::try_from(weight >> shift).unwrap_or(u64::MAX))
        .collect();
    // Nothing was paid for: whatever there is, is nobody's in particular.
    if weights.iter().all(|weight| *weight == 0) {
        if let Some(last) = weights.last_mut() {
            *last = 1;
        }
    }
    let parts = split(part, &weights).unwrap_or_default();
    model.weights.keys().copied().zip(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_primitives::{money::OPEN, signing::Share, AccountId, ChannelId, H256};

    const SHARES: SharesView = SharesView {
        platform: 50_000,
        worker: 400_000,
        owner: 150_000,
        ancestors: 50_000,
        stakers: 50_000,
        contributors: 350_000,
    };

    fn receipt(model: u64, fee: Balance, shares: &[(u64, u32)]) -> Receipt {
        let given: u32 = shares.iter().map(|(_, ppm)| ppm).sum();
        Receipt {
            worker: AccountId::new([7; 32]),
            channel: ChannelId(1),
            sequence: 1,
            model: ModelId(model),
            request: H256::zero(),
            response: H256::zero(),
            tokens_in: 3,
            tokens_out: 5,
            fee,
            shares: shares
                .iter()
                .map(|(id, ppm)| Share { contribution: ContributionId(*id), ppm: *ppm })
                .collect(),
            unattributed: PPM - given,
            index_root: H256::zero(),
            commitment: H256::zero(),
        }
    }

    #[test]
    fn a_batch_of_two_answers() {
        // 35 % of the net 95 % of 2,000 are the contributors': 665.
        let receipts = [
            receipt(1, 1_000, &[(1, 600_000), (2, 200_000)]),
            receipt(1, 1_000, &[(2, 1_000_000)]),
        ];
        let Prepared { batch, payouts } = prepare(4, &receipts, &SHARES);
        assert_eq!(batch.sequence, 4);
        assert_eq!(batch.models[0].fees, 2_000);
        assert_eq!(batch.models[0].requests, 2);
        assert_eq!((batch.models[0].tokens_in, batch.models[0].tokens_out), (6, 10));
        // Weights 6 : 12 : 2 of 665 are 199.5, 399 and 66.5; the earlier half unit wins.
        let amounts: Vec<_> = payouts.iter().map(|p| (p.contribution.0, p.amount)).collect();
        assert_eq!(amounts, vec![(1, 200), (2, 399)]);
        assert_eq!(batch.payouts_total, 599);
        assert_eq!(batch.unattributed_total, 66);
        assert_eq!(batch.payouts_root, payouts::root(&payouts));
    }

    #[test]
    fn what_nothing_explains_pays_nobody() {
        let Prepared { batch, payouts } = prepare(0, &[receipt(1, 1_000, &[])], &SHARES);
        assert!(payouts.is_empty());
        assert_eq!(batch.payouts_total, 0);
        assert_eq!(batch.unattributed_total, split_fee(1_000, &SHARES).contributors);
    }

    #[test]
    fn free_answers_pay_nobody() {
        let Prepared { batch, payouts } = prepare(0, &[receipt(1, 0, &[(1, PPM)])], &SHARES);
        assert!(payouts.is_empty());
        assert_eq!(batch.unattributed_total, 0);
        assert_eq!(batch.models[0].requests, 1);
    }

    fn random_receipt() -> impl Strategy<Value = Receipt> {
        let fee = prop_oneof![0..100u128, 0..1_000_000 * OPEN];
        (1..5u64, fee, prop::collection::btree_map(1..40u64, 1..400_000u32, 0..8)).prop_map(
            |(model, fee, shares)| {
                let mut left = PPM;
                let shares: Vec<(u64, u32)> = shares
                    .into_iter()
                    .map(|(id, ppm)| {
                        let ppm = ppm.min(left);
                        left -= ppm;
                        (id, ppm)
                    })
                    .collect();
                receipt(model, fee, &shares)
            },
        )
    }

    proptest! {
        #[test]
        fn sums_are_exact(
            receipts in prop::collection::vec(random_receipt(), 0..40),
            cuts in prop::collection::vec(0..=PPM, 4),
            platform in 0..=PPM,
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let shares = SharesView {
                platform,
                worker: cuts[0],
                owner: cuts[1] - cuts[0],
                ancestors: cuts[2] - cuts[1],
                stakers: cuts[3] - cuts[2],
                contributors: PPM - cuts[3],
            };
            let Prepared { batch, payouts } = prepare(0, &receipts, &shares);
            let fees: Balance = receipts.iter().map(|r| r.fee).sum();
            prop_assert_eq!(batch.models.iter().map(|m| m.fees).sum::<Balance>(), fees);
            let attributed: Balance = batch.models.iter().map(|m| m.attributed).sum();
            let parts: Vec<Balance> =
                batch.models.iter().map(|m| split_fee(m.fees, &shares).contributors).collect();
            for (model, part) in batch.models.iter().zip(&parts) {
                prop_assert!(model.attributed <= *part);
            }
            prop_assert_eq!(batch.payouts_total, attributed);
            prop_assert_eq!(payouts.iter().map(|p| p.amount).sum::<Balance>(), attributed);
            prop_assert_eq!(batch.unattributed_total + attributed, parts.iter().sum::<Balance>());
            prop_assert!(payouts.iter().all(|p| p.amount > 0));
            prop_assert!(payouts.windows(2).all(|w| w[0].contribution < w[1].contribution));
            prop_assert_eq!(batch.payouts_count as usize, payouts.len());
            prop_assert_eq!(batch.receipts_count as usize, receipts.len());
        }

        #[test]
        fn the_order_of_answers_changes_no_payout(
            receipts in prop::collection::vec(random_receipt(), 0..20),
        ) {
            let mut turned = receipts.clone();
            turned.reverse();
            prop_assert_eq!(
                prepare(0, &receipts, &SHARES).payouts,
                prepare(0, &turned, &SHARES).payouts
            );
        }
    }
}
