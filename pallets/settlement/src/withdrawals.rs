//! Withdrawals: leaves of the tree, and what the mountain range says of it.

use crate::{
    Config, Error, Event, Failed, Joined, MessageData, Nodes, OpenBridge, Origin, Pallet, Root,
    Snapshot, Tree, WithdrawalRow, Withdrawals,
};
use polkadot_sdk::{
    frame_support::{ensure, traits::Get},
    sp_core::H160,
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{
    bridge::{
        calls::FinalizeBridge, l1_account, sender_address, tree::empty_root, L1Config, LeafExtra,
        L2_BRIDGE, L2_OPEN, OPEN_WITHDRAWAL_GAS,
    },
    AccountId, Balance,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_withdraw(who: AccountId, to: H160, amount: Balance) -> DispatchResult {
        let joined = Self::open_for(to)?;
        ensure!(amount >= T::MinWithdrawal::get(), Error::<T>::TooLittle);
        T::Open::burn_bridged(&who, amount)?;
        let row = open_withdrawal::<T>(&joined, sender_address(&who), to, amount, &who)?;
        let withdrawal = Self::append(row)?;
        Self::deposit_event(Event::Withdrawn { who, to, amount, withdrawal });
        Ok(())
    }

    pub(crate) fn do_send_message(
        who: AccountId,
        target: H160,
        gas_limit: u64,
        data: MessageData,
    ) -> DispatchResult {
        Self::open_for(target)?;
        ensure!(gas_limit <= T::MaxGas::get(), Error::<T>::TooMuchGas);
        let sender = sender_address(&who);
        let withdrawal = Self::append(WithdrawalRow { sender, target, gas_limit, data })?;
        Self::deposit_event(Event::MessageSent { who, target, withdrawal });
        Ok(())
    }

    pub(crate) fn do_refund(index: u64) -> DispatchResult {
        ensure!(!Self::is_paused(), Error::<T>::Paused);
        let joined = Joined::<T>::get().ok_or(Error::<T>::NotJoined)?;
        let failed = Failed::<T>::take(index).ok_or(Error::<T>::NoSuchDeposit)?;
        let (to, amount) = (failed.from, failed.amount);
        let row = open_withdrawal::<T>(&joined, to, to, amount, &l1_account(to))?;
        let withdrawal = Self::append(row)?;
        Self::deposit_event(Event::DepositRefunded { index, to, amount, withdrawal });
        Ok(())
    }

    /// The contracts, if the bridge works and `target` is none of them.
    fn open_for(target: H160) -> Result<L1Config, DispatchError> {
        ensure!(!Self::is_paused(), Error::<T>::Paused);
        let joined = Joined::<T>::get().ok_or(Error::<T>::NotJoined)?;
        let own = [joined.portal, joined.bridge, joined.messenger, joined.token];
        ensure!(!target.is_zero() && !own.contains(&target), Error::<T>::BadTarget);
        Ok(joined)
    }

    /// Adds a leaf to the tree; returns its position.
    fn append(row: WithdrawalRow) -> Result<u32, DispatchError> {
        let mut tree = Tree::<T>::get();
        let (sender, target) = (row.sender, row.target);
        let hash = row.clone().at(tree.length).hash();
        let index = tree
            .append(hash, |level, at, node| Nodes::<T>::insert((level, at), node))
            .ok_or(Error::<T>::TreeFull)?;
        Root::<T>::put(tree.root());
        Tree::<T>::put(tree);
        Withdrawals::<T>::insert(index, row);
        Self::deposit_event(Event::WithdrawalAppended { index, hash, sender, target });
        Ok(index)
    }

    /// What the leaf of this block will say if nothing changes any more.
    pub(crate) fn present_extra() -> LeafExtra {
        let origin = Origin::<T>::get();
        LeafExtra {
            domain: Self::domain(),
            withdrawal_root: Root::<T>::get().unwrap_or_else(empty_root),
            l1_origin_number: origin.map_or(0, |origin| origin.number),
            l1_origin_hash: origin.map(|origin| origin.hash).unwrap_or_default(),
        }
    }

    /// What the mountain range says of the last block: the bridge as it was at its end.
    pub fn leaf_extra() -> LeafExtra {
        Snapshot::<T>::get().unwrap_or_else(Self::present_extra)
    }
}

/// The withdrawal that has the bridge on Ethereum release OPEN.
fn open_withdrawal<T: Config>(
    joined: &L1Config,
    from: H160,
    to: H160,
    amount: Balance,
    account: &AccountId,
) -> Result<WithdrawalRow, DispatchError> {
    let call = FinalizeBridge {
        local_token: joined.token,
        remote_token: L2_OPEN,
        from,
        to,
        amount: amount.into(),
        extra_data: <AccountId as AsRef<[u8]>>::as_ref(account).to_vec(),
    };
    Ok(WithdrawalRow {
        sender: L2_BRIDGE,
        target: joined.bridge,
        gas_limit: OPEN_WITHDRAWAL_GAS,
        // The call has 260 bytes, of 4,096.
        data: call.encode().try_into().map_err(|_| Error::<T>::OutOfBounds)?,
    })
}
