//! The registry of models and their lineage.

use crate::{pallet::*, Model, Name, NewAdapter, ReservedNames, MAX_ANCESTORS};
use alloc::vec::Vec;
use polkadot_sdk::{
    frame_support::{ensure, traits::fungible::hold::Mutate},
    frame_system,
    sp_core::Get,
    sp_runtime::{DispatchError, DispatchResult, SaturatedConversion},
};
use tributary_primitives::{money::PPM, AccountId, BlockNumber, Digest, ModelId, H256};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_base(
        owner: AccountId,
        name: Name,
        content: Digest,
        royalty: u32,
    ) -> Result<ModelId, DispatchError> {
        ensure!(royalty <= PPM, Error::<T>::BadRoyalty);
        ensure!(content != H256::zero(), Error::<T>::NoContent);
        ensure!(!T::ReservedNames::reserved(&name), Error::<T>::NameReserved);
        let deposit = T::ModelDeposit::get();
        T::Currency::hold(&HoldReason::Model.into(), &owner, deposit)
            .map_err(|_| Error::<T>::DepositNotCovered)?;
        Self::insert(Model {
            deposit: Some((owner.clone(), deposit)),
            owner,
            name,
            parent: None,
            depth: 0,
            content,
            versions: Default::default(),
            index: H256::zero(),
            index_root: H256::zero(),
            royalty,
            job: None,
            registered: Self::now(),
        })
    }

    /// Registers an adapter that a finished job made. Its parent must be there, the lineage not
    /// too deep and the name free; a name that a job reserved is that job's to give.
    pub fn register_adapter(adapter: NewAdapter) -> Result<ModelId, DispatchError> {
        let parent = Models::<T>::get(adapter.parent).ok_or(Error::<T>::UnknownParent)?;
        ensure!(parent.depth < MAX_ANCESTORS, Error::<T>::LineageTooDeep);
        ensure!(adapter.content != H256::zero(), Error::<T>::NoContent);
        Self::insert(Model {
            owner: adapter.owner,
            name: adapter.name.try_into().map_err(|_| Error::<T>::BadName)?,
            parent: Some(adapter.parent),
            depth: parent.depth.saturating_add(1),
            content: adapter.content,
            versions: adapter.versions.try_into().map_err(|_| Error::<T>::TooManyVersions)?,
            index: adapter.index,
            index_root: adapter.index_root,
            royalty: T::AdapterRoyalty::get(),
            job: Some(adapter.job),
            registered: Self::now(),
            deposit: None,
        })
    }

    pub(crate) fn do_transfer_model(who: AccountId, id: ModelId, to: AccountId) -> DispatchResult {
        Models::<T>::try_mutate(id, |model| {
            let model = model.as_mut().ok_or(Error::<T>::UnknownModel)?;
            ensure!(model.owner == who, Error::<T>::NotOwner);
            model.owner = to.clone();
            Ok::<_, DispatchError>(())
        })?;
        Self::deposit_event(Event::ModelTransferred { model: id, from: who, to });
        Ok(())
    }

    /// Whether the model is a base model.
    pub fn is_base(id: ModelId) -> bool {
        Models::<T>::get(id).is_some_and(|model| model.parent.is_none())
    }

    /// Whether no model has this name.
    pub fn name_free(name: &[u8]) -> bool {
        !Name::try_from(name.to_vec()).is_ok_and(ModelsByName::<T>::contains_key)
    }

    /// Who owns the model; `None` where there is no such model.
    pub fn owner_of(id: ModelId) -> Option<AccountId> {
        Models::<T>::get(id).map(|model| model.owner)
    }

    /// Whether there is such a model.
    pub fn model_exists(id: ModelId) -> bool {
        Models::<T>::contains_key(id)
    }

    /// The model and its ancestors, itself first; at most nine.
    pub fn lineage(id: ModelId) -> Vec<(ModelId, Model)> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        // A parent is registered before its children, so the walk ends; the bound is for safety.
        for _ in 0..=MAX_ANCESTORS {
            let Some((id, model)) = next.and_then(|id| Some((id, Models::<T>::get(id)?))) else {
                break;
            };
            next = model.parent;
            chain.push((id, model));
        }
        chain
    }

    pub(crate) fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    fn insert(model: Model) -> Result<ModelId, DispatchError> {
        ensure!(is_name(&model.name), Error::<T>::BadName);
        ensure!(!ModelsByName::<T>::contains_key(&model.name), Error::<T>::NameTaken);
        let id = NextModel::<T>::get();
        NextModel::<T>::put(id.next().ok_or(Error::<T>::OutOfIds)?);
        let event = Event::ModelRegistered {
            model: id,
            owner: model.owner.clone(),
            parent: model.parent,
            job: model.job,
        };
        ModelsByName::<T>::insert(&model.name, id);
        Models::<T>::insert(id, model);
        Self::deposit_event(event);
        Ok(id)
    }
}

fn is_name(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    !name.is_empty() && name.iter().all(allowed)
}
