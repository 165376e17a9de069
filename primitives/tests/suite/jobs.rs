use tributary_primitives::{
    jobs::{token_bound, token_fee, SpecError, Targets, TrainSpec},
    ChannelId, ContributionId, JobId, OPEN,
};

fn spec() -> TrainSpec {
    TrainSpec {
        rank: 16,
        alpha: 32,
        targets: Targets::ALL,
        epochs: 40,
        batch: 30,
        lr_nano: 4_000_000,
        warmup_permille: 50,
        seq_len: 256,
        seed: 1,
    }
}

#[test]
fn a_specification_within_its_ranges_is_fine() {
    assert_eq!(spec().check(), Ok(()));
    let least = TrainSpec {
        rank: 1,
        alpha: 1,
        epochs: 1,
        batch: 1,
        lr_nano: 1,
        warmup_permille: 0,
        seq_len: 8,
        ..spec()
    };
    assert_eq!(least.check(), Ok(()));
    let most = TrainSpec {
        rank: 256,
        alpha: u16::MAX,
        epochs: 1_000,
        batch: 4_096,
        lr_nano: 1_000_000_000,
        warmup_permille: 1_000,
        seq_len: 131_072,
        ..spec()
    };
    assert_eq!(most.check(), Ok(()));
}

#[test]
fn each_field_outside_its_range_has_its_error() {
    let none =
        Targets { q: false, k: false, v: false, o: false, gate: false, up: false, down: false };
    assert!(none.is_empty());
    for (bad, error) in [
        (TrainSpec { rank: 0, ..spec() }, SpecError::Rank),
        (TrainSpec { rank: 257, ..spec() }, SpecError::Rank),
        (TrainSpec { alpha: 0, ..spec() }, SpecError::Alpha),
        (TrainSpec { targets: none, ..spec() }, SpecError::Targets),
        (TrainSpec { epochs: 0, ..spec() }, SpecError::Epochs),
        (TrainSpec { epochs: 1_001, ..spec() }, SpecError::Epochs),
        (TrainSpec { batch: 0, ..spec() }, SpecError::Batch),
        (TrainSpec { batch: 4_097, ..spec() }, SpecError::Batch),
        (TrainSpec { lr_nano: 0, ..spec() }, SpecError::LearningRate),
        (TrainSpec { lr_nano: 1_000_000_001, ..spec() }, SpecError::LearningRate),
        (TrainSpec { warmup_permille: 1_001, ..spec() }, SpecError::Warmup),
        (TrainSpec { seq_len: 7, ..spec() }, SpecError::SeqLen),
        (TrainSpec { seq_len: 131_073, ..spec() }, SpecError::SeqLen),
    ] {
        assert_eq!(bad.check(), Err(error));
        assert!(error.to_string().contains("must be"), "the error says what is allowed");
    }
}

#[test]
fn fees_are_rounded_up_to_the_unit() {
    assert_eq!(token_bound(2, 100, 3), 3 * (100 + 2 * 64));
    assert_eq!(token_bound(u64::MAX, u64::MAX, 2), u64::MAX);
    assert_eq!(token_fee(0, OPEN), 0);
    assert_eq!(token_fee(1_000, OPEN), OPEN);
    assert_eq!(token_fee(1, 1), 1);
    assert_eq!(token_fee(1_001, 1), 2);
    assert_eq!(token_fee(1_500, 3), 5);
    assert_eq!(token_fee(7, 0), 0);
    assert_eq!(token_fee(u64::MAX, u128::MAX), u128::MAX.div_ceil(1_000));
}

#[test]
fn ids_count_and_end() {
    assert_eq!(JobId(4).next(), Some(JobId(5)));
    assert_eq!(ChannelId(u64::MAX).next(), None);
    assert_eq!(ContributionId(12).to_string(), "12");
    assert_eq!(serde_json::to_string(&JobId(3)).expect("it can be written"), "3");
}
