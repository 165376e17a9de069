//! Pots that pay for others' calls.

use crate::{Config, Datanets, Error, Event, Pallet, SponsorFees, SponsorUsage, Usage, WeightInfo};
use codec::Encode;
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::Inspect,
            tokens::{Fortitude, Preservation},
            Get,
        },
        weights::Weight,
    },
    sp_runtime::DispatchResult,
};
use tributary_primitives::{
    signing::{ContributionOffer, Retirement},
    Balance, DatanetId, MultiSignature,
};

/// What a general transaction has around the arguments of its call: length, version, extensions,
/// pallet and call index. In bytes.
const ENVELOPE: u32 = 32;

impl<T: Config> Pallet<T> {
    /// Length and weight of a sponsored contribution.
    pub fn contribute_signed_cost(
        offer: &ContributionOffer,
        signature: &MultiSignature,
    ) -> (u32, Weight) {
        let weight = T::WeightInfo::contribute_signed()
            .saturating_add(T::WeightInfo::authorize_contribute_signed());
        (length(offer, signature), weight)
    }

    /// Length and weight of a sponsored retirement.
    pub fn retire_signed_cost(
        retirement: &Retirement,
        signature: &MultiSignature,
    ) -> (u32, Weight) {
        let weight =
            T::WeightInfo::retire_signed().saturating_add(T::WeightInfo::authorize_retire_signed());
        (length(retirement, signature), weight)
    }

    /// Whether a datanet's pot would pay for an extrinsic of this length and weight; the fee, in
    /// units, if so.
    pub fn check_sponsor(
        datanet: DatanetId,
        len: u32,
        weight: Weight,
    ) -> Result<Balance, Error<T>> {
        let sponsorship =
            Datanets::<T>::get(datanet).ok_or(Error::<T>::UnknownDatanet)?.sponsorship;
        ensure!(sponsorship.enabled, Error::<T>::SponsorshipOff);
        ensure!(
            Self::sponsor_usage(datanet).calls < sponsorship.max_per_period,
            Error::<T>::RateLimited
        );
        let fee = T::SponsorFees::fee(len, weight);
        ensure!(Self::pot_spendable(datanet) >= fee, Error::<T>::PotTooLow);
        Ok(fee)
    }

    /// Whether a datanet's pot would pay for an extrinsic of this length and weight.
    pub fn can_sponsor(datanet: DatanetId, len: u32, weight: Weight) -> bool {
        Self::check_sponsor(datanet, len, weight).is_ok()
    }

    /// Lets a datanet's pot pay for an extrinsic of this length and weight.
    pub fn sponsor(datanet: DatanetId, len: u32, weight: Weight) -> DispatchResult {
        let fee = Self::check_sponsor(datanet, len, weight)?;
        let mut usage = Self::sponsor_usage(datanet);
        usage.calls = usage.calls.saturating_add(1);
        SponsorUsage::<T>::insert(datanet, usage);
        T::SponsorFees::collect(&Self::pot(datanet), fee)?;
        Self::deposit_event(Event::Sponsored { datanet, fee });
        Ok(())
    }

    /// What a pot can spend while it keeps its existential deposit, in units.
    pub(crate) fn pot_spendable(datanet: DatanetId) -> Balance {
        T::Currency::reducible_balance(
            &Self::pot(datanet),
            Preservation::Preserve,
            Fortitude::Polite,
        )
    }

    /// What a pot paid for in the present period.
    pub(crate) fn sponsor_usage(datanet: DatanetId) -> Usage {
        let period = Self::now().checked_div(T::SponsorPeriod::get()).unwrap_or(0);
        let last = SponsorUsage::<T>::get(datanet);
        if last.period == period {
            last
        } else {
            Usage { period, calls: 0 }
        }
    }
}

fn length(message: &impl Encode, signature: &MultiSignature) -> u32 {
    let arguments = message.encoded_size().saturating_add(signature.encoded_size());
    ENVELOPE.saturating_add(u32::try_from(arguments).unwrap_or(u32::MAX))
}
