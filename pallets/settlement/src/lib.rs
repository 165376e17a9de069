//! # Settlement
//!
//! Owns one sentence: *what crosses between this chain and Ethereum crosses once*.
//!
//! ## Terminology
//!
//! - **Portal, bridge, messenger, token**: the contracts on Ethereum that the chain is joined to
//!   ([`L1Config`](tributary_primitives::bridge::L1Config)).
//! - **L1 origin**: the Ethereum block up to which the chain knows all deposits.
//! - **Deposit**: what Ethereum asks this chain to do. It is **known** when its hash is proven, and
//!   **executed** when its body has been matched with that hash and acted upon.
//! - **Withdrawal**: what this chain asks Ethereum to do: a leaf of the tree of withdrawals.
//! - **Message**: a deposit or a withdrawal that moves no OPEN. **Dispatcher**: an address of this
//!   chain that messages may be sent to.
//! - **Leaf extra**: what the Merkle mountain range says of the bridge at the end of each block, and
//!   what BEEFY's validators therefore sign.
//!
//! ## Overview
//!
//! ```text
//!  Ethereum ── deposit ──▶ portal: depositCount, rolling hash
//!      author's inherent: header · eth_getProof · hashes ──▶ queue ── bodies ──▶ mint, dispatch
//!      importing nodes: "is this header final?" ──▶ their own endpoints
//!
//!  withdraw, send_message ──▶ tree (depth 32) ──▶ leaf extra ──▶ MMR ──▶ BEEFY ──▶ Ethereum
//! ```
//!
//! The runtime proves everything but one thing: that a header belongs to Ethereum. Each validator
//! checks that against endpoints of its own; `check_inherent` hands the node the question.
//!
//! ## Properties
//!
//! - **Completeness**: an origin is accepted only with the hashes of all deposits up to it, in order:
//!   count and rolling hash are slots of the portal, proven under the header's state root.
//! - **Exactly once**: a body is executed only if its hash is the next in the queue, and leaves it.
//! - **Liveness**: no deposit fails a block. One that cannot be executed is recorded, and OPEN in it
//!   can be sent back by anybody, to its sender alone. If Ethereum or the endpoints are out of reach,
//!   the origin stands still and nothing else does.
//! - **Any later root proves**: the tree is append-only and of fixed depth, so that a withdrawal can
//!   be proven under every root since it was made.
//! - **Conservation**: OPEN is minted here only against OPEN locked there, and burnt here before it is
//!   released there; a failed deposit is neither, and is released once.
//! - **Expiry**: a pause lasts at most `MaxPause` blocks, prolongations included, and the same office
//!   cannot begin another before as many have passed.
//! - **Bounds**: every list in the inherent is bounded ([`tributary_primitives::bridge::origin`]), the
//!   queue by `MaxWaiting`, a proof by 64 reads.
//!
//! ## Example
//!
//! ```text
//! configure({ chain_id: 1, portal: 0x…, bridge: 0x…, … })   // by root, once
//! // … an author's inherent brings block 21,000,000 with three deposits …
//! withdraw(0x52…, 10 OPEN)                                  // burnt here, leaf 0 of the tree
//! // … a commitment of BEEFY is anchored on Ethereum, and leaf 0 is proven under it …
//! ```

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

extern crate alloc;

pub use pallet::*;
pub use traits::{MessageHandler, OpenBridge};
pub use types::{Counts, FailedDeposit, MessageData, Outcome, Pause, WithdrawalRow};
pub use weights::WeightInfo;

mod admin;
mod deposits;
mod inherent;
#[cfg(test)]
mod mock;
mod origin;
#[cfg(test)]
mod tests;
mod traits;
pub mod trie;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
mod types;
mod views;
pub mod weights;
mod withdrawals;

// The macro writes functions without documentation and arithmetic of its own.
#[allow(missing_docs)]
#[polkadot_sdk::frame_support::pallet]
pub mod pallet {
    use super::{
        Counts, FailedDeposit, MessageData, MessageHandler, OpenBridge, Pause, WeightInfo,
        WithdrawalRow,
    };
    use alloc::vec::Vec;
    use polkadot_sdk::{
        frame_support::{self, pallet_prelude::*, traits::EnsureOrigin},
        frame_system::pallet_prelude::*,
        sp_core::{H160, H256},
        sp_inherents::{InherentData, InherentIdentifier},
    };
    use tributary_primitives::{
        bridge::{
            tree::Frontier, Advance, FailureReason, InherentError, L1Config, L1Origin, LeafExtra,
            SettlementView, INHERENT_IDENTIFIER, L2_BRIDGE, L2_MESSENGER,
        },
        AccountId, Balance,
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
        /// Who joins the chain to a portal and allows dispatchers.
        type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Who may let the bridge stand still for a while.
        type PauseOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// OPEN.
        type Open: OpenBridge;
        /// Those who can be called from Ethereum.
        type Handler: MessageHandler;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
        /// Most deposits that are known and not yet executed. Beyond it the origin stands still.
        #[pallet::constant]
        type MaxWaiting: Get<u64>;
        /// Longest pause, in blocks, and shortest time between two.
        #[pallet::constant]
        type MaxPause: Get<BlockNumberFor<Self>>;
        /// Least amount that can be withdrawn, in units.
        #[pallet::constant]
        type MinWithdrawal: Get<Balance>;
        /// Most gas that a message may ask for on Ethereum.
        #[pallet::constant]
        type MaxGas: Get<u64>;
    }

    /// The contracts that the chain is joined to.
    #[pallet::storage]
    pub type Joined<T> = StorageValue<_, L1Config>;

    /// The Ethereum block up to which deposits are known.
    #[pallet::storage]
    pub type Origin<T> = StorageValue<_, L1Origin>;

    /// How many deposits are known and executed.
    #[pallet::storage]
    pub type Deposits<T> = StorageValue<_, Counts, ValueQuery>;

    /// The hashes of the deposits that are known and not yet executed, by position.
    #[pallet::storage]
    pub type Waiting<T> = StorageMap<_, Twox64Concat, u64, H256>;

    /// Deposits of OPEN that can be sent back, by position.
    #[pallet::storage]
    pub type Failed<T> = StorageMap<_, Twox64Concat, u64, FailedDeposit>;

    /// The growing edge of the tree of withdrawals.
    #[pallet::storage]
    pub type Tree<T> = StorageValue<_, Frontier, ValueQuery>;

    /// The root of the tree; there is none while the tree is empty.
    #[pallet::storage]
    pub type Root<T> = StorageValue<_, H256>;

    /// All withdrawals, by position.
    #[pallet::storage]
    pub type Withdrawals<T> = StorageMap<_, Twox64Concat, u32, WithdrawalRow>;

    /// The nodes of the tree that can never change again, by level (0: leaves) and position in it.
    #[pallet::storage]
    pub type Nodes<T> = StorageMap<_, Twox64Concat, (u8, u32), H256>;

    /// The addresses of this chain that messages may be sent to.
    #[pallet::storage]
    pub type Dispatchers<T> = StorageMap<_, Blake2_128Concat, H160, ()>;

    /// The last pause, over or not.
    #[pallet::storage]
    pub type Paused<T> = StorageValue<_, Pause<BlockNumberFor<T>>>;

    /// What the bridge was when the last block ended.
    #[pallet::storage]
    pub type Snapshot<T> = StorageValue<_, LeafExtra>;

    /// Whether this block has had its inherent.
    #[pallet::storage]
    pub type Advanced<T> = StorageValue<_, bool, ValueQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The addresses that messages may be sent to from the start.
        pub dispatchers: Vec<H160>,
        /// No field depends on the runtime.
        #[serde(skip)]
        pub _runtime: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for dispatcher in &self.dispatchers {
                assert!(
                    ![L2_BRIDGE, L2_MESSENGER].contains(dispatcher),
                    "bridge and messenger are no dispatchers",
                );
                Dispatchers::<T>::insert(dispatcher, ());
            }
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The chain was joined to contracts on Ethereum.
        Configured {
            /// The contracts.
            config: L1Config,
            /// What leaves say of the pair from here on.
            domain: H256,
        },
        /// All deposits up to an Ethereum block are known.
        OriginAdvanced {
            /// The block.
            origin: L1Origin,
            /// How many there are in all.
            known: u64,
        },
        /// A deposit of OPEN was credited.
        DepositCredited {
            /// Its position.
            index: u64,
            /// Its hash.
            hash: H256,
            /// Who got it.
            who: AccountId,
            /// Units.
            amount: Balance,
        },
        /// A dispatcher took a message from Ethereum.
        MessageDelivered {
            /// The deposit's position.
            index: u64,
            /// The deposit's hash.
            hash: H256,
            /// Who sent the message.
            from: H160,
            /// The dispatcher.
            to: H160,
        },
        /// What somebody on Ethereum wanted to be noted here.
        MessageReceived {
            /// Who said it.
            from: H160,
            /// What.
            data: MessageData,
        },
        /// A deposit could not be executed.
        DepositFailed {
            /// Its position.
            index: u64,
            /// Its hash.
            hash: H256,
            /// Why.
            reason: FailureReason,
            /// Units that can be sent back.
            refundable: Balance,
        },
        /// A failed deposit is on its way back.
        DepositRefunded {
            /// The deposit's position.
            index: u64,
            /// Who gets it on Ethereum.
            to: H160,
            /// Units.
            amount: Balance,
            /// The withdrawal that carries it.
            withdrawal: u32,
        },
        /// A withdrawal was added to the tree.
        WithdrawalAppended {
            /// Its position.
            index: u32,
            /// Its hash, the leaf.
            hash: H256,
            /// Who made it, as Ethereum sees it.
            sender: H160,
            /// Who is called on Ethereum.
            target: H160,
        },
        /// OPEN was burnt here, to be released on Ethereum.
        Withdrawn {
            /// Whose it was.
            who: AccountId,
            /// Who gets it on Ethereum.
            to: H160,
            /// Units.
            amount: Balance,
            /// The withdrawal that carries it.
            withdrawal: u32,
        },
        /// A message was sent to Ethereum.
        MessageSent {
            /// Who sent it.
            who: AccountId,
            /// Who is called on Ethereum.
            target: H160,
            /// The withdrawal that carries it.
            withdrawal: u32,
        },
        /// The bridge stands still.
        BridgePaused {
            /// The last block for which it does.
            until: BlockNumberFor<T>,
        },
        /// The bridge works again before the pause would have ended.
        BridgeUnpaused,
        /// Messages may be sent to an address.
        DispatcherAllowed {
            /// The address.
            dispatcher: H160,
        },
        /// Messages may no longer be sent to an address.
        DispatcherDisallowed {
            /// The address.
            dispatcher: H160,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The chain is joined to no portal.
        NotJoined,
        /// Something has crossed already, and would cross again with other contracts.
        InUse,
        /// An address is zero or stands for two contracts, or the chain id is zero.
        BadConfig,
        /// A block has one inherent of this kind.
        AlreadyAdvanced,
        /// The inherent is empty or beyond a bound.
        OutOfBounds,
        /// The bytes are no Ethereum header.
        BadHeader,
        /// The Ethereum block is not after the present origin.
        NotNewer,
        /// The account of the portal is not proven.
        BadAccountProof,
        /// The number of deposits is not what was proven, or nothing was proven.
        BadCountProof,
        /// The rolling hash over the deposits is not what was proven, or nothing was proven.
        BadHashProof,
        /// Too many deposits wait to be executed.
        QueueFull,
        /// The deposit is not the next one.
        WrongDeposit,
        /// The bridge stands still.
        Paused,
        /// The bridge does not stand still.
        NotPaused,
        /// A pause begins now.
        PauseInPast,
        /// A pause lasts at most `MaxPause` blocks in all.
        PauseTooLong,
        /// The last pause ended less than `MaxPause` blocks ago.
        PauseTooSoon,
        /// The tree of withdrawals is full.
        TreeFull,
        /// The amount is below `MinWithdrawal`.
        TooLittle,
        /// The target is zero or one of the bridge's own contracts.
        BadTarget,
        /// The message asks for more gas than `MaxGas`.
        TooMuchGas,
        /// No failed deposit has this position.
        NoSuchDeposit,
        /// The address is a dispatcher already.
        AlreadyAllowed,
        /// The address is no dispatcher, or can never be one.
        NotAllowed,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            Self::check_constants();
        }

        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            T::WeightInfo::on_finalize()
        }

        fn on_finalize(_: BlockNumberFor<T>) {
            Advanced::<T>::kill();
            Snapshot::<T>::put(Self::present_extra());
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
        /// Joins the chain to contracts on Ethereum. Can be repeated as long as nothing has crossed.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::configure())]
        pub fn configure(origin: OriginFor<T>, config: L1Config) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            Self::do_configure(config)
        }

        /// Tells of a new Ethereum block and executes deposits. Only a block's author can.
        #[pallet::call_index(1)]
        #[pallet::weight((Pallet::<T>::advance_weight(advance), DispatchClass::Mandatory))]
        pub fn advance(origin: OriginFor<T>, advance: Advance) -> DispatchResult {
            ensure_none(origin)?;
            Self::do_advance(advance)
        }

        /// Burns OPEN of the caller's here, to be released to an address on Ethereum.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::withdraw())]
        pub fn withdraw(
            origin: OriginFor<T>,
            to: H160,
            #[pallet::compact] amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw(who, to, amount)
        }

        /// Has a contract on Ethereum called with `data`.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::send_message())]
        pub fn send_message(
            origin: OriginFor<T>,
            target: H160,
            gas_limit: u64,
            data: MessageData,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_send_message(who, target, gas_limit, data)
        }

        /// Sends a failed deposit back to the one on Ethereum who made it.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::refund_deposit())]
        pub fn refund_deposit(origin: OriginFor<T>, index: u64) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_refund(index)
        }

        /// Lets the bridge stand still until the block `until` is over.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::pause())]
        pub fn pause(origin: OriginFor<T>, until: BlockNumberFor<T>) -> DispatchResult {
            let by_admin = Self::ensure_may_pause(origin)?;
            Self::do_pause(until, by_admin)
        }

        /// Ends a pause.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::unpause())]
        pub fn unpause(origin: OriginFor<T>) -> DispatchResult {
            Self::ensure_may_pause(origin)?;
            Self::do_unpause()
        }

        /// Allows messages to an address.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::allow_dispatcher())]
        pub fn allow_dispatcher(origin: OriginFor<T>, dispatcher: H160) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            Self::do_allow(dispatcher)
        }

        /// Allows messages to an address no longer.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::disallow_dispatcher())]
        pub fn disallow_dispatcher(origin: OriginFor<T>, dispatcher: H160) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            Self::do_disallow(dispatcher)
        }
    }

    #[pallet::inherent]
    impl<T: Config> ProvideInherent for Pallet<T> {
        type Call = Call<T>;
        type Error = InherentError;
        const INHERENT_IDENTIFIER: InherentIdentifier = INHERENT_IDENTIFIER;

        fn create_inherent(data: &InherentData) -> Option<Self::Call> {
            let offered = data.get_data::<Advance>(&INHERENT_IDENTIFIER).unwrap_or_else(|error| {
                log::warn!(target: crate::inherent::LOG, "the node's L1 data cannot be read: {error:?}");
                None
            })?;
            Self::acceptable(offered).map(|advance| Call::advance { advance })
        }

        fn check_inherent(call: &Self::Call, _: &InherentData) -> Result<(), Self::Error> {
            match call {
                Call::advance { advance } => Self::question(advance),
                _ => Ok(()),
            }
        }

        fn is_inherent(call: &Self::Call) -> bool {
            matches!(call, Call::advance { .. })
        }
    }

    #[pallet::view_functions]
    impl<T: Config> Pallet<T> {
        /// The state of the bridge.
        pub fn state() -> SettlementView {
            Self::view_state()
        }
    }
}
