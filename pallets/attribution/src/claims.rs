//! Claims: each payout of a final batch once, by anyone, to the contribution's payout account.

use crate::{pallet::*, BatchStage, Contributions, PayoutProof, Sponsors, WeightInfo};
use codec::Encode;
use polkadot_sdk::{
    frame_support::{
        ensure,
        pallet_prelude::{
            InvalidTransaction, TransactionSource, TransactionValidityError,
            TransactionValidityWithRefund, ValidTransaction,
        },
        traits::{
            fungible::Inspect,
            tokens::{DepositConsequence, Fortitude, Preservation, Provenance},
        },
        weights::Weight,
    },
    sp_core::Get,
    sp_runtime::{DispatchError, DispatchResult},
};
use tributary_primitives::{payouts::Payout, tree, AccountId, BatchId, DatanetId};

/// Bytes that a transaction has beside the arguments of the call: its version, the extensions'
/// bytes and the call's indices.
const LEN_OVERHEAD: usize = 24;

/// Blocks for which a sponsored claim may wait in the pool.
const LONGEVITY: u64 = 64;

impl<T: Config> Pallet<T> {
    /// Whether the payout can be claimed now, and the account that it goes to.
    pub fn check_claim(
        id: BatchId,
        payout: &Payout,
        proof: &PayoutProof,
    ) -> Result<AccountId, Error<T>> {
        let batch = Batches::<T>::get(id).ok_or(Error::<T>::UnknownBatch)?;
        ensure!(batch.stage == BatchStage::Final, Error::<T>::NotFinal);
        ensure!(!Claimed::<T>::contains_key(id, proof.index), Error::<T>::AlreadyClaimed);
        let path = proof.in_tree_of(batch.payouts_count);
        ensure!(tree::verify(&batch.payouts_root, &payout.leaf(), &path), Error::<T>::BadProof);
        ensure!(payout.amount > 0, Error::<T>::EmptyPayout);
        ensure!(payout.amount <= batch.unclaimed, Error::<T>::BatchExhausted);
        let account = T::Contributions::payout_account(payout.contribution)
            .ok_or(Error::<T>::UnknownContribution)?;
        match T::Currency::can_deposit(&account, payout.amount, Provenance::Extant) {
            DepositConsequence::Success => {}
            DepositConsequence::BelowMinimum => return Err(Error::<T>::BelowExistentialDeposit),
            _ => return Err(Error::<T>::AccountCannotReceive),
        }
        let free =
            T::Currency::reducible_balance(&Self::pot(), Preservation::Preserve, Fortitude::Polite);
        ensure!(payout.amount <= free, Error::<T>::PotShort);
        Ok(account)
    }

    pub(crate) fn do_claim(id: BatchId, payout: Payout, proof: PayoutProof) -> DispatchResult {
        let account = Self::check_claim(id, &payout, &proof)?;
        let Payout { contribution, amount } = payout;
        Batches::<T>::try_mutate(id, |batch| {
            let batch = batch.as_mut().ok_or(Error::<T>::UnknownBatch)?;
            batch.unclaimed =
                batch.unclaimed.checked_sub(amount).ok_or(Error::<T>::BatchExhausted)?;
            Ok::<_, DispatchError>(())
        })?;
        Claimed::<T>::insert(id, proof.index, ());
        Self::pay(&account, amount)?;
        Self::deposit_event(Event::PayoutClaimed {
            batch: id,
            index: proof.index,
            contribution,
            account,
            amount,
        });
        Ok(())
    }

    pub(crate) fn do_claim_sponsored(
        id: BatchId,
        payout: Payout,
        proof: PayoutProof,
    ) -> DispatchResult {
        Self::check_claim(id, &payout, &proof)?;
        let datanet = Self::sponsor_of(&payout)?;
        let (len, weight) = Self::sponsored_cost(id, &payout, &proof);
        T::Sponsors::sponsor(datanet, len, weight)?;
        Self::do_claim(id, payout, proof)
    }

    /// Lets a sponsored claim into the pool and into blocks: the claim must go through now, and
    /// the pot of the contribution's datanet must be willing to pay for it.
    pub(crate) fn authorize_claim(
        _source: TransactionSource,
        id: &BatchId,
        payout: &Payout,
        proof: &PayoutProof,
    ) -> TransactionValidityWithRefund {
        let refused = |error: Error<T>| TransactionValidityError::Invalid(refusal(&error));
        Self::check_claim(*id, payout, proof).map_err(refused)?;
        let datanet = Self::sponsor_of(payout).map_err(refused)?;
        let (len, weight) = Self::sponsored_cost(*id, payout, proof);
        if !T::Sponsors::can_sponsor(datanet, len, weight) {
            return Err(InvalidTransaction::Payment.into());
        }
        let valid: ValidTransaction = ValidTransaction::with_tag_prefix("TributaryClaim")
            .and_provides((id, proof.index))
            .longevity(LONGEVITY)
            .propagate(true)
            .into();
        Ok((valid, Weight::zero()))
    }

    /// The datanet whose pot pays for claiming this payout.
    fn sponsor_of(payout: &Payout) -> Result<DatanetId, Error<T>> {
        // Else payouts of a unit each could drain a pot through fees.
        ensure!(payout.amount >= T::MinSponsoredClaim::get(), Error::<T>::BelowSponsoredMinimum);
        T::Contributions::datanet_of(payout.contribution).ok_or(Error::<T>::UnknownContribution)
    }

    fn sponsored_cost(id: BatchId, payout: &Payout, proof: &PayoutProof) -> (u32, Weight) {
        let len = (id, payout, proof).encoded_size().saturating_add(LEN_OVERHEAD);
        let weight =
            T::WeightInfo::claim_sponsored().saturating_add(T::WeightInfo::authorize_claim());
        (u32::try_from(len).unwrap_or(u32::MAX), weight)
    }
}

/// What the pool is told when a sponsored claim is refused.
fn refusal<T: Config>(error: &Error<T>) -> InvalidTransaction {
    match error {
        Error::AlreadyClaimed => InvalidTransaction::Stale,
        Error::NotFinal => InvalidTransaction::Future,
        Error::BadProof => InvalidTransaction::BadProof,
        Error::UnknownBatch => InvalidTransaction::Custom(1),
        Error::UnknownContribution => InvalidTransaction::Custom(2),
        Error::BelowExistentialDeposit => InvalidTransaction::Custom(3),
        Error::BelowSponsoredMinimum => InvalidTransaction::Custom(4),
        Error::BatchExhausted => InvalidTransaction::Custom(5),
        Error::EmptyPayout => InvalidTransaction::Custom(6),
        Error::AccountCannotReceive => InvalidTransaction::Custom(7),
        _ => InvalidTransaction::Custom(255),
    }
}
