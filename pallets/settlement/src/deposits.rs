//! Deposits: executed in order, each exactly once.

use crate::{
    Config, Deposits, Dispatchers, Error, Event, Failed, FailedDeposit, Joined, MessageHandler,
    OpenBridge, Outcome, Pallet, Waiting,
};
use polkadot_sdk::{
    frame_support::{ensure, storage::with_storage_layer},
    sp_core::{H160, H256, U256},
    sp_runtime::DispatchResult,
};
use tributary_primitives::{
    bridge::{
        calls::{FinalizeBridge, RelayMessage},
        l1_account, l1_alias, Deposit, DepositData, FailureReason, L1Config, L2_BRIDGE,
        L2_MESSENGER, L2_OPEN, MAX_MESSAGE,
    },
    AccountId, Balance, CAP,
};

impl<T: Config> Pallet<T> {
    /// Executes bodies, which must be the next ones.
    pub(crate) fn execute_all(bodies: &[Deposit]) -> DispatchResult {
        let joined = Joined::<T>::get().ok_or(Error::<T>::NotJoined)?;
        let mut counts = Deposits::<T>::get();
        for body in bodies {
            let (index, hash) = (counts.executed, body.hash());
            ensure!(Waiting::<T>::take(index) == Some(hash), Error::<T>::WrongDeposit);
            counts.executed = index.saturating_add(1);
            Deposits::<T>::put(counts);
            Self::record(index, hash, Self::execute(&joined, body));
        }
        Ok(())
    }

    fn record(index: u64, hash: H256, outcome: Outcome<AccountId>) {
        Self::deposit_event(match outcome {
            Outcome::Credited { who, amount } => {
                Event::DepositCredited { index, hash, who, amount }
            }
            Outcome::Delivered { from, to } => Event::MessageDelivered { index, hash, from, to },
            Outcome::Failed { reason, refund } => {
                if let Some((from, amount)) = refund {
                    Failed::<T>::insert(index, FailedDeposit { from, amount, reason });
                }
                let refundable = refund.map_or(0, |(_, amount)| amount);
                Event::DepositFailed { index, hash, reason, refundable }
            }
        });
    }

    /// Does what a deposit asks for. It cannot fail: what it asks for can.
    fn execute(joined: &L1Config, deposit: &Deposit) -> Outcome<AccountId> {
        Self::try_execute(joined, deposit)
            .unwrap_or_else(|reason| Outcome::Failed { reason, refund: None })
    }

    fn try_execute(
        joined: &L1Config,
        deposit: &Deposit,
    ) -> Result<Outcome<AccountId>, FailureReason> {
        ensure!(deposit.version.is_zero(), FailureReason::UnknownVersion);
        let data = DepositData::decode(&deposit.opaque_data).ok_or(FailureReason::BadData)?;
        ensure!(data.mint.is_zero() && data.value.is_zero(), FailureReason::HasValue);
        ensure!(!data.is_creation, FailureReason::IsCreation);
        if deposit.to == L2_BRIDGE {
            ensure!(deposit.from == l1_alias(joined.bridge), FailureReason::NotTheBridge);
            return Self::credit(joined, &data.data);
        }
        if deposit.to == L2_MESSENGER {
            ensure!(deposit.from == l1_alias(joined.messenger), FailureReason::NotTheMessenger);
            let message = RelayMessage::decode(&data.data).ok_or(FailureReason::BadData)?;
            ensure!(message.value.is_zero(), FailureReason::HasValue);
            let gas = u64::try_from(message.min_gas_limit).unwrap_or(u64::MAX);
            return Self::deliver(message.sender, message.target, &message.message, gas);
        }
        Self::deliver(deposit.from, deposit.to, &data.data, data.gas_limit)
    }

    /// Hands a message to a dispatcher.
    fn deliver(
        from: H160,
        to: H160,
        message: &[u8],
        gas: u64,
    ) -> Result<Outcome<AccountId>, FailureReason> {
        ensure!(Dispatchers::<T>::contains_key(to), FailureReason::NotADispatcher);
        ensure!(message.len() <= MAX_MESSAGE as usize, FailureReason::BadData);
        with_storage_layer(|| T::Handler::handle(from, to, message, gas)).map_err(|error| {
            log::debug!(target: crate::inherent::LOG, "{to:?} refused a message: {error:?}");
            FailureReason::Refused
        })?;
        Ok(Outcome::Delivered { from, to })
    }

    /// Keeps a message in an event; for a dispatcher that does nothing else.
    pub fn note(from: H160, message: &[u8]) -> DispatchResult {
        let data = message.to_vec().try_into().map_err(|_| Error::<T>::OutOfBounds)?;
        Self::deposit_event(Event::MessageReceived { from, data });
        Ok(())
    }

    /// Credits OPEN that the bridge on Ethereum has locked. From here on the bridge there has spoken:
    /// what cannot be credited can be sent back.
    fn credit(joined: &L1Config, data: &[u8]) -> Result<Outcome<AccountId>, FailureReason> {
        let call = FinalizeBridge::decode(data).ok_or(FailureReason::BadData)?;
        let ours = call.local_token == L2_OPEN && call.remote_token == joined.token;
        ensure!(ours, FailureReason::WrongToken);
        let amount = amount(call.amount).ok_or(FailureReason::BadAmount)?;
        let failed = |reason| Outcome::Failed { reason, refund: Some((call.from, amount)) };
        let Some(who) = recipient(&call) else {
            return Ok(failed(FailureReason::BadRecipient));
        };
        Ok(match with_storage_layer(|| T::Open::mint_bridged(&who, amount)) {
            Ok(()) => Outcome::Credited { who, amount },
            Err(error) => {
                log::debug!(target: crate::inherent::LOG, "{who:?} was not credited: {error:?}");
                failed(FailureReason::NotCredited)
            }
        })
    }
}

/// An amount that can exist.
fn amount(of: U256) -> Option<Balance> {
    Balance::try_from(of).ok().filter(|amount| (1..=CAP).contains(amount))
}

/// The account that a deposit of OPEN names, or that of the address that it names.
fn recipient(call: &FinalizeBridge) -> Option<AccountId> {
    match <[u8; 32]>::try_from(call.extra_data.as_slice()) {
        Ok(account) => Some(AccountId::new(account)),
        Err(_) if call.extra_data.is_empty() && !call.to.is_zero() => Some(l1_account(call.to)),
        Err(_) => None,
    }
}
