use crate::{mock::*, BridgedOut, Emitted, FeeSplit, FeesBurnt};
use polkadot_sdk::frame_support::traits::{fungible::Mutate, Currency};
use proptest::prelude::*;
use tributary_primitives::Balance;

#[derive(Clone, Debug)]
enum Step {
    Fee(bool, Balance),
    Burn(bool, Balance),
    Split(u32, u32),
    Era(u64),
    Claim(Balance),
    Author(bool),
    In(bool, Balance),
    Out(bool, Balance),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), 0..400u128).prop_map(|(who, amount)| Step::Fee(who, amount)),
        (any::<bool>(), 0..400u128).prop_map(|(who, amount)| Step::Burn(who, amount)),
        (0..=1_100_000u32, 0..=500_000u32).prop_map(|(burn, treasury)| Step::Split(burn, treasury)),
        (0..3 * PERIOD).prop_map(Step::Era),
        (0..100_000u128).prop_map(Step::Claim),
        any::<bool>().prop_map(Step::Author),
        (any::<bool>(), 0..400u128).prop_map(|(who, amount)| Step::In(who, amount)),
        (any::<bool>(), 0..400u128).prop_map(|(who, amount)| Step::Out(who, amount)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_books_stand_after_any_calls(steps in proptest::collection::vec(step(), 1..60)) {
        ExtBuilder::default().with_balances(vec![(ALICE, 5_000), (BOB, 700)]).build_and_execute(
            || {
                let who = |first| if first { ALICE } else { BOB };
                // Rewards promised and not yet minted.
                let mut claimable: Balance = 0;
                for step in steps {
                    let (emitted, burnt) = (Emitted::<Test>::get(), FeesBurnt::<Test>::get());
                    let gone = BridgedOut::<Test>::get();
                    let before = Token::issuance() + Token::burnt();
                    let mut minted = 0;
                    match step {
                        Step::Fee(first, amount) => {
                            let _ = Token::take_fee(&who(first), amount);
                        },
                        Step::Burn(first, amount) => {
                            let _ = Token::burn(RuntimeOrigin::signed(who(first)), amount);
                        },
                        Step::Split(burn, treasury) => {
                            let author = 1_000_000u32.saturating_sub(burn + treasury);
                            let split = FeeSplit { burn, treasury, author };
                            let _ = Token::set_fee_split(RuntimeOrigin::root(), split);
                        },
                        Step::Era(millis) => claimable += Token::era_payout(0, 0, millis).0,
                        Step::Claim(amount) => {
                            let amount = amount.min(claimable);
                            if Balances::mint_into(&ALICE, amount).is_ok() {
                                claimable -= amount;
                                minted = amount;
                            }
                        },
                        Step::Author(known) => BlockAuthor::set(known.then_some(AUTHOR)),
                        Step::In(first, amount) => {
                            if Token::mint_bridged(&who(first), amount).is_ok() {
                                minted = amount;
                            }
                        },
                        Step::Out(first, amount) => {
                            let _ = Token::burn_bridged(&who(first), amount);
                        },
                    }
                    let out = BridgedOut::<Test>::get() - gone;
                    let now = Token::issuance() + Token::burnt() + out;
                    // What is left of an account below the existential deposit ceases to exist.
                    assert!(now <= before + minted && now + ED > before + minted);
                    assert!(out > 0 || now == before + minted);
                    assert!(Emitted::<Test>::get() >= emitted);
                    assert!(FeesBurnt::<Test>::get() >= burnt);
                    assert_eq!(<Balances as Currency<_>>::total_issuance(), Token::issuance());
                    Token::do_try_state().unwrap();
                }
                BlockAuthor::set(Some(AUTHOR));
            },
        );
    }
}
