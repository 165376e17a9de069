//! How contributions enter and how they are retired.

use crate::{
    Agenda, Ballots, ByContent, Config, Contribution, ContributionStakes, Contributions, Datanet,
    Datanets, Error, Event, InDatanet, NextContribution, OfPayout, Pallet, Policy, Rejections,
    State, MAX_CONTRIBUTIONS,
};
use polkadot_sdk::{
    frame_support::{ensure, traits::Get},
    frame_system::{self, pallet_prelude::BlockNumberFor},
    sp_core::H256,
    sp_runtime::{traits::Zero, DispatchError, DispatchResult},
};
use tributary_primitives::{
    log::LogEntry,
    signing::{ContributionOffer, Retirement, Signable},
    AccountId, BlockNumber, ContributionId, MultiSignature,
};

/// What an offer that may enter needs on its way in.
pub(crate) struct Admission {
    id: ContributionId,
    next: ContributionId,
    datanet: Datanet,
    due: Option<BlockNumber>,
}

impl<T: Config> Pallet<T> {
    /// The chain's genesis hash, which every signed message binds.
    pub(crate) fn genesis_hash() -> H256 {
        frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero())
    }

    /// Everything that can keep an offer out, but for its signature and who pays for it.
    pub(crate) fn admit(offer: &ContributionOffer) -> Result<Admission, Error<T>> {
        ensure!(Self::now() <= offer.valid_until, Error::<T>::Expired);
        ensure!(offer.records > 0, Error::<T>::NoRecords);
        ensure!(offer.bytes >= u64::from(offer.records), Error::<T>::BadSize);
        ensure!(offer.bytes <= T::MaxShardBytes::get(), Error::<T>::ShardTooLarge);
        let datanet = Datanets::<T>::get(offer.datanet).ok_or(Error::<T>::UnknownDatanet)?;
        ensure!(datanet.contributions < MAX_CONTRIBUTIONS, Error::<T>::DatanetFull);
        ensure!(!ByContent::<T>::contains_key(offer.content), Error::<T>::DuplicateContent);
        ensure!(
            !Rejections::<T>::contains_key(offer.datanet, offer.content),
            Error::<T>::AlreadyRejected
        );
        let id = NextContribution::<T>::get();
        let next = id.next().ok_or(Error::<T>::IdsExhausted)?;
        let due = match datanet.policy {
            Policy::Open => Some(Self::free_slot()?),
            Policy::Curated { .. } => None,
        };
        Ok(Admission { id, next, datanet, due })
    }

    /// As [`Self::admit`], for an offer that a pot is to pay for.
    pub(crate) fn admit_sponsored(
        offer: &ContributionOffer,
        signature: &MultiSignature,
    ) -> Result<Admission, Error<T>> {
        let admission = Self::admit(offer)?;
        ensure!(admission.datanet.min_stake == 0, Error::<T>::StakeNeeded);
        let (len, weight) = Self::contribute_signed_cost(offer, signature);
        Self::check_sponsor(offer.datanet, len, weight)?;
        Ok(admission)
    }

    /// Takes in an offer; `staker` puts up the stake if the datanet asks for one.
    pub(crate) fn do_contribute(
        offer: ContributionOffer,
        staker: Option<&AccountId>,
    ) -> Result<ContributionId, DispatchError> {
        let admission = Self::admit(&offer)?;
        Self::enter(offer, admission, staker)
    }

    /// The origin says that this very call was authorized, in this block and state: the signature
    /// was checked. Pot and rate limit are checked again by paying.
    pub(crate) fn do_contribute_signed(
        offer: ContributionOffer,
        signature: &MultiSignature,
    ) -> Result<ContributionId, DispatchError> {
        let admission = Self::admit_sponsored(&offer, signature)?;
        let (len, weight) = Self::contribute_signed_cost(&offer, signature);
        Self::sponsor(offer.datanet, len, weight)?;
        Self::enter(offer, admission, None)
    }

    pub(crate) fn do_submit_for(
        offer: ContributionOffer,
        signature: &MultiSignature,
        submitter: &AccountId,
    ) -> Result<ContributionId, DispatchError> {
        let admission = Self::admit(&offer)?;
        ensure!(
            offer.verify(&Self::genesis_hash(), signature, &offer.payout),
            Error::<T>::BadSignature
        );
        Self::enter(offer, admission, Some(submitter))
    }

    fn enter(
        offer: ContributionOffer,
        admission: Admission,
        staker: Option<&AccountId>,
    ) -> Result<ContributionId, DispatchError> {
        let Admission { id, next, mut datanet, due } = admission;
        let ContributionOffer { content, payout, .. } = offer;
        let position = datanet.contributions;
        let min_stake = datanet.min_stake;
        NextContribution::<T>::put(next);
        datanet.contributions = position.checked_add(1).ok_or(Error::<T>::DatanetFull)?;
        Datanets::<T>::insert(offer.datanet, datanet);
        InDatanet::<T>::insert(offer.datanet, position, id);
        OfPayout::<T>::insert(&payout, id, ());
        ByContent::<T>::insert(content, id);
        if let Some(due) = due {
            Self::put_on_agenda(id, due)?;
        }
        let contribution = Contribution {
            datanet: offer.datanet,
            position,
            payout: payout.clone(),
            content,
            records_root: offer.records_root,
            records: offer.records,
            bytes: offer.bytes,
            submitted: Self::now(),
            state: State::Pending { due },
        };
        Contributions::<T>::insert(id, contribution);
        // Last, because stake stands only behind what exists.
        if min_stake > 0 {
            let staker = staker.ok_or(Error::<T>::StakeNeeded)?;
            T::Stakes::bond(staker, id, min_stake)?;
        }
        Self::deposit_event(Event::Contributed {
            contribution: id,
            datanet: offer.datanet,
            payout,
            content,
            due,
        });
        Ok(id)
    }

    pub(crate) fn do_retire_contribution(who: &AccountId, id: ContributionId) -> DispatchResult {
        let contribution = Self::live(id)?;
        let may = contribution.payout == *who
            || Datanets::<T>::get(contribution.datanet).is_some_and(|net| net.owner == *who);
        ensure!(may, Error::<T>::NotPayout);
        Self::retire(id, contribution)
    }

    /// Everything that can keep a sponsored retirement out, but for its signature.
    pub(crate) fn admit_retirement(
        retirement: &Retirement,
        signature: &MultiSignature,
    ) -> Result<Contribution, Error<T>> {
        ensure!(Self::now() <= retirement.valid_until, Error::<T>::Expired);
        let contribution = Self::live(retirement.contribution)?;
        let (len, weight) = Self::retire_signed_cost(retirement, signature);
        Self::check_sponsor(contribution.datanet, len, weight)?;
        Ok(contribution)
    }

    /// As for contributions, the signature was checked by the authorization.
    pub(crate) fn do_retire_signed(
        retirement: &Retirement,
        signature: &MultiSignature,
    ) -> DispatchResult {
        let contribution = Self::admit_retirement(retirement, signature)?;
        let (len, weight) = Self::retire_signed_cost(retirement, signature);
        Self::sponsor(contribution.datanet, len, weight)?;
        Self::retire(retirement.contribution, contribution)
    }

    pub(crate) fn do_retire_for(
        retirement: &Retirement,
        signature: &MultiSignature,
    ) -> DispatchResult {
        ensure!(Self::now() <= retirement.valid_until, Error::<T>::Expired);
        let contribution = Self::live(retirement.contribution)?;
        ensure!(
            retirement.verify(&Self::genesis_hash(), signature, &contribution.payout),
            Error::<T>::BadSignature
        );
        Self::retire(retirement.contribution, contribution)
    }

    /// A contribution that is accepted or under review.
    fn live(id: ContributionId) -> Result<Contribution, Error<T>> {
        let contribution = Contributions::<T>::get(id).ok_or(Error::<T>::UnknownContribution)?;
        match contribution.state {
            State::Pending { .. } | State::Accepted { .. } => Ok(contribution),
            State::Rejected | State::Retired { .. } => Err(Error::<T>::NotLive),
        }
    }

    fn retire(id: ContributionId, mut contribution: Contribution) -> DispatchResult {
        let datanet = contribution.datanet;
        let entry = match contribution.state {
            State::Accepted { .. } => {
                let entry = Self::append(datanet, LogEntry::Retired { contribution: id })?;
                Datanets::<T>::mutate_extant(datanet, |net| {
                    net.live = net.live.saturating_sub(1);
                    net.live_records =
                        net.live_records.saturating_sub(u64::from(contribution.records));
                    net.live_bytes = net.live_bytes.saturating_sub(contribution.bytes);
                });
                Some(entry)
            }
            State::Pending { due } => {
                if let Some(due) = due {
                    Self::take_off_agenda(id, due);
                }
                Ballots::<T>::remove(id);
                None
            }
            State::Rejected | State::Retired { .. } => return Err(Error::<T>::NotLive.into()),
        };
        contribution.state = State::Retired { at: Self::now() };
        Contributions::<T>::insert(id, contribution);
        Self::deposit_event(Event::Retired { contribution: id, datanet, entry });
        Ok(())
    }

    /// First block with room after the review window; looks at no more than `MaxSpill + 1`.
    pub(crate) fn free_slot() -> Result<BlockNumber, Error<T>> {
        let first = Self::now().saturating_add(T::ReviewWindow::get());
        let last = first.saturating_add(T::MaxSpill::get());
        let room = T::MaxPerBlock::get() as usize;
        (first..=last)
            .find(|slot| Agenda::<T>::decode_len(slot).unwrap_or(0) < room)
            .ok_or(Error::<T>::TooManyPending)
    }

    pub(crate) fn put_on_agenda(id: ContributionId, due: BlockNumber) -> Result<(), Error<T>> {
        Agenda::<T>::try_append(due, id).map_err(|_| Error::<T>::TooManyPending)
    }

    pub(crate) fn take_off_agenda(id: ContributionId, due: BlockNumber) {
        Agenda::<T>::mutate_exists(due, |row| {
            let Some(slot) = row else { return };
            slot.retain(|other| *other != id);
            if slot.is_empty() {
                *row = None;
            }
        });
    }
}
