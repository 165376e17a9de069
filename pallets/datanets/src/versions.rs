//! The log and its cuts.

use crate::{Config, Datanets, Error, Event, Frontiers, Log, Pallet, Version, Versions};
use polkadot_sdk::{frame_support::ensure, sp_runtime::DispatchError};
use tributary_primitives::{log::LogEntry, AccountId, DatanetId, VersionRef};

impl<T: Config> Pallet<T> {
    /// Appends an entry to a datanet's log and returns its position.
    pub(crate) fn append(datanet: DatanetId, entry: LogEntry) -> Result<u32, Error<T>> {
        let position = Frontiers::<T>::try_mutate(datanet, |frontier| {
            frontier.append(entry.leaf()).ok_or(Error::<T>::LogFull)
        })?;
        Log::<T>::insert(datanet, position, entry);
        Ok(position)
    }

    pub(crate) fn do_cut_version(
        who: &AccountId,
        id: DatanetId,
    ) -> Result<VersionRef, DispatchError> {
        let mut datanet = Datanets::<T>::get(id).ok_or(Error::<T>::UnknownDatanet)?;
        ensure!(datanet.owner == *who, Error::<T>::NotOwner);
        let frontier = Frontiers::<T>::get(id);
        let covered = Versions::<T>::get(id, datanet.versions).map_or(0, |last| last.length);
        ensure!(frontier.length > covered, Error::<T>::NothingNew);

        let number = datanet.versions.checked_add(1).ok_or(Error::<T>::IdsExhausted)?;
        let version = Version {
            length: frontier.length,
            root: frontier.root(),
            contributions: datanet.live,
            records: datanet.live_records,
            bytes: datanet.live_bytes,
            cut: Self::now(),
        };
        Versions::<T>::insert(id, number, version);
        datanet.versions = number;
        Datanets::<T>::insert(id, datanet);
        let reference = VersionRef { datanet: id, number };
        Self::deposit_event(Event::VersionCut {
            version: reference,
            length: version.length,
            root: version.root,
            contributions: version.contributions,
            records: version.records,
        });
        Ok(reference)
    }
}
