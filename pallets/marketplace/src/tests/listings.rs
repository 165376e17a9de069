use super::signed;
use crate::{mock::*, Error, Event, Listings};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::DispatchError,
};
use tributary_primitives::{
    views::{ListingView, MAX_PAGE},
    ModelId, CAP,
};

#[test]
fn the_owner_lists_reprices_and_delists() {
    ExtBuilder::default().build_and_execute(|| {
        let model = ModelId(3);
        assert_eq!(Marketplace::view_listing(model), None);
        assert_ok!(Marketplace::list_model(signed(OWNER), model, 10, 20));
        assert_eq!(last_event(), Some(Event::ModelListed { model, price_in: 10, price_out: 20 }));
        assert_ok!(Marketplace::list_model(signed(OWNER), model, 0, CAP));
        let view = Some(ListingView { model, price_in: 0, price_out: CAP });
        assert_eq!(Marketplace::view_listing(model), view);
        assert_eq!(Marketplace::listing(model), view);
        assert_ok!(Marketplace::delist_model(signed(OWNER), model));
        assert_eq!(last_event(), Some(Event::ModelDelisted { model }));
        assert_eq!(Marketplace::view_listing(model), None);
    });
}

#[test]
fn listing_refuses_strangers_and_nonsense() {
    ExtBuilder::default().build_and_execute(|| {
        let model = ModelId(3);
        assert_noop!(
            Marketplace::list_model(signed(OWNER), ModelId(100), 1, 1),
            Error::<Test>::UnknownModel
        );
        assert_noop!(
            Marketplace::list_model(signed(STRANGER), model, 1, 1),
            Error::<Test>::NotOwner
        );
        assert_noop!(
            Marketplace::list_model(signed(OWNER), model, CAP + 1, 1),
            Error::<Test>::PriceAboveCap
        );
        assert_noop!(
            Marketplace::list_model(signed(OWNER), model, 1, CAP + 1),
            Error::<Test>::PriceAboveCap
        );
        assert_noop!(
            Marketplace::list_model(RuntimeOrigin::root(), model, 1, 1),
            DispatchError::BadOrigin
        );
        assert_noop!(
            Marketplace::delist_model(signed(OWNER), ModelId(100)),
            Error::<Test>::UnknownModel
        );
        assert_noop!(Marketplace::delist_model(signed(OWNER), model), Error::<Test>::NotListed);
        assert_ok!(Marketplace::list_model(signed(OWNER), model, 1, 1));
        assert_noop!(Marketplace::delist_model(signed(STRANGER), model), Error::<Test>::NotOwner);
        assert_eq!(Listings::<Test>::iter().count(), 1);
    });
}

#[test]
fn listings_come_in_pages_by_id() {
    ExtBuilder::default().build_and_execute(|| {
        for id in [9, 2, 77, 5, 40] {
            assert_ok!(Marketplace::list_model(signed(OWNER), ModelId(id), id.into(), 1));
        }
        let ids = |from, limit| -> Vec<u64> {
            Marketplace::view_listings(ModelId(from), limit).iter().map(|l| l.model.0).collect()
        };
        assert_eq!(ids(0, MAX_PAGE), [2, 5, 9, 40, 77]);
        assert_eq!(ids(0, 2), [2, 5]);
        assert_eq!(ids(6, 2), [9, 40]);
        assert_eq!(ids(41, u32::MAX), [77]);
        assert_eq!(ids(78, 5), [0u64; 0]);
        assert_eq!(ids(0, 0), [0u64; 0]);
    });
}
