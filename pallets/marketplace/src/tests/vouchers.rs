use super::signed;
use crate::{mock::*, Error, Event};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, traits::fungible::MutateFreeze},
    sp_core::Pair,
    sp_runtime::traits::Dispatchable,
};
use tributary_primitives::{
    signing::{Receipt, Signable, Voucher},
    Balance, ChannelId, MultiSignature,
};

const FIRST: ChannelId = ChannelId(0);

fn redeem(
    (voucher, signature): (Voucher, MultiSignature),
    total: Balance,
) -> polkadot_sdk::sp_runtime::DispatchResult {
    Marketplace::redeem(signed(WORKER), voucher, signature, total)
}

#[test]
fn redeeming_moves_the_difference() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_ok!(redeem(voucher(FIRST, 100), 40));
        assert_eq!(
            last_event(),
            Some(Event::VoucherRedeemed {
                channel: FIRST,
                worker: WORKER,
                amount: 40,
                redeemed: 40,
            })
        );
        // The same voucher is good for what it promises and no more.
        assert_ok!(redeem(voucher(FIRST, 100), 100));
        assert_noop!(redeem(voucher(FIRST, 100), 101), Error::<Test>::AboveVoucher);
        assert_ok!(redeem(voucher(FIRST, 500), 500));
        assert_eq!(Books::of(&WORKER), 500);
        assert_eq!(free(&POT), ED + 500);
        assert_eq!((held(&ada()), free(&ada())), (0, ENDOWMENT - 500));
    });
}

#[test]
fn every_kind_of_key_signs() {
    ExtBuilder::default().with_channel(ben(), WORKER, 500).build_and_execute(|| {
        let (promise, signature) = voucher(FIRST, 100);
        assert!(matches!(signature, MultiSignature::Ecdsa(_)));
        assert_ok!(redeem((promise, signature), 100));
    });
}

#[test]
fn stale_vouchers_are_refused() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_noop!(redeem(voucher(FIRST, 100), 0), Error::<Test>::StaleVoucher);
        assert_ok!(redeem(voucher(FIRST, 100), 100));
        assert_noop!(redeem(voucher(FIRST, 100), 100), Error::<Test>::StaleVoucher);
        assert_noop!(redeem(voucher(FIRST, 80), 80), Error::<Test>::StaleVoucher);
        assert_noop!(redeem(voucher(FIRST, 200), 100), Error::<Test>::StaleVoucher);
    });
}

#[test]
fn a_voucher_above_the_deposit_is_refused() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_noop!(redeem(voucher(FIRST, 501), 501), Error::<Test>::VoucherAboveDeposit);
        assert_noop!(redeem(voucher(FIRST, 501), 500), Error::<Test>::VoucherAboveDeposit);
        assert_ok!(Marketplace::top_up(signed(ada()), FIRST, 1));
        assert_ok!(redeem(voucher(FIRST, 501), 501));
    });
}

#[test]
fn forged_vouchers_are_refused() {
    ExtBuilder::default()
        .with_channel(ada(), WORKER, 500)
        .with_channel(ben(), WORKER, 500)
        .build_and_execute(|| {
            let (promise, signature) = voucher(FIRST, 100);
            // Another amount or another channel than was signed.
            let more = Voucher { cumulative: 101, ..promise.clone() };
            assert_noop!(redeem((more, signature.clone()), 100), Error::<Test>::BadSignature);
            let elsewhere = Voucher { channel: ChannelId(1), ..promise.clone() };
            assert_noop!(redeem((elsewhere, signature.clone()), 100), Error::<Test>::BadSignature);
            // Signed by somebody else.
            let payload = promise.signing_payload(&Marketplace::genesis_hash());
            let by_ben = MultiSignature::from(ben_pair().sign(&payload));
            assert_noop!(redeem((promise.clone(), by_ben), 100), Error::<Test>::BadSignature);
            // Any single bit of the signature.
            let MultiSignature::Sr25519(good) = signature else { panic!("Ada's key is sr25519") };
            for bit in (0..512).step_by(37) {
                let mut bytes: [u8; 64] = good.0;
                bytes[bit / 8] ^= 1 << (bit % 8);
                let bad = MultiSignature::Sr25519(bytes.into());
                assert_noop!(redeem((promise.clone(), bad), 100), Error::<Test>::BadSignature);
            }
            // Over the bare voucher, without tag and chain.
            let bare = MultiSignature::from(ada_pair().sign(&codec::Encode::encode(&promise)));
            assert_noop!(redeem((promise, bare), 100), Error::<Test>::BadSignature);
        });
}

#[test]
fn a_voucher_for_another_chain_is_refused() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        let promise = Voucher { channel: FIRST, cumulative: 100 };
        let payload = promise.signing_payload(&other_chain());
        let signature = MultiSignature::from(ada_pair().sign(&payload));
        assert!(promise.verify(&other_chain(), &signature, &ada()));
        assert_noop!(redeem((promise, signature), 100), Error::<Test>::BadSignature);
    });
}

#[test]
fn a_signature_under_another_tag_is_refused() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        let promise = Voucher { channel: FIRST, cumulative: 100 };
        assert_ne!(Receipt::TAG, Voucher::TAG);
        let payload = codec::Encode::encode(&(Receipt::TAG, Marketplace::genesis_hash(), &promise));
        let signature = MultiSignature::from(ada_pair().sign(&payload));
        assert_noop!(redeem((promise, signature), 100), Error::<Test>::BadSignature);
    });
}

#[test]
fn only_the_channels_worker_redeems() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        let (promise, signature) = voucher(FIRST, 100);
        for who in [OTHER_WORKER, ada(), STRANGER] {
            assert_noop!(
                Marketplace::redeem(signed(who), promise.clone(), signature.clone(), 100),
                Error::<Test>::NotWorker
            );
        }
        assert_noop!(redeem(voucher(ChannelId(9), 100), 100), Error::<Test>::UnknownChannel);
    });
}

#[test]
fn a_freeze_does_not_keep_the_worker_from_its_pay() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_ok!(Balances::set_freeze(&7, &ada(), ENDOWMENT));
        assert_ok!(redeem(voucher(FIRST, 500), 500));
        assert_ok!(Balances::thaw(&7, &ada()));
    });
}

#[test]
fn a_redemption_is_whole_or_not_at_all() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        // Through the dispatcher, as in a block.
        let (voucher, signature) = voucher(FIRST, 501);
        let call = RuntimeCall::Marketplace(crate::Call::redeem { voucher, signature, total: 400 });
        assert_noop!(
            call.dispatch(signed(WORKER)).map_err(|failed| failed.error),
            Error::<Test>::VoucherAboveDeposit
        );
    });
}
