//! # Marketplace
//!
//! Where models are offered and answers are paid for.
//!
//! ## Terminology
//!
//! - **Listing**: a model's prices per 1,000 tokens in and out, set by the model's owner.
//! - **Channel**: a deposit from which one consumer pays one worker.
//! - **Voucher**: the consumer's signed promise to pay at most `cumulative` units in total through a
//!   channel. Later vouchers replace earlier ones.
//! - **Redeemed**: what the worker has taken from the channel so far.
//!
//! ## Overview
//!
//! A consumer opens a channel to a registered worker; the deposit stays in the consumer's account, on
//! hold ([`HoldReason::Channel`]). For each answer the consumer signs a voucher off chain. Now
//! and then the worker redeems the latest one: the difference to what was redeemed before moves
//! to the revenue pot, from which the worker's batches are paid. The worker may take less than a
//! voucher promises, since the price of an answer is not known before it is given.
//!
//! The consumer closes a channel with a delay, in which the worker can still redeem; the worker
//! closes it at once. What was not redeemed is then free again.
//!
//! ## Properties
//!
//! - **Conservation**: a consumer's hold equals the sum of `deposit - redeemed` over the consumer's
//!   channels; what leaves the hold enters the revenue pot or the consumer's free balance.
//! - **Nothing is paid twice**: vouchers are cumulative, and `redeemed` only grows.
//! - **One meaning**: a voucher names its channel and is signed over the genesis hash; channels' ids are
//!   never used again. A voucher signed for another chain is no signature here.
//! - **Boundedness**: at most [`Config::MaxChannels`] channels per consumer.
//!
//! ## Example
//!
//! Ada opens a channel with 10 OPEN. She signs vouchers for 1, 2 and 3 OPEN in total. The worker's
//! answers cost 2.5 OPEN; it redeems the third voucher for a total of 2.5. Ada closes the
//! channel; after the delay anyone settles it and 7.5 OPEN are hers again.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod channels;
mod listings;
pub mod traits;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
pub mod types;
mod views;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use traits::{Models, Revenue, Workers};
pub use types::{Channel, Listing};
pub use weights::WeightInfo;

#[cfg(feature = "try-runtime")]
use polkadot_sdk::sp_runtime;
use polkadot_sdk::{frame_support, frame_system};

#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::vec::Vec;
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{hold, Inspect},
    };
    use frame_system::pallet_prelude::*;
    use tributary_primitives::{
        signing::Voucher,
        views::{ChannelView, ListingView},
        AccountId, Balance, BlockNumber, ChannelId, ModelId, MultiSignature, H256,
    };

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        polkadot_sdk::frame_system::Config<
        AccountId = AccountId,
        Hash = H256,
        RuntimeEvent: From<Event<Self>>,
    >
    {
        /// The runtime's hold reasons.
        type RuntimeHoldReason: From<HoldReason>;

        /// OPEN.
        type Currency: Inspect<AccountId, Balance = Balance>
            + hold::Mutate<AccountId, Reason = Self::RuntimeHoldReason>;

        /// Who owns which model.
        type Models: Models;

        /// Where redeemed money goes.
        type Revenue: Revenue;

        /// Which workers there are.
        type Workers: Workers;

        /// Least deposit of a channel, in units.
        #[pallet::constant]
        type MinDeposit: Get<Balance>;

        /// Most channels that one consumer has at a time.
        #[pallet::constant]
        type MaxChannels: Get<u32>;

        /// Blocks between a consumer's wish to close a channel and its settlement.
        #[pallet::constant]
        type CloseDelay: Get<BlockNumber>;

        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why money is on hold.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// It is the unredeemed part of payment channels' deposits.
        Channel,
    }

    /// The listed models.
    #[pallet::storage]
    pub type Listings<T: Config> = StorageMap<_, Blake2_128Concat, ModelId, Listing>;

    /// Id of the next channel.
    #[pallet::storage]
    pub type NextChannel<T: Config> = StorageValue<_, ChannelId, ValueQuery>;

    /// The channels that are not settled.
    #[pallet::storage]
    pub type Channels<T: Config> = StorageMap<_, Blake2_128Concat, ChannelId, Channel>;

    /// Each consumer's channels, oldest first.
    #[pallet::storage]
    pub type ChannelsOf<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        AccountId,
        BoundedVec<ChannelId, T::MaxChannels>,
        ValueQuery,
    >;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A model was listed, or its prices were changed.
        ModelListed {
            /// The model.
            model: ModelId,
            /// Price per 1,000 prompt tokens, in units.
            price_in: Balance,
            /// Price per 1,000 answer tokens, in units.
            price_out: Balance,
        },
        /// A model is no longer listed.
        ModelDelisted {
            /// The model.
            model: ModelId,
        },
        /// A channel was opened.
        ChannelOpened {
            /// The channel.
            channel: ChannelId,
            /// Who pays.
            consumer: AccountId,
            /// Who is paid.
            worker: AccountId,
            /// What can be paid, in units.
            deposit: Balance,
        },
        /// The consumer added to a channel's deposit.
        ChannelToppedUp {
            /// The channel.
            channel: ChannelId,
            /// How much was added, in units.
            amount: Balance,
            /// Everything ever put in, in units.
            deposit: Balance,
        },
        /// The worker redeemed a voucher.
        VoucherRedeemed {
            /// The channel.
            channel: ChannelId,
            /// Who is paid.
            worker: AccountId,
            /// How much moved to the revenue pot, in units.
            amount: Balance,
            /// Everything redeemed so far, in units.
            redeemed: Balance,
        },
        /// The consumer wants to close a channel; the worker can redeem until it is settled.
        ChannelClosing {
            /// The channel.
            channel: ChannelId,
            /// Block from which it can be settled.
            closes_at: BlockNumber,
        },
        /// A channel is gone.
        ChannelSettled {
            /// The channel.
            channel: ChannelId,
            /// Everything that was redeemed, in units.
            redeemed: Balance,
            /// What is the consumer's again, in units.
            released: Balance,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// There is no such model.
        UnknownModel,
        /// Only the model's owner lists and delists it.
        NotOwner,
        /// No price may be above the cap of OPEN.
        PriceAboveCap,
        /// The model is not listed.
        NotListed,
        /// No such worker is registered.
        UnknownWorker,
        /// The deposit is below the minimum.
        DepositTooSmall,
        /// The consumer has as many channels as are allowed; close one first.
        TooManyChannels,
        /// There is no such channel; it may be settled already.
        UnknownChannel,
        /// The amount is zero.
        ZeroAmount,
        /// Only the channel's consumer tops it up.
        NotConsumer,
        /// Only the channel's worker redeems its vouchers.
        NotWorker,
        /// Only the channel's consumer and worker close it.
        NotParty,
        /// The channel is closing and can be neither topped up nor closed again.
        AlreadyClosing,
        /// The channel must be closed before it is settled.
        NotClosing,
        /// The delay is not over.
        TooEarly,
        /// The consumer did not sign this voucher for this chain.
        BadSignature,
        /// No more than was redeemed before.
        StaleVoucher,
        /// More than the voucher promises.
        AboveVoucher,
        /// The voucher promises more than the deposit.
        VoucherAboveDeposit,
        /// A sum left the range of its type.
        Overflow,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(T::MinDeposit::get() > 0, "channels of nothing would fill the state");
            assert!(T::MaxChannels::get() > 0, "nobody could open a channel");
            assert!(T::CloseDelay::get() > 0, "workers need time to redeem");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Lists a model, or changes its prices: units per 1,000 prompt and answer tokens.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::list_model())]
        pub fn list_model(
            origin: OriginFor<T>,
            model: ModelId,
            #[pallet::compact] price_in: Balance,
            #[pallet::compact] price_out: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_list(&who, model, price_in, price_out)
        }

        /// Takes a model off the list. Open channels are not touched.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::delist_model())]
        pub fn delist_model(origin: OriginFor<T>, model: ModelId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_delist(&who, model)
        }

        /// Opens a channel to a worker with a deposit in units.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::open_channel())]
        pub fn open_channel(
            origin: OriginFor<T>,
            worker: AccountId,
            #[pallet::compact] deposit: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_open(who, worker, deposit).map(|_| ())
        }

        /// Adds units to a channel's deposit.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::top_up())]
        pub fn top_up(
            origin: OriginFor<T>,
            channel: ChannelId,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_top_up(&who, channel, amount)
        }

        /// Redeems a voucher, so that `total` units have been redeemed from the channel:
        /// `redeemed < total <= cumulative <= deposit`.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::redeem())]
        pub fn redeem(
            origin: OriginFor<T>,
            voucher: Voucher,
            signature: MultiSignature,
            #[pallet::compact] total: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_redeem(&who, &voucher, &signature, total)
        }

        /// Closes a channel: after a delay for the consumer, at once for the worker.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::close_channel())]
        pub fn close_channel(origin: OriginFor<T>, channel: ChannelId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_close(&who, channel)
        }

        /// Settles a channel whose delay is over: what was not redeemed is the consumer's again.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::settle_channel())]
        pub fn settle_channel(origin: OriginFor<T>, channel: ChannelId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_settle(channel)
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// The prices of a model.
        pub fn listing(model: ModelId) -> Option<ListingView> {
            Self::view_listing(model)
        }

        /// A channel that is not settled.
        pub fn channel(channel: ChannelId) -> Option<ChannelView> {
            Self::view_channel(channel)
        }

        /// A consumer's channels, oldest first.
        pub fn channels_of(consumer: AccountId) -> Vec<ChannelView> {
            Self::view_channels_of(consumer)
        }
    }
}
