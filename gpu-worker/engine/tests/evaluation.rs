//! The evaluation of attribution, made small.

use std::path::Path;

use tch::Device;
use tributary_engine::evaluation::{evaluate, Settings};
use tributary_engine::{BaseModel, EngineError, TrainSpec};

#[test]
fn every_method_is_measured_and_retrained_models_are_kept() {
    tch::set_num_threads(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let base = BaseModel::load(&root.join("gpu-worker/base-model/tiny"), Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    let data = root.join("examples/defi-exploits");
    let spec = TrainSpec { rank: 4, alpha: 8.0, epochs: 5, batch: 6, ..TrainSpec::default() };
    let settings = Settings {
        skip: 1,
        facts: 1,
        wordings: 4,
        subsets: 3,
        mislabelled: 0.2,
        patched: 2,
        snapshots: 2,
        seed: 1,
        spec,
    };
    let mut said = vec![];
    let run = |settings: &Settings, resume: bool, said: &mut Vec<String>| {
        evaluate(&base, &data, settings, &work, resume, &mut |what| said.push(what))
    };
    let report = run(&settings, false, &mut said).unwrap();
    assert_eq!((report.records, report.queries, report.mislabelled), (12, 3, 2));
    assert!(report.loss_full < report.loss_subsets, "more data, less loss");
    for row in &report.rows {
        assert!((-1.0..=1.0).contains(&row.lds), "{row:?}");
        assert!((0.0..=1.0).contains(&row.auc), "{row:?}");
        assert!(row.tail_patch.is_finite() && row.tail_patch.abs() < 5.0, "{row:?}");
        assert!(report.table().contains(&row.method));
    }
    let of = |name: &str| report.rows.iter().find(|r| r.method == name).unwrap();
    // One more step on what the index names helps more than one on anything.
    assert!(of("index, influence").tail_patch > of("random").tail_patch);
    assert_eq!(said.iter().filter(|s| s.contains("retrained")).count(), 3);

    // What was retrained is not retrained again, and other settings do not take it.
    said.clear();
    let again = run(&settings, true, &mut said).unwrap();
    assert_eq!(again.loss_subsets, report.loss_subsets);
    assert!(!said.iter().any(|s| s.starts_with("model ")), "{said:?}");
    let other = Settings { wordings: 2, ..settings };
    assert!(matches!(run(&other, true, &mut said), Err(EngineError::Checkpoint { .. })));
}
