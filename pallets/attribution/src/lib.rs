//! # Attribution: models, settlement and payouts
//!
//! ## Terminology
//!
//! - **Model**: a base model (all weights) or an adapter trained from another model. Its **lineage**
//!   is its chain of parents and the datanet versions that it was trained on.
//! - **Revenue**: what a worker redeemed from payment channels and has not settled yet. It lies in
//!   this pallet's **pot**.
//! - **Batch**: a worker's settlement of many answers at once: totals by model, and a tree over the
//!   payouts.
//! - **Payout**: what one contribution is paid in one batch. **Claim**: having it paid.
//! - **Commons**: account that gets what attribution cannot explain.
//!
//! ## Overview
//!
//! ```text
//!  fee ──▶ platform (token)
//!   └─▶ net ──▶ worker · model owner · ancestors (by royalty) · stakers behind the model
//!        └─▶ contributors' part ──▶ payouts, claimed one by one
//!             └─▶ what no contribution explains ──▶ commons
//! ```
//!
//! `submit_batch` moves revenue into a pending batch; after the challenge window `finalize_batch`
//! pays everybody but the contributors, whose payouts stay in the pot until they are claimed.
//! On-chain cost grows with batches and claims, not with answers.
//!
//! ## Properties
//!
//! - **Conservation**: pot ≥ revenue + fees of pending batches + unclaimed payouts, and the parts of
//!   a batch add up to its fees, to the unit ([`tributary_primitives::fees::split_fee`]).
//! - **Nothing is paid twice**: a batch has the next sequence number of its worker, and a payout's
//!   index is marked when it is claimed. A tree that promises more than its total pays the total.
//! - **Liveness**: a batch can always be finalised: what a recipient cannot take goes to the commons,
//!   with an event that says so. A payout can be claimed by anybody, and only to its contribution's
//!   payout account; a contributor who owns nothing claims by a transaction that nobody signs and
//!   that the datanet's pot pays for.
//! - **Fairness**: a batch is paid by the shares that stood when it was submitted.
//! - **Bounds**: at most 64 models in a batch, eight ancestors of a model, 32 hashes in a proof.
//!
//! The pot and the commons account are endowed with the existential deposit at genesis, so that no
//! payment can ever leave dust behind; genesis checks it.
//!
//! ## Example
//!
//! ```text
//! register_base("tiny", 0x…, 100_000)
//! // … the worker redeems 1,000 units of vouchers through the marketplace …
//! submit_batch({ sequence: 0, models: [{ model: 1, fees: 1_000, attributed: 300, .. }], .. })
//! finalize_batch(0)                       // by anybody, after the challenge window
//! claim(0, { contribution: 7, amount: 120 }, { index: 0, siblings: [0x…] })
//! ```

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod claims;
#[cfg(test)]
mod mock;
mod models;
mod settling;
#[cfg(test)]
mod tests;
pub mod traits;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
pub mod types;
mod views;
pub mod weights;

pub use pallet::*;
pub use traits::{Contributions, ModelStakes, NewAdapter, PlatformFees, ReservedNames, Sponsors};
pub use types::*;
pub use weights::WeightInfo;

use polkadot_sdk::*;

#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::{pallet_prelude::*, traits::fungible, PalletId};
    use frame_system::pallet_prelude::*;
    use tributary_primitives::{
        fees::{split_fee, FeeParts},
        money::PPM,
        payouts::Payout,
        views::{ModelView, SharesView, Text},
        AccountId, Balance, BatchId, BlockNumber, ContributionId, Digest, JobId, ModelId,
    };

    /// Version of the storage layout.
    pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides for this pallet.
    #[pallet::config]
    pub trait Config:
        polkadot_sdk::frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>>
    {
        /// OPEN.
        type Currency: fungible::Mutate<AccountId, Balance = Balance>
            + fungible::hold::Mutate<AccountId, Reason = Self::RuntimeHoldReason>;

        /// The runtime's reasons for holds.
        type RuntimeHoldReason: From<HoldReason>;

        /// Who may change the shares.
        type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// Who is paid for contributions.
        type Contributions: Contributions;

        /// The datanets' pots.
        type Sponsors: Sponsors;

        /// Where the platform's part goes.
        type PlatformFees: PlatformFees;

        /// Rewards of those who stake behind models.
        type ModelStakes: ModelStakes;

        /// Names reserved by unfinished jobs.
        type ReservedNames: ReservedNames;

        /// Weights of the calls.
        type WeightInfo: WeightInfo;

        /// From which the accounts of pot and commons derive.
        #[pallet::constant]
        type PalletId: Get<PalletId>;

        /// Deposit for registering a base model, in units.
        #[pallet::constant]
        type ModelDeposit: Get<Balance>;

        /// Royalty of adapters among the ancestors of models trained from them, in parts per
        /// million.
        #[pallet::constant]
        type AdapterRoyalty: Get<u32>;

        /// Blocks for which a batch may be challenged.
        #[pallet::constant]
        type ChallengeWindow: Get<BlockNumber>;

        /// Least payout whose claim a datanet's pot pays for, in units.
        #[pallet::constant]
        type MinSponsoredClaim: Get<Balance>;
    }

    /// Why this pallet holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposit for a base model.
        Model,
    }

    /// Models.
    #[pallet::storage]
    pub type Models<T: Config> = StorageMap<_, Twox64Concat, ModelId, Model>;

    /// Models by their names.
    #[pallet::storage]
    pub type ModelsByName<T: Config> = StorageMap<_, Blake2_128Concat, Name, ModelId>;

    /// Id of the next model.
    #[pallet::storage]
    pub type NextModel<T: Config> = StorageValue<_, ModelId, ValueQuery>;

    /// What each worker redeemed and has not settled yet, in units.
    #[pallet::storage]
    pub type Revenue<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Balance, ValueQuery>;

    /// Batches, final ones too.
    #[pallet::storage]
    pub type Batches<T: Config> = StorageMap<_, Twox64Concat, BatchId, Batch>;

    /// What pending batches will be paid out by.
    #[pallet::storage]
    pub type PendingBatches<T: Config> = StorageMap<_, Twox64Concat, BatchId, Pending>;

    /// Id of the next batch.
    #[pallet::storage]
    pub type NextBatch<T: Config> = StorageValue<_, BatchId, ValueQuery>;

    /// Number of each worker's next batch.
    #[pallet::storage]
    pub type NextSequence<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, u32, ValueQuery>;

    /// Payouts that have been claimed, by batch and index.
    #[pallet::storage]
    pub type Claimed<T: Config> =
        StorageDoubleMap<_, Twox64Concat, BatchId, Twox64Concat, u32, (), OptionQuery>;

    /// How fees are shared.
    #[pallet::storage]
    pub type CurrentShares<T: Config> = StorageValue<_, Shares, ValueQuery>;

    /// What this pallet starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// How fees are shared; the default shares where it is left out.
        pub shares: Option<SharesView>,
        /// Ties the type to the runtime.
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            let shares = self.shares.clone().unwrap_or_else(|| Shares::default().into());
            if let Err(error) = shares.check() {
                panic!("attribution's shares at genesis: {error}");
            }
            CurrentShares::<T>::put(Shares::from(shares));
            let least = <T::Currency as fungible::Inspect<AccountId>>::minimum_balance();
            // The empty genesis of tests and tools has no money to endow anything with, but for
            // the deposit that the treasury gives itself.
            if <T::Currency as fungible::Inspect<AccountId>>::total_issuance() <= least {
                return;
            }
            for (account, what) in
                [(Pallet::<T>::pot(), "pot"), (Pallet::<T>::commons(), "commons")]
            {
                let balance = <T::Currency as fungible::Inspect<AccountId>>::balance(&account);
                assert!(
                    balance >= least,
                    "endow attribution's {what} account with the existential deposit at genesis"
                );
            }
        }
    }

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A model is registered.
        ModelRegistered {
            /// The model.
            model: ModelId,
            /// Who owns it.
            owner: AccountId,
            /// Model that it was trained from; none for a base model.
            parent: Option<ModelId>,
            /// Job that made it.
            job: Option<JobId>,
        },
        /// A model has another owner.
        ModelTransferred {
            /// The model.
            model: ModelId,
            /// Who owned it.
            from: AccountId,
            /// Who owns it now.
            to: AccountId,
        },
        /// Redeemed vouchers became revenue.
        RevenueAdded {
            /// The worker.
            worker: AccountId,
            /// Amount in units.
            amount: Balance,
        },
        /// A batch may be challenged.
        BatchSubmitted {
            /// The batch.
            batch: BatchId,
            /// Who settles.
            worker: AccountId,
            /// Its number among the worker's batches.
            sequence: u32,
            /// Fees that it settles, in units.
            fees: Balance,
            /// Number of payouts.
            payouts_count: u32,
            /// Sum of the payouts, in units.
            payouts_total: Balance,
            /// Block from which it can be finalised.
            final_at: BlockNumber,
        },
        /// A batch is final: its shares are paid, its payouts can be claimed.
        BatchFinalized {
            /// The batch.
            batch: BatchId,
            /// Who settled.
            worker: AccountId,
            /// How its fees were shared, in units; the contributors' part covers payouts and what
            /// was unattributed.
            parts: FeeParts,
            /// What the commons got, in units: the unattributed, and what others could not take.
            commons: Balance,
        },
        /// A recipient could not take its part (nobody stakes behind the model, or the account is
        /// gone and the part below the existential deposit); the commons gets it.
        PaidToCommons {
            /// The batch.
            batch: BatchId,
            /// Who the part was meant for.
            meant_for: Recipient,
            /// Amount in units.
            amount: Balance,
        },
        /// A payout is paid.
        PayoutClaimed {
            /// The batch.
            batch: BatchId,
            /// Position of the payout in the batch.
            index: u32,
            /// Whose data it was.
            contribution: ContributionId,
            /// Account that was paid.
            account: AccountId,
            /// Amount in units.
            amount: Balance,
        },
        /// Fees are shared differently from now on.
        SharesSet {
            /// The new shares.
            shares: Shares,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// A name is 1 to 64 characters of a to z, 0 to 9 and hyphen.
        BadName,
        /// A model has this name already: choose another.
        NameTaken,
        /// An unfinished job has reserved this name: choose another.
        NameReserved,
        /// A royalty is at most 1,000,000 parts per million.
        BadRoyalty,
        /// The digest of the model's manifest is zero.
        NoContent,
        /// The free balance does not cover the deposit for a model.
        DepositNotCovered,
        /// There is no model of this id.
        UnknownModel,
        /// The model that the adapter was trained from is not registered.
        UnknownParent,
        /// The model would have more than eight ancestors.
        LineageTooDeep,
        /// A model is trained on at most eight datanet versions.
        TooManyVersions,
        /// Only the owner of the model may do this.
        NotOwner,
        /// The batch does not have the worker's next sequence number.
        WrongSequence,
        /// The batch settles no fees.
        EmptyBatch,
        /// The batch names a model twice.
        DuplicateModel,
        /// The model was trained on no datanet: nothing of its fees can be attributed.
        NothingToAttribute,
        /// More is attributed than the contributors' part of the model's fees.
        AttributedTooMuch,
        /// The batch settles more than the worker has redeemed.
        AboveRevenue,
        /// The number of receipts is not the number of answers.
        ReceiptsMismatch,
        /// The payouts' total is not what the models' totals attribute, or their number does not
        /// fit the total.
        PayoutsMismatch,
        /// What is unattributed is not the rest of the contributors' parts.
        UnattributedMismatch,
        /// There is no batch of this id.
        UnknownBatch,
        /// The batch may still be challenged.
        WindowOpen,
        /// The batch is final already.
        AlreadyFinal,
        /// The batch is not final yet: finalise it after its challenge window.
        NotFinal,
        /// The proof does not show this payout in the batch.
        BadProof,
        /// This payout has been claimed already.
        AlreadyClaimed,
        /// A payout of nothing cannot be claimed.
        EmptyPayout,
        /// The batch's payouts are used up: its tree promised more than its total.
        BatchExhausted,
        /// There is no contribution of this id.
        UnknownContribution,
        /// The payout's account does not exist and the payout is below the existential deposit:
        /// claim a larger payout first, or fund the account.
        BelowExistentialDeposit,
        /// The payout's account cannot receive money.
        AccountCannotReceive,
        /// The payout is below what a datanet's pot pays the claim's fee for: sign the claim.
        BelowSponsoredMinimum,
        /// The pot does not cover the payout; this should never happen.
        PotShort,
        /// The platform's share is above one, or the shares of the net fee do not add up to one.
        BadShares,
        /// All ids are used up.
        OutOfIds,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(T::AdapterRoyalty::get() <= PPM, "a royalty is at most one");
            assert!(
                Pallet::<T>::pot() != Pallet::<T>::commons(),
                "pot and commons are two accounts"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Registers a base model of the signer's; puts a deposit on hold.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_base())]
        pub fn register_base(
            origin: OriginFor<T>,
            name: Name,
            content: Digest,
            royalty: u32,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_register_base(who, name, content, royalty).map(|_| ())
        }

        /// Gives a model of the signer's to another account.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::transfer_model())]
        pub fn transfer_model(
            origin: OriginFor<T>,
            model: ModelId,
            to: AccountId,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_transfer_model(who, model, to)
        }

        /// Settles revenue of the signing worker.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::submit_batch(u32::try_from(batch.models.len()).unwrap_or(MAX_MODELS)))]
        pub fn submit_batch(origin: OriginFor<T>, batch: NewBatch) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_submit_batch(who, batch).map(|_| ())
        }

        /// Pays the shares of a batch after its challenge window.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::finalize_batch(MAX_MODELS))]
        pub fn finalize_batch(origin: OriginFor<T>, batch: BatchId) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            let models = Self::do_finalize_batch(batch)?;
            Ok(Some(T::WeightInfo::finalize_batch(models)).into())
        }

        /// Has a payout paid to its contribution's payout account; anybody may sign.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::claim())]
        pub fn claim(
            origin: OriginFor<T>,
            batch: BatchId,
            payout: Payout,
            proof: PayoutProof,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_claim(batch, payout, proof)
        }

        /// As `claim`, by a transaction that nobody signs; the pot of the contribution's datanet
        /// pays its fee.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::claim_sponsored())]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_claim())]
        #[pallet::authorize(Pallet::<T>::authorize_claim)]
        pub fn claim_sponsored(
            origin: OriginFor<T>,
            batch: BatchId,
            payout: Payout,
            proof: PayoutProof,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_claim_sponsored(batch, payout, proof)
        }

        /// Shares fees differently from now on; batches already submitted keep their shares.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::set_shares())]
        pub fn set_shares(origin: OriginFor<T>, shares: Shares) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let view: SharesView = shares.clone().into();
            view.check().map_err(|_| Error::<T>::BadShares)?;
            CurrentShares::<T>::put(shares.clone());
            Self::deposit_event(Event::SharesSet { shares });
            Ok(())
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// The model of this name.
        pub fn model_by_name(name: Name) -> Option<ModelView> {
            Self::view_model_by_name(Text(name.into_inner()))
        }

        /// How a fee would be shared now.
        pub fn quote(fees: Balance) -> FeeParts {
            split_fee(fees, &Self::view_shares())
        }

        /// Account to which a payout would be paid if it were claimed now; `None` where the claim
        /// would be refused.
        pub fn claimable(batch: BatchId, payout: Payout, proof: PayoutProof) -> Option<AccountId> {
            Self::check_claim(batch, &payout, &proof).ok()
        }
    }
}
