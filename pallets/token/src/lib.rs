//! # Token
//!
//! Owns one sentence: *no more than 1,000,000,000 OPEN ever exist*.
//!
//! ## Terminology
//!
//! - **Issuance**: what exists now.
//! - **Genesis issuance**: what existed when the chain began.
//! - **Emission**: new OPEN for validators and those who nominate them, by a schedule whose whole
//!   budget is known beforehand ([`EmissionCurve`]).
//! - **Emitted**: everything that the schedule has promised so far, whether it was claimed or not.
//! - **Bridged in, bridged out**: what was minted here because Ethereum locked it, and what was burnt
//!   here because Ethereum is to release it.
//! - **Fee**: what an extrinsic, a sponsored call or the platform's share costs. Each is split into
//!   a part that is burnt, a part for the treasury and a part for the block's author ([`FeeSplit`]).
//!
//! ## Overview
//!
//! Issuance changes in these ways only: genesis, emission, burning, and what crosses the bridge to
//! Ethereum. The pallet counts each of them, so that the cap can be checked at any block without looking at a single account. Rewards of
//! validators are minted when somebody claims them, sometimes eras later; they count as emitted from
//! the moment they were promised.
//!
//! ## Properties
//!
//! - **Cap**: `genesis + emitted + in − burnt − out ≤ CAP`, at every block and for ever, because the
//!   genesis refuses a chain whose allocation and emission budget together are above the cap, and the
//!   bridge brings no more in than was outside.
//! - **Bound**: `issuance ≤ genesis + emitted + in − burnt − out`. It is not an equality: rewards that
//!   nobody claims, dust and slashes make issuance smaller.
//! - **Both chains**: when the chain starts, `genesis + budget` lie locked on Ethereum and the rest of
//!   the cap is in circulation there: `CAP − genesis − budget − in + out`. That is never negative, and
//!   with what exists here and may still be emitted it is never above the cap.
//! - **Monotony**: what is emitted, burnt, bridged in and bridged out never falls.
//! - **Conservation**: the parts of a fee add up to the fee, to the last unit.
//!
//! ## Example
//!
//! A fee of 10 units under a split of 50 % burnt, 20 % treasury, 30 % author: 5 units cease to
//! exist, 2 go to the treasury, 3 to the author. Of a fee of 1 unit the whole unit goes to the
//! largest remainder: it is burnt.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

extern crate alloc;

pub use pallet::*;
pub use traits::{EmissionCurve, Halving};
pub use types::{FeeParts, FeeSplit};
pub use weights::WeightInfo;

mod fees;
#[cfg(test)]
mod mock;
mod supply;
#[cfg(test)]
mod tests;
mod traits;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
mod types;
pub mod weights;

// The macro writes functions without documentation and arithmetic of its own.
#[allow(missing_docs)]
#[polkadot_sdk::frame_support::pallet]
pub mod pallet {
    use super::{EmissionCurve, FeeSplit, WeightInfo};
    use polkadot_sdk::{
        frame_support::{
            self,
            pallet_prelude::*,
            traits::{fungible, EnsureOrigin},
        },
        frame_system::pallet_prelude::*,
    };
    use tributary_primitives::{views::SupplyView, AccountId, Balance, CAP};

    /// Version of the storage layout.
    pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        polkadot_sdk::frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>>
    {
        /// OPEN.
        type Currency: fungible::Mutate<AccountId, Balance = Balance>
            + fungible::Balanced<AccountId>;
        /// Who may change the fee split.
        type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Account of the treasury.
        type Treasury: Get<AccountId>;
        /// Author of the present block, when it is known.
        type Author: Get<Option<AccountId>>;
        /// Schedule of the emission.
        type Emission: EmissionCurve;
        /// Longest era that is paid for, in milliseconds. A clock that jumps must not bring years of
        /// emission forward.
        #[pallet::constant]
        type MaxEraMillis: Get<u64>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Issuance at genesis, in units.
    #[pallet::storage]
    pub type GenesisIssuance<T> = StorageValue<_, Balance, ValueQuery>;

    /// Promised to validators so far, in units, whether claimed or not. Never falls.
    #[pallet::storage]
    pub type Emitted<T> = StorageValue<_, Balance, ValueQuery>;

    /// How far the emission's schedule has come: the milliseconds of all eras paid so far.
    #[pallet::storage]
    pub type EmissionClock<T> = StorageValue<_, u64, ValueQuery>;

    /// Burnt from fees so far, in units. Never falls.
    #[pallet::storage]
    pub type FeesBurnt<T> = StorageValue<_, Balance, ValueQuery>;

    /// Burnt by holders of their own will so far, in units. Never falls.
    #[pallet::storage]
    pub type HoldersBurnt<T> = StorageValue<_, Balance, ValueQuery>;

    /// Minted here against OPEN locked on Ethereum so far, in units. Never falls.
    #[pallet::storage]
    pub type BridgedIn<T> = StorageValue<_, Balance, ValueQuery>;

    /// Burnt here to be released on Ethereum so far, in units. Never falls.
    #[pallet::storage]
    pub type BridgedOut<T> = StorageValue<_, Balance, ValueQuery>;

    /// How fees are split.
    #[pallet::storage]
    pub type Split<T> = StorageValue<_, FeeSplit, ValueQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// How fees are split at first.
        pub fee_split: FeeSplit,
        /// No field depends on the runtime.
        #[serde(skip)]
        pub _runtime: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            assert!(self.fee_split.is_whole(), "the fee split must add up to 1,000,000 ppm");
            let issuance = Pallet::<T>::issuance();
            assert!(
                issuance.checked_add(Pallet::<T>::budget()).is_some_and(|all| all <= CAP),
                "the allocation at genesis and the emission budget together are above the cap",
            );
            GenesisIssuance::<T>::put(issuance);
            Split::<T>::put(self.fee_split);
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The split of fees was changed.
        FeeSplitSet {
            /// The split from here on.
            split: FeeSplit,
        },
        /// A fee was split.
        FeeTaken {
            /// Units that ceased to exist.
            burnt: Balance,
            /// Units that the treasury got.
            treasury: Balance,
            /// Units that the block's author got.
            author: Balance,
        },
        /// A holder burnt some of their own OPEN.
        Burnt {
            /// The holder.
            who: AccountId,
            /// Units.
            amount: Balance,
        },
        /// OPEN that was locked on Ethereum exists here.
        BridgedIn {
            /// Who got it.
            who: AccountId,
            /// Units.
            amount: Balance,
        },
        /// OPEN ceased to exist here, to be released on Ethereum.
        BridgedOut {
            /// Whose it was.
            who: AccountId,
            /// Units.
            amount: Balance,
        },
        /// An era's reward was promised to the validators.
        EraEmitted {
            /// Units.
            amount: Balance,
            /// Everything promised so far, in units.
            total: Balance,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The three parts of a split must add up to 1,000,000 parts per million.
        SplitNotWhole,
        /// The amount must be above zero.
        NothingToBurn,
        /// No more than what circulates on Ethereum can come in.
        AboveCap,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(Self::budget() <= CAP, "the emission budget is above the cap");
            assert!(T::MaxEraMillis::get() > 0, "eras must have a length");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(
            _: BlockNumberFor<T>,
        ) -> Result<(), polkadot_sdk::sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Changes how fees are split. Needs the admin's origin.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::set_fee_split())]
        pub fn set_fee_split(origin: OriginFor<T>, split: FeeSplit) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            Self::do_set_fee_split(split)
        }

        /// Burns `amount` units of the caller's own OPEN, for ever.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::burn())]
        pub fn burn(origin: OriginFor<T>, #[pallet::compact] amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_burn(&who, amount)
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// How much OPEN there is and may be.
        pub fn supply() -> SupplyView {
            Self::view_supply()
        }

        /// How fees are split.
        pub fn fee_split() -> FeeSplit {
            Split::<T>::get()
        }
    }
}
