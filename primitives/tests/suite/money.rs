use polkadot_sdk::sp_core::U256;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tributary_primitives::money::{
    as_string, format_open, parse_open, split, AmountError, Balance, CAP, OPEN,
};

/// Largest remainder by the book: floors, then a unit each to the largest remainders.
fn by_the_book(total: Balance, weights: &[u64]) -> Option<Vec<Balance>> {
    let sum = weights.iter().fold(U256::zero(), |sum, w| sum + U256::from(*w));
    if sum.is_zero() {
        return None;
    }
    let exact = |w: &u64| (U256::from(total) * U256::from(*w)).div_mod(sum);
    let mut parts: Vec<U256> = weights.iter().map(|w| exact(w).0).collect();
    let given = parts.iter().fold(U256::zero(), |sum, part| sum + *part);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(exact(&weights[*i]).1), *i));
    for i in order.iter().take((U256::from(total) - given).as_usize()) {
        parts[*i] += U256::one();
    }
    Some(parts.into_iter().map(|part| part.as_u128()).collect())
}

#[test]
fn a_split_by_hand() {
    assert_eq!(split(10, &[1, 1, 1]), Some(vec![4, 3, 3]));
    assert_eq!(split(11, &[1, 1, 1]), Some(vec![4, 4, 3]));
    // 2.5, 5 and 2.5: of equal remainders the earlier one gets the unit.
    assert_eq!(split(10, &[1, 2, 1]), Some(vec![3, 5, 2]));
    assert_eq!(split(1, &[999_999, 1]), Some(vec![1, 0]));
    assert_eq!(split(7, &[0, 3, 0]), Some(vec![0, 7, 0]));
    assert_eq!(split(0, &[3, 4]), Some(vec![0, 0]));
    assert_eq!(split(7, &[0, 0]), None);
    assert_eq!(split(7, &[]), None);
}

#[test]
fn the_largest_amounts_are_split_exactly() {
    for total in [CAP, u128::MAX, u128::MAX - 1] {
        for weights in [
            vec![u64::MAX],
            vec![u64::MAX / 3; 3],
            vec![1, u64::MAX - 1],
            vec![u64::MAX / 100; 100],
            vec![400_000, 150_000, 50_000, 50_000, 350_000],
        ] {
            assert_eq!(split(total, &weights), by_the_book(total, &weights), "{total} {weights:?}");
        }
    }
}

#[test]
fn the_largest_weights_are_split_exactly() {
    for total in [CAP, u128::MAX, u128::MAX - 1] {
        for weights in [
            vec![u64::MAX; 3],
            vec![u64::MAX, 1],
            vec![1, u64::MAX, u64::MAX - 1, u64::MAX - 7],
            vec![u64::MAX; 100],
        ] {
            assert_eq!(split(total, &weights), by_the_book(total, &weights), "{total} {weights:?}");
        }
    }
}

proptest! {
    #[test]
    fn parts_add_up_and_are_those_of_the_book(
        total in prop_oneof![0..1_000u128, 0..=CAP, any::<u128>()],
        weights in proptest::collection::vec(prop_oneof![0..5u64, 0..2_000_000u64, any::<u64>()], 0..40),
    ) {
        let parts = split(total, &weights);
        if let Some(parts) = &parts {
            let sum = parts.iter().fold(U256::zero(), |sum, part| sum + U256::from(*part));
            prop_assert_eq!(sum, U256::from(total));
        }
        prop_assert_eq!(parts, by_the_book(total, &weights));
    }

    #[test]
    fn what_is_written_is_read_again(units in 0..=CAP) {
        prop_assert_eq!(parse_open(&format_open(units)), Ok(units));
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,40}") {
        let _ = parse_open(&text);
    }

    #[test]
    fn json_keeps_every_digit(units: u128) {
        let json = serde_json::to_string(&Amount { units }).expect("it can be written");
        prop_assert_eq!(&json, &format!("{{\"units\":\"{units}\"}}"));
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).expect("it was written so"), Amount { units });
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Amount {
    #[serde(with = "as_string")]
    units: Balance,
}

#[test]
fn amounts_are_read() {
    for (text, units) in [
        ("12", 12 * OPEN),
        ("0", 0),
        ("0.5", OPEN / 2),
        (".5", OPEN / 2),
        ("5.", 5 * OPEN),
        (" 1_000.25 ", 1_000 * OPEN + OPEN / 4),
        ("1.000000000000000001", OPEN + 1),
        ("0.000000000000000001", 1),
        ("1000000000", CAP),
        ("1000000000.000000000000000000", CAP),
        ("00012", 12 * OPEN),
    ] {
        assert_eq!(parse_open(text), Ok(units), "{text}");
    }
}

#[test]
fn what_is_no_amount_is_refused_with_its_reason() {
    for text in [
        "", " ", ".", "1,5", "1,000", "-1", "+1", "1e3", "0x10", "1.2.3", "abc", "1 2", "٣", "1.-5",
    ] {
        assert_eq!(parse_open(text), Err(AmountError::NotANumber), "{text:?}");
    }
    assert_eq!(parse_open("0.0000000000000000001"), Err(AmountError::TooPrecise));
    for text in [
        "1000000000.000000000000000001",
        "1000000001",
        "999999999999999999999999999999999999999999999999999",
        "340282366920938463463374607431768211456",
    ] {
        assert_eq!(parse_open(text), Err(AmountError::AboveCap), "{text}");
    }
    assert_eq!(
        AmountError::TooPrecise.to_string(),
        "OPEN has 18 decimals and no more",
        "errors say what is wrong"
    );
}

#[test]
fn amounts_are_written_without_trailing_zeros() {
    for (units, text) in [
        (0, "0"),
        (1, "0.000000000000000001"),
        (OPEN, "1"),
        (3 * OPEN / 2, "1.5"),
        (CAP, "1000000000"),
        (10 * OPEN + 100, "10.0000000000000001"),
        (u128::MAX, "340282366920938463463.374607431768211455"),
    ] {
        assert_eq!(format_open(units), text);
    }
}

#[test]
fn json_amounts_that_are_none_are_refused() {
    for json in [r#"{"units":12}"#, r#"{"units":"1.5"}"#, r#"{"units":"-1"}"#, r#"{"units":""}"#] {
        assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
    }
}
