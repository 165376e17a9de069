//! What a transaction offers for its gas, after EIP-1559.

use super::{L1Error, U256};
use ethers::types::FeeHistory;

/// Blocks over which tips are looked at.
pub const HISTORY_BLOCKS: u64 = 10;
/// The tip at which so many per cent of a block's gas is cheaper.
pub const TIP_PERCENTILE: f64 = 40.0;
const GWEI: u64 = 1_000_000_000;

/// What may be paid.
#[derive(Clone, Copy, Debug)]
pub struct FeePolicy {
    /// Most that a unit of gas may cost, tip included, in wei.
    pub max_fee: U256,
    /// Least tip, in wei.
    pub min_tip: U256,
    /// Most tip, in wei.
    pub max_tip: U256,
    /// Blocks without inclusion after which the offer is raised.
    pub bump_after: u64,
}

impl Default for FeePolicy {
    fn default() -> Self {
        Self {
            max_fee: U256::from(200 * GWEI),
            min_tip: U256::from(GWEI / 100),
            max_tip: U256::from(5 * GWEI),
            bump_after: 4,
        }
    }
}

/// What one transaction offers, in wei for each unit of gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// At most this in all.
    pub max_fee: U256,
    /// This above the base fee.
    pub tip: U256,
}

impl FeePolicy {
    /// A fair offer after the last blocks: twice the next base fee, so that it stays good for six
    /// full blocks, and a common tip.
    ///
    /// Errors when even the next block's base fee with the least tip is above the limit.
    pub fn offer(&self, history: &FeeHistory) -> Result<Fees, L1Error> {
        let base =
            history.base_fee_per_gas.last().copied().ok_or_else(|| {
                L1Error::Answer("no base fee: the chain is older than London".into())
            })?;
        let mut tips: Vec<U256> =
            history.reward.iter().filter_map(|block| block.first().copied()).collect();
        tips.sort_unstable();
        let common = tips.get(tips.len() / 2).copied().unwrap_or_default();
        let tip = common.clamp(self.min_tip, self.max_tip);
        let needed = base.saturating_add(self.min_tip);
        if needed > self.max_fee {
            return Err(L1Error::FeeAboveLimit { needed, limit: self.max_fee });
        }
        let max_fee = base.saturating_mul(2.into()).saturating_add(tip).min(self.max_fee);
        Ok(Fees { max_fee, tip: tip.min(max_fee) })
    }

    /// A higher offer in place of `last`: at least an eighth more of both parts, which is what
    /// nodes ask of a replacement, and no less than `now`. `None` when the limit forbids it.
    pub fn bumped(&self, last: Fees, now: Fees) -> Option<Fees> {
        let eighth_more = |value: U256| value + value / 8 + 1;
        let tip = eighth_more(last.tip).max(now.tip);
        let max_fee = eighth_more(last.max_fee).max(now.max_fee).max(tip);
        (max_fee <= self.max_fee).then_some(Fees { max_fee, tip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(base: u64, tips: &[u64]) -> FeeHistory {
        FeeHistory {
            base_fee_per_gas: vec![U256::zero(), base.into()],
            gas_used_ratio: vec![0.5],
            oldest_block: U256::zero(),
            reward: tips.iter().map(|tip| vec![U256::from(*tip)]).collect(),
        }
    }

    #[test]
    fn an_offer_is_the_median_tip_over_twice_the_base_fee() {
        let policy = FeePolicy::default();
        let fees = policy.offer(&history(30 * GWEI, &[3 * GWEI, GWEI, 2 * GWEI])).unwrap();
        assert_eq!(fees, Fees { max_fee: (62 * GWEI).into(), tip: (2 * GWEI).into() });
        // No history, greedy history: the tip keeps within its bounds.
        assert_eq!(policy.offer(&history(GWEI, &[])).unwrap().tip, policy.min_tip);
        let greedy = policy.offer(&history(GWEI, &[900 * GWEI])).unwrap();
        assert_eq!(greedy.tip, policy.max_tip);
    }

    #[test]
    fn the_limit_holds() {
        let policy = FeePolicy { max_fee: (50 * GWEI).into(), ..FeePolicy::default() };
        let fees = policy.offer(&history(40 * GWEI, &[GWEI])).unwrap();
        assert_eq!(fees.max_fee, policy.max_fee);
        let error = policy.offer(&history(51 * GWEI, &[GWEI])).unwrap_err();
        assert!(matches!(error, L1Error::FeeAboveLimit { .. }));
        assert_eq!(policy.bumped(fees, fees), None);
    }

    #[test]
    fn a_replacement_is_an_eighth_higher_or_at_the_market() {
        let policy = FeePolicy::default();
        let last = Fees { max_fee: 8_000.into(), tip: 80.into() };
        let low = Fees { max_fee: 1.into(), tip: 1.into() };
        assert_eq!(policy.bumped(last, low), Some(Fees { max_fee: 9_001.into(), tip: 91.into() }));
        let market = Fees { max_fee: 20_000.into(), tip: 50.into() };
        assert_eq!(
            policy.bumped(last, market),
            Some(Fees { max_fee: 20_000.into(), tip: 91.into() })
        );
        // Even from nothing it rises.
        let none = Fees { max_fee: 0.into(), tip: 0.into() };
        assert_eq!(policy.bumped(none, none), Some(Fees { max_fee: 1.into(), tip: 1.into() }));
    }
}
