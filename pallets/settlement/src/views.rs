//! Read-only pictures of the state for nodes, relayers and tools.

use crate::{
    Config, Deposits, Failed, Joined, Nodes, Origin, Pallet, Paused, Root, Tree, Withdrawals,
};
use polkadot_sdk::{sp_core::H256, sp_runtime::traits::SaturatedConversion};
use tributary_primitives::{
    bridge::{
        tree::{self, empty_root},
        FailedDepositView, SettlementView, Withdrawal,
    },
    views::Text,
};

impl<T: Config> Pallet<T> {
    /// The state of the bridge.
    pub fn view_state() -> SettlementView {
        let counts = Deposits::<T>::get();
        SettlementView {
            config: Joined::<T>::get(),
            domain: Self::domain(),
            origin: Origin::<T>::get(),
            known: counts.known,
            deposits_hash: counts.rolling,
            executed: counts.executed,
            withdrawals: Tree::<T>::get().length,
            withdrawal_root: Root::<T>::get().unwrap_or_else(empty_root),
            paused_until: Paused::<T>::get()
                .filter(|_| Self::is_paused())
                .map(|pause| pause.until.saturated_into()),
        }
    }

    /// The withdrawal at a position.
    pub fn view_withdrawal(index: u32) -> Option<Withdrawal> {
        Withdrawals::<T>::get(index).map(|row| row.at(index))
    }

    /// The proof of the withdrawal at a position, for the tree as it was with `leaf_count` leaves;
    /// `None` if there is no such withdrawal or there never were so many.
    pub fn view_withdrawal_proof(index: u32, leaf_count: u32) -> Option<[H256; tree::DEPTH]> {
        if leaf_count > Tree::<T>::get().length {
            return None;
        }
        tree::prove(index, leaf_count, |level, at| Nodes::<T>::get((level, at)))
    }

    /// The failed deposit at a position, if it can be sent back.
    pub fn view_failed_deposit(index: u64) -> Option<FailedDepositView> {
        Failed::<T>::get(index).map(|failed| FailedDepositView {
            index,
            from: failed.from,
            amount: failed.amount,
            reason: failed.reason,
            text: Text::from(failed.reason.text()),
        })
    }
}
