//! The registry and lineage.

use super::*;
use tributary_primitives::{DatanetId, VersionRef};

fn register(text: &str) -> polkadot_sdk::sp_runtime::DispatchResult {
    Attribution::register_base(signed(alice()), name(text), digest(9), 100_000)
}

#[test]
fn a_base_model_is_registered_with_a_deposit() {
    ExtBuilder::default().without_models().build_and_execute(|| {
        assert_ok!(register("tiny-llama-2m"));
        let model = Models::<Test>::get(BASE).unwrap();
        assert_eq!((model.owner, model.parent, model.depth), (alice(), None, 0));
        assert_eq!((model.content, model.royalty, model.registered), (digest(9), 100_000, 1));
        assert_eq!(deposits(&alice()), DEPOSIT);
        assert!(Attribution::is_base(BASE) && Attribution::model_exists(BASE));
        assert!(!Attribution::name_free(b"tiny-llama-2m"));
        assert!(Attribution::name_free(b"tiny"));
        assert!(Attribution::name_free(&[b'a'; 65]));
        happened(Event::ModelRegistered { model: BASE, owner: alice(), parent: None, job: None });
        assert_ok!(register("another"));
        assert_eq!(deposits(&alice()), 2 * DEPOSIT);
    });
}

#[test]
fn a_base_model_is_refused_with_a_reason() {
    ExtBuilder::default().build_and_execute(|| {
        for text in ["", "Tiny", "a_b", "a b"] {
            assert_noop!(register(text), Error::<Test>::BadName);
        }
        assert_noop!(register("tiny"), Error::<Test>::NameTaken);
        assert_noop!(register("reserved"), Error::<Test>::NameReserved);
        let base = |who, content, royalty| {
            Attribution::register_base(signed(who), name("new"), content, royalty)
        };
        assert_noop!(base(alice(), digest(9), 1_000_001), Error::<Test>::BadRoyalty);
        assert_noop!(base(alice(), H256::zero(), 0), Error::<Test>::NoContent);
        assert_noop!(base(account(88), digest(9), 0), Error::<Test>::DepositNotCovered);
        assert_noop!(
            Attribution::register_base(RuntimeOrigin::root(), name("new"), digest(9), 0),
            DispatchError::BadOrigin
        );
        NextModel::<Test>::put(ModelId(u64::MAX));
        assert_noop!(register("new"), Error::<Test>::OutOfIds);
    });
}

#[test]
fn an_adapter_descends_from_its_parent() {
    ExtBuilder::default().build_and_execute(|| {
        let model = Models::<Test>::get(ADAPTER).unwrap();
        assert_eq!((model.owner, model.parent, model.depth), (charlie(), Some(BASE), 1));
        assert_eq!((model.index, model.index_root), (digest(2), digest(3)));
        assert_eq!((model.royalty, model.job), (500_000, Some(JobId(0))));
        assert_eq!(model.deposit, None);
        assert!(!Attribution::is_base(ADAPTER));
        happened(Event::ModelRegistered {
            model: ADAPTER,
            owner: charlie(),
            parent: Some(BASE),
            job: Some(JobId(0)),
        });
        // A reserved name is given out by the job that reserved it.
        assert_ok!(Attribution::register_adapter(adapter("reserved", ADAPTER)));
    });
}

#[test]
fn an_adapter_is_refused_with_a_reason() {
    ExtBuilder::default().build_and_execute(|| {
        let register = Attribution::register_adapter;
        assert_noop!(register(adapter("a", ModelId(9))), Error::<Test>::UnknownParent);
        assert_noop!(register(adapter("exploits", BASE)), Error::<Test>::NameTaken);
        assert_noop!(register(adapter("A", BASE)), Error::<Test>::BadName);
        assert_noop!(register(adapter(&"a".repeat(65), BASE)), Error::<Test>::BadName);
        let empty = NewAdapter { content: H256::zero(), ..adapter("a", BASE) };
        assert_noop!(register(empty), Error::<Test>::NoContent);
        let versions = (1..=9).map(|number| VersionRef { datanet: DatanetId(0), number }).collect();
        let many = NewAdapter { versions, ..adapter("a", BASE) };
        assert_noop!(register(many), Error::<Test>::TooManyVersions);
    });
}

#[test]
fn a_lineage_is_bounded() {
    ExtBuilder::default().build_and_execute(|| {
        let mut parent = ADAPTER;
        for n in 2..=MAX_ANCESTORS {
            parent = Attribution::register_adapter(adapter(&format!("a-{n}"), parent)).unwrap();
        }
        let chain = Attribution::lineage(parent);
        assert_eq!(chain.len(), 9);
        assert_eq!(chain.last().map(|(id, _)| *id), Some(BASE));
        assert_noop!(
            Attribution::register_adapter(adapter("too-deep", parent)),
            Error::<Test>::LineageTooDeep
        );
    });
}

#[test]
fn a_model_changes_hands() {
    ExtBuilder::default().build_and_execute(|| {
        let transfer = |who, model| Attribution::transfer_model(signed(who), model, dave());
        assert_noop!(transfer(alice(), ModelId(9)), Error::<Test>::UnknownModel);
        assert_noop!(transfer(alice(), ADAPTER), Error::<Test>::NotOwner);
        assert_ok!(transfer(alice(), BASE));
        assert_eq!(Attribution::owner_of(BASE), Some(dave()));
        assert_eq!(Attribution::owner_of(ModelId(9)), None);
        happened(Event::ModelTransferred { model: BASE, from: alice(), to: dave() });
        // The deposit stays with who gave it.
        assert_eq!((deposits(&alice()), deposits(&dave())), (DEPOSIT, 0));
        assert_noop!(transfer(alice(), BASE), Error::<Test>::NotOwner);
    });
}
