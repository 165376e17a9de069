//! What must hold of the state at any time.

use crate::{pallet::*, BatchStage, MAX_ANCESTORS};
use alloc::collections::{BTreeMap, BTreeSet};
use polkadot_sdk::{
    frame_support::{
        ensure,
        traits::fungible::{hold::Inspect as InspectHold, Inspect},
    },
    sp_runtime::TryRuntimeError,
};
use tributary_primitives::{views::SharesView, AccountId, Balance, BatchId};

impl<T: Config> Pallet<T> {
    /// Checks, in this order:
    ///
    /// 1. The pot covers all revenue, the fees of pending batches and unclaimed payouts, and
    ///    keeps the existential deposit besides.
    /// 2. Shares: they add up to one.
    /// 3. Models: ids lie below the next one, names lead back to their models, a parent is older
    ///    than its child, and depths are right.
    /// 4. Deposits: on hold in an account is the sum of its deposits for models.
    /// 5. Batches: ids lie below the next one, the parts are within the fees, exactly the pending
    ///    ones have their totals stored, and each worker's sequence has no gap.
    /// 6. Claims: they belong to final batches, within the number of payouts.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let view: SharesView = CurrentShares::<T>::get().into();
        ensure!(view.check().is_ok(), "2: the shares do not add up to one");
        Self::try_models()?;
        let owed = Self::try_batches()?;
        let revenue = Revenue::<T>::iter_values().fold(0, Balance::saturating_add);
        let needed = owed.saturating_add(revenue).saturating_add(T::Currency::minimum_balance());
        ensure!(
            T::Currency::balance(&Self::pot()) >= needed,
            "1: the pot does not cover what is owed"
        );
        Ok(())
    }

    fn try_models() -> Result<(), TryRuntimeError> {
        let mut deposits: BTreeMap<AccountId, Balance> = BTreeMap::new();
        let mut count = 0usize;
        for (id, model) in Models::<T>::iter() {
            count = count.saturating_add(1);
            ensure!(id < NextModel::<T>::get(), "3: a model's id is not below the next one");
            ensure!(
                ModelsByName::<T>::get(&model.name) == Some(id),
                "3: a model's name does not lead to it"
            );
            ensure!(model.depth <= MAX_ANCESTORS, "3: a lineage is too deep");
            let depth = match model.parent {
                None => 0,
                Some(parent) => {
                    ensure!(parent < id, "3: a parent is not older than its child");
                    let parent = Models::<T>::get(parent).ok_or("3: a parent is missing")?;
                    parent.depth.saturating_add(1)
                }
            };
            ensure!(model.depth == depth, "3: a model's depth is wrong");
            if let Some((account, amount)) = model.deposit {
                let sum = deposits.entry(account).or_default();
                *sum = sum.saturating_add(amount);
            }
        }
        ensure!(ModelsByName::<T>::iter().count() == count, "3: a name leads to no model");
        for (account, sum) in deposits {
            let held = T::Currency::balance_on_hold(&HoldReason::Model.into(), &account);
            ensure!(held == sum, "4: the deposits on hold are not those of the models");
        }
        Ok(())
    }

    /// Gives what batches still owe, in units.
    fn try_batches() -> Result<Balance, TryRuntimeError> {
        let mut owed: Balance = 0;
        let mut pending = BTreeSet::new();
        let mut sequences: BTreeMap<AccountId, BTreeSet<u32>> = BTreeMap::new();
        for (id, batch) in Batches::<T>::iter() {
            ensure!(id < NextBatch::<T>::get(), "5: a batch's id is not below the next one");
            ensure!(
                batch.payouts_total.saturating_add(batch.unattributed_total) <= batch.fees,
                "5: the contributors' part is above the fees"
            );
            ensure!(batch.unclaimed <= batch.payouts_total, "6: unclaimed is above the total");
            ensure!(
                sequences.entry(batch.worker).or_default().insert(batch.sequence),
                "5: a sequence number stands twice"
            );
            let owes = match batch.stage {
                BatchStage::Pending { .. } => {
                    pending.insert(id);
                    ensure!(batch.unclaimed == batch.payouts_total, "6: claimed before final");
                    batch.fees
                }
                BatchStage::Final => batch.unclaimed,
            };
            owed = owed.saturating_add(owes);
        }
        let stored: BTreeSet<BatchId> = PendingBatches::<T>::iter_keys().collect();
        ensure!(stored == pending, "5: the stored totals are not those of the pending batches");
        for (worker, numbers) in sequences {
            let next = NextSequence::<T>::get(&worker);
            ensure!(numbers.into_iter().eq(0..next), "5: a worker's sequence has a gap");
        }
        for (id, index, ()) in Claimed::<T>::iter() {
            let batch = Batches::<T>::get(id).ok_or("6: a claim belongs to no batch")?;
            ensure!(batch.stage == BatchStage::Final, "6: a claim on a batch that is not final");
            ensure!(index < batch.payouts_count, "6: a claim beyond the number of payouts");
            ensure!(batch.unclaimed < batch.payouts_total, "6: a claim that nothing was paid for");
        }
        Ok(owed)
    }
}
