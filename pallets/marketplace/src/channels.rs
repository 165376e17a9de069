//! The life of a channel: open, top up, redeem, close, settle.

use crate::{
    types::Channel, Channels, ChannelsOf, Config, Error, Event, HoldReason, NextChannel, Pallet,
    Revenue, Workers,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::{
            fungible::hold::Mutate as _,
            tokens::{Fortitude, Precision, Restriction},
            Get,
        },
    },
    frame_system,
    sp_runtime::{traits::Zero, DispatchError, DispatchResult, SaturatedConversion},
};
use tributary_primitives::{
    signing::{Signable, Voucher},
    AccountId, Balance, BlockNumber, ChannelId, MultiSignature, H256,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_open(
        consumer: AccountId,
        worker: AccountId,
        deposit: Balance,
    ) -> Result<ChannelId, DispatchError> {
        ensure!(T::Workers::is_registered(&worker), Error::<T>::UnknownWorker);
        ensure!(deposit >= T::MinDeposit::get(), Error::<T>::DepositTooSmall);
        let id = NextChannel::<T>::get();
        let next = id.next().ok_or(Error::<T>::Overflow)?;
        ChannelsOf::<T>::try_mutate(&consumer, |ids| ids.try_push(id))
            .map_err(|_| Error::<T>::TooManyChannels)?;
        T::Currency::hold(&HoldReason::Channel.into(), &consumer, deposit)?;
        NextChannel::<T>::put(next);
        let channel = Channel {
            consumer: consumer.clone(),
            worker: worker.clone(),
            deposit,
            redeemed: 0,
            closes_at: None,
        };
        Channels::<T>::insert(id, channel);
        Self::deposit_event(Event::ChannelOpened { channel: id, consumer, worker, deposit });
        Ok(id)
    }

    pub(crate) fn do_top_up(who: &AccountId, id: ChannelId, amount: Balance) -> DispatchResult {
        ensure!(amount > 0, Error::<T>::ZeroAmount);
        let mut channel = Self::load(id)?;
        ensure!(*who == channel.consumer, Error::<T>::NotConsumer);
        ensure!(channel.closes_at.is_none(), Error::<T>::AlreadyClosing);
        let deposit = channel.deposit.checked_add(amount).ok_or(Error::<T>::Overflow)?;
        T::Currency::hold(&HoldReason::Channel.into(), who, amount)?;
        channel.deposit = deposit;
        Channels::<T>::insert(id, channel);
        Self::deposit_event(Event::ChannelToppedUp { channel: id, amount, deposit });
        Ok(())
    }

    pub(crate) fn do_redeem(
        who: &AccountId,
        voucher: &Voucher,
        signature: &MultiSignature,
        total: Balance,
    ) -> DispatchResult {
        let id = voucher.channel;
        let mut channel = Self::load(id)?;
        ensure!(*who == channel.worker, Error::<T>::NotWorker);
        let amount = total
            .checked_sub(channel.redeemed)
            .filter(|amount| *amount > 0)
            .ok_or(Error::<T>::StaleVoucher)?;
        ensure!(total <= voucher.cumulative, Error::<T>::AboveVoucher);
        ensure!(voucher.cumulative <= channel.deposit, Error::<T>::VoucherAboveDeposit);
        ensure!(
            voucher.verify(&Self::genesis_hash(), signature, &channel.consumer),
            Error::<T>::BadSignature
        );

        // `Force`, because a freeze that the consumer put on the account later must not keep
        // the worker from what was promised.
        T::Currency::transfer_on_hold(
            &HoldReason::Channel.into(),
            &channel.consumer,
            &T::Revenue::pot(),
            amount,
            Precision::Exact,
            Restriction::Free,
            Fortitude::Force,
        )?;
        T::Revenue::redeemed(who, amount);
        channel.redeemed = total;
        Channels::<T>::insert(id, channel);
        Self::deposit_event(Event::VoucherRedeemed {
            channel: id,
            worker: who.clone(),
            amount,
            redeemed: total,
        });
        Ok(())
    }

    pub(crate) fn do_close(who: &AccountId, id: ChannelId) -> DispatchResult {
        let mut channel = Self::load(id)?;
        if *who == channel.worker {
            return Self::settle(id, &channel);
        }
        ensure!(*who == channel.consumer, Error::<T>::NotParty);
        ensure!(channel.closes_at.is_none(), Error::<T>::AlreadyClosing);
        let closes_at = Self::now().saturating_add(T::CloseDelay::get());
        channel.closes_at = Some(closes_at);
        Channels::<T>::insert(id, channel);
        Self::deposit_event(Event::ChannelClosing { channel: id, closes_at });
        Ok(())
    }

    pub(crate) fn do_settle(id: ChannelId) -> DispatchResult {
        let channel = Self::load(id)?;
        let closes_at = channel.closes_at.ok_or(Error::<T>::NotClosing)?;
        ensure!(Self::now() >= closes_at, Error::<T>::TooEarly);
        Self::settle(id, &channel)
    }

    fn settle(id: ChannelId, channel: &Channel) -> DispatchResult {
        let released = channel.rest();
        if released > 0 {
            T::Currency::release(
                &HoldReason::Channel.into(),
                &channel.consumer,
                released,
                Precision::Exact,
            )?;
        }
        Channels::<T>::remove(id);
        ChannelsOf::<T>::mutate_exists(&channel.consumer, |ids| {
            if let Some(list) = ids {
                list.retain(|other| *other != id);
                if list.is_empty() {
                    *ids = None;
                }
            }
        });
        Self::deposit_event(Event::ChannelSettled {
            channel: id,
            redeemed: channel.redeemed,
            released,
        });
        Ok(())
    }

    fn load(id: ChannelId) -> Result<Channel, DispatchError> {
        Channels::<T>::get(id).ok_or(Error::<T>::UnknownChannel.into())
    }

    fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Hash of the genesis block, which every signature binds.
    pub(crate) fn genesis_hash() -> H256 {
        frame_system::Pallet::<T>::block_hash(
            frame_system::pallet_prelude::BlockNumberFor::<T>::zero(),
        )
    }
}
