//! Models on offer.

use crate::{types::Listing, Config, Error, Event, Listings, Models, Pallet};
use polkadot_sdk::{frame_support::ensure, sp_runtime::DispatchResult};
use tributary_primitives::{AccountId, Balance, ModelId, CAP};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_list(
        who: &AccountId,
        model: ModelId,
        price_in: Balance,
        price_out: Balance,
    ) -> DispatchResult {
        Self::ensure_owner(who, model)?;
        ensure!(price_in <= CAP && price_out <= CAP, Error::<T>::PriceAboveCap);
        Listings::<T>::insert(model, Listing { price_in, price_out });
        Self::deposit_event(Event::ModelListed { model, price_in, price_out });
        Ok(())
    }

    pub(crate) fn do_delist(who: &AccountId, model: ModelId) -> DispatchResult {
        Self::ensure_owner(who, model)?;
        Listings::<T>::take(model).ok_or(Error::<T>::NotListed)?;
        Self::deposit_event(Event::ModelDelisted { model });
        Ok(())
    }

    fn ensure_owner(who: &AccountId, model: ModelId) -> DispatchResult {
        let owner = T::Models::owner(model).ok_or(Error::<T>::UnknownModel)?;
        ensure!(*who == owner, Error::<T>::NotOwner);
        Ok(())
    }
}
