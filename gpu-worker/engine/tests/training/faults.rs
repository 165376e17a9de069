//! Interruptions, full disks, divergence.

use std::process::Command;
use std::time::{Duration, Instant};

use tch::Kind;
use tributary_engine::{step_together, EngineError, WeightStore};

use super::*;

const CHILD: &str = "TRIBUTARY_TEST_TRAINING_FOLDER";

fn checkpoint_file(folder: &Path) -> PathBuf {
    folder.join("checkpoint/checkpoint.safetensors")
}

/// Long enough to be killed in the middle.
fn long() -> TrainSpec {
    TrainSpec { epochs: 40, ..spec() }
}

/// Not a test of its own: what [`a_killed_training_goes_on_to_the_same_end`] starts and kills.
#[test]
fn training_child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let kept = checkpoints(Path::new(&folder), 3);
    train(&base(), &records(20), &long(), Some(&kept), &mut |_| {
        std::thread::sleep(Duration::from_millis(2));
        ControlFlow::Continue(())
    })
    .unwrap();
    panic!("it was to be killed before it ended");
}

#[test]
fn a_killed_training_goes_on_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = checkpoint_file(folder.path());
    let mut step = 0;
    for round in 1..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::training_child"])
            .env(CHILD, folder.path())
            .spawn()
            .unwrap();
        let modified = || std::fs::metadata(&file).and_then(|m| m.modified()).ok();
        let (before, began) = (modified(), Instant::now());
        while modified() == before {
            assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint came");
            assert!(child.try_wait().unwrap().is_none(), "the training ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        // At some moment of its own, also in the middle of a write.
        std::thread::sleep(Duration::from_millis(7 * round));
        child.kill().unwrap(); // SIGKILL
        assert!(!child.wait().unwrap().success());
        let kept = checkpoints(folder.path(), 3);
        let base = base();
        let resumed = Trainer::new(&base, &records(20), &long(), Some(&kept)).unwrap();
        assert!(resumed.steps_done() > step, "it got further");
        step = resumed.steps_done();
    }
    let base = base();
    let kept = checkpoints(folder.path(), 3);
    let go_on = &mut |_| ControlFlow::Continue(());
    let resumed = train(&base, &records(20), &long(), Some(&kept), go_on).unwrap();
    let whole = run(&base, &records(20), &long());
    assert!(step < whole.metrics.steps);
    assert!((resumed.metrics.loss_after - whole.metrics.loss_after).abs() < 1e-6);
    assert_eq!(resumed.metrics.losses.len(), whole.metrics.losses.len());
    assert!(gap(&resumed.adapter, &whole.adapter) < 1e-6);
    assert!(!file.exists());
}

/// In company, with held-out records, and taken up alone.
#[test]
fn a_training_resumes_through_company_to_the_same_loss() {
    let (base, records) = (base(), records(16));
    let folder = tempfile::tempdir().unwrap();
    let kept = checkpoints(folder.path(), 4);
    let spec = TrainSpec { held_out_ppm: 200_000, eval_every: 3, ..spec() };
    let other = TrainSpec { rank: 2, seed: 5, ..spec.clone() };
    let mut stopped = Trainer::new(&base, &records, &spec, Some(&kept)).unwrap();
    let mut company = Trainer::new(&base, &records, &other, None).unwrap();
    for _ in 0..6 {
        for result in step_together(&mut [&mut company, &mut stopped]) {
            result.unwrap();
        }
    }
    drop(stopped);
    let mut resumed = Trainer::new(&base, &records, &spec, Some(&kept)).unwrap();
    assert_eq!(resumed.steps_done(), 4);
    while !resumed.is_done() {
        resumed.step().unwrap();
    }
    let (resumed, whole) = (resumed.finish().unwrap(), run(&base, &records, &spec));
    assert_eq!(whole.metrics.steps, 9);
    assert_eq!(resumed.metrics.best_step, whole.metrics.best_step);
    for (a, b) in resumed.metrics.held_out.iter().zip(&whole.metrics.held_out) {
        assert_eq!(a.0, b.0);
        assert!((a.1 - b.1).abs() < 1e-5, "{} {}", a.1, b.1);
    }
    assert!((resumed.metrics.loss_after - whole.metrics.loss_after).abs() < 1e-5);
    assert!(apart(&resumed.adapter, &whole.adapter) < 1e-5);
}

/// `/dev/full` says that the disk is full.
#[test]
fn a_full_disk_is_named_and_the_old_checkpoint_stays() {
    let (base, records) = (base(), records(12));
    let folder = tempfile::tempdir().unwrap();
    let kept = checkpoints(folder.path(), 2);
    let mut trainer = Trainer::new(&base, &records, &spec(), Some(&kept)).unwrap();
    for _ in 0..3 {
        trainer.step().unwrap();
    }
    let file = checkpoint_file(folder.path());
    let old = std::fs::read(&file).unwrap();
    let part = file.with_file_name("checkpoint.safetensors.part");
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = trainer.step().unwrap_err();
    assert!(matches!(&error, EngineError::StorageFull { path } if *path == part), "{error}");
    assert_eq!(error.label(), "storage_full");
    assert_eq!(std::fs::read(&file).unwrap(), old);
    assert!(!part.exists(), "what was half written is gone");
    // With room again it goes on from there.
    let resumed = train(&base, &records, &spec(), Some(&kept), &mut |_| ControlFlow::Continue(()));
    let whole = run(&base, &records, &spec());
    assert!(gap(&resumed.unwrap().adapter, &whole.adapter) < 1e-6);
}

#[test]
fn divergence_stops_with_its_step_and_keeps_the_last_good_state() {
    let (base, records) = (base(), records(12));
    let folder = tempfile::tempdir().unwrap();
    let kept = checkpoints(folder.path(), 1000);
    // The rate rises until numbers no longer hold the result.
    let spec = TrainSpec { epochs: 10, lr: 1e36, grad_clip: None, warmup_ratio: 1.0, ..spec() };
    let spec = TrainSpec { weight_decay: 0.0, ..spec };
    let mut trainer = Trainer::new(&base, &records, &spec, Some(&kept)).unwrap();
    let mut before = vec![trainer.adapter()];
    let step = loop {
        match trainer.step() {
            Ok(progress) => {
                assert!(progress.loss.is_finite());
                before.push(trainer.adapter());
            }
            Err(EngineError::NotFinite { step }) => break step,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(step >= 1, "the first loss is finite");
    assert_eq!(before.len(), step + 1);
    // The checkpoint is what the last finite loss was computed from.
    let store = WeightStore::open_file(&checkpoint_file(folder.path())).unwrap();
    let like = before[0].flat();
    let good = store.get("flat", &like.size(), Kind::Float, Device::Cpu).unwrap();
    assert_eq!(size(&(&good - before[step - 1].flat())), 0.0);
    assert!(bool::try_from(good.isfinite().all()).unwrap());
    assert_eq!(trainer.steps_done(), step - 1);
    assert_eq!(gap(&trainer.adapter(), &before[step - 1]), 0.0);
    let resumed = Trainer::new(&base, &records, &spec, Some(&kept)).unwrap();
    assert_eq!(resumed.steps_done(), step - 1);
}
