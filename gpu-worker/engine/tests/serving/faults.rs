//! Callers who go, callers who are too many, and sizes that make no sense.

use futures::future::join_all;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tributary_engine::{EngineError, EngineOptions, Event, Prompt, Sampling};

use super::common::{answer, ask, folders, options, start, until};

/// Memory that the process holds, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_callers_who_go_leave_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 4);
    let engine = start(EngineOptions { device_adapters: 2, step_tokens: 24, ..options() });
    for (n, folder) in folders.iter().enumerate() {
        engine.load_adapter(n.to_string(), folder).await.unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut cancelled = 0;
    let mut memory = 0;
    for round in 0..8 {
        let mut tasks = vec![];
        for n in 0..60 {
            let id = (n % 5 < 4).then(|| (n % 5).to_string());
            let text = "A word with the captain. ".repeat(rng.gen_range(1..12));
            let request = ask(id.as_deref(), &text, rng.gen_range(1..20));
            let after = rng.gen_range(0..12);
            cancelled += usize::from(after < 10);
            let engine = engine.clone();
            tasks.push(tokio::spawn(async move {
                // Some go while they wait, some in the middle of their prompt, some in their
                // answer; some stay.
                let mut events = engine.generate(request).unwrap();
                if after < 10 {
                    for _ in 0..after / 3 {
                        let _ = events.recv().await;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                    return;
                }
                while let Some(event) = events.recv().await {
                    assert!(!matches!(event, Event::Failed(_)), "{event:?}");
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let rest =
            |s: &tributary_engine::EngineStats| s.running == 0 && s.waiting == 0 && s.kv_used == 0;
        let stats = until(&engine, "rest", rest).await;
        assert_eq!(stats.finished + stats.cancelled, 60 * (round + 1), "{stats:?}");
        assert_eq!((stats.failed, stats.refused), (0, 0));
        if round == 3 {
            memory = resident();
        }
    }
    assert!(cancelled > 300);
    let grown = resident().saturating_sub(memory);
    assert!(grown < 64 << 20, "240 more requests took {grown} bytes");
    // Nothing is held: adapters leave, and all slots serve.
    let all = (0..4).map(|n| answer(&engine, ask(Some(&n.to_string()), "All hands", 4)));
    assert!(join_all(all).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_are_told_at_once() {
    let engine = start(EngineOptions { slots: 1, waiting: 3, ..options() });
    let mut held: Vec<_> =
        (0..4).map(|_| engine.generate(ask(None, "The tide", 200)).unwrap()).collect();
    // Refused while the others run: the event is there without any step.
    let mut refused = engine.generate(ask(None, "The tide", 1)).unwrap();
    assert!(matches!(refused.try_recv(), Ok(Event::Failed(EngineError::Overloaded))));
    assert!(matches!(
        engine.score(None, &Prompt::Text("The tide".into()), vec![4]).await,
        Err(EngineError::Overloaded)
    ));
    assert_eq!(engine.stats().refused, 2);
    held.clear();
    until(&engine, "an end to all four", |s| s.cancelled + s.finished == 4).await;
    answer(&engine, ask(None, "The tide", 3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_keys_and_values_admits() {
    // One page of the tiny base holds 64 tokens: 4 layers · 2 heads · 64 · 2 · 32 numbers.
    let page = 4 * 2 * 64 * 2 * 32 * 4;
    let options = EngineOptions { slots: 8, capacity: 128, kv_bytes: 3 * page, ..options() };
    let engine = start(options.clone());
    // Each needs two pages in the end; three pages hold one such sequence at a time.
    let all = (0..6).map(|_| answer(&engine, ask(None, &"Oars and sails. ".repeat(8), 60)));
    let all = join_all(all).await;
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|done| done.as_ref().unwrap() == first));
    let stats = until(&engine, "rest", |s| s.running == 0).await;
    assert_eq!((stats.kv_used, stats.kv_total), (0, 3 * 64));
    let refused = tributary_engine::Engine::start(EngineOptions { kv_bytes: page, ..options });
    assert!(
        matches!(refused.err(), Some(EngineError::Request(reason)) if reason.contains("kv_bytes"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_sizes_are_refused_with_a_reason() {
    let engine = start(options());
    let told = |r: Result<_, EngineError>| r.expect_err("it is refused");
    let huge = "x".repeat(64 << 20);
    let refused = told(engine.generate(ask(None, &huge, 1)).map(drop));
    assert!(matches!(refused, EngineError::PromptTooLong { .. }), "{refused}");
    let long = answer(&engine, ask(None, &"far ".repeat(9000), 1)).await;
    assert!(matches!(long, Err(EngineError::PromptTooLong { .. })));
    let mut stops = ask(None, "Ahoy", 4);
    stops.stop = vec!["!".into(); 1000];
    assert!(matches!(told(engine.generate(stops).map(drop)), EngineError::Request(_)));
    // As much as fits, and not more, is written.
    let done = answer(&engine, ask(None, "Ahoy", usize::MAX)).await.unwrap();
    assert!(done.prompt_tokens + done.answer_tokens.len() <= engine.info().capacity);
    let mut odd = ask(None, "Ahoy", 4);
    odd.sampling = Sampling { temperature: f32::NAN, ..Sampling::GREEDY };
    assert!(matches!(answer(&engine, odd).await, Err(EngineError::Request(_))));
    // All places are free again after every refusal.
    let all = (0..68).map(|_| answer(&engine, ask(None, "Ahoy", 1)));
    assert!(join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(engine.stats().refused, 0);
}
