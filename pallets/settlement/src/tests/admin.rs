use super::{bad_origin, events};
use crate::{
    mock::*, Dispatchers, Error, Event, GenesisConfig, Joined, MessageData, Origin, Paused,
};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok, traits::Hooks},
    sp_core::H160,
    sp_runtime::BuildStorage,
};
use tributary_primitives::{
    bridge::{domain, L1Config, L1Origin, L2_BRIDGE, L2_MESSENGER},
    OPEN,
};

fn root() -> RuntimeOrigin {
    RuntimeOrigin::root()
}

fn guard() -> RuntimeOrigin {
    RuntimeOrigin::signed(GUARD)
}

#[test]
fn the_chain_is_joined_by_root() {
    ExtBuilder::default().unjoined().build_and_execute(|| {
        assert_eq!(Settlement::view_state().domain, domain(0, H160::zero(), genesis()));
        assert_noop!(Settlement::configure(RuntimeOrigin::signed(ALICE), config()), bad_origin());
        assert_ok!(Settlement::configure(root(), config()));
        let expected = domain(31_337, PORTAL, genesis());
        assert_eq!(events(), [Event::Configured { config: config(), domain: expected }]);
        let state = Settlement::view_state();
        assert_eq!((state.config, state.domain), (Some(config()), expected));
        let start = config().start;
        let origin = L1Origin { number: start.number, hash: start.hash, timestamp: 0 };
        assert_eq!(Origin::<Test>::get(), Some(origin));
    });
}

fn genesis() -> polkadot_sdk::sp_core::H256 {
    System::block_hash(0u32)
}

#[test]
fn bad_contracts_are_refused() {
    ExtBuilder::default().unjoined().build_and_execute(|| {
        let zero = H160::zero();
        for bad in [
            L1Config { chain_id: 0, ..config() },
            L1Config { portal: zero, ..config() },
            L1Config { bridge: zero, ..config() },
            L1Config { messenger: zero, ..config() },
            L1Config { token: zero, ..config() },
            L1Config { token: PORTAL, ..config() },
            L1Config { messenger: BRIDGE, ..config() },
            L1Config { portal: BRIDGE, ..config() },
        ] {
            assert_noop!(Settlement::configure(root(), bad), Error::<Test>::BadConfig);
        }
    });
}

#[test]
fn contracts_can_be_changed_as_long_as_nothing_has_crossed() {
    let other = L1Config { portal: H160([0x72; 20]), ..config() };
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Settlement::configure(root(), other));
        assert_eq!(Joined::<Test>::get(), Some(other));
        assert_ok!(Settlement::withdraw(RuntimeOrigin::signed(ALICE), CAROL, OPEN));
        assert_noop!(Settlement::configure(root(), config()), Error::<Test>::InUse);
    });
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        ethereum.open(&ALICE, 500);
        assert_ok!(advance(ethereum.advance()));
        assert_noop!(Settlement::configure(root(), other), Error::<Test>::InUse);
    });
}

#[test]
fn a_pause_ends_by_itself() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(Settlement::pause(RuntimeOrigin::signed(ALICE), 5), bad_origin());
        assert_ok!(Settlement::pause(guard(), 3));
        assert_eq!(events(), [Event::BridgePaused { until: 3 }]);
        assert_eq!(Settlement::view_state().paused_until, Some(3));
        for block in 1..=5u32 {
            assert_eq!(System::block_number(), block);
            assert_eq!(Settlement::is_paused(), block <= 3);
            next_block();
        }
        assert_eq!(Settlement::view_state().paused_until, None);
    });
}

#[test]
fn a_pause_is_never_longer_than_it_may_be() {
    ExtBuilder::default().build_and_execute(|| {
        System::set_block_number(20);
        assert_noop!(Settlement::pause(guard(), 19), Error::<Test>::PauseInPast);
        assert_noop!(Settlement::pause(guard(), 30), Error::<Test>::PauseTooLong);
        assert_noop!(Settlement::pause(root(), u32::MAX), Error::<Test>::PauseTooLong);
        assert_ok!(Settlement::pause(guard(), 25));
        System::set_block_number(24);
        // Prolonged, it began when it began.
        assert_ok!(Settlement::pause(guard(), 29));
        System::set_block_number(29);
        assert!(Settlement::is_paused());
        assert_noop!(Settlement::pause(guard(), 30), Error::<Test>::PauseTooLong);
        assert_noop!(Settlement::pause(root(), 30), Error::<Test>::PauseTooLong);
        // The next one has to wait for as long as a pause may last.
        for block in [30, 39] {
            System::set_block_number(block);
            assert!(!Settlement::is_paused());
            assert_noop!(Settlement::pause(guard(), block), Error::<Test>::PauseTooSoon);
        }
        System::set_block_number(40);
        assert_ok!(Settlement::pause(guard(), 45));
    });
}

#[test]
fn root_may_pause_again_at_once() {
    ExtBuilder::default().build_and_execute(|| {
        assert_ok!(Settlement::pause(root(), 10));
        System::set_block_number(11);
        assert_noop!(Settlement::pause(guard(), 12), Error::<Test>::PauseTooSoon);
        assert_ok!(Settlement::pause(root(), 12));
    });
}

#[test]
fn a_pause_can_be_ended() {
    ExtBuilder::default().build_and_execute(|| {
        assert_noop!(Settlement::unpause(root()), Error::<Test>::NotPaused);
        System::set_block_number(5);
        assert_ok!(Settlement::pause(guard(), 9));
        System::set_block_number(7);
        assert_noop!(Settlement::unpause(RuntimeOrigin::signed(ALICE)), bad_origin());
        assert_ok!(Settlement::unpause(guard()));
        assert!(!Settlement::is_paused());
        assert_eq!(events().pop(), Some(Event::BridgeUnpaused));
        assert_noop!(Settlement::unpause(guard()), Error::<Test>::NotPaused);
        // It counts as having ended in the block before.
        System::set_block_number(16);
        assert_noop!(Settlement::pause(guard(), 16), Error::<Test>::PauseTooSoon);
        System::set_block_number(17);
        assert_ok!(Settlement::pause(guard(), 17));
        assert!(Paused::<Test>::get().is_some());
    });
}

#[test]
fn dispatchers_are_allowed_by_root() {
    ExtBuilder::default().build_and_execute(|| {
        let address = H160([5; 20]);
        let signed = || RuntimeOrigin::signed(ALICE);
        assert_noop!(Settlement::allow_dispatcher(signed(), address), bad_origin());
        assert_noop!(Settlement::disallow_dispatcher(signed(), DISPATCHER), bad_origin());
        for never in [L2_BRIDGE, L2_MESSENGER] {
            assert_noop!(Settlement::allow_dispatcher(root(), never), Error::<Test>::NotAllowed);
        }
        assert_noop!(
            Settlement::allow_dispatcher(root(), DISPATCHER),
            Error::<Test>::AlreadyAllowed
        );
        assert_noop!(Settlement::disallow_dispatcher(root(), address), Error::<Test>::NotAllowed);
        assert_ok!(Settlement::allow_dispatcher(root(), address));
        assert_ok!(Settlement::disallow_dispatcher(root(), DISPATCHER));
        assert_eq!(
            events(),
            [
                Event::DispatcherAllowed { dispatcher: address },
                Event::DispatcherDisallowed { dispatcher: DISPATCHER },
            ]
        );
        assert_eq!(Dispatchers::<Test>::iter_keys().collect::<Vec<_>>(), [address]);
    });
}

#[test]
#[should_panic(expected = "are no dispatchers")]
fn a_genesis_with_the_bridge_as_dispatcher_is_refused() {
    let genesis = GenesisConfig::<Test> { dispatchers: vec![L2_BRIDGE], ..Default::default() };
    RuntimeGenesisConfig { settlement: genesis, ..Default::default() }.build_storage().unwrap();
}

#[test]
fn constants_fit_together() {
    ExtBuilder::default().build_and_execute(|| {
        Settlement::integrity_test();
        let note = MessageData::default();
        assert_ok!(Settlement::note(CAROL, &note));
        assert_noop!(Settlement::note(CAROL, &[0; 4_097]), Error::<Test>::OutOfBounds);
        let data = MessageData::default();
        assert_eq!(events(), [Event::MessageReceived { from: CAROL, data }]);
    });
}
