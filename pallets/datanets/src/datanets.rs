//! Datanets themselves: creation, policy, sponsorship and the pot.

use crate::{
    ByName, Config, Datanet, Datanets, Error, Event, HoldReason, Licence, Name, NextDatanet,
    Pallet, Policy, Sponsorship,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::{hold, Inspect, Mutate},
            tokens::Preservation,
            Get,
        },
    },
    frame_system,
    sp_runtime::{traits::AccountIdConversion, DispatchError, DispatchResult, SaturatedConversion},
};
use tributary_primitives::{views::Consent, AccountId, Balance, BlockNumber, DatanetId};

impl<T: Config> Pallet<T> {
    /// The present block.
    pub(crate) fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Account of a datanet's sponsor pot.
    pub fn pot(datanet: DatanetId) -> AccountId {
        T::PalletId::get().into_sub_account_truncating((b"pot", datanet))
    }

    pub(crate) fn do_create_datanet(
        owner: AccountId,
        name: Name,
        policy: Policy,
        licence: Licence,
        consent: Consent,
        min_stake: Balance,
    ) -> Result<DatanetId, DispatchError> {
        ensure!(is_name(&name), Error::<T>::BadName);
        ensure!(is_licence(&licence), Error::<T>::BadLicence);
        Self::check_policy(&policy)?;
        ensure!(!ByName::<T>::contains_key(&name), Error::<T>::NameTaken);

        let id = NextDatanet::<T>::get();
        NextDatanet::<T>::put(id.next().ok_or(Error::<T>::IdsExhausted)?);
        let deposit = T::DatanetDeposit::get();
        <T::Currency as hold::Mutate<AccountId>>::hold(
            &HoldReason::Datanet.into(),
            &owner,
            deposit,
        )?;
        ByName::<T>::insert(&name, id);
        let datanet = Datanet {
            name: name.clone(),
            owner: owner.clone(),
            policy,
            licence,
            consent,
            min_stake,
            deposit,
            sponsorship: Sponsorship::default(),
            contributions: 0,
            live: 0,
            live_records: 0,
            live_bytes: 0,
            versions: 0,
        };
        Datanets::<T>::insert(id, datanet);
        Self::deposit_event(Event::DatanetCreated { datanet: id, owner, name });
        Ok(id)
    }

    pub(crate) fn do_set_policy(who: &AccountId, id: DatanetId, policy: Policy) -> DispatchResult {
        Self::check_policy(&policy)?;
        Self::mutate_owned(who, id, |datanet| datanet.policy = policy.clone())?;
        Self::deposit_event(Event::PolicySet { datanet: id, policy });
        Ok(())
    }

    pub(crate) fn do_set_sponsorship(
        who: &AccountId,
        id: DatanetId,
        sponsorship: Sponsorship,
    ) -> DispatchResult {
        Self::mutate_owned(who, id, |datanet| datanet.sponsorship = sponsorship)?;
        Self::deposit_event(Event::SponsorshipSet { datanet: id, sponsorship });
        Ok(())
    }

    pub(crate) fn do_fund_pot(who: &AccountId, id: DatanetId, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::NothingToMove);
        ensure!(Datanets::<T>::contains_key(id), Error::<T>::UnknownDatanet);
        T::Currency::transfer(who, &Self::pot(id), amount, Preservation::Preserve)?;
        Self::deposit_event(Event::PotFunded { datanet: id, from: who.clone(), amount });
        Ok(())
    }

    pub(crate) fn do_withdraw_pot(
        who: &AccountId,
        id: DatanetId,
        amount: Balance,
    ) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::NothingToMove);
        Self::mutate_owned(who, id, |_| ())?;
        let pot = Self::pot(id);
        // All of it, or enough stays that the rest does not become dust.
        let preservation = if T::Currency::total_balance(&pot) == amount {
            Preservation::Expendable
        } else {
            Preservation::Preserve
        };
        T::Currency::transfer(&pot, who, amount, preservation)?;
        Self::deposit_event(Event::PotWithdrawn { datanet: id, to: who.clone(), amount });
        Ok(())
    }

    pub(crate) fn check_policy(policy: &Policy) -> Result<(), Error<T>> {
        let Policy::Curated { quorum, curators } = policy else { return Ok(()) };
        let count = u32::try_from(curators.len()).unwrap_or(u32::MAX);
        ensure!((1..=count).contains(quorum), Error::<T>::BadQuorum);
        let mut sorted: alloc::vec::Vec<_> = curators.iter().collect();
        sorted.sort();
        sorted.dedup();
        ensure!(sorted.len() == curators.len(), Error::<T>::DuplicateCurator);
        Ok(())
    }

    fn mutate_owned(
        who: &AccountId,
        id: DatanetId,
        change: impl FnOnce(&mut Datanet),
    ) -> Result<(), Error<T>> {
        Datanets::<T>::try_mutate(id, |row| {
            let datanet = row.as_mut().ok_or(Error::<T>::UnknownDatanet)?;
            ensure!(datanet.owner == *who, Error::<T>::NotOwner);
            change(datanet);
            Ok(())
        })
    }
}

pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Whether it has the letters of an SPDX expression; the chain does not know the list of licences.
pub(crate) fn is_licence(licence: &[u8]) -> bool {
    !licence.is_empty()
        && licence.iter().all(|b| b.is_ascii_alphanumeric() || b" .+-()".contains(b))
}
