//! What root and the offices decide: contracts, pauses, dispatchers.

use crate::{
    Config, Deposits, Dispatchers, Error, Event, Joined, MessageHandler, Origin, Pallet, Pause,
    Paused, Tree, WeightInfo,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{EnsureOrigin, Get},
    },
    frame_system::{
        pallet_prelude::{BlockNumberFor, OriginFor},
        Pallet as System,
    },
    sp_core::{H160, H256},
    sp_runtime::{
        traits::{One, SaturatedConversion, Saturating, Zero},
        DispatchError, DispatchResult,
    },
};
use tributary_primitives::bridge::{
    domain,
    origin::{MAX_BODIES, MAX_BODY_BYTES, MAX_HASHES, MAX_NODES},
    Advance, L1Config, L1Origin, L2_BRIDGE, L2_MESSENGER,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_configure(config: L1Config) -> DispatchResult {
        let contracts = [config.portal, config.bridge, config.messenger, config.token];
        let distinct = contracts.iter().enumerate().all(|(at, one)| {
            !one.is_zero() && contracts.iter().skip(at.saturating_add(1)).all(|other| other != one)
        });
        ensure!(distinct && config.chain_id > 0, Error::<T>::BadConfig);
        // Withdrawals name no portal: one that was finalised at the old one could be finalised at the
        // new one again. Deposits are counted by the portal.
        let crossed = Deposits::<T>::get().known > 0 || Tree::<T>::get().length > 0;
        ensure!(!crossed, Error::<T>::InUse);
        Joined::<T>::put(config);
        let (number, hash) = (config.start.number, config.start.hash);
        Origin::<T>::put(L1Origin { number, hash, timestamp: 0 });
        Self::deposit_event(Event::Configured { config, domain: Self::domain() });
        Ok(())
    }

    /// What leaves say of chain and portal. As long as the chain is joined to no portal, they name
    /// chain 0 and the zero address.
    pub(crate) fn domain() -> H256 {
        let genesis = System::<T>::block_hash(BlockNumberFor::<T>::zero());
        let (chain_id, portal) =
            Joined::<T>::get().map_or((0, H160::zero()), |joined| (joined.chain_id, joined.portal));
        domain(chain_id, portal, genesis)
    }

    /// Whether the bridge stands still in this block.
    pub fn is_paused() -> bool {
        Paused::<T>::get().is_some_and(|pause| pause.until >= System::<T>::block_number())
    }

    /// Lets those pass who may pause; says whether it was the admin.
    pub(crate) fn ensure_may_pause(origin: OriginFor<T>) -> Result<bool, DispatchError> {
        match T::AdminOrigin::try_origin(origin) {
            Ok(_) => Ok(true),
            Err(origin) => {
                T::PauseOrigin::ensure_origin(origin)?;
                Ok(false)
            }
        }
    }

    pub(crate) fn do_pause(until: BlockNumberFor<T>, by_admin: bool) -> DispatchResult {
        let now = System::<T>::block_number();
        ensure!(until >= now, Error::<T>::PauseInPast);
        let since = match Paused::<T>::get() {
            Some(present) if present.until >= now => present.since,
            // Otherwise one office could let the bridge stand still for ever.
            Some(last) if !by_admin => {
                let rested = now > last.until.saturating_add(T::MaxPause::get());
                ensure!(rested, Error::<T>::PauseTooSoon);
                now
            }
            _ => now,
        };
        ensure!(until.saturating_sub(since) < T::MaxPause::get(), Error::<T>::PauseTooLong);
        Paused::<T>::put(Pause { since, until });
        Self::deposit_event(Event::BridgePaused { until });
        Ok(())
    }

    pub(crate) fn do_unpause() -> DispatchResult {
        ensure!(Self::is_paused(), Error::<T>::NotPaused);
        let ended = System::<T>::block_number().saturating_sub(One::one());
        Paused::<T>::mutate_extant(|pause| pause.until = ended);
        Self::deposit_event(Event::BridgeUnpaused);
        Ok(())
    }

    pub(crate) fn do_allow(dispatcher: H160) -> DispatchResult {
        ensure!(![L2_BRIDGE, L2_MESSENGER].contains(&dispatcher), Error::<T>::NotAllowed);
        ensure!(!Dispatchers::<T>::contains_key(dispatcher), Error::<T>::AlreadyAllowed);
        Dispatchers::<T>::insert(dispatcher, ());
        Self::deposit_event(Event::DispatcherAllowed { dispatcher });
        Ok(())
    }

    pub(crate) fn do_disallow(dispatcher: H160) -> DispatchResult {
        Dispatchers::<T>::take(dispatcher).ok_or(Error::<T>::NotAllowed)?;
        Self::deposit_event(Event::DispatcherDisallowed { dispatcher });
        Ok(())
    }

    /// What an inherent costs at most.
    pub(crate) fn advance_weight(
        advance: &Advance,
    ) -> polkadot_sdk::frame_support::weights::Weight {
        let (nodes, hashes) = advance.origin.as_ref().map_or((0, 0), |origin| {
            let nodes = [&origin.account_proof, &origin.count_proof, &origin.hash_proof]
                .iter()
                .fold(0usize, |sum, proof| sum.saturating_add(proof.len()));
            (nodes, origin.deposit_hashes.len())
        });
        Self::weight_of(nodes, hashes, advance.bodies.len(), advance.body_bytes())
    }

    fn weight_of(
        nodes: usize,
        hashes: usize,
        bodies: usize,
        bytes: usize,
    ) -> polkadot_sdk::frame_support::weights::Weight {
        let [nodes, hashes, bodies, bytes] =
            [nodes, hashes, bodies, bytes].map(|count| count.saturated_into::<u32>());
        T::WeightInfo::advance(nodes, hashes, bodies, bytes)
            .saturating_add(T::Handler::weight().saturating_mul(bodies.into()))
    }

    pub(crate) fn check_constants() {
        assert!(T::MinWithdrawal::get() > 0, "a withdrawal of nothing costs Ethereum gas");
        assert!(!T::MaxPause::get().is_zero(), "a pause has a length");
        assert!(
            T::MaxWaiting::get() >= MAX_HASHES as u64,
            "the queue has no room for what one inherent may bring",
        );
        let worst =
            Self::weight_of(MAX_NODES.saturating_mul(3), MAX_HASHES, MAX_BODIES, MAX_BODY_BYTES);
        let limits: polkadot_sdk::frame_system::limits::BlockWeights = T::BlockWeights::get();
        assert!(
            worst.all_lte(limits.max_block.saturating_div(2)),
            "the largest inherent takes {worst:?}, more than half of a block",
        );
    }
}
