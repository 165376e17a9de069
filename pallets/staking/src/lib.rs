//! # Stakes
//!
//! Stake behind data, models and workers.
//!
//! ## Terminology
//!
//! - **Subject**: what stake stands behind: a datanet, a contribution, a model or a worker.
//! - **Pool**: everything staked behind one subject.
//! - **Position**: what one account staked behind one subject.
//! - **Active** stake counts and earns rewards; **unbonding** stake is on its way out in **chunks**,
//!   earns nothing, and can be withdrawn once it has **matured**.
//! - **Share**: a part of a whole in parts per million.
//!
//! ## Overview
//!
//! Staked money stays in the staker's account, on hold ([`HoldReason::Stake`]); an account with
//! several positions has one hold that is the sum of them. Leaving takes
//! [`Config::UnbondingPeriod`] blocks, in which the stake can still be slashed. A slash takes the
//! same share of every position's active stake and of every chunk that has not matured; a part
//! of it goes to the reporter, the rest to the treasury. Rewards wait in the pallet's pot
//! ([`Pallet::pot`]) until the stakers claim them.
//!
//! Other pallets stake and slash through [`Pallet::do_bond`], [`Pallet::do_slash`] and
//! [`Pallet::reward`]; the calls are for people.
//!
//! ## Properties
//!
//! - **Conservation**: holds equal the sum of all positions. What is slashed arrives at the reporter
//!   and the treasury to the unit. Rewards are accounted in 2^-128 units and what does not divide
//!   evenly is carried on, so that rewards in = claimed + earned + carried, exactly.
//! - **Fairness**: a reward is shared by active stake at that moment, a slash by stake that is
//!   within reach at that moment; how a staker divides stake into chunks changes neither.
//! - **Finality**: matured stake is out of reach of any slash.
//! - **Boundedness**: at most [`Config::MaxStakers`] positions per pool and
//!   [`Config::MaxUnbonding`] chunks per position bound every loop.
//! - **Openness**: the last place in a worker's pool is kept for the worker, so that others cannot
//!   shut a worker out of its own pool.
//!
//! ## Example
//!
//! Ada stakes 30 and Ben 10 OPEN behind a model. A reward of 4 OPEN gives Ada 3 and Ben 1 to claim.
//! Ben unbonds; before his stake matures, the model is slashed by 10 %: Ada loses 3 OPEN, Ben 1.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod bonding;
mod rewards;
mod slashing;
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
pub use traits::Subjects;
pub use types::{Chunk, Pool, Position};
pub use weights::WeightInfo;

use polkadot_sdk::{frame_support, frame_system, sp_runtime};

#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::{
        pallet_prelude::*,
        traits::{
            fungible::{hold, Balanced, Mutate},
            EnsureOrigin,
        },
        PalletId,
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::traits::AccountIdConversion;
    use tributary_primitives::{
        money::PPM, views::PositionView, AccountId, Balance, BlockNumber, Subject,
    };

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        polkadot_sdk::frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>>
    {
        /// The runtime's hold reasons.
        type RuntimeHoldReason: From<HoldReason>;

        /// OPEN.
        type Currency: Mutate<AccountId, Balance = Balance>
            + Balanced<AccountId>
            + hold::Mutate<AccountId, Reason = Self::RuntimeHoldReason>
            + hold::Balanced<AccountId>;

        /// Which subjects there are.
        type Subjects: Subjects;

        /// Who may slash by a call.
        type SlashOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// Account that gets what is slashed, less the reporter's share.
        type Treasury: Get<AccountId>;

        /// Gives the account that keeps rewards until they are claimed. Genesis must endow that
        /// account with the existential deposit: without it a reward below the deposit is refused,
        /// and so is the claim that would empty the account.
        #[pallet::constant]
        type PalletId: Get<PalletId>;

        /// Least active stake of a position, in units.
        #[pallet::constant]
        type MinStake: Get<Balance>;

        /// Blocks between unbonding and withdrawing.
        #[pallet::constant]
        type UnbondingPeriod: Get<BlockNumber>;

        /// Reporter's share of a slash, in parts per million.
        #[pallet::constant]
        type ReporterShare: Get<u32>;

        /// Most positions in a pool.
        #[pallet::constant]
        type MaxStakers: Get<u32>;

        /// Most chunks of a position that wait to mature.
        #[pallet::constant]
        type MaxUnbonding: Get<u32>;

        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why money is on hold.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// It is staked, or was and has not been withdrawn.
        Stake,
    }

    /// Everything staked behind a subject.
    #[pallet::storage]
    pub type Pools<T: Config> = StorageMap<_, Blake2_128Concat, Subject, Pool>;

    /// What an account staked behind a subject.
    #[pallet::storage]
    pub type Positions<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        Subject,
        Blake2_128Concat,
        AccountId,
        Position<T::MaxUnbonding>,
    >;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Stake was put behind a subject.
        Bonded {
            /// What it stands behind.
            subject: Subject,
            /// Who staked.
            who: AccountId,
            /// How much was added, in units.
            amount: Balance,
        },
        /// Stake began to leave; it no longer earns and can still be slashed.
        Unbonded {
            /// What it stood behind.
            subject: Subject,
            /// Whose stake it is.
            who: AccountId,
            /// How much is leaving, in units.
            amount: Balance,
            /// Block from which it can be withdrawn.
            until: BlockNumber,
        },
        /// Matured stake is free again.
        Withdrawn {
            /// What it stood behind.
            subject: Subject,
            /// Whose stake it was.
            who: AccountId,
            /// How much was set free, in units.
            amount: Balance,
        },
        /// Stakers of a subject earned a reward.
        Rewarded {
            /// Whose stakers earned it.
            subject: Subject,
            /// The reward, in units.
            amount: Balance,
        },
        /// A staker was paid rewards.
        RewardsClaimed {
            /// What the stake stands behind.
            subject: Subject,
            /// Who was paid.
            who: AccountId,
            /// How much was paid, in units.
            amount: Balance,
        },
        /// One position lost its part of a slash.
        StakerSlashed {
            /// What the stake stood behind.
            subject: Subject,
            /// Whose stake it was.
            who: AccountId,
            /// How much was taken, in units.
            amount: Balance,
        },
        /// A subject was slashed.
        Slashed {
            /// What the stake stood behind.
            subject: Subject,
            /// Share of the stake that was to be taken, in parts per million.
            ppm: u32,
            /// Who reported, if anybody.
            reporter: Option<AccountId>,
            /// What the reporter got, in units.
            to_reporter: Balance,
            /// What the treasury got, in units.
            to_treasury: Balance,
        },
        /// A slash that another pallet asked for could not be carried out; nothing changed.
        SlashFailed {
            /// What was to be slashed.
            subject: Subject,
            /// Why it was not.
            error: DispatchError,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// There is no such subject.
        UnknownSubject,
        /// The amount is zero.
        ZeroAmount,
        /// The active stake of a position must be none or at least the minimum.
        BelowMinStake,
        /// The pool has no place left for another staker.
        TooManyStakers,
        /// Too many chunks wait to mature; withdraw the matured ones first.
        TooManyChunks,
        /// The account has no stake behind this subject.
        NoPosition,
        /// More was asked for than is actively staked.
        InsufficientStake,
        /// No chunk has matured.
        NothingToWithdraw,
        /// There is no reward of at least one unit.
        NothingToClaim,
        /// The share to slash is not in 1 to 1,000,000 parts per million.
        InvalidShare,
        /// Nothing that could be slashed is staked behind this subject.
        NothingAtStake,
        /// What was slashed could not be paid to the treasury.
        TreasuryUnavailable,
        /// A sum left the range of its type.
        Overflow,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(T::ReporterShare::get() <= PPM, "the reporter's share is above the whole");
            assert!(T::MaxStakers::get() >= 2, "a worker's pool needs room for others too");
            assert!(T::MaxUnbonding::get() > 0, "nobody could ever unbond");
            assert!(T::MinStake::get() > 0, "positions of nothing would fill the pools");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Stakes `amount` units behind `subject`.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::bond())]
        pub fn bond(
            origin: OriginFor<T>,
            subject: Subject,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(T::Subjects::exists(&subject), Error::<T>::UnknownSubject);
            Self::do_bond(&who, &subject, amount)
        }

        /// Begins to take `amount` units of active stake out. They can be withdrawn after the
        /// unbonding period and slashed until then.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unbond())]
        pub fn unbond(
            origin: OriginFor<T>,
            subject: Subject,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unbond(&who, &subject, amount)
        }

        /// Sets all matured stake free. Pays out rewards too if nothing else is left.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::withdraw_unbonded())]
        pub fn withdraw_unbonded(origin: OriginFor<T>, subject: Subject) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw(&who, &subject)
        }

        /// Pays out the rewards of the caller's position.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::claim_rewards())]
        pub fn claim_rewards(origin: OriginFor<T>, subject: Subject) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_claim(&who, &subject)
        }

        /// Takes a share of all stake behind `subject`, unbonding stake too, in parts per million.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::slash(T::MaxStakers::get()))]
        pub fn slash(
            origin: OriginFor<T>,
            subject: Subject,
            ppm: u32,
            reporter: Option<AccountId>,
        ) -> DispatchResult {
            T::SlashOrigin::ensure_origin(origin)?;
            Self::try_slash(&subject, ppm, reporter).map(|_| ())
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// Stake of one account behind one subject.
        pub fn position(subject: Subject, who: AccountId) -> PositionView {
            Self::view_position(subject, who)
        }

        /// Active stake behind a subject, in units.
        pub fn total(subject: Subject) -> Balance {
            Self::view_total(subject)
        }
    }

    impl<T: Config> Pallet<T> {
        /// Account that keeps rewards until they are claimed.
        pub fn pot() -> AccountId {
            T::PalletId::get().into_account_truncating()
        }
    }
}
