//! What must hold at every block.

use crate::{
    Config, Deposits, Dispatchers, Failed, Joined, Nodes, Origin, Pallet, Paused, Root, Tree,
    Waiting, Withdrawals,
};
use polkadot_sdk::{
    frame_support::{ensure, traits::Get},
    sp_runtime::{traits::Saturating, TryRuntimeError},
};
use tributary_primitives::bridge::{
    tree::{node, zeros, DEPTH},
    L2_BRIDGE, L2_MESSENGER,
};

impl<T: Config> Pallet<T> {
    /// 1. Without contracts nothing has crossed; with them there is an origin, at or after the start.
    /// 2. The queue holds exactly the deposits that are known and not executed, and no more than it
    ///    may.
    /// 3. What can be sent back was executed, and is something.
    /// 4. There is a withdrawal for every leaf and no other, and each leaf is its hash.
    /// 5. Every complete node is the hash of its children, and there is none that is not complete.
    /// 6. The root is the tree's.
    /// 7. A pause is not longer than it may be.
    /// 8. Bridge and messenger are no dispatchers.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let (counts, tree) = (Deposits::<T>::get(), Tree::<T>::get());
        // 1.
        match (Joined::<T>::get(), Origin::<T>::get()) {
            (None, None) => {
                ensure!(counts.known == 0 && tree.length == 0, "something crossed to nowhere");
            }
            (Some(joined), Some(origin)) => {
                ensure!(origin.number >= joined.start.number, "the origin is before the start");
            }
            _ => return Err("an origin needs contracts, and they need one".into()),
        }
        // 2.
        ensure!(counts.executed <= counts.known, "more was executed than is known");
        ensure!(counts.waiting() <= T::MaxWaiting::get(), "the queue is too long");
        ensure!(
            Waiting::<T>::iter_keys().count() as u64 == counts.waiting(),
            "the queue is not as long as it should be"
        );
        ensure!(
            (counts.executed..counts.known).all(Waiting::<T>::contains_key),
            "the queue has a gap"
        );
        // 3.
        for (index, failed) in Failed::<T>::iter() {
            ensure!(index < counts.executed, "a deposit failed before it was executed");
            ensure!(failed.amount > 0, "nothing can be sent back");
        }
        // 4.
        ensure!(
            Withdrawals::<T>::iter_keys().count() == tree.length as usize,
            "there are more withdrawals than leaves, or fewer"
        );
        for (index, row) in Withdrawals::<T>::iter() {
            ensure!(
                Nodes::<T>::get((0, index)) == Some(row.at(index).hash()),
                "a leaf is not the hash of its withdrawal"
            );
        }
        // 5.
        for ((level, at), hash) in Nodes::<T>::iter() {
            let end = u64::from(at)
                .saturating_add(1)
                .saturating_mul(1u64.checked_shl(level.into()).unwrap_or(u64::MAX));
            ensure!(end <= u64::from(tree.length), "a node is complete before its leaves are");
            let Some(below) = level.checked_sub(1) else { continue };
            let left = Nodes::<T>::get((below, at.saturating_mul(2)));
            let right = Nodes::<T>::get((below, at.saturating_mul(2).saturating_add(1)));
            let children = left.zip(right).ok_or("a node has no children")?;
            ensure!(hash == node(&children.0, &children.1), "a node is not its children's hash");
        }
        // 6.
        let mut level: alloc::vec::Vec<_> =
            (0..tree.length).filter_map(|index| Nodes::<T>::get((0, index))).collect();
        for zero in zeros().iter().take(DEPTH) {
            level = level
                .chunks(2)
                .map(|pair| node(pair.first().unwrap_or(zero), pair.get(1).unwrap_or(zero)))
                .collect();
        }
        ensure!(level.first().copied() == Root::<T>::get(), "the root is not the tree's");
        ensure!(tree.length == 0 || Root::<T>::get() == Some(tree.root()), "the frontier is off");
        // 7.
        if let Some(pause) = Paused::<T>::get() {
            let length = pause.until.saturating_sub(pause.since);
            ensure!(length < T::MaxPause::get(), "a pause is too long");
        }
        // 8.
        ensure!(
            ![L2_BRIDGE, L2_MESSENGER].iter().any(Dispatchers::<T>::contains_key),
            "bridge or messenger is a dispatcher"
        );
        Ok(())
    }
}
