//! What the runtime API answers.

use crate::{Config, Pallet, Pools, Positions};
use tributary_primitives::{views::PositionView, AccountId, Balance, Subject};

impl<T: Config> Pallet<T> {
    /// Stake of one account behind one subject; all zero if there is none.
    pub fn view_position(subject: Subject, who: AccountId) -> PositionView {
        let pool = Pools::<T>::get(&subject).unwrap_or_default();
        match Positions::<T>::get(&subject, &who) {
            Some(position) => PositionView {
                active: position.active,
                unbonding: position
                    .chunks
                    .iter()
                    .map(|chunk| (chunk.amount, chunk.until))
                    .collect(),
                claimable: position.payable(&pool).0,
            },
            None => PositionView { active: 0, unbonding: Default::default(), claimable: 0 },
        }
    }

    /// Active stake behind a subject, in units.
    pub fn view_total(subject: Subject) -> Balance {
        Self::active_total(&subject)
    }
}
