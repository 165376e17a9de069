//! What is stored for a pool and for a position.

use codec::{Decode, Encode, MaxEncodedLen};
use polkadot_sdk::{
    frame_support::{traits::Get, BoundedVec},
    sp_core::U256,
};
use scale_info::TypeInfo;
use tributary_primitives::{Balance, BlockNumber};

/// Rewards are accounted in 2^-128 units.
const FRACTION_BITS: usize = 128;

/// A share of a reward is seldom a binary fraction, so that a claim of 10 units may be a hair short
/// of 10. What is missing lies in the pool's remainder; up to 2^-32 units are taken from there.
const ROUNDING_BITS: usize = 96;

/// An amount in 2^-128 units.
pub fn scaled(amount: Balance) -> U256 {
    U256::from(amount) << FRACTION_BITS
}

/// The whole units of an amount in 2^-128 units.
pub fn whole(scaled: U256) -> Balance {
    // 128 of 256 bits are left.
    Balance::try_from(scaled >> FRACTION_BITS).unwrap_or(Balance::MAX)
}

/// Everything staked behind one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Pool {
    /// Active stake, in units.
    pub active: Balance,
    /// Unbonding stake, matured chunks included, in units.
    pub unbonding: Balance,
    /// Number of positions.
    pub stakers: u32,
    /// Rewards that one unit of stake earned since the pool began, in 2^-128 units.
    pub per_share: U256,
    /// What could not be shared evenly, in 2^-128 units. Its whole units go into the next reward.
    pub remainder: U256,
    /// Rewards that came in and were not claimed, in units.
    pub owed: Balance,
}

impl Pool {
    /// Whether the row says nothing and can be removed.
    pub fn is_empty(&self) -> bool {
        self.stakers == 0 && self.owed == 0
    }

    /// Shares a reward over the active stake; `None` if there is none or a sum overflows.
    pub fn add_reward(&mut self, amount: Balance) -> Option<()> {
        let carried = whole(self.remainder);
        let total = scaled(amount.checked_add(carried)?);
        let active = U256::from(self.active);
        let per_share = self.per_share.checked_add(total.checked_div(active)?)?;
        let owed = self.owed.checked_add(amount)?;
        self.remainder =
            self.remainder.checked_sub(scaled(carried))?.checked_add(total.checked_rem(active)?)?;
        self.per_share = per_share;
        self.owed = owed;
        Some(())
    }
}

/// Stake on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Chunk {
    /// Amount in units.
    pub amount: Balance,
    /// Block from which it has matured.
    pub until: BlockNumber,
}

impl Chunk {
    /// Whether it can be withdrawn in block `now`.
    pub fn matured(&self, now: BlockNumber) -> bool {
        self.until <= now
    }
}

/// What one account staked behind one subject.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo)]
#[scale_info(skip_type_params(MaxUnbonding))]
#[codec(mel_bound())]
pub struct Position<MaxUnbonding: Get<u32>> {
    /// Active stake, in units.
    pub active: Balance,
    /// Stake on its way out, oldest first.
    pub chunks: BoundedVec<Chunk, MaxUnbonding>,
    /// Rewards up to `entry`, in 2^-128 units.
    pub accrued: U256,
    /// The pool's `per_share` up to which `accrued` counts.
    pub entry: U256,
}

impl<M: Get<u32>> Position<M> {
    /// A position without stake that earns from now on.
    pub fn new(pool: &Pool) -> Self {
        Self { active: 0, chunks: BoundedVec::new(), accrued: U256::zero(), entry: pool.per_share }
    }

    /// Rewards up to now, in 2^-128 units.
    pub fn earned(&self, pool: &Pool) -> U256 {
        // Each reward adds at most `reward / pool.active` per unit, and `active <= pool.active`:
        // the product is at most the sum of all rewards.
        let per_share = pool.per_share.saturating_sub(self.entry);
        self.accrued.saturating_add(per_share.saturating_mul(U256::from(self.active)))
    }

    /// Books the rewards up to now; must come before `active` changes.
    pub fn settle(&mut self, pool: &Pool) {
        self.accrued = self.earned(pool);
        self.entry = pool.per_share;
    }

    /// Rewards that can be paid now in whole units, and what the pool's remainder adds to them, in
    /// 2^-128 units.
    pub fn payable(&self, pool: &Pool) -> (Balance, U256) {
        let earned = self.earned(pool);
        let units = whole(earned);
        let up = units.saturating_add(1);
        let missing = scaled(up).saturating_sub(earned);
        if missing <= (U256::one() << ROUNDING_BITS) && missing <= pool.remainder {
            (up, missing)
        } else {
            (units, U256::zero())
        }
    }

    /// Books the rewards up to now and takes out what can be paid.
    pub fn take_rewards(&mut self, pool: &mut Pool) -> Balance {
        let (units, missing) = self.payable(pool);
        self.settle(pool);
        pool.remainder = pool.remainder.saturating_sub(missing);
        self.accrued = self.accrued.saturating_add(missing).saturating_sub(scaled(units));
        pool.owed = pool.owed.saturating_sub(units);
        units
    }

    /// Sum of the chunks, in units.
    pub fn unbonding(&self) -> Balance {
        self.chunks.iter().fold(0, |sum: Balance, chunk| sum.saturating_add(chunk.amount))
    }

    /// Whether neither stake nor a payable reward is left.
    pub fn is_empty(&self) -> bool {
        self.active == 0 && self.chunks.is_empty() && whole(self.accrued) == 0
    }
}
