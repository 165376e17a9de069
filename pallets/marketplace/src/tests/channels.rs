use super::signed;
use crate::{mock::*, Channels, ChannelsOf, Error, Event, NextChannel};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_runtime::{DispatchError, TokenError},
};
use tributary_primitives::{views::ChannelView, ChannelId};

const FIRST: ChannelId = ChannelId(0);

#[test]
fn opening_puts_the_deposit_on_hold() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Marketplace::open_channel(signed(ada()), WORKER, 500));
        assert_ok!(Marketplace::open_channel(signed(ada()), OTHER_WORKER, 200));
        assert_ok!(Marketplace::open_channel(signed(ben()), WORKER, 300));
        assert_eq!((held(&ada()), free(&ada())), (700, ENDOWMENT - 700));
        assert_eq!(
            last_event(),
            Some(Event::ChannelOpened {
                channel: ChannelId(2),
                consumer: ben(),
                worker: WORKER,
                deposit: 300,
            })
        );
        let first = ChannelView {
            id: FIRST,
            consumer: ada(),
            worker: WORKER,
            deposit: 500,
            redeemed: 0,
            closes_at: None,
        };
        assert_eq!(Marketplace::view_channel(FIRST), Some(first.clone()));
        assert_eq!(Marketplace::channel(FIRST), Some(first.clone()));
        let of_ada = Marketplace::view_channels_of(ada());
        assert_eq!(of_ada.iter().map(|channel| channel.id.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(of_ada, Marketplace::channels_of(ada()));
        assert_eq!(Marketplace::view_channels_of(STRANGER), vec![]);
    });
}

#[test]
fn opening_refuses_what_cannot_be_a_channel() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(
            Marketplace::open_channel(signed(ada()), STRANGER, 500),
            Error::<Test>::UnknownWorker
        );
        assert_noop!(
            Marketplace::open_channel(signed(ada()), WORKER, MIN_DEPOSIT - 1),
            Error::<Test>::DepositTooSmall
        );
        assert_noop!(
            Marketplace::open_channel(RuntimeOrigin::none(), WORKER, 500),
            DispatchError::BadOrigin
        );
        for _ in 0..MAX_CHANNELS {
            assert_ok!(Marketplace::open_channel(signed(ada()), WORKER, 100));
        }
        assert_noop!(
            Marketplace::open_channel(signed(ada()), WORKER, 100),
            Error::<Test>::TooManyChannels
        );
        // The money must be there; the call's transaction takes the rest back.
        let open = RuntimeCall::Marketplace(crate::Call::open_channel {
            worker: WORKER,
            deposit: ENDOWMENT,
        });
        use polkadot_sdk::sp_runtime::traits::Dispatchable;
        assert_noop!(
            open.dispatch(signed(ben())).map_err(|failed| failed.error),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
    });
}

#[test]
fn ids_run_out_before_they_repeat() {
    ExtBuilder::default().build_and_execute(|| {
        NextChannel::<Test>::put(ChannelId(u64::MAX));
        assert_noop!(
            Marketplace::open_channel(signed(ada()), WORKER, 500),
            Error::<Test>::Overflow
        );
    });
}

#[test]
fn topping_up_adds_to_the_deposit() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_ok!(Marketplace::top_up(signed(ada()), FIRST, 50));
        assert_eq!(held(&ada()), 550);
        assert_eq!(
            last_event(),
            Some(Event::ChannelToppedUp { channel: FIRST, amount: 50, deposit: 550 })
        );
    });
}

#[test]
fn topping_up_refuses_others_and_nonsense() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_noop!(Marketplace::top_up(signed(ada()), FIRST, 0), Error::<Test>::ZeroAmount);
        assert_noop!(
            Marketplace::top_up(signed(ada()), ChannelId(9), 1),
            Error::<Test>::UnknownChannel
        );
        assert_noop!(Marketplace::top_up(signed(WORKER), FIRST, 1), Error::<Test>::NotConsumer);
        assert_noop!(Marketplace::top_up(signed(ada()), FIRST, u128::MAX), Error::<Test>::Overflow);
        assert_noop!(
            Marketplace::top_up(signed(ada()), FIRST, ENDOWMENT),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
        assert_ok!(Marketplace::close_channel(signed(ada()), FIRST));
        assert_noop!(Marketplace::top_up(signed(ada()), FIRST, 1), Error::<Test>::AlreadyClosing);
    });
}

#[test]
fn a_consumer_closes_with_a_delay() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        // GIVEN a channel with something redeemed
        let (promise, signature) = voucher(FIRST, 120);
        assert_ok!(Marketplace::redeem(signed(WORKER), promise, signature, 100));
        assert_noop!(
            Marketplace::settle_channel(signed(STRANGER), FIRST),
            Error::<Test>::NotClosing
        );
        // WHEN the consumer closes it
        assert_ok!(Marketplace::close_channel(signed(ada()), FIRST));
        let closes_at = 1 + CLOSE_DELAY;
        assert_eq!(last_event(), Some(Event::ChannelClosing { channel: FIRST, closes_at }));
        assert_noop!(
            Marketplace::close_channel(signed(ada()), FIRST),
            Error::<Test>::AlreadyClosing
        );
        // THEN the worker can still redeem
        pass(CLOSE_DELAY - 1);
        let (promise, signature) = voucher(FIRST, 120);
        assert_ok!(Marketplace::redeem(signed(WORKER), promise, signature, 120));
        assert_noop!(Marketplace::settle_channel(signed(STRANGER), FIRST), Error::<Test>::TooEarly);
        // AND after the delay anyone settles it
        pass(1);
        assert_ok!(Marketplace::settle_channel(signed(STRANGER), FIRST));
        assert_eq!(
            last_event(),
            Some(Event::ChannelSettled { channel: FIRST, redeemed: 120, released: 380 })
        );
        assert_eq!((held(&ada()), free(&ada())), (0, ENDOWMENT - 120));
        assert_eq!(Channels::<Test>::iter().count(), 0);
        assert_eq!(ChannelsOf::<Test>::iter().count(), 0);
        assert_noop!(
            Marketplace::settle_channel(signed(STRANGER), FIRST),
            Error::<Test>::UnknownChannel
        );
    });
}

#[test]
fn a_worker_closes_at_once() {
    ExtBuilder::default()
        .with_channel(ada(), WORKER, 500)
        .with_channel(ada(), WORKER, 100)
        .build_and_execute(|| {
            assert_ok!(Marketplace::close_channel(signed(WORKER), FIRST));
            assert_eq!((held(&ada()), free(&ada())), (100, ENDOWMENT - 100));
            assert_eq!(ChannelsOf::<Test>::get(ada()).to_vec(), [ChannelId(1)]);
            // Also when the consumer wanted to close it already.
            assert_ok!(Marketplace::close_channel(signed(ada()), ChannelId(1)));
            assert_ok!(Marketplace::close_channel(signed(WORKER), ChannelId(1)));
            assert_eq!(held(&ada()), 0);
        });
}

#[test]
fn only_the_two_parties_close() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        assert_noop!(
            Marketplace::close_channel(signed(OTHER_WORKER), FIRST),
            Error::<Test>::NotParty
        );
        assert_noop!(
            Marketplace::close_channel(signed(ada()), ChannelId(9)),
            Error::<Test>::UnknownChannel
        );
    });
}

#[test]
fn a_settled_channels_id_is_not_used_again() {
    ExtBuilder::default().with_channel(ada(), WORKER, 500).build_and_execute(|| {
        let (promise, signature) = voucher(FIRST, 100);
        assert_ok!(Marketplace::close_channel(signed(WORKER), FIRST));
        assert_ok!(Marketplace::open_channel(signed(ada()), WORKER, 500));
        assert_noop!(
            Marketplace::redeem(signed(WORKER), promise, signature, 100),
            Error::<Test>::UnknownChannel
        );
        assert_eq!(Marketplace::view_channels_of(ada()).first().map(|c| c.id.0), Some(1));
    });
}
