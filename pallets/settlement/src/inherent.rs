//! The inherent: what an author takes of what the node offers, and what it does.

use crate::{trie, Advanced, Config, Deposits, Error, Pallet, Waiting};
use polkadot_sdk::{frame_support::ensure, sp_core::H256, sp_runtime::DispatchResult};
use tributary_primitives::bridge::{Advance, InherentError};

/// Where the pallet logs.
pub(crate) const LOG: &str = "runtime::settlement";

impl<T: Config> Pallet<T> {
    pub(crate) fn do_advance(advance: Advance) -> DispatchResult {
        ensure!(!Advanced::<T>::get(), Error::<T>::AlreadyAdvanced);
        advance.check_bounds().map_err(|_| Error::<T>::OutOfBounds)?;
        Advanced::<T>::put(true);
        if let Some(origin) = &advance.origin {
            Self::take_origin(origin)?;
        }
        if !advance.bodies.is_empty() {
            ensure!(!Self::is_paused(), Error::<T>::Paused);
            Self::execute_all(&advance.bodies)?;
        }
        Ok(())
    }

    /// What of the node's data makes a good inherent, so that no author ever makes a block that
    /// others must refuse.
    pub(crate) fn acceptable(mut offered: Advance) -> Option<Advance> {
        if let Err(bound) = offered.check_bounds() {
            if bound != tributary_primitives::bridge::AdvanceError::Nothing {
                log::warn!(target: LOG, "the node's L1 data is beyond a bound: {bound:?}");
            }
            return None;
        }
        let proven = offered.origin.as_ref().map(Self::prove_origin);
        if let Some(Err(error)) = &proven {
            log::warn!(target: LOG, "the node's L1 origin cannot be proven: {error:?}");
            offered.origin = None;
        }
        let new = offered.origin.as_ref().map_or(&[][..], |origin| &origin.deposit_hashes);
        let good = if Self::is_paused() { 0 } else { Self::matching(&offered, new) };
        if good < offered.bodies.len() {
            log::debug!(target: LOG, "{good} of {} deposits are next", offered.bodies.len());
        }
        offered.bodies.truncate(good);
        (offered.origin.is_some() || !offered.bodies.is_empty()).then_some(offered)
    }

    /// How many of the bodies are the next ones, if the `new` hashes were in the queue.
    fn matching(offered: &Advance, new: &[H256]) -> usize {
        let counts = Deposits::<T>::get();
        (counts.executed..)
            .zip(&offered.bodies)
            .take_while(|(position, body)| {
                let expected = match position.checked_sub(counts.known) {
                    None => Waiting::<T>::get(position),
                    Some(at) => usize::try_from(at).ok().and_then(|at| new.get(at)).copied(),
                };
                expected == Some(body.hash())
            })
            .count()
    }

    /// What the node has to be asked about an inherent in somebody else's block.
    pub(crate) fn question(advance: &Advance) -> Result<(), InherentError> {
        match &advance.origin {
            None => Ok(()),
            Some(proof) => Err(trie::header(&proof.header)
                .map_or(InherentError::Malformed, |header| {
                    InherentError::Unchecked(header.origin)
                })),
        }
    }
}
