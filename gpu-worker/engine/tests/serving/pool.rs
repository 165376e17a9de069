//! Adapters come and go; answers stay right.

use std::path::{Path, PathBuf};

use futures::future::join_all;
use tributary_engine::{Engine, EngineError, EngineOptions};

use super::common::{answer, ask, folders, options, start, until};

/// Bytes of one of these adapters in the host's memory, rank 8 on all projections of the tiny
/// base: 8 · (in + out) numbers for each of its 28 matrices' pairs.
fn one() -> usize {
    let per_layer = 192 + 192 + 2 * (192 + 64) + 2 * 192 + 2 * (192 + 512) + (512 + 192);
    4 * 8 * per_layer * 4
}

async fn load(engine: &Engine, folders: &[PathBuf]) {
    for (n, folder) in folders.iter().enumerate() {
        engine.load_adapter(n.to_string(), folder).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_right_below_at_and_beyond_the_slots() {
    const SLOTS: usize = 4;
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 2 * SLOTS);
    let roomy = start(options());
    load(&roomy, &folders).await;
    let mut expected = vec![];
    for n in 0..folders.len() {
        let request = ask(Some(&n.to_string()), "The harbour master says that", 8);
        expected.push(answer(&roomy, request).await.unwrap().text);
    }
    drop(roomy);
    let mut different = expected.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > SLOTS, "adapters answer differently: {expected:?}");

    for count in [SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS] {
        // Host memory for half of them: the others come back from disk.
        let engine = start(EngineOptions {
            device_adapters: SLOTS,
            host_bytes: one() * SLOTS / 2,
            slots: 3,
            ..options()
        });
        load(&engine, &folders[..count]).await;
        for round in 0..3 {
            let all = (0..2 * count).map(|n| {
                let request =
                    ask(Some(&(n % count).to_string()), "The harbour master says that", 8);
                answer(&engine, request)
            });
            for (n, done) in join_all(all).await.into_iter().enumerate() {
                let text = done.unwrap().text;
                assert_eq!(text, expected[n % count], "adapter {} of {count}, {round}", n % count);
            }
        }
        let stats = until(&engine, "rest", |s| s.running == 0 && s.waiting == 0).await;
        assert_eq!(stats.finished, 6 * count as u64);
        assert_eq!(stats.disk.adapters, count);
        assert_eq!(stats.device.adapters, count.min(SLOTS));
        assert!(stats.host.bytes <= one() * SLOTS / 2 && stats.host.adapters <= SLOTS / 2);
        assert_eq!(stats.device.hits + stats.device.misses, 6 * count as u64);
        match count <= SLOTS {
            true => assert_eq!(stats.device.evictions, 0),
            false => {
                assert!(stats.device.evictions > 0 && stats.device.misses > 0, "{stats:?}");
                assert!(stats.disk.hits > 0, "{stats:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn device_memory_is_a_limit_too() {
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 5);
    let engine = start(EngineOptions { device_bytes: 5 * one() / 2, ..options() });
    load(&engine, &folders).await;
    let all = (0..20).map(|n| {
        let request = ask(Some(&(n % 5).to_string()), "Salt and rope", 4);
        answer(&engine, request)
    });
    assert!(join_all(all).await.iter().all(Result::is_ok));
    let stats = until(&engine, "rest", |s| s.running == 0).await;
    assert!(stats.device.adapters <= 2 && stats.device.bytes <= 5 * one() / 2, "{stats:?}");
    assert!(stats.device.evictions >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_popular_adapter_does_not_starve_the_others() {
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 3);
    // Places for two adapters, slots for two sequences.
    let options = EngineOptions { device_adapters: 2, slots: 2, waiting: 100, ..options() };
    let engine = start(options);
    load(&engine, &folders).await;
    let finished = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let run = |id: &'static str| {
        let (engine, finished) = (engine.clone(), finished.clone());
        tokio::spawn(async move {
            answer(&engine, ask(Some(id), "The ship's bell", 12)).await.unwrap();
            finished.lock().unwrap().push(id);
        })
    };
    // Forty requests for the two whose adapters are there, then two for another.
    let mut tasks: Vec<_> = (0..40).map(|n| run(if n % 8 == 0 { "1" } else { "0" })).collect();
    until(&engine, "a queue", |s| s.waiting > 30).await;
    tasks.push(run("2"));
    tasks.push(run("2"));
    for task in tasks {
        task.await.unwrap();
    }
    let order = finished.lock().unwrap().clone();
    let last = order.iter().rposition(|id| *id == "2").unwrap();
    // At most sixteen go before the third adapter gets a place, and it has been served least.
    assert!(last < 30, "the third adapter's last answer was number {last}: {order:?}");
    let rare = order.iter().rposition(|id| *id == "1").unwrap();
    assert!(rare < 30, "the second adapter's last answer was number {rare}: {order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_adapter_fails_its_own_requests_only() {
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 4);
    let engine = start(EngineOptions { device_adapters: 2, host_bytes: 0, ..options() });
    load(&engine, &folders).await;
    let text = "Nine barrels of";
    let before = answer(&engine, ask(Some("1"), text, 6)).await.unwrap();
    // "0" leaves the device, and its file is cut short behind the engine's back.
    for id in ["2", "3", "1"] {
        answer(&engine, ask(Some(id), text, 6)).await.unwrap();
    }
    let weights = folders[0].join("adapter_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let mixed = (0..8).map(|n| answer(&engine, ask(Some(["0", "1"][n % 2]), text, 6)));
    for (n, done) in join_all(mixed).await.into_iter().enumerate() {
        match n % 2 {
            0 => {
                let error = done.expect_err("its file is broken");
                assert!(
                    matches!(&error, EngineError::Adapter { path, .. } if path == Path::new("0")),
                    "{error}"
                );
            }
            _ => assert_eq!(done.unwrap(), before),
        }
    }
    // Of another shape: refused at once, and the old one stays.
    let config = std::fs::read_to_string(folders[2].join("adapter_config.json")).unwrap();
    std::fs::write(folders[3].join("adapter_config.json"), config.replace("\"r\": 8", "\"r\": 4"))
        .unwrap();
    let refused = engine.load_adapter("1", &folders[3]).await;
    assert!(matches!(refused, Err(EngineError::TensorShape { .. })), "{refused:?}");
    assert_eq!(answer(&engine, ask(Some("1"), text, 6)).await.unwrap(), before);
    // Mended, it answers again; unloaded, it is unknown.
    std::fs::write(&weights, &whole).unwrap();
    answer(&engine, ask(Some("0"), text, 6)).await.unwrap();
    assert!(engine.unload_adapter("0").await.unwrap());
    let gone = answer(&engine, ask(Some("0"), text, 6)).await;
    assert!(matches!(gone, Err(EngineError::UnknownAdapter(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_adapters_are_registered_and_few_are_held() {
    let place = tempfile::tempdir().unwrap();
    let folders = folders(place.path(), 3);
    let engine = start(EngineOptions { device_adapters: 3, host_bytes: 4 * one(), ..options() });
    for n in 0..1000 {
        engine.load_adapter(format!("a{n}"), &folders[n % 3]).await.unwrap();
    }
    assert_eq!(engine.adapters().await.unwrap().len(), 1000);
    let ask_one = |n: usize| ask(Some(&format!("a{}", n * 16)), "The harbour master says that", 8);
    let all = join_all((0..60).map(|n| answer(&engine, ask_one(n)))).await;
    let texts: Vec<String> = all.into_iter().map(|done| done.unwrap().text).collect();
    for (n, text) in texts.iter().enumerate() {
        // a0, a16 and a32 are of the three folders in turn, and so on: 16 is 1 modulo 3.
        assert_eq!(*text, texts[n % 3], "a{}", n * 16);
    }
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "adapters answer differently");
    let stats = until(&engine, "rest", |s| s.running == 0).await;
    assert_eq!(stats.disk.adapters, 1000);
    assert!(stats.device.adapters <= 3 && stats.host.bytes <= 4 * one(), "{stats:?}");
}
