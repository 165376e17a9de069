//! Claims by transactions that nobody signs.

use super::*;
use codec::Encode;
use polkadot_sdk::{
    frame_support::{
        dispatch::{DispatchResult, GetDispatchInfo},
        pallet_prelude::{
            InvalidTransaction, TransactionSource, TransactionValidityError, ValidTransaction,
        },
    },
    frame_system::{AuthorizeCall, ChainContext},
    sp_runtime::{
        generic::UncheckedExtrinsic,
        traits::{Applyable, Checkable, Dispatchable},
        MultiSignature,
    },
};
use tributary_primitives::{payouts::Payout, AccountId};

type Transaction =
    UncheckedExtrinsic<AccountId, RuntimeCall, MultiSignature, (AuthorizeCall<Test>,)>;

fn transaction(id: BatchId, payout: &Payout, proof: PayoutProof) -> Transaction {
    let call = Call::<Test>::claim_sponsored { batch: id, payout: payout.clone(), proof };
    Transaction::new_transaction(call.into(), (AuthorizeCall::new(),))
}

/// What a node's pool says of the transaction.
fn validate(tx: Transaction) -> Result<ValidTransaction, TransactionValidityError> {
    let (info, len) = (tx.get_dispatch_info(), tx.encoded_size());
    let checked = tx.check(&ChainContext::<Test>::default())?;
    checked.validate::<Test>(TransactionSource::External, &info, len)
}

/// What happens to it in a block.
fn apply(tx: Transaction) -> Result<DispatchResult, TransactionValidityError> {
    let (info, len) = (tx.get_dispatch_info(), tx.encoded_size());
    let checked = tx.check(&ChainContext::<Test>::default())?;
    let result = checked.apply::<Test>(&info, len)?;
    Ok(result.map(|_| ()).map_err(|e| e.error))
}

/// Both refuse it with this reason, and nothing changes.
#[track_caller]
fn refused(tx: Transaction, why: InvalidTransaction) {
    assert_noop!(validate(tx.clone()), TransactionValidityError::Invalid(why));
    assert_noop!(apply(tx), TransactionValidityError::Invalid(why));
}

#[test]
fn a_contributor_who_owns_nothing_is_paid() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        assert_eq!(balance(&contributor(1)), 0);
        let tx = transaction(id, &list[0], proof(&list, 0));
        let valid = validate(tx.clone()).unwrap();
        assert_eq!(valid.provides, vec![("TributaryClaim", (id, 0u32)).encode()]);
        assert!(valid.propagate && valid.requires.is_empty() && valid.longevity == 64);

        assert_eq!(apply(tx.clone()), Ok(Ok(())));
        // She has all of it; the datanet's pot paid the fee.
        assert_eq!(balance(&contributor(1)), 300);
        assert_eq!(balance(&sponsor_pot()), 1_000 - SPONSORED_FEE);
        refused(tx, InvalidTransaction::Stale);
    });
}

#[test]
fn each_payout_has_its_own_tag() {
    ExtBuilder::default().build_and_execute(|| {
        let list = payouts();
        let (first, second) = (final_batch(), final_batch());
        let mut tags = std::collections::BTreeSet::new();
        for id in [first, second] {
            for index in 0..3 {
                let tx = transaction(id, &list[index as usize], proof(&list, index));
                tags.extend(validate(tx).unwrap().provides);
            }
        }
        assert_eq!(tags.len(), 6);
    });
}

#[test]
fn what_would_fail_is_not_let_in() {
    ExtBuilder::default().build_and_execute(|| {
        let list = payouts();
        let pending = pending_batch();
        let tx = |id, index: u32| transaction(id, &list[index as usize], proof(&list, index));
        refused(tx(pending, 0), InvalidTransaction::Future);
        refused(tx(BatchId(9), 0), InvalidTransaction::Custom(1));

        let id = final_batch();
        let forged = Payout { amount: 301, ..list[0].clone() };
        refused(transaction(id, &forged, proof(&list, 0)), InvalidTransaction::BadProof);
        // A payout that somebody claimed with a signature.
        assert_ok!(Attribution::claim(signed(dave()), id, list[0].clone(), proof(&list, 0)));
        refused(tx(id, 0), InvalidTransaction::Stale);
        // A pot that is empty.
        let rest = balance(&sponsor_pot()) - ED;
        assert_ok!(Balances::transfer_keep_alive(signed(sponsor_pot()), dave(), rest));
        refused(tx(id, 1), InvalidTransaction::Payment);
    });
}

#[test]
fn what_cannot_be_paid_is_not_let_in() {
    ExtBuilder::default().build_and_execute(|| {
        redeem(&bob(), 4_000);
        // Contribution 77 does not exist; 9 units are below the existential deposit, 19 below
        // what is sponsored, and the last payout is above what is left of the total.
        let list = payouts_of(&[(1, 9), (77, 100), (2, 0), (1, 19), (3, 400)]);
        let batch = new_batch(0, vec![total(ADAPTER, 2_000, 300)], &list);
        assert_ok!(Attribution::submit_batch(signed(bob()), batch));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(0)));
        let codes = [(0, 3), (1, 2), (2, 6), (3, 4), (4, 5)];
        for (index, code) in codes {
            let tx = transaction(BatchId(0), &list[index as usize], proof(&list, index));
            refused(tx, InvalidTransaction::Custom(code));
        }
    });
}

#[test]
fn the_call_itself_checks_again() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        let authorized =
            || RuntimeOrigin::from(polkadot_sdk::frame_system::Origin::<Test>::Authorized);
        let call = |origin, index: u32| {
            Attribution::claim_sponsored(
                origin,
                id,
                list[index as usize].clone(),
                proof(&list, index),
            )
        };
        // Only a transaction that was authorized may.
        assert_noop!(call(signed(dave()), 0), DispatchError::BadOrigin);
        assert_noop!(call(RuntimeOrigin::none(), 0), DispatchError::BadOrigin);
        assert_ok!(call(authorized(), 0));
        assert_noop!(call(authorized(), 0), Error::<Test>::AlreadyClaimed);

        redeem(&bob(), 2_000);
        let small = payouts_of(&[(1, 19)]);
        let batch = new_batch(1, vec![total(ADAPTER, 2_000, 19)], &small);
        assert_ok!(Attribution::submit_batch(signed(bob()), batch));
        at(now() + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(1)));
        assert_noop!(
            Attribution::claim_sponsored(
                authorized(),
                BatchId(1),
                small[0].clone(),
                proof(&small, 0)
            ),
            Error::<Test>::BelowSponsoredMinimum
        );
        // A signed claim of the same payout goes through, since her account is there by now.
        let claim =
            Attribution::claim(signed(dave()), BatchId(1), small[0].clone(), proof(&small, 0));
        assert_ok!(claim);
    });
}

#[test]
fn a_plain_signed_transaction_cannot_use_a_pot() {
    ExtBuilder::default().build_and_execute(|| {
        let (id, list) = (final_batch(), payouts());
        let call: RuntimeCall = Call::<Test>::claim_sponsored {
            batch: id,
            payout: list[0].clone(),
            proof: proof(&list, 0),
        }
        .into();
        // Nor one that is wrapped in another call: the inner call's origin is not authorized.
        let error = call.dispatch(signed(dave())).unwrap_err().error;
        assert_eq!(error, DispatchError::BadOrigin);
    });
}
