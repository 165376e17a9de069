//! What the pallet tells other pallets.

use crate::{Config, Contributions, Datanets, Pallet, Versions};
use tributary_primitives::{views::Consent, AccountId, ContributionId, DatanetId, VersionRef};

impl<T: Config> Pallet<T> {
    /// Whether the datanet exists.
    pub fn datanet_exists(datanet: DatanetId) -> bool {
        Datanets::<T>::contains_key(datanet)
    }

    /// Whether the contribution exists, wherever it stands.
    pub fn contribution_exists(contribution: ContributionId) -> bool {
        Contributions::<T>::contains_key(contribution)
    }

    /// What may be done with the datanet's records.
    pub fn consent(datanet: DatanetId) -> Option<Consent> {
        Datanets::<T>::get(datanet).map(|datanet| datanet.consent)
    }

    /// Records and bytes of a version that may be trained on. `None` if there is no such version,
    /// or if its datanet's consent does not cover training.
    pub fn version_info(version: VersionRef) -> Option<(u64, u64)> {
        let may_train = Self::consent(version.datanet)?.train;
        Versions::<T>::get(version.datanet, version.number)
            .filter(|_| may_train)
            .map(|version| (version.records, version.bytes))
    }

    /// Account that is paid for a contribution. Models trained before it was retired still use it.
    pub fn payout_account(contribution: ContributionId) -> Option<AccountId> {
        Contributions::<T>::get(contribution).map(|contribution| contribution.payout)
    }

    /// The datanet that a contribution was submitted to.
    pub fn datanet_of(contribution: ContributionId) -> Option<DatanetId> {
        Contributions::<T>::get(contribution).map(|contribution| contribution.datanet)
    }
}
