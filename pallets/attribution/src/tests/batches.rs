//! Submitting batches and paying their shares.

use super::*;
use tributary_primitives::fees::FeeParts;

fn submit(batch: NewBatch) -> polkadot_sdk::sp_runtime::DispatchResult {
    Attribution::submit_batch(signed(bob()), batch)
}

/// Parts of 2,000 units by the default shares: 5 % to the platform, and of the net 1,900 40, 15,
/// 5, 5 and 35 %.
const PARTS: FeeParts = FeeParts {
    platform: 100,
    worker: 760,
    owner: 285,
    ancestors: 95,
    stakers: 95,
    contributors: 665,
};

#[test]
fn a_batch_takes_revenue() {
    ExtBuilder::default().build_and_execute(|| {
        redeem(&bob(), 2_500);
        happened(Event::RevenueAdded { worker: bob(), amount: 2_500 });
        assert_ok!(submit(new_batch(0, vec![total(ADAPTER, 2_000, 600)], &payouts())));
        assert_eq!(Revenue::<Test>::get(bob()), 500);
        assert_eq!(NextSequence::<Test>::get(bob()), 1);
        happened(Event::BatchSubmitted {
            batch: BatchId(0),
            worker: bob(),
            sequence: 0,
            fees: 2_000,
            payouts_count: 3,
            payouts_total: 600,
            final_at: 1 + WINDOW,
        });
        // Nothing has been paid yet.
        assert_eq!(balance(&Attribution::pot()), ED + 2_500);
        assert_eq!(balance(&bob()), ENDOWMENT);
        // The rest can be settled at once; a base model has no contributors.
        assert_ok!(submit(new_batch(1, vec![total(BASE, 500, 0)], &[])));
        assert!(!Revenue::<Test>::contains_key(bob()));
    });
}

#[test]
fn a_batch_is_refused_with_a_reason() {
    ExtBuilder::default().build_and_execute(|| {
        redeem(&bob(), 2_000);
        let good = || new_batch(0, vec![total(ADAPTER, 2_000, 600)], &payouts());
        let refused = |batch: NewBatch, error: Error<Test>| {
            assert_noop!(submit(batch), error);
        };

        refused(NewBatch { sequence: 1, ..good() }, Error::WrongSequence);
        refused(new_batch(0, vec![], &[]), Error::EmptyBatch);
        refused(new_batch(0, vec![total(ADAPTER, 0, 0)], &[]), Error::EmptyBatch);
        let twice = vec![total(ADAPTER, 1_000, 0), total(ADAPTER, 1_000, 0)];
        refused(new_batch(0, twice, &[]), Error::DuplicateModel);
        refused(new_batch(0, vec![total(ModelId(9), 2_000, 0)], &[]), Error::UnknownModel);
        let on_base = new_batch(0, vec![total(BASE, 2_000, 600)], &payouts());
        refused(on_base, Error::NothingToAttribute);
        // The contributors' part of 2,000 units is 665.
        let too_much = new_batch(0, vec![total(ADAPTER, 2_000, 666)], &payouts());
        refused(too_much, Error::AttributedTooMuch);
        let above = new_batch(0, vec![total(ADAPTER, 2_001, 600)], &payouts());
        refused(above, Error::AboveRevenue);
        let huge = vec![total(ADAPTER, Balance::MAX, 0), total(BASE, 1, 0)];
        refused(NewBatch { models: huge.try_into().unwrap(), ..good() }, Error::AboveRevenue);
        refused(NewBatch { receipts_count: 1, ..good() }, Error::ReceiptsMismatch);
        let endless = ModelTotal { requests: u64::MAX, ..total(ADAPTER, 1_000, 0) };
        let models = vec![endless, total(BASE, 1_000, 0)].try_into().unwrap();
        refused(NewBatch { models, ..good() }, Error::ReceiptsMismatch);
        refused(NewBatch { payouts_total: 601, ..good() }, Error::PayoutsMismatch);
        refused(NewBatch { payouts_count: 0, ..good() }, Error::PayoutsMismatch);
        // More payouts than units: some would be of nothing.
        refused(NewBatch { payouts_count: 601, ..good() }, Error::PayoutsMismatch);
        refused(NewBatch { unattributed_total: 64, ..good() }, Error::UnattributedMismatch);
        refused(NewBatch { unattributed_total: 66, ..good() }, Error::UnattributedMismatch);
        // Somebody else's revenue is not one's own.
        assert_noop!(
            Attribution::submit_batch(signed(dave()), good()),
            Error::<Test>::AboveRevenue
        );

        // As it was; and once only.
        assert_ok!(submit(good()));
        assert_noop!(submit(good()), Error::<Test>::WrongSequence);
    });
}

#[test]
fn ids_end() {
    ExtBuilder::default().build_and_execute(|| {
        redeem(&bob(), 2_000);
        NextBatch::<Test>::put(BatchId(u64::MAX));
        let batch = new_batch(0, vec![total(ADAPTER, 2_000, 600)], &payouts());
        assert_noop!(submit(batch), Error::<Test>::OutOfIds);
    });
}

#[test]
fn a_batch_pays_every_share() {
    ExtBuilder::default().build_and_execute(|| {
        stake_behind(ADAPTER);
        let id = pending_batch();
        let finalize = || Attribution::finalize_batch(signed(dave()), id);
        at(WINDOW);
        assert_noop!(finalize(), Error::<Test>::WindowOpen);
        at(1 + WINDOW);
        assert_ok!(finalize());

        assert_eq!(balance(&treasury()), 1_000 + 100);
        assert_eq!(balance(&bob()), ENDOWMENT + 760);
        assert_eq!(balance(&charlie()), ENDOWMENT + 285);
        // The base model is the adapter's only ancestor; its owner has a deposit on hold.
        assert_eq!(balance(&alice()), ENDOWMENT - DEPOSIT + 95);
        assert_eq!(balance(&stakers()), 1_000 + 95);
        // 665 are the contributors', of which 600 are attributed.
        assert_eq!(balance(&Attribution::commons()), ED + 65);
        assert_eq!(balance(&Attribution::pot()), ED + 600);
        let (worker, parts) = (bob(), PARTS);
        happened(Event::BatchFinalized { batch: id, worker, parts, commons: 65 });
        assert_eq!(Batches::<Test>::get(id).unwrap().stage, BatchStage::Final);
        assert!(!PendingBatches::<Test>::contains_key(id));

        assert_noop!(finalize(), Error::<Test>::AlreadyFinal);
        assert_noop!(
            Attribution::finalize_batch(signed(dave()), BatchId(9)),
            Error::<Test>::UnknownBatch
        );
    });
}

#[test]
fn without_stakers_their_part_goes_to_the_commons() {
    ExtBuilder::default().build_and_execute(|| {
        let id = final_batch();
        let meant_for = Recipient::Stakers(ADAPTER);
        happened(Event::PaidToCommons { batch: id, meant_for, amount: 95 });
        assert_eq!(balance(&Attribution::commons()), ED + 65 + 95);
    });
}

#[test]
fn a_platform_that_fails_does_not_stop_a_batch() {
    ExtBuilder::default().build_and_execute(|| {
        stake_behind(ADAPTER);
        break_platform();
        let id = final_batch();
        happened(Event::PaidToCommons { batch: id, meant_for: Recipient::Platform, amount: 100 });
        // What it had taken before it failed is back.
        assert_eq!(balance(&treasury()), 1_000);
        assert_eq!(balance(&Attribution::commons()), ED + 65 + 100);
    });
}

#[test]
fn a_part_that_an_account_cannot_take_goes_to_the_commons() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN an owner whose account does not exist, and a part below the existential deposit
        assert_ok!(Attribution::transfer_model(signed(charlie()), ADAPTER, account(88)));
        redeem(&bob(), 60);
        assert_ok!(submit(new_batch(0, vec![total(ADAPTER, 60, 0)], &[])));
        at(1 + WINDOW);
        // WHEN the batch is finalised
        assert_ok!(Attribution::finalize_batch(signed(dave()), BatchId(0)));
        // THEN the commons has it: 8 of 0.15 · 57 = 8.55, since the other four remainders are larger
        let meant_for = Recipient::Account(account(88));
        happened(Event::PaidToCommons { batch: BatchId(0), meant_for, amount: 8 });
        assert_eq!(balance(&account(88)), 0);
        assert_eq!(balance(&Attribution::pot()), ED);
    });
}

#[test]
fn ancestors_share_by_royalty() {
    ExtBuilder::default().build_and_execute(|| {
        // GIVEN an adapter on the adapter: royalties are 500,000 of Charlie's, 100,000 of Alice's
        let child = NewAdapter { owner: dave(), ..adapter("child", ADAPTER) };
        let child = Attribution::register_adapter(child).unwrap();
        redeem(&bob(), 2_000);
        assert_ok!(submit(new_batch(0, vec![total(child, 2_000, 0)], &[])));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(dave()), BatchId(0)));
        // THEN 95 is split 5 : 1 into 79.17 and 15.83
        assert_eq!(balance(&charlie()), ENDOWMENT + 79);
        assert_eq!(balance(&alice()), ENDOWMENT - DEPOSIT + 16);
        assert_eq!(balance(&dave()), ENDOWMENT + 285);
    });
}

#[test]
fn without_ancestors_their_part_is_the_owners() {
    ExtBuilder::default().build_and_execute(|| {
        // A base model has none; Dave's adapter has one that asks for nothing.
        let free = Attribution::register_base(signed(alice()), name("free"), digest(9), 0);
        assert_ok!(free);
        let child = NewAdapter { owner: dave(), ..adapter("child", ModelId(2)) };
        let child = Attribution::register_adapter(child).unwrap();
        redeem(&bob(), 4_000);
        let models = vec![total(BASE, 2_000, 0), total(child, 2_000, 0)];
        assert_ok!(submit(new_batch(0, models, &[])));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(0)));
        assert_eq!(balance(&alice()), ENDOWMENT - 2 * DEPOSIT + 285 + 95);
        assert_eq!(balance(&dave()), ENDOWMENT + 285 + 95);
    });
}

#[test]
fn the_largest_batch_fits() {
    ExtBuilder::default().build_and_execute(|| {
        let mut models = vec![];
        for n in 0..MAX_MODELS {
            let id = Attribution::register_adapter(adapter(&format!("m-{n}"), BASE)).unwrap();
            models.push(total(id, 1_001, 0));
        }
        redeem(&bob(), 64 * 1_001);
        assert_ok!(submit(new_batch(0, models, &[])));
        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), BatchId(0)));
        assert_eq!(balance(&Attribution::pot()), ED);
    });
}
