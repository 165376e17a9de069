//! Vouchers: what is promised, what is spent, and what is reserved for answers under way.

use crate::{
    backend::Served,
    error::{PaymentRequired, Result, VoucherFault, WorkerError},
    journal::{Answer, Journal},
};
use codec::Decode;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tributary_primitives::{
    jobs::token_fee,
    signing::{Receipt, Signable, Voucher},
    views::ChannelView,
    AccountId, Balance, ChannelId, MultiSignature, H256,
};

/// The header that carries a voucher.
pub const HEADER: &str = "x-tributary-voucher";

/// Reads the header's value: `0x` and the hexadecimal SCALE form of `(Voucher, MultiSignature)`.
pub fn read_header(value: &[u8]) -> Option<(Voucher, MultiSignature)> {
    let bytes = hex::decode(value.strip_prefix(b"0x").unwrap_or(value)).ok()?;
    let mut rest = bytes.as_slice();
    let signed = <(Voucher, MultiSignature)>::decode(&mut rest).ok()?;
    rest.is_empty().then_some(signed)
}

/// What a request costs, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Per 1,000 prompt tokens.
    pub input: Balance,
    /// Per 1,000 answer tokens.
    pub output: Balance,
}

impl Price {
    /// Price of a listed model.
    pub fn of(model: &Served) -> Result<Self> {
        let listing = model
            .listing
            .as_ref()
            .ok_or_else(|| WorkerError::NotListed(model.model.name.to_string()))?;
        Ok(Self { input: listing.price_in, output: listing.price_out })
    }

    /// Fee of an answer.
    pub fn fee(&self, tokens_in: u32, tokens_out: u32) -> Balance {
        token_fee(tokens_in.into(), self.input)
            .saturating_add(token_fee(tokens_out.into(), self.output))
    }
}

/// The terms under which a voucher is looked at.
#[derive(Clone, Debug)]
pub struct Terms {
    /// This worker.
    pub worker: AccountId,
    /// The chain.
    pub genesis: H256,
    /// What the model costs.
    pub price: Price,
    /// What the longest answer asked for would cost, in units.
    pub most: Balance,
}

impl Terms {
    /// The error that tells how to pay; `least` is what a voucher has to promise in total.
    pub fn refuse(
        &self,
        fault: VoucherFault,
        channel: Option<ChannelId>,
        least: Balance,
    ) -> WorkerError {
        WorkerError::Payment(Box::new(PaymentRequired {
            fault,
            reason: fault.explain(channel, least),
            price_in: self.price.input,
            price_out: self.price.output,
            worker: self.worker.clone(),
            min_cumulative: least,
        }))
    }
}

/// Admits requests to channels: what is spent and what is reserved never exceeds what is promised.
#[derive(Clone)]
pub struct Ledger {
    journal: Journal,
    reserved: Arc<Mutex<HashMap<ChannelId, Balance>>>,
}

impl Ledger {
    /// A ledger on the journal.
    pub fn new(journal: Journal) -> Self {
        Self { journal, reserved: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Balance>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a voucher for a channel has to promise before anything more is asked for, in units.
    pub fn committed(&self, channel: &ChannelView) -> Result<Balance> {
        let reserved = self.lock();
        self.committed_with(&reserved, channel)
    }

    fn committed_with(
        &self,
        reserved: &HashMap<ChannelId, Balance>,
        channel: &ChannelView,
    ) -> Result<Balance> {
        let spent = self.journal.channel(channel.id)?.map_or(0, |row| row.spent);
        let under_way = reserved.get(&channel.id).copied().unwrap_or(0);
        Ok(spent.max(channel.redeemed).saturating_add(under_way))
    }

    /// Checks a voucher against its channel, writes it down, and reserves `terms.most` of it.
    ///
    /// Blocks on the disk. The voucher is in the journal when this returns.
    pub fn admit(
        &self,
        terms: &Terms,
        view: Option<&ChannelView>,
        voucher: &Voucher,
        signature: &MultiSignature,
    ) -> Result<Reservation> {
        let id = Some(voucher.channel);
        let Some(view) = view else {
            return Err(terms.refuse(VoucherFault::UnknownChannel, id, terms.most));
        };
        if view.worker != terms.worker {
            return Err(terms.refuse(VoucherFault::OtherWorker, id, terms.most));
        }
        if !voucher.verify(&terms.genesis, signature, &view.consumer) {
            return Err(terms.refuse(VoucherFault::BadSignature, id, terms.most));
        }
        // From here on the lock is held: of two requests with one voucher, the second sees what
        // the first reserved.
        let mut reserved = self.lock();
        let committed = self.committed_with(&reserved, view)?;
        let least = committed.saturating_add(terms.most);
        if view.closes_at.is_some() {
            return Err(terms.refuse(VoucherFault::Closing, id, least));
        }
        if voucher.cumulative > view.deposit {
            return Err(terms.refuse(VoucherFault::AboveDeposit, id, least));
        }
        if voucher.cumulative < least {
            let spent = committed > 0 && voucher.cumulative <= committed;
            let fault = if spent { VoucherFault::Stale } else { VoucherFault::Insufficient };
            return Err(terms.refuse(fault, id, least));
        }
        let row = self.journal.accept_voucher(&view.consumer, voucher, signature, view.redeemed)?;
        let under_way = reserved.entry(view.id).or_default();
        *under_way = under_way.saturating_add(terms.most);
        drop(reserved);
        Ok(Reservation {
            ledger: self.clone(),
            channel: view.id,
            amount: terms.most,
            cumulative: row.voucher.cumulative,
        })
    }
}

/// A part of a voucher that is kept for an answer under way; given back when it is dropped.
pub struct Reservation {
    ledger: Ledger,
    channel: ChannelId,
    amount: Balance,
    cumulative: Balance,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} units of channel {}", self.amount, self.channel)
    }
}

impl Reservation {
    /// The channel.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Most that the answer may cost, in units.
    pub fn amount(&self) -> Balance {
        self.amount
    }

    /// What the best voucher of the channel promises, in units.
    pub fn cumulative(&self) -> Balance {
        self.cumulative
    }

    /// Writes the answer down and gives the reservation back in one go. Blocks on the disk.
    pub fn record(
        mut self,
        now_ms: u64,
        sign: impl FnOnce(u64) -> (Receipt, MultiSignature),
    ) -> Result<Answer> {
        let ledger = self.ledger.clone();
        let mut reserved = ledger.lock();
        let outcome = ledger.journal.record_answer(self.channel, now_ms, sign);
        self.release(&mut reserved);
        // The lock goes before `self`, whose end takes it again and finds nothing to give back.
        self.amount = 0;
        drop(reserved);
        outcome
    }

    fn release(&self, reserved: &mut HashMap<ChannelId, Balance>) {
        if let Some(under_way) = reserved.get_mut(&self.channel) {
            *under_way = under_way.saturating_sub(self.amount);
            if *under_way == 0 {
                reserved.remove(&self.channel);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.ledger.lock();
        self.release(&mut reserved);
    }
}
