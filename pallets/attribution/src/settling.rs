//! Batches: from revenue to paid shares.

use crate::{
    pallet::*, Batch, BatchStage, ModelStakes, ModelTotal, NewBatch, Pending, PlatformFees,
    Recipient, Shares,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use polkadot_sdk::{
    frame_support::{
        ensure,
        storage::with_storage_layer,
        traits::{fungible::Mutate, tokens::Preservation},
    },
    sp_core::Get,
    sp_runtime::{traits::AccountIdConversion, DispatchError, DispatchResult},
};
use tributary_primitives::{
    fees::{split_fee, FeeParts},
    money::split,
    AccountId, Balance, BatchId, ModelId,
};

impl<T: Config> Pallet<T> {
    /// Account that holds revenue, the fees of pending batches and unclaimed payouts.
    pub fn pot() -> AccountId {
        T::PalletId::get().into_account_truncating()
    }

    /// Account of the commons, which gets what attribution cannot explain.
    pub fn commons() -> AccountId {
        T::PalletId::get().into_sub_account_truncating(b"commons")
    }

    /// Notes that `amount` units, redeemed by the worker, have come into the [`Self::pot`].
    pub fn on_redeemed(worker: &AccountId, amount: Balance) {
        Revenue::<T>::mutate(worker, |revenue| *revenue = revenue.saturating_add(amount));
        Self::deposit_event(Event::RevenueAdded { worker: worker.clone(), amount });
    }

    pub(crate) fn do_submit_batch(
        worker: AccountId,
        new: NewBatch,
    ) -> Result<BatchId, DispatchError> {
        let sequence = NextSequence::<T>::get(&worker);
        ensure!(new.sequence == sequence, Error::<T>::WrongSequence);
        let shares = CurrentShares::<T>::get();
        let fees = Self::check_totals(&new, &shares)?;
        let revenue = Revenue::<T>::get(&worker);
        let left = revenue.checked_sub(fees).ok_or(Error::<T>::AboveRevenue)?;

        let id = NextBatch::<T>::get();
        NextBatch::<T>::put(id.next().ok_or(Error::<T>::OutOfIds)?);
        NextSequence::<T>::insert(&worker, sequence.checked_add(1).ok_or(Error::<T>::OutOfIds)?);
        if left == 0 {
            Revenue::<T>::remove(&worker);
        } else {
            Revenue::<T>::insert(&worker, left);
        }
        let final_at = Self::now().saturating_add(T::ChallengeWindow::get());
        let (payouts_count, payouts_total) = (new.payouts_count, new.payouts_total);
        PendingBatches::<T>::insert(id, Pending { shares, models: new.models });
        let batch = Batch {
            worker: worker.clone(),
            sequence,
            fees,
            payouts_root: new.payouts_root,
            payouts_count,
            payouts_total,
            unclaimed: payouts_total,
            payouts_blob: new.payouts_blob,
            unattributed_total: new.unattributed_total,
            receipts_root: new.receipts_root,
            receipts_count: new.receipts_count,
            stage: BatchStage::Pending { final_at },
        };
        Batches::<T>::insert(id, batch);
        Self::deposit_event(Event::BatchSubmitted {
            batch: id,
            worker,
            sequence,
            fees,
            payouts_count,
            payouts_total,
            final_at,
        });
        Ok(id)
    }

    /// Checks the totals of a batch against each other and gives the sum of the fees.
    fn check_totals(new: &NewBatch, shares: &Shares) -> Result<Balance, DispatchError> {
        ensure!(!new.models.is_empty(), Error::<T>::EmptyBatch);
        let mut seen = BTreeSet::new();
        let (mut fees, mut attributed, mut unattributed) = (0u128, 0u128, 0u128);
        let mut requests = 0u64;
        for total in &new.models {
            ensure!(seen.insert(total.model), Error::<T>::DuplicateModel);
            let model = Models::<T>::get(total.model).ok_or(Error::<T>::UnknownModel)?;
            ensure!(
                total.attributed == 0 || !model.versions.is_empty(),
                Error::<T>::NothingToAttribute
            );
            // A sum that overflows is above any revenue.
            fees = fees.checked_add(total.fees).ok_or(Error::<T>::AboveRevenue)?;
            let rest = split_fee(total.fees, &shares.clone().into())
                .contributors
                .checked_sub(total.attributed)
                .ok_or(Error::<T>::AttributedTooMuch)?;
            // Both are at most the fees, whose sum did not overflow.
            attributed = attributed.saturating_add(total.attributed);
            unattributed = unattributed.saturating_add(rest);
            requests = requests.checked_add(total.requests).ok_or(Error::<T>::ReceiptsMismatch)?;
        }
        ensure!(fees > 0, Error::<T>::EmptyBatch);
        ensure!(new.receipts_count == requests, Error::<T>::ReceiptsMismatch);
        ensure!(
            new.payouts_total == attributed
                && (new.payouts_count == 0) == (attributed == 0)
                && Balance::from(new.payouts_count) <= attributed,
            Error::<T>::PayoutsMismatch
        );
        ensure!(new.unattributed_total == unattributed, Error::<T>::UnattributedMismatch);
        Ok(fees)
    }

    /// Pays the shares of a batch and opens its payouts for claims; gives the number of models.
    pub(crate) fn do_finalize_batch(id: BatchId) -> Result<u32, DispatchError> {
        let mut batch = Batches::<T>::get(id).ok_or(Error::<T>::UnknownBatch)?;
        let BatchStage::Pending { final_at } = batch.stage else {
            return Err(Error::<T>::AlreadyFinal.into());
        };
        ensure!(Self::now() >= final_at, Error::<T>::WindowOpen);
        let pending = PendingBatches::<T>::take(id).ok_or(Error::<T>::UnknownBatch)?;
        let count = u32::try_from(pending.models.len()).unwrap_or(u32::MAX);

        let due = Self::add_up(&batch.worker, &pending)?;
        let mut commons = batch.unattributed_total;
        let mut redirect = |meant_for: Recipient, amount: Balance| {
            commons = commons.saturating_add(amount);
            Self::deposit_event(Event::PaidToCommons { batch: id, meant_for, amount });
        };
        let pot = Self::pot();
        let platform = due.parts.platform;
        if platform > 0 && with_storage_layer(|| T::PlatformFees::take(&pot, platform)).is_err() {
            redirect(Recipient::Platform, platform);
        }
        for (model, amount) in due.stakers {
            if !with_storage_layer(|| T::ModelStakes::reward(&pot, model, amount)).unwrap_or(false)
            {
                redirect(Recipient::Stakers(model), amount);
            }
        }
        for (account, amount) in due.accounts {
            if with_storage_layer(|| Self::pay(&account, amount)).is_err() {
                redirect(Recipient::Account(account), amount);
            }
        }
        if commons > 0 {
            Self::pay(&Self::commons(), commons)?;
        }
        batch.stage = BatchStage::Final;
        let (worker, parts) = (batch.worker.clone(), due.parts);
        Batches::<T>::insert(id, batch);
        Self::deposit_event(Event::BatchFinalized { batch: id, worker, parts, commons });
        Ok(count)
    }

    /// Pays out of the pot, which keeps at least the existential deposit.
    pub(crate) fn pay(to: &AccountId, amount: Balance) -> DispatchResult {
        T::Currency::transfer(&Self::pot(), to, amount, Preservation::Preserve).map(|_| ())
    }

    fn add_up(worker: &AccountId, pending: &Pending) -> Result<Due, DispatchError> {
        let mut due = Due::default();
        for ModelTotal { model, fees, .. } in &pending.models {
            let parts = split_fee(*fees, &pending.shares.clone().into());
            due.parts = sum(&due.parts, &parts);
            due.credit(worker, parts.worker);
            let lineage = Self::lineage(*model);
            let ((_, own), ancestors) = lineage.split_first().ok_or(Error::<T>::UnknownModel)?;
            due.credit(&own.owner, parts.owner);
            let weights: Vec<u64> = ancestors.iter().map(|(_, m)| u64::from(m.royalty)).collect();
            match split(parts.ancestors, &weights) {
                Some(amounts) => {
                    for ((_, ancestor), amount) in ancestors.iter().zip(amounts) {
                        due.credit(&ancestor.owner, amount);
                    }
                }
                // No ancestors, or none that asks for a royalty: the owner stands in for them.
                None => due.credit(&own.owner, parts.ancestors),
            }
            if parts.stakers > 0 {
                due.stakers.push((*model, parts.stakers));
            }
        }
        Ok(due)
    }
}

/// What a batch pays on finalisation, the commons' part apart.
#[derive(Default)]
struct Due {
    /// Sum of the parts over the models.
    parts: FeeParts,
    /// For the stakers of each model.
    stakers: Vec<(ModelId, Balance)>,
    /// For accounts, each once.
    accounts: BTreeMap<AccountId, Balance>,
}

impl Due {
    fn credit(&mut self, account: &AccountId, amount: Balance) {
        if amount > 0 {
            let entry = self.accounts.entry(account.clone()).or_default();
            *entry = entry.saturating_add(amount);
        }
    }
}

fn sum(a: &FeeParts, b: &FeeParts) -> FeeParts {
    FeeParts {
        platform: a.platform.saturating_add(b.platform),
        worker: a.worker.saturating_add(b.worker),
        owner: a.owner.saturating_add(b.owner),
        ancestors: a.ancestors.saturating_add(b.ancestors),
        stakers: a.stakers.saturating_add(b.stakers),
        contributors: a.contributors.saturating_add(b.contributors),
    }
}
