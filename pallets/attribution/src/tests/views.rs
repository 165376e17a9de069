//! What dApps are told.

use super::*;
use tributary_primitives::views::{BatchState, ModelKind, ModelView, Text, MAX_PAGE};

#[test]
fn models_are_shown_with_their_lineage() {
    ExtBuilder::default().build_and_execute(|| {
        let view = Attribution::view_model(ADAPTER).unwrap();
        assert_eq!((view.id, view.name, view.owner), (ADAPTER, Text::from("exploits"), charlie()));
        assert_eq!((view.kind, view.parent), (ModelKind::Adapter, Some(BASE)));
        assert_eq!((view.content, view.index, view.index_root), (digest(1), digest(2), digest(3)));
        assert_eq!((view.versions.len(), view.royalty), (1, 500_000));
        assert_eq!((view.job, view.registered), (Some(JobId(0)), 1));

        let base = Attribution::view_model_by_name(Text::from("tiny")).unwrap();
        assert_eq!((base.id, base.kind, base.parent), (BASE, ModelKind::Base, None));
        assert_eq!(Attribution::view_model_by_name(Text::from("nothing")), None);
        assert_eq!(Attribution::view_model_by_name(Text(vec![b'a'; 65])), None);
        assert_eq!(Attribution::view_model(ModelId(9)), None);

        let ids = |views: Vec<ModelView>| views.into_iter().map(|v| v.id.0).collect::<Vec<_>>();
        assert_eq!(ids(Attribution::view_lineage(ADAPTER)), [1, 0]);
        assert_eq!(ids(Attribution::view_lineage(ModelId(9))), [0u64; 0]);
        assert_eq!(ids(Attribution::view_models(BASE, MAX_PAGE + 1)), [0, 1]);
        assert_eq!(ids(Attribution::view_models(BASE, 1)), [0]);
        assert_eq!(ids(Attribution::view_models(ADAPTER, 5)), [1]);
        assert_eq!(ids(Attribution::view_models(ModelId(u64::MAX), 5)), [0u64; 0]);
    });
}

#[test]
fn batches_are_shown() {
    ExtBuilder::default().build_and_execute(|| {
        let id = pending_batch();
        let view = Attribution::view_batch(id).unwrap();
        assert_eq!((view.id, view.worker, view.sequence, view.fees), (id, bob(), 0, 2_000));
        assert_eq!((view.payouts_count, view.payouts_total, view.unclaimed), (3, 600, 600));
        assert_eq!((view.unattributed_total, view.receipts_count), (65, 2));
        assert_eq!((view.payouts_blob, view.receipts_root), (digest(7), digest(8)));
        assert_eq!(view.state, BatchState::Pending { final_at: 1 + WINDOW });
        assert_eq!(Attribution::view_next_sequence(bob()), 1);
        assert_eq!(Attribution::view_next_sequence(dave()), 0);
        assert_eq!(Attribution::view_revenue(bob()), 0);
        redeem(&bob(), 70);
        assert_eq!(Attribution::view_revenue(bob()), 70);

        at(1 + WINDOW);
        assert_ok!(Attribution::finalize_batch(signed(bob()), id));
        let list = payouts();
        assert_ok!(Attribution::claim(signed(dave()), id, list[1].clone(), proof(&list, 1)));
        let view = Attribution::view_batch(id).unwrap();
        assert_eq!((view.unclaimed, view.state), (400, BatchState::Final));
        assert_eq!(Attribution::view_claimed(id, vec![0, 1, 2]), [false, true, false]);
        assert_eq!(Attribution::view_claimed(id, vec![1; 300]).len(), 256);
        assert_eq!(Attribution::view_claimed(BatchId(9), vec![1]), [false]);

        pending_batch();
        let ids: Vec<u64> =
            Attribution::view_batches(BatchId(0), 10).into_iter().map(|b| b.id.0).collect();
        assert_eq!(ids, [0, 1]);
        assert_eq!(Attribution::view_batches(BatchId(1), 10).len(), 1);
        assert_eq!(Attribution::view_batch(BatchId(2)), None);
    });
}

#[test]
fn view_functions_answer() {
    ExtBuilder::default().build_and_execute(|| {
        assert_eq!(Attribution::view_shares(), Shares::default().into());
        assert_eq!(Attribution::quote(2_000).contributors, 665);
        let (id, list) = (final_batch(), payouts());
        let claimable = || Attribution::claimable(id, list[0].clone(), proof(&list, 0));
        assert_eq!(claimable(), Some(contributor(1)));
        assert_ok!(Attribution::claim(signed(dave()), id, list[0].clone(), proof(&list, 0)));
        assert_eq!(claimable(), None);
        assert_eq!(Attribution::model_by_name(name("tiny")).map(|m| m.id), Some(BASE));
    });
}
