//! The bridge to Ethereum: who decides on it, and what can be called from there.

use frame_support::{
    parameter_types,
    traits::{fungible::Mutate, tokens::Preservation, EitherOf},
    weights::Weight,
};
use frame_system::EnsureRoot;
use pallet_settlement::{MessageHandler, OpenBridge};
use polkadot_sdk::*;
use sp_core::H160;
use sp_runtime::{DispatchError, DispatchResult};
use tributary_primitives::bridge::{calls::Transfer, l1_account, L2_NOTES, L2_TELLER, MAX_MESSAGE};

use super::governance::origins::GeneralAdmin;
use crate::{
    constants::{
        money::MILLI,
        time::{period, DAYS, MINUTES},
    },
    AccountId, Balance, Balances, BlockNumber, Runtime, Settlement, Token,
};

parameter_types! {
    /// Deposits that may wait to be executed.
    pub const MaxWaiting: u64 = 16_384;
    /// Longest pause of the bridge.
    pub const MaxPause: BlockNumber = period(7 * DAYS, 10 * MINUTES);
    /// Less than this is worth less than the gas that releases it.
    pub const MinWithdrawal: Balance = MILLI;
    /// A message must fit well into one Ethereum block.
    pub const MaxGas: u64 = 8_000_000;
}

/// OPEN is minted and burnt by the pallet that keeps the cap.
pub struct OpenOfTheToken;
impl OpenBridge for OpenOfTheToken {
    fn mint_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        Token::mint_bridged(who, amount)
    }

    fn burn_bridged(who: &AccountId, amount: Balance) -> DispatchResult {
        Token::burn_bridged(who, amount)
    }
}

/// What can be called from Ethereum.
///
/// - `L2_NOTES` keeps the message in an event.
/// - `L2_TELLER` moves OPEN out of the sender's own account ([`l1_account`]): whoever can send a
///   deposit from an address of Ethereum can spend what was sent to that address here.
pub struct Counter;
impl MessageHandler for Counter {
    fn handle(from: H160, to: H160, data: &[u8], _gas: u64) -> DispatchResult {
        if to == L2_NOTES {
            Settlement::note(from, data)
        } else if to == L2_TELLER {
            let transfer = Transfer::decode(data).ok_or(DispatchError::Other("no transfer"))?;
            let amount = Balance::try_from(transfer.amount)
                .map_err(|_| DispatchError::Other("no such amount exists"))?;
            let (from, to) = (l1_account(from), AccountId::from(transfer.to));
            Balances::transfer(&from, &to, amount, Preservation::Expendable).map(|_| ())
        } else {
            Err(DispatchError::CannotLookup)
        }
    }

    fn weight() -> Weight {
        // A transfer between two accounts, or an event with the longest message.
        <Runtime as frame_system::Config>::DbWeight::get()
            .reads_writes(4, 4)
            .saturating_add(Weight::from_parts(60_000_000, 8_192))
            .saturating_add(Weight::from_parts(10_000, 0).saturating_mul(MAX_MESSAGE.into()))
    }
}

impl pallet_settlement::Config for Runtime {
    type AdminOrigin = EnsureRoot<AccountId>;
    type PauseOrigin = EitherOf<EnsureRoot<AccountId>, GeneralAdmin>;
    type Open = OpenOfTheToken;
    type Handler = Counter;
    type WeightInfo = ();
    type MaxWaiting = MaxWaiting;
    type MaxPause = MaxPause;
    type MinWithdrawal = MinWithdrawal;
    type MaxGas = MaxGas;
}
