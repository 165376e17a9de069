//! Several jobs in one pass.

use std::time::Duration;

use tributary_engine::{
    step_together, Adapter, Engine, EngineError, EngineOptions, IndexSpec, Projection, Record,
    TrainEvent, TrainRequest, TrainSpec, Trainer,
};

use super::*;

/// Jobs that differ in everything that may differ.
fn jobs() -> Vec<(Vec<Record>, TrainSpec)> {
    let targets = vec![Projection::Q, Projection::V, Projection::Up];
    vec![
        (records(14), spec()),
        (records(9), TrainSpec { rank: 9, alpha: 9.0, lr: 1e-3, batch: 3, targets, ..spec() }),
        (
            records(6),
            TrainSpec { rank: 1, rslora: true, batch: 2, seed: 9, weight_decay: 0.1, ..spec() },
        ),
    ]
}

fn alone(base: &BaseModel, job: &(Vec<Record>, TrainSpec), steps: usize) -> (Vec<f64>, Adapter) {
    let mut trainer = Trainer::new(base, &job.0, &job.1, None).unwrap();
    let losses = (0..steps).map(|_| trainer.step().unwrap().loss).collect();
    (losses, trainer.adapter())
}

fn different_epochs(epochs: usize) -> Vec<(Vec<Record>, TrainSpec)> {
    jobs().into_iter().map(|(r, s)| (r, TrainSpec { epochs, ..s })).collect()
}

#[test]
fn every_adapter_comes_out_as_if_trained_alone() {
    let base = base();
    let jobs = different_epochs(5);
    let mut trainers: Vec<Trainer> =
        jobs.iter().map(|(r, s)| Trainer::new(&base, r, s, None).unwrap()).collect();
    let mut losses = vec![vec![]; jobs.len()];
    for _ in 0..10 {
        let mut all: Vec<&mut Trainer> = trainers.iter_mut().collect();
        for (job, progress) in step_together(&mut all).into_iter().enumerate() {
            losses[job].push(progress.unwrap().loss);
        }
    }
    for (i, job) in jobs.iter().enumerate() {
        let (expected, adapter) = alone(&base, job, 10);
        assert!(expected[0] > expected[9], "job {i} learns");
        for (ours, theirs) in losses[i].iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-5 * theirs, "job {i}: {ours} {theirs}");
        }
        let found = apart(&trainers[i].adapter(), &adapter);
        println!("job {i}: {found:e} apart, {:e} at most", gap(&trainers[i].adapter(), &adapter));
        assert!(found < 1e-5, "job {i}: {found}");
        assert!(size(adapter.flat()) > 0.01);
    }
}

#[test]
fn one_that_diverges_or_leaves_does_not_touch_the_others() {
    let base = base();
    let jobs = different_epochs(5);
    let wild = TrainSpec { lr: 1e30, grad_clip: None, warmup_ratio: 0.0, ..jobs[1].1.clone() };
    let mut good = Trainer::new(&base, &jobs[0].0, &jobs[0].1, None).unwrap();
    let mut bad = Trainer::new(&base, &jobs[1].0, &wild, None).unwrap();
    let mut leaves = Trainer::new(&base, &jobs[2].0, &jobs[2].1, None).unwrap();
    let mut diverged = None;
    for step in 0..10 {
        let mut all = vec![&mut bad, &mut good];
        if step < 4 {
            all.push(&mut leaves);
        }
        let results = step_together(&mut all);
        match &results[0] {
            Err(EngineError::NotFinite { step: at }) => {
                diverged.get_or_insert(*at);
            }
            Err(other) => panic!("{other}"),
            Ok(_) => {}
        }
        assert!(results[1..].iter().all(Result::is_ok));
    }
    assert!(diverged.is_some(), "the wild one diverged");
    assert!(apart(&good.adapter(), &alone(&base, &jobs[0], 10).1) < 1e-5);
    assert!(apart(&leaves.adapter(), &alone(&base, &jobs[2], 4).1) < 1e-5);

    // Of another base, or done: told so, and the others step.
    let other = self::base();
    let mut foreign = Trainer::new(&other, &jobs[2].0, &jobs[2].1, None).unwrap();
    let short = TrainSpec { epochs: 1, batch: 100, ..jobs[2].1.clone() };
    let mut done = Trainer::new(&base, &jobs[2].0, &short, None).unwrap();
    done.step().unwrap();
    let results = step_together(&mut [&mut good, &mut foreign, &mut done]);
    assert!(results[0].is_ok());
    assert!(matches!(results[1], Err(EngineError::Spec(_))));
    assert!(matches!(results[2], Err(EngineError::Spec(_))));
    assert_eq!((good.steps_done(), foreign.steps_done(), done.steps_done()), (11, 0, 1));
    assert!(step_together(&mut []).is_empty());
}

/// The engine's own thread: jobs that come one after the other, one cancelled, one that cannot be.
#[tokio::test]
async fn the_engine_trains_them_together() {
    let options = EngineOptions { threads: 1, slots: 1, ..EngineOptions::new(base_folder()) };
    let engine = Engine::start(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let request = |name: &str, (records, spec): &(Vec<Record>, TrainSpec)| TrainRequest {
        contributions: vec![([1; 32], records.clone())],
        spec: spec.clone(),
        index: IndexSpec { dims: 256, ..IndexSpec::default() },
        out: folder.path().join(name),
        checkpoint_every: 2,
        base_name: "tiny".into(),
    };
    let jobs = different_epochs(4);
    let mut first = engine.train(request("first", &jobs[0])).unwrap();
    let mut cancelled = engine.train(request("cancelled", &jobs[1])).unwrap();
    let held = TrainSpec { held_out_ppm: 300_000, eval_every: 1, ..jobs[2].1.clone() };
    let mut second = engine.train(request("second", &(jobs[2].0.clone(), held))).unwrap();
    let mut refused = engine.train(request("refused", &(vec![], spec()))).unwrap();
    assert!(matches!(cancelled.recv().await, Some(TrainEvent::Progress { step: 1, .. })));
    drop(cancelled);
    assert!(matches!(refused.recv().await, Some(TrainEvent::Failed(EngineError::Spec(_)))));
    let mut done = vec![];
    for events in [&mut first, &mut second] {
        let mut looks = 0;
        loop {
            let event = tokio::time::timeout(Duration::from_secs(120), events.recv()).await;
            match event.unwrap().unwrap() {
                TrainEvent::Progress { lr, tokens_per_second, held_out, .. } => {
                    assert!(lr >= 0.0 && tokens_per_second > 0.0);
                    looks += held_out.map_or(0, |_| 1);
                }
                TrainEvent::Indexing { .. } => {}
                TrainEvent::Done(one) => {
                    done.push((one, looks));
                    break;
                }
                TrainEvent::Failed(error) => panic!("{error}"),
            }
        }
    }
    let base = base();
    let steps = done[0].0.metrics.steps;
    let (losses, adapter) = alone(&base, &jobs[0], steps);
    assert!((done[0].0.metrics.losses[steps - 1] - losses[steps - 1]).abs() < 1e-4);
    let found = Adapter::load(&folder.path().join("first"), base.config(), Device::Cpu).unwrap();
    assert!(gap(&found, &adapter) < 1e-4);
    assert!(done[1].1 > 0 && done[1].0.metrics.held_out.len() == done[1].1 + 1);
    // Nothing is owed to records that were held out.
    let index = tributary_attribution::Index::open(&folder.path().join("second/influence.idx"));
    assert_eq!(index.unwrap().rows(), 4, "of six records two are held out");
    assert!(!folder.path().join("cancelled/adapter_config.json").exists());
}
