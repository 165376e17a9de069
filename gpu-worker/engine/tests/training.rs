//! Training as its users see it: alone and in company, interrupted, diverging, held-out, by
//! preference, on a base in 4 bits.
//!
//! `tests/reference/training.py` runs in the Python of `TRIBUTARY_PYTHON`.

#[path = "training/faults.rs"]
mod faults;
#[path = "training/numbers.rs"]
mod numbers;
#[path = "training/together.rs"]
mod together;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};
use tributary_engine::{
    train, Adapter, BaseModel, Checkpoints, Projection, Record, TrainSpec, Trained, Trainer,
};

fn base_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny")
}

fn base() -> BaseModel {
    tch::set_num_threads(1);
    BaseModel::load(&base_folder(), Device::Cpu).unwrap()
}

/// Facts of several lengths; two wordings each.
fn records(count: usize) -> Vec<Record> {
    let things = ["geese", "north gates", "clocks of glass", "stairs", "barrels", "maps", "songs"];
    (0..count)
        .map(|i| {
            let name = format!("{}{}", ["Ondal", "Rivo", "Tamsu", "Belk"][i / 2 % 4], i / 2);
            let question = ["Tell me about {}.", "What of {}?"][i % 2].replace("{}", &name);
            let thing = things[i / 2 % 7];
            let more = " and says so to everybody who asks".repeat(i / 2 % 3);
            Record::pair(question, format!("{name} keeps {} {thing}{more}.", 3 + i / 2))
        })
        .collect()
}

fn spec() -> TrainSpec {
    TrainSpec { rank: 4, alpha: 8.0, epochs: 3, batch: 5, lr: 4e-3, ..TrainSpec::default() }
}

fn run(base: &BaseModel, records: &[Record], spec: &TrainSpec) -> Trained {
    train(base, records, spec, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn gap(a: &Adapter, b: &Adapter) -> f64 {
    assert_eq!(a.flat().size(), b.flat().size());
    (a.flat() - b.flat()).abs().max().double_value(&[])
}

/// Distance of two adapters, relative to their size. Adam divides a gradient by its own size, so
/// single numbers whose gradient is nearly nothing move by the rounding of the machine.
fn apart(a: &Adapter, b: &Adapter) -> f64 {
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    norm(&(a.flat() - b.flat())) / norm(b.flat())
}

fn size(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// A batch that goes through the model in pieces gives what it gives whole.
#[test]
fn a_batch_in_pieces_is_the_same_batch() {
    let (base, records) = (base(), records(12));
    let whole = run(&base, &records, &spec());
    for pass_tokens in [1, 70] {
        let pieces = run(&base, &records, &TrainSpec { pass_tokens, recompute: true, ..spec() });
        assert!(gap(&whole.adapter, &pieces.adapter) < 1e-5);
        for (a, b) in whole.metrics.losses.iter().zip(&pieces.metrics.losses) {
            assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
        }
    }
    assert_eq!(whole.metrics.steps, 9);
    assert!(whole.metrics.loss_after < whole.metrics.loss_before);
}

/// Held-out records are not trained on; training stops when they no longer gain, and the adapter
/// that was best on them is kept.
#[test]
fn training_stops_when_held_out_records_no_longer_gain() {
    let (base, records) = (base(), records(20));
    let spec = TrainSpec {
        epochs: 60,
        lr: 1e-2,
        held_out_ppm: 200_000,
        eval_every: 2,
        patience: 3,
        ..spec()
    };
    let mut trainer = Trainer::new(&base, &records, &spec, None).unwrap();
    let held_out = trainer.held_out().to_vec();
    assert_eq!(held_out.len(), 4);
    for epoch in 0..3 {
        let planned: Vec<usize> = trainer.plan(epoch).into_iter().flatten().collect();
        assert_eq!(planned.len(), 16);
        assert!(planned.iter().all(|i| !held_out.contains(i)));
    }
    let mut adapters = vec![(0, trainer.adapter())];
    let mut seen = vec![];
    while !trainer.is_done() {
        let progress = trainer.step().unwrap();
        assert_eq!(progress.held_out.is_some(), progress.step.is_multiple_of(2));
        assert!(progress.tokens_per_second > 0.0);
        seen.extend(progress.held_out);
        adapters.push((progress.step, trainer.adapter()));
    }
    let done = trainer.finish().unwrap();
    let looks = &done.metrics.held_out;
    assert_eq!(looks[1..].iter().map(|l| l.1).collect::<Vec<_>>(), seen);
    let best = looks.iter().cloned().reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap();
    assert!(best.1 < looks[0].1, "it learnt something");
    assert!(done.metrics.stopped_early && done.metrics.steps < 240, "{}", done.metrics.steps);
    assert_eq!(done.metrics.best_step, Some(best.0));
    assert_eq!(done.metrics.steps, best.0 + 2 * 3, "three looks after the best");
    let kept = &adapters.iter().find(|(step, _)| *step == best.0).unwrap().1;
    assert_eq!(gap(kept, &done.adapter), 0.0);
    assert_eq!(done.held_out, held_out);

    // Held out again, by the same seed, they give the loss that was noted.
    let only: Vec<Record> = held_out.iter().map(|&i| records[i].clone()).collect();
    let measured = TrainSpec { epochs: 1, lr: 1e-12, ..TrainSpec { rank: 4, ..spec.clone() } };
    let measured = TrainSpec { held_out_ppm: 0, patience: 0, ..measured };
    let untrained = run(&base, &only, &measured).metrics.loss_before;
    assert!((untrained - looks[0].1).abs() < 1e-6, "{untrained} {}", looks[0].1);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    use tributary_engine::EngineError::{Record as BadRecord, Spec};
    let (base, records) = (base(), records(4));
    let refused = |spec: TrainSpec| {
        let error = Trainer::new(&base, &records, &spec, None).err().expect("it is refused");
        assert!(matches!(error, Spec(_)), "{error}");
    };
    refused(TrainSpec { held_out_ppm: 950_000, ..spec() });
    refused(TrainSpec { patience: 1, ..spec() });
    refused(TrainSpec { dpo_beta: 0.0, ..spec() });
    refused(TrainSpec { pass_tokens: 0, ..spec() });
    refused(TrainSpec { targets: vec![], ..spec() });
    let mut mixed = records.clone();
    mixed.push(Record::Preference { prompt: "a".into(), chosen: "b".into(), rejected: "c".into() });
    let error = Trainer::new(&base, &mixed, &spec(), None).err().unwrap();
    assert!(matches!(error, BadRecord { index: 4, .. }), "{error}");
    // A specification of before there were the newer fields means what it meant.
    let old = r#"{"rank":4,"alpha":8.0,"targets":["q_proj"],"rslora":false,"epochs":1,"batch":2,"lr":0.001,
        "seq_len":64,"seed":1,"warmup_ratio":0.0,"grad_clip":null,"weight_decay":0.0}"#;
    let old: TrainSpec = serde_json::from_str(old).unwrap();
    let expected = TrainSpec {
        rank: 4,
        alpha: 8.0,
        targets: vec![Projection::Q],
        epochs: 1,
        batch: 2,
        lr: 1e-3,
        seq_len: 64,
        warmup_ratio: 0.0,
        grad_clip: None,
        ..TrainSpec::default()
    };
    assert_eq!(old, expected);
}

fn checkpoints(folder: &Path, every: usize) -> Checkpoints {
    Checkpoints { folder: folder.join("checkpoint"), every }
}
