//! Read-only pictures of the state for dApps and tools.

use crate::{pallet::*, Batch, BatchStage, Model, Name};
use alloc::vec::Vec;
use tributary_primitives::{
    views::{BatchState, BatchView, ModelKind, ModelView, SharesView, Text, MAX_PAGE},
    AccountId, Balance, BatchId, ModelId,
};

fn page(limit: u32) -> usize {
    usize::try_from(limit.min(MAX_PAGE)).unwrap_or(usize::MAX)
}

impl<T: Config> Pallet<T> {
    /// The model of this id.
    pub fn view_model(id: ModelId) -> Option<ModelView> {
        Models::<T>::get(id).map(|model| model_view(id, model))
    }

    /// The model of this name.
    pub fn view_model_by_name(name: Text) -> Option<ModelView> {
        Self::view_model(ModelsByName::<T>::get(Name::try_from(name.0).ok()?)?)
    }

    /// Models in the order of their ids, from `from`, at most `limit`.
    pub fn view_models(from: ModelId, limit: u32) -> Vec<ModelView> {
        (from.0..NextModel::<T>::get().0)
            .take(page(limit))
            .filter_map(|id| Self::view_model(ModelId(id)))
            .collect()
    }

    /// The model and its ancestors, itself first.
    pub fn view_lineage(id: ModelId) -> Vec<ModelView> {
        Self::lineage(id).into_iter().map(|(id, model)| model_view(id, model)).collect()
    }

    /// The batch of this id.
    pub fn view_batch(id: BatchId) -> Option<BatchView> {
        Batches::<T>::get(id).map(|batch| batch_view(id, batch))
    }

    /// Batches in the order of their ids, from `from`, at most `limit`.
    pub fn view_batches(from: BatchId, limit: u32) -> Vec<BatchView> {
        (from.0..NextBatch::<T>::get().0)
            .take(page(limit))
            .filter_map(|id| Self::view_batch(BatchId(id)))
            .collect()
    }

    /// For each index (of the first 256), whether that payout has been claimed.
    pub fn view_claimed(id: BatchId, indices: Vec<u32>) -> Vec<bool> {
        indices
            .into_iter()
            .take(page(MAX_PAGE))
            .map(|index| Claimed::<T>::contains_key(id, index))
            .collect()
    }

    /// How fees are shared.
    pub fn view_shares() -> SharesView {
        CurrentShares::<T>::get().into()
    }

    /// Number that the worker's next batch must have.
    pub fn view_next_sequence(worker: AccountId) -> u32 {
        NextSequence::<T>::get(worker)
    }

    /// What the worker redeemed and has not settled yet, in units.
    pub fn view_revenue(worker: AccountId) -> Balance {
        Revenue::<T>::get(worker)
    }
}

fn model_view(id: ModelId, model: Model) -> ModelView {
    ModelView {
        id,
        name: Text(model.name.into_inner()),
        owner: model.owner,
        kind: if model.parent.is_none() { ModelKind::Base } else { ModelKind::Adapter },
        parent: model.parent,
        content: model.content,
        versions: model.versions.into_inner(),
        index: model.index,
        index_root: model.index_root,
        royalty: model.royalty,
        job: model.job,
        registered: model.registered,
    }
}

fn batch_view(id: BatchId, batch: Batch) -> BatchView {
    BatchView {
        id,
        worker: batch.worker,
        sequence: batch.sequence,
        fees: batch.fees,
        payouts_root: batch.payouts_root,
        payouts_count: batch.payouts_count,
        payouts_total: batch.payouts_total,
        unclaimed: batch.unclaimed,
        unattributed_total: batch.unattributed_total,
        payouts_blob: batch.payouts_blob,
        receipts_root: batch.receipts_root,
        receipts_count: batch.receipts_count,
        state: match batch.stage {
            BatchStage::Pending { final_at } => BatchState::Pending { final_at },
            BatchStage::Final => BatchState::Final,
        },
    }
}
