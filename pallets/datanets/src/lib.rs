//! # Datanets
//!
//! People pool records here, keep them private, and are paid when they are used.
//!
//! ## Terminology
//!
//! - **Record**: one training example. The chain never sees it.
//! - **Shard**: one file of records, named by its digest.
//! - **Contribution**: a shard submitted to a datanet, with the account that is paid for it.
//! - **Offer**: the message in which that account's key signs for a contribution.
//! - **Datanet**: a named pool of contributions under one policy, licence and consent.
//! - **Policy**: how contributions are accepted: `Open` takes them after a review window,
//!   `Curated` when enough curators have voted for them.
//! - **Log**: the append-only list of what a datanet accepted and retired.
//! - **Version**: an immutable cut of the log, `{length, root}`.
//! - **Pot**: an account of the datanet that pays for others' calls; **sponsorship** says whether
//!   and how often.
//!
//! ## Overview
//!
//! A contribution enters in one of three ways: its payout account sends it; or its payout *key*
//! signs an offer, and either anybody sends that (and pays), or it enters as a general transaction
//! without any account, which the pallet authorizes itself and the pot pays for. In an open datanet
//! the contribution goes on the agenda and is accepted when its review window has passed; in a
//! curated one the curators vote. Its payout key or the datanet's owner can retire it at any time:
//! what earlier versions hold stays as it is, every later version leaves it out.
//!
//! ## Properties
//!
//! - **No wallet needed**: a key that owns nothing can contribute and retire, and no row, nonce or
//!   deposit is made for it.
//! - **No second time**: the same content enters once over all datanets; what curators rejected
//!   can be offered elsewhere but not to the same datanet again. So no signature is good twice.
//! - **No free ride**: everything that could make a sponsored call fail is checked before it enters a
//!   block, so that it never fails afterwards without having paid.
//! - **Bounded**: a pot pays at most `max_per_period` calls in a period and keeps its existential
//!   deposit; a block settles at most `MaxPerBlock` contributions; looking for a free slot reads at
//!   most `MaxSpill + 1` rows.
//! - **Immutability**: entries of the log and versions never change.
//! - **Conservation**: money enters and leaves a pot only by its owner, its donors and its fees.
//!
//! ## Limits
//!
//! Whoever offers a digest first has it: a copy seen in the pool can be offered by another key. The
//! chain cannot tell whose records they are; a datanet's owner and curators can, and so can disputes.
//! A stranger can also use up a pot's calls of a period; the limit bounds what that costs.
//!
//! ## Example
//!
//! Alice creates the open datanet `defi-exploits`, puts 10 OPEN into its pot and allows 100 calls a
//! period. Carol, who has no account, signs an offer; any node takes it; the pot pays. After the
//! review window her contribution is entry 0 of the log. Alice cuts version 1, `{length: 1, root}`.
//! Carol later signs a retirement: entry 1. Version 2, `{length: 2, root}`, is without her records.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

extern crate alloc;

pub use pallet::*;
pub use traits::{ContributionStakes, SponsorFees};
pub use types::{
    Contribution, Curators, Datanet, Licence, Name, Policy, Sponsorship, State, Usage, Version,
    Votes, MAX_CONTRIBUTIONS, MAX_CURATORS, MAX_LICENCE, MAX_NAME,
};
pub use weights::WeightInfo;

mod authorize;
mod contributions;
mod curation;
mod datanets;
#[cfg(test)]
mod mock;
mod provides;
mod sponsoring;
#[cfg(test)]
mod tests;
mod traits;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
mod types;
mod versions;
mod views;
pub mod weights;

// The macro writes functions without documentation.
#[allow(missing_docs)]
#[polkadot_sdk::frame_support::pallet]
pub mod pallet {
    use super::{
        Contribution, ContributionStakes, Datanet, Licence, Name, Policy, SponsorFees, Sponsorship,
        Usage, Version, Votes, WeightInfo,
    };
    use polkadot_sdk::{
        frame_support::{pallet_prelude::*, traits::fungible, PalletId},
        frame_system::{self, pallet_prelude::*},
        sp_core::H256,
        sp_runtime::SaturatedConversion,
    };
    use tributary_primitives::{
        log::LogEntry,
        signing::{ContributionOffer, Retirement},
        tree::Frontier,
        views::{Consent, ContributionView, DatanetView, Text, VersionView},
        AccountId, Balance, BlockNumber, ContributionId, DatanetId, Digest, MultiSignature,
        VersionRef,
    };

    /// Version of the storage layout.
    pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

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
        /// OPEN.
        type Currency: fungible::Mutate<AccountId, Balance = Balance>
            + fungible::hold::Mutate<AccountId, Reason = Self::RuntimeHoldReason>;
        /// The runtime's reason for holds.
        type RuntimeHoldReason: From<HoldReason>;
        /// Stake behind contributions.
        type Stakes: ContributionStakes;
        /// Fees that pots pay.
        type SponsorFees: SponsorFees;
        /// Id from which the pots' accounts are derived.
        #[pallet::constant]
        type PalletId: Get<PalletId>;
        /// What an owner has on hold for a datanet, in units.
        #[pallet::constant]
        type DatanetDeposit: Get<Balance>;
        /// Blocks from the submission of a contribution to its acceptance by an open datanet.
        #[pallet::constant]
        type ReviewWindow: Get<BlockNumber>;
        /// Contributions that one block accepts.
        #[pallet::constant]
        type MaxPerBlock: Get<u32>;
        /// Blocks by which acceptance may be put off when blocks are full.
        #[pallet::constant]
        type MaxSpill: Get<u32>;
        /// Largest shard, in bytes.
        #[pallet::constant]
        type MaxShardBytes: Get<u64>;
        /// Length of a sponsoring period, in blocks.
        #[pallet::constant]
        type SponsorPeriod: Get<BlockNumber>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why the pallet holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposit for a datanet.
        Datanet,
    }

    /// Id of the next datanet.
    #[pallet::storage]
    pub type NextDatanet<T> = StorageValue<_, DatanetId, ValueQuery>;

    /// The datanets.
    #[pallet::storage]
    pub type Datanets<T> = StorageMap<_, Twox64Concat, DatanetId, Datanet>;

    /// Datanets by name.
    #[pallet::storage]
    pub type ByName<T> = StorageMap<_, Blake2_128Concat, Name, DatanetId>;

    /// Id of the next contribution.
    #[pallet::storage]
    pub type NextContribution<T> = StorageValue<_, ContributionId, ValueQuery>;

    /// The contributions.
    #[pallet::storage]
    pub type Contributions<T> = StorageMap<_, Twox64Concat, ContributionId, Contribution>;

    /// Contributions of a datanet by position, from 0.
    #[pallet::storage]
    pub type InDatanet<T> =
        StorageDoubleMap<_, Twox64Concat, DatanetId, Twox64Concat, u32, ContributionId>;

    /// Contributions by the account that is paid for them.
    #[pallet::storage]
    pub type OfPayout<T> =
        StorageDoubleMap<_, Blake2_128Concat, AccountId, Twox64Concat, ContributionId, ()>;

    /// Contributions by content; those that were rejected are not here.
    #[pallet::storage]
    pub type ByContent<T> = StorageMap<_, Blake2_128Concat, Digest, ContributionId>;

    /// Content that the curators of a datanet rejected.
    #[pallet::storage]
    pub type Rejections<T> =
        StorageDoubleMap<_, Twox64Concat, DatanetId, Blake2_128Concat, Digest, ContributionId>;

    /// Contributions that a block will accept.
    #[pallet::storage]
    pub type Agenda<T: Config> = StorageMap<
        _,
        Twox64Concat,
        BlockNumber,
        BoundedVec<ContributionId, T::MaxPerBlock>,
        ValueQuery,
    >;

    /// Votes on contributions that are not decided.
    #[pallet::storage]
    pub type Ballots<T> = StorageMap<_, Twox64Concat, ContributionId, Votes, ValueQuery>;

    /// What a datanet accepted and retired, in order.
    #[pallet::storage]
    pub type Log<T> = StorageDoubleMap<_, Twox64Concat, DatanetId, Twox64Concat, u32, LogEntry>;

    /// Growing edges of the logs' trees; their lengths are those of the logs.
    #[pallet::storage]
    pub type Frontiers<T> = StorageMap<_, Twox64Concat, DatanetId, Frontier, ValueQuery>;

    /// Versions of a datanet by number, from 1.
    #[pallet::storage]
    pub type Versions<T> = StorageDoubleMap<_, Twox64Concat, DatanetId, Twox64Concat, u32, Version>;

    /// What the pots paid for in the last period in which they paid.
    #[pallet::storage]
    pub type SponsorUsage<T> = StorageMap<_, Twox64Concat, DatanetId, Usage, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A datanet was created.
        DatanetCreated {
            /// The datanet.
            datanet: DatanetId,
            /// Who runs it.
            owner: AccountId,
            /// Its name.
            name: Name,
        },
        /// A datanet's policy was changed.
        PolicySet {
            /// The datanet.
            datanet: DatanetId,
            /// The policy from here on.
            policy: Policy,
        },
        /// A datanet's sponsorship was changed.
        SponsorshipSet {
            /// The datanet.
            datanet: DatanetId,
            /// The sponsorship from here on.
            sponsorship: Sponsorship,
        },
        /// Somebody paid into a pot.
        PotFunded {
            /// The datanet.
            datanet: DatanetId,
            /// Who paid.
            from: AccountId,
            /// Units.
            amount: Balance,
        },
        /// The owner took money out of a pot.
        PotWithdrawn {
            /// The datanet.
            datanet: DatanetId,
            /// Who got it.
            to: AccountId,
            /// Units.
            amount: Balance,
        },
        /// A pot paid for somebody's call.
        Sponsored {
            /// The datanet.
            datanet: DatanetId,
            /// What it cost, in units.
            fee: Balance,
        },
        /// A contribution was submitted.
        Contributed {
            /// The contribution.
            contribution: ContributionId,
            /// Its datanet.
            datanet: DatanetId,
            /// Account that is paid for it.
            payout: AccountId,
            /// Digest of the shard.
            content: Digest,
            /// Block of its acceptance; `None` where curators decide.
            due: Option<BlockNumber>,
        },
        /// A curator voted.
        Voted {
            /// The contribution.
            contribution: ContributionId,
            /// Who voted.
            curator: AccountId,
            /// Whether for it.
            aye: bool,
        },
        /// A contribution became part of its datanet.
        Accepted {
            /// The contribution.
            contribution: ContributionId,
            /// Its datanet.
            datanet: DatanetId,
            /// Position of the entry in the datanet's log.
            entry: u32,
        },
        /// A contribution was voted down.
        Rejected {
            /// The contribution.
            contribution: ContributionId,
            /// The datanet that does not take it.
            datanet: DatanetId,
        },
        /// A contribution was retired.
        Retired {
            /// The contribution.
            contribution: ContributionId,
            /// Its datanet.
            datanet: DatanetId,
            /// Position of the entry in the datanet's log; `None` if it had not been accepted.
            entry: Option<u32>,
        },
        /// A contribution's review window passed, but its datanet has become curated: the curators
        /// decide.
        AwaitsCurators {
            /// The contribution.
            contribution: ContributionId,
        },
        /// A contribution that awaited curators was put under review, since its datanet has become
        /// open.
        Rescheduled {
            /// The contribution.
            contribution: ContributionId,
            /// Block of its acceptance.
            due: BlockNumber,
        },
        /// A version was cut.
        VersionCut {
            /// The version.
            version: VersionRef,
            /// Entries of the log that it covers.
            length: u32,
            /// Root over them.
            root: H256,
            /// Contributions in it.
            contributions: u32,
            /// Records in it.
            records: u64,
        },
        /// A contribution could not be accepted when it was due. Should never happen; it can be
        /// rescheduled.
        AcceptanceFailed {
            /// The contribution.
            contribution: ContributionId,
            /// What was wrong.
            error: DispatchError,
        },
    }

    /// What can be wrong. A general transaction that the pallet does not authorize is refused as
    /// `Custom(i)`, where `i` is the index of the error among these.
    #[pallet::error]
    pub enum Error<T> {
        /// There is no such datanet.
        UnknownDatanet,
        /// There is no such contribution.
        UnknownContribution,
        /// A name is 1 to 64 of `a-z`, `0-9` and `-`.
        BadName,
        /// Another datanet has the name.
        NameTaken,
        /// A licence is an SPDX expression of 1 to 64 letters, digits, blanks and `.+-()`.
        BadLicence,
        /// A quorum is 1 to the number of curators.
        BadQuorum,
        /// A curator is named twice.
        DuplicateCurator,
        /// Only the datanet's owner can do this.
        NotOwner,
        /// Only the contribution's payout account, or for retiring the datanet's owner, can do this.
        NotPayout,
        /// Only the datanet's curators vote.
        NotCurator,
        /// Nobody votes in an open datanet.
        NotCurated,
        /// The curator has voted on the contribution.
        AlreadyVoted,
        /// The contribution is not under review.
        NotPending,
        /// The contribution was rejected or retired.
        NotLive,
        /// The last block in which the message may enter the chain has passed: sign a new one.
        Expired,
        /// The signature is not by the payout key, not over this message, or not for this chain.
        BadSignature,
        /// A shard has at least one record.
        NoRecords,
        /// A shard has at least one byte for each record.
        BadSize,
        /// The shard is larger than `MaxShardBytes`: split it.
        ShardTooLarge,
        /// The same content was contributed before.
        DuplicateContent,
        /// The datanet's curators rejected this content.
        AlreadyRejected,
        /// All blocks that could accept the contribution are full: try again in a few blocks.
        TooManyPending,
        /// The datanet takes no more contributions.
        DatanetFull,
        /// The log takes no more entries.
        LogFull,
        /// The datanet asks for stake behind contributions, which a pot does not pay: send the
        /// contribution from an account that has it.
        StakeNeeded,
        /// Nothing was accepted or retired since the last version.
        NothingNew,
        /// The datanet's pot pays for nobody: ask its owner, or send it from an account.
        SponsorshipOff,
        /// The datanet's pot has paid for as many calls as it does in a period: try again in the
        /// next one, or send it from an account.
        RateLimited,
        /// The datanet's pot has too little for the fee: fund it, or send it from an account.
        PotTooLow,
        /// All ids are used up.
        IdsExhausted,
        /// The contribution does not await curators in a datanet that has become open.
        NotWaiting,
        /// The amount must be above zero.
        NothingToMove,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            let settled = Self::settle_agenda(now.saturated_into());
            T::WeightInfo::agenda(settled)
        }

        fn integrity_test() {
            assert!(T::ReviewWindow::get() > 0, "a review window must have a block");
            assert!(T::MaxPerBlock::get() > 0, "a block must be able to accept something");
            assert!(T::SponsorPeriod::get() > 0, "a sponsoring period must have a block");
            assert!(T::MaxShardBytes::get() > 0, "shards must be able to have a byte");
            assert!(
                T::WeightInfo::agenda(T::MaxPerBlock::get())
                    .all_lt(<T as frame_system::Config>::BlockWeights::get().max_block),
                "the agenda must fit into a block",
            );
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
        /// Creates a datanet, which the caller owns, and puts its deposit on hold.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::create_datanet())]
        pub fn create_datanet(
            origin: OriginFor<T>,
            name: Name,
            policy: Policy,
            licence: Licence,
            consent: Consent,
            min_stake: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_create_datanet(who, name, policy, licence, consent, min_stake)?;
            Ok(())
        }

        /// Contributes a shard; the caller is the account that is paid for it.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::contribute())]
        pub fn contribute(origin: OriginFor<T>, offer: ContributionOffer) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(who == offer.payout, Error::<T>::NotPayout);
            Self::do_contribute(offer, Some(&who))?;
            Ok(())
        }

        /// Contributes a shard at the expense of the datanet's pot: a general transaction that
        /// needs no account.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::contribute_signed())]
        #[pallet::authorize(Self::authorize_contribute_signed)]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_contribute_signed())]
        pub fn contribute_signed(
            origin: OriginFor<T>,
            offer: ContributionOffer,
            signature: MultiSignature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_contribute_signed(offer, &signature)?;
            Ok(())
        }

        /// Submits a shard for the one who signed the offer. The caller pays the fee and puts up
        /// the stake if the datanet asks for one.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::submit_for())]
        pub fn submit_for(
            origin: OriginFor<T>,
            offer: ContributionOffer,
            signature: MultiSignature,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_submit_for(offer, &signature, &who)?;
            Ok(())
        }

        /// A curator's vote. The one that completes the quorum accepts the contribution, the one
        /// that makes a quorum impossible rejects it.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::vote())]
        pub fn vote(
            origin: OriginFor<T>,
            contribution: ContributionId,
            aye: bool,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_vote(who, contribution, aye)
        }

        /// Takes a contribution out of later versions; by its payout account or the datanet's
        /// owner. One that is still under review will not be accepted.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::retire_contribution())]
        pub fn retire_contribution(
            origin: OriginFor<T>,
            contribution: ContributionId,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_retire_contribution(&who, contribution)
        }

        /// Takes a contribution out of later versions at the expense of the datanet's pot: a
        /// general transaction that needs no account.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::retire_signed())]
        #[pallet::authorize(Self::authorize_retire_signed)]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_retire_signed())]
        pub fn retire_signed(
            origin: OriginFor<T>,
            retirement: Retirement,
            signature: MultiSignature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_retire_signed(&retirement, &signature)
        }

        /// Cuts a version of a datanet; by its owner.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::cut_version())]
        pub fn cut_version(origin: OriginFor<T>, datanet: DatanetId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_cut_version(&who, datanet)?;
            Ok(())
        }

        /// Changes how a datanet accepts contributions; by its owner. It holds for what is under
        /// review too.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::set_policy())]
        pub fn set_policy(
            origin: OriginFor<T>,
            datanet: DatanetId,
            policy: Policy,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_policy(&who, datanet, policy)
        }

        /// Changes whether, and how often, a datanet's pot pays; by its owner.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::set_sponsorship())]
        pub fn set_sponsorship(
            origin: OriginFor<T>,
            datanet: DatanetId,
            sponsorship: Sponsorship,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_sponsorship(&who, datanet, sponsorship)
        }

        /// Pays `amount` units into a datanet's pot; by anyone.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::fund_pot())]
        pub fn fund_pot(
            origin: OriginFor<T>,
            datanet: DatanetId,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_fund_pot(&who, datanet, amount)
        }

        /// Takes `amount` units out of a datanet's pot; by its owner.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::withdraw_pot())]
        pub fn withdraw_pot(
            origin: OriginFor<T>,
            datanet: DatanetId,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw_pot(&who, datanet, amount)
        }

        /// Puts a contribution that awaits curators under review, if its datanet has become open;
        /// by anyone.
        #[pallet::call_index(12)]
        #[pallet::weight(T::WeightInfo::reschedule())]
        pub fn reschedule(origin: OriginFor<T>, contribution: ContributionId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_reschedule(contribution)
        }

        /// Retires a contribution for the one who signed the wish; by anyone, who pays. So nobody
        /// needs the pot to withdraw what is theirs.
        #[pallet::call_index(13)]
        #[pallet::weight(T::WeightInfo::retire_for())]
        pub fn retire_for(
            origin: OriginFor<T>,
            retirement: Retirement,
            signature: MultiSignature,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_retire_for(&retirement, &signature)
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// A datanet.
        pub fn datanet(id: DatanetId) -> Option<DatanetView> {
            Self::view_datanet(id)
        }

        /// A datanet by its name.
        pub fn datanet_by_name(name: Name) -> Option<DatanetView> {
            Self::view_datanet_by_name(Text(name.into_inner()))
        }

        /// A contribution.
        pub fn contribution(id: ContributionId) -> Option<ContributionView> {
            Self::view_contribution(id)
        }

        /// The contribution of a shard.
        pub fn contribution_by_content(content: Digest) -> Option<ContributionView> {
            Self::view_contribution_by_content(content)
        }

        /// A version of a datanet.
        pub fn version(version: VersionRef) -> Option<VersionView> {
            Self::view_version(version)
        }
    }
}
