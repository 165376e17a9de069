//! A new L1 origin: what is proven of it.

use crate::{trie, Config, Counts, Deposits, Error, Event, Joined, Origin, Pallet, Waiting};
use polkadot_sdk::{
    frame_support::{ensure, traits::Get},
    sp_runtime::DispatchResult,
};
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot, roll},
    L1Origin, OriginProof,
};

/// An origin that was proven, and the counts with its deposits.
pub(crate) struct Proven {
    pub(crate) origin: L1Origin,
    pub(crate) counts: Counts,
}

impl<T: Config> Pallet<T> {
    /// Checks everything about an origin but that Ethereum has it. Changes nothing.
    pub(crate) fn prove_origin(proof: &OriginProof) -> Result<Proven, Error<T>> {
        let joined = Joined::<T>::get().ok_or(Error::<T>::NotJoined)?;
        let present = Origin::<T>::get().ok_or(Error::<T>::NotJoined)?;
        let header = trie::header(&proof.header).ok_or(Error::<T>::BadHeader)?;
        ensure!(header.origin.number > present.number, Error::<T>::NotNewer);

        let mut counts = Deposits::<T>::get();
        counts.known = u64::try_from(proof.deposit_hashes.len())
            .ok()
            .and_then(|new| counts.known.checked_add(new))
            .ok_or(Error::<T>::QueueFull)?;
        ensure!(counts.waiting() <= T::MaxWaiting::get(), Error::<T>::QueueFull);
        for hash in &proof.deposit_hashes {
            counts.rolling = roll(&counts.rolling, hash);
        }

        let storage = trie::storage_root(header.state_root, joined.portal, &proof.account_proof)
            .map_err(|_| Error::<T>::BadAccountProof)?;
        let count = trie::slot_value(storage, count_slot(), &proof.count_proof).map(trie::count);
        ensure!(count == Ok(counts.known), Error::<T>::BadCountProof);
        let rolling = trie::slot_value(storage, hash_slot(), &proof.hash_proof);
        ensure!(rolling == Ok(trie::word(counts.rolling)), Error::<T>::BadHashProof);
        Ok(Proven { origin: header.origin, counts })
    }

    /// Takes a new origin and puts the hashes of its deposits into the queue.
    pub(crate) fn take_origin(proof: &OriginProof) -> DispatchResult {
        let Proven { origin, counts } = Self::prove_origin(proof)?;
        let first = Deposits::<T>::get().known;
        for (position, hash) in (first..).zip(&proof.deposit_hashes) {
            Waiting::<T>::insert(position, hash);
        }
        Deposits::<T>::put(counts);
        Origin::<T>::put(origin);
        Self::deposit_event(Event::OriginAdvanced { origin, known: counts.known });
        Ok(())
    }
}
