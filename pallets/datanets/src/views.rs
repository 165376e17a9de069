//! What the runtime API answers.

use crate::{
    ByContent, ByName, Config, Contribution, Contributions, Datanet, Datanets, Frontiers,
    InDatanet, Log, Name, OfPayout, Pallet, Version, Versions,
};
use alloc::vec::Vec;
use polkadot_sdk::frame_support::traits::fungible::Inspect;
use tributary_primitives::{
    log::LogEntry,
    views::{ContributionView, DatanetView, Text, VersionView, MAX_PAGE},
    AccountId, ContributionId, DatanetId, Digest, VersionRef,
};

/// The `limit` numbers from `from`, at most a page of them, below `end`.
fn page(from: u32, limit: u32, end: u32) -> core::ops::Range<u32> {
    from..from.saturating_add(limit.min(MAX_PAGE)).min(end)
}

impl<T: Config> Pallet<T> {
    /// A datanet.
    pub fn view_datanet(id: DatanetId) -> Option<DatanetView> {
        Datanets::<T>::get(id).map(|datanet| Self::datanet_view(id, datanet))
    }

    /// A datanet by its name.
    pub fn view_datanet_by_name(name: Text) -> Option<DatanetView> {
        let name = Name::try_from(name.0).ok()?;
        ByName::<T>::get(name).and_then(Self::view_datanet)
    }

    /// Datanets by id.
    pub fn view_datanets(from: DatanetId, limit: u32) -> Vec<DatanetView> {
        let end = crate::NextDatanet::<T>::get().0;
        page(from.0, limit, end).filter_map(|id| Self::view_datanet(DatanetId(id))).collect()
    }

    /// A contribution.
    pub fn view_contribution(id: ContributionId) -> Option<ContributionView> {
        Contributions::<T>::get(id).map(|contribution| contribution_view(id, contribution))
    }

    /// Contributions of a datanet by position.
    pub fn view_contributions(datanet: DatanetId, from: u32, limit: u32) -> Vec<ContributionView> {
        let end = Datanets::<T>::get(datanet).map_or(0, |net| net.contributions);
        page(from, limit, end)
            .filter_map(|position| InDatanet::<T>::get(datanet, position))
            .filter_map(Self::view_contribution)
            .collect()
    }

    /// The contribution of a shard; `None` also if it was rejected everywhere.
    pub fn view_contribution_by_content(content: Digest) -> Option<ContributionView> {
        ByContent::<T>::get(content).and_then(Self::view_contribution)
    }

    /// Contributions that an account is paid for, by id; if there are more than `limit`, some.
    pub fn view_contributions_of(payout: AccountId, limit: u32) -> Vec<ContributionView> {
        let mut ids: Vec<ContributionId> =
            OfPayout::<T>::iter_key_prefix(payout).take(limit.min(MAX_PAGE) as usize).collect();
        ids.sort();
        ids.into_iter().filter_map(Self::view_contribution).collect()
    }

    /// A version.
    pub fn view_version(version: VersionRef) -> Option<VersionView> {
        Versions::<T>::get(version.datanet, version.number).map(|row| version_view(version, row))
    }

    /// Versions of a datanet by number; the first is 1.
    pub fn view_versions(datanet: DatanetId, from: u32, limit: u32) -> Vec<VersionView> {
        let end = Datanets::<T>::get(datanet).map_or(0, |net| net.versions).saturating_add(1);
        page(from.max(1), limit, end)
            .filter_map(|number| Self::view_version(VersionRef { datanet, number }))
            .collect()
    }

    /// Entries of a datanet's log by position.
    pub fn view_log(datanet: DatanetId, from: u32, limit: u32) -> Vec<LogEntry> {
        let end = Frontiers::<T>::get(datanet).length;
        page(from, limit, end).filter_map(|position| Log::<T>::get(datanet, position)).collect()
    }

    fn datanet_view(id: DatanetId, datanet: Datanet) -> DatanetView {
        let pot = Self::pot(id);
        DatanetView {
            id,
            name: Text(datanet.name.into_inner()),
            owner: datanet.owner,
            policy: datanet.policy.into(),
            licence: Text(datanet.licence.into_inner()),
            consent: datanet.consent,
            min_stake: datanet.min_stake,
            contributions: datanet.contributions,
            live: datanet.live,
            versions: datanet.versions,
            log_length: Frontiers::<T>::get(id).length,
            pot_balance: T::Currency::balance(&pot),
            pot,
        }
    }
}

fn contribution_view(id: ContributionId, contribution: Contribution) -> ContributionView {
    ContributionView {
        id,
        datanet: contribution.datanet,
        payout: contribution.payout,
        content: contribution.content,
        records_root: contribution.records_root,
        records: contribution.records,
        bytes: contribution.bytes,
        submitted: contribution.submitted,
        state: contribution.state.into(),
    }
}

fn version_view(version: VersionRef, row: Version) -> VersionView {
    VersionView {
        version,
        length: row.length,
        root: row.root,
        contributions: row.contributions,
        records: row.records,
        bytes: row.bytes,
        cut: row.cut,
    }
}
