//! Which general transactions, signed by a payout key and sent from no account, may enter.
//!
//! Everything that could make the call fail is checked here; the signature, which costs most, last.

use crate::{Config, Error, Pallet};
use codec::Encode;
use polkadot_sdk::frame_support::{
    ensure,
    pallet_prelude::{
        InvalidTransaction, TransactionSource, TransactionValidityError,
        TransactionValidityWithRefund, ValidTransaction,
    },
    weights::Weight,
};
use tributary_primitives::{
    signing::{ContributionOffer, Retirement, Signable},
    BlockNumber, MultiSignature,
};

/// Prefix of the tags by which the pool tells these transactions apart.
const TAG: &str = "tributary/datanets";

impl<T: Config> Pallet<T> {
    pub(crate) fn authorize_contribute_signed(
        _source: TransactionSource,
        offer: &ContributionOffer,
        signature: &MultiSignature,
    ) -> TransactionValidityWithRefund {
        Self::admit_sponsored(offer, signature).map_err(Self::refusal)?;
        ensure!(
            offer.verify(&Self::genesis_hash(), signature, &offer.payout),
            Self::refusal(Error::BadSignature)
        );
        Self::valid(("contribution", offer.content), offer.valid_until)
    }

    pub(crate) fn authorize_retire_signed(
        _source: TransactionSource,
        retirement: &Retirement,
        signature: &MultiSignature,
    ) -> TransactionValidityWithRefund {
        let contribution = Self::admit_retirement(retirement, signature).map_err(Self::refusal)?;
        ensure!(
            retirement.verify(&Self::genesis_hash(), signature, &contribution.payout),
            Self::refusal(Error::BadSignature)
        );
        Self::valid(("retirement", retirement.contribution), retirement.valid_until)
    }

    /// Two transactions of one tag exclude each other, as the two calls would.
    fn valid(tag: impl Encode, valid_until: BlockNumber) -> TransactionValidityWithRefund {
        ValidTransaction::with_tag_prefix(TAG)
            .and_provides(tag)
            .longevity(u64::from(valid_until.saturating_sub(Self::now())).max(1))
            .propagate(true)
            .build()
            .map(|valid| (valid, Weight::zero()))
    }

    /// The index of the error among the pallet's errors, so that whoever sent it learns the reason.
    pub(crate) fn refusal(error: Error<T>) -> TransactionValidityError {
        let index = error.encode().first().copied().unwrap_or(u8::MAX);
        InvalidTransaction::Custom(index).into()
    }
}
