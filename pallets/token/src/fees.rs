//! Fees: taken, split, burnt and handed on.

use crate::{Config, Error, Event, FeeSplit, FeesBurnt, Pallet, Split};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::{Balanced, Credit},
            tokens::{Fortitude, Precision, Preservation},
            Get, Imbalance, OnUnbalanced,
        },
    },
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{AccountId, Balance};

/// A fee that was taken from its payer and not yet split.
pub type FeeCredit<T> = Credit<AccountId, <T as Config>::Currency>;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_set_fee_split(split: FeeSplit) -> DispatchResult {
        ensure!(split.is_whole(), Error::<T>::SplitNotWhole);
        Split::<T>::put(split);
        Self::deposit_event(Event::FeeSplitSet { split });
        Ok(())
    }

    /// Splits a fee that was already taken.
    ///
    /// The author's part goes to the treasury when the author is unknown or cannot receive it, and
    /// what the treasury cannot receive (an account that does not exist cannot take less than the
    /// existential deposit) is burnt.
    pub fn handle_fee(fee: FeeCredit<T>) {
        let parts = Split::<T>::get().parts(fee.peek());
        let (author_part, rest) = fee.split(parts.author);
        let (treasury_part, mut burnt) = rest.split(parts.treasury);
        let (author, left) = Self::hand_over(T::Author::get(), author_part);
        let (treasury, left) = Self::hand_over(Some(T::Treasury::get()), treasury_part.merge(left));
        burnt = burnt.merge(left);

        let amount = burnt.peek();
        // Dropping a credit takes it out of the issuance.
        drop(burnt);
        FeesBurnt::<T>::mutate(|total| *total = total.saturating_add(amount));
        if author.saturating_add(treasury).saturating_add(amount) > 0 {
            Self::deposit_event(Event::FeeTaken { burnt: amount, treasury, author });
        }
    }

    /// Pays a credit into an account; returns what was paid, in units, and what could not be.
    fn hand_over(to: Option<AccountId>, credit: FeeCredit<T>) -> (Balance, FeeCredit<T>) {
        let amount = credit.peek();
        let Some(to) = to.filter(|_| amount > 0) else { return (0, credit) };
        match T::Currency::resolve(&to, credit) {
            Ok(()) => (amount, FeeCredit::<T>::zero()),
            Err(left) => (0, left),
        }
    }

    /// Takes `amount` units from an account as a fee and splits them.
    ///
    /// The account keeps its existential deposit, so that no fee turns what is left of a pot into
    /// dust; errors if it cannot.
    pub fn take_fee(from: &AccountId, amount: Balance) -> DispatchResult {
        if amount == 0 {
            return Ok(());
        }
        let fee: Result<FeeCredit<T>, DispatchError> = T::Currency::withdraw(
            from,
            amount,
            Precision::Exact,
            Preservation::Preserve,
            Fortitude::Polite,
        );
        Self::handle_fee(fee?);
        Ok(())
    }
}

/// Lets the SDK's fee adapters hand fees and tips over.
impl<T: Config> OnUnbalanced<FeeCredit<T>> for Pallet<T> {
    fn on_nonzero_unbalanced(fee: FeeCredit<T>) {
        Self::handle_fee(fee);
    }
}
