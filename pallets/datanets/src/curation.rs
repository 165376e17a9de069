//! How contributions are accepted and rejected.

use crate::{
    Agenda, Ballots, ByContent, Config, Contribution, Contributions, Datanets, Error, Event,
    Pallet, Policy, Rejections, State,
};
use polkadot_sdk::{
    frame_support::{defensive, ensure},
    sp_runtime::DispatchResult,
};
use tributary_primitives::{log::LogEntry, AccountId, BlockNumber, ContributionId};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_vote(who: AccountId, id: ContributionId, aye: bool) -> DispatchResult {
        let contribution = Contributions::<T>::get(id).ok_or(Error::<T>::UnknownContribution)?;
        let State::Pending { due } = contribution.state else {
            return Err(Error::<T>::NotPending.into());
        };
        let datanet = Datanets::<T>::get(contribution.datanet).ok_or(Error::<T>::UnknownDatanet)?;
        let Policy::Curated { quorum, curators } = datanet.policy else {
            return Err(Error::<T>::NotCurated.into());
        };
        ensure!(curators.contains(&who), Error::<T>::NotCurator);
        let mut votes = Ballots::<T>::get(id);
        ensure!(votes.iter().all(|(voter, _)| *voter != who), Error::<T>::AlreadyVoted);
        // Votes of those who are no longer curators do not count.
        votes.retain(|(voter, _)| curators.contains(voter));
        // There is room: every vote left is by another curator, and this one is not among them.
        votes.try_push((who.clone(), aye)).map_err(|_| Error::<T>::AlreadyVoted)?;
        Self::deposit_event(Event::Voted { contribution: id, curator: who, aye });

        let count = |side| votes.iter().filter(|(_, vote)| *vote == side).count();
        let quorum = quorum as usize;
        let accepted = count(true) >= quorum;
        // The remaining curators together cannot reach the quorum.
        let rejected = count(false) > curators.len().saturating_sub(quorum);
        if !accepted && !rejected {
            Ballots::<T>::insert(id, votes);
            return Ok(());
        }
        Ballots::<T>::remove(id);
        if let Some(due) = due {
            Self::take_off_agenda(id, due);
        }
        if accepted {
            Self::accept(id, contribution)
        } else {
            Self::reject(id, contribution);
            Ok(())
        }
    }

    pub(crate) fn do_reschedule(id: ContributionId) -> DispatchResult {
        let mut contribution =
            Contributions::<T>::get(id).ok_or(Error::<T>::UnknownContribution)?;
        let open = Datanets::<T>::get(contribution.datanet)
            .is_some_and(|datanet| datanet.policy == Policy::Open);
        ensure!(open && contribution.state == State::Pending { due: None }, Error::<T>::NotWaiting);
        let due = Self::free_slot()?;
        Self::put_on_agenda(id, due)?;
        Ballots::<T>::remove(id);
        contribution.state = State::Pending { due: Some(due) };
        Contributions::<T>::insert(id, contribution);
        Self::deposit_event(Event::Rescheduled { contribution: id, due });
        Ok(())
    }

    /// Settles what is due in this block; returns how many.
    pub(crate) fn settle_agenda(now: BlockNumber) -> u32 {
        let due = Agenda::<T>::take(now);
        for id in due.iter() {
            Self::settle(*id);
        }
        u32::try_from(due.len()).unwrap_or(u32::MAX)
    }

    fn settle(id: ContributionId) {
        let Some(mut contribution) = Contributions::<T>::get(id) else {
            defensive!("the agenda names a contribution that does not exist");
            return;
        };
        let open = Datanets::<T>::get(contribution.datanet)
            .is_some_and(|datanet| datanet.policy == Policy::Open);
        let event = if open {
            match Self::accept(id, contribution.clone()) {
                Ok(()) => return,
                Err(error) => Event::AcceptanceFailed { contribution: id, error },
            }
        } else {
            Event::AwaitsCurators { contribution: id }
        };
        contribution.state = State::Pending { due: None };
        Contributions::<T>::insert(id, contribution);
        Self::deposit_event(event);
    }

    /// Makes a contribution part of its datanet. Writes nothing if it fails.
    fn accept(id: ContributionId, mut contribution: Contribution) -> DispatchResult {
        let datanet = contribution.datanet;
        let entry = Self::append(
            datanet,
            LogEntry::Accepted {
                contribution: id,
                content: contribution.content,
                records_root: contribution.records_root,
            },
        )?;
        Datanets::<T>::mutate_extant(datanet, |net| {
            net.live = net.live.saturating_add(1);
            net.live_records = net.live_records.saturating_add(u64::from(contribution.records));
            net.live_bytes = net.live_bytes.saturating_add(contribution.bytes);
        });
        contribution.state = State::Accepted { at: Self::now() };
        Contributions::<T>::insert(id, contribution);
        Self::deposit_event(Event::Accepted { contribution: id, datanet, entry });
        Ok(())
    }

    /// Frees the content for other datanets and remembers that this one does not want it.
    fn reject(id: ContributionId, mut contribution: Contribution) {
        let datanet = contribution.datanet;
        ByContent::<T>::remove(contribution.content);
        Rejections::<T>::insert(datanet, contribution.content, id);
        contribution.state = State::Rejected;
        Contributions::<T>::insert(id, contribution);
        Self::deposit_event(Event::Rejected { contribution: id, datanet });
    }
}
