//! What goes wrong around a worker, and what its other customers notice of it: nothing.

mod common;

use common::real::{
    question, shape, small, start, store_adapter, write_adapter, Real, Stored, BASE,
};
use futures::future::join_all;
use rand::{rngs::StdRng, Rng, SeedableRng};
use serde_json::{json, Value};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tributary_client::store::Store;
use tributary_engine::{LoraConfig, ModelConfig, INDEX_FILE};
use tributary_primitives::{ChannelId, H256};
use tributary_worker::backend::Backend;

fn open_store(folder: &Path) -> Store {
    Store::open(folder.join("store").to_str().unwrap()).unwrap()
}

async fn make(store: &Store, folder: &Path, name: &str, seed: u64) -> Stored {
    let folder = folder.join(name);
    let root = write_adapter(&folder, small(), &shape(), seed);
    store_adapter(store, &folder, root).await
}

fn code(answer: &(u16, Option<String>, Value)) -> (u16, &str) {
    (answer.0, answer.2["error"]["code"].as_str().unwrap_or("none"))
}

fn text(answer: &(u16, Option<String>, Value)) -> &str {
    answer.2["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_is_broken_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = open_store(folder);
    let real = start(folder, &store, 8, 8).await;
    for (id, name) in [(1, "good"), (2, "better")] {
        real.list(id, name, make(&store, folder, name, id).await);
    }
    // GIVEN adapters that are broken, each in its own way
    let broken: Vec<(&str, &str)> = vec![
        ("cut", "blob_bad"),
        ("other-shape", "blob_bad"),
        ("wrong-rank", "blob_bad"),
        ("no-config", "blob_bad"),
        ("nonsense", "blob_bad"),
        ("other-index", "blob_bad"),
        ("cut-index", "blob_bad"),
        ("other-root", "blob_bad"),
        ("damaged-in-store", "blob_bad"),
        ("gone", "blob_missing"),
    ];
    for (id, (name, _)) in (10..).zip(&broken) {
        let place = folder.join(name);
        let adapter = place.join("adapter");
        let mut root = match *name {
            "other-shape" => {
                let other = ModelConfig { hidden_size: 96, ..shape() };
                write_adapter(&place, small(), &other, id)
            }
            _ => write_adapter(&place, small(), &shape(), id),
        };
        let weights = adapter.join("adapter_model.safetensors");
        let config = adapter.join("adapter_config.json");
        let cut = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        };
        match *name {
            "cut" => cut(&weights),
            "wrong-rank" => {
                let text = std::fs::read_to_string(&config).unwrap();
                let mut read: Value = serde_json::from_str(&text).unwrap();
                read["r"] = json!(64);
                std::fs::write(&config, read.to_string()).unwrap();
            }
            "no-config" => std::fs::remove_file(&config).unwrap(),
            "nonsense" => std::fs::write(&config, "{\"r\": \"many\"}").unwrap(),
            "other-index" => {
                // An index of another, larger adapter: a query of this one cannot be scored by it.
                let big = LoraConfig { rank: 8, ..small() };
                root = write_adapter(&folder.join("big"), big, &shape(), id);
                std::fs::copy(folder.join("big").join(INDEX_FILE), place.join(INDEX_FILE)).unwrap();
            }
            "cut-index" => cut(&place.join(INDEX_FILE)),
            "other-root" => root = H256::repeat_byte(7),
            _ => {}
        }
        let mut stored = store_adapter(&store, &place, root).await;
        match *name {
            "damaged-in-store" => {
                let hex = hex::encode(stored.index);
                let path = find(&folder.join("store"), &hex).unwrap();
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            "gone" => stored.content = H256::repeat_byte(0xee),
            _ => {}
        }
        real.list(id, name, stored);
    }

    // WHEN all are asked at once, twice, the good ones between the others
    let mut expected = None;
    for round in 0..2 {
        let ask = |name: &'static str| {
            let (real, body) = (&real, question(name, 8));
            async move { (name, real.ask(&body).await) }
        };
        let good = join_all(["good", "better", BASE].map(ask));
        let bad = async {
            let mut outcomes = vec![];
            for (name, expected) in &broken {
                let mut body = question(name, 8);
                body["stream"] = json!(round == 1);
                outcomes.push((*name, *expected, real.ask(&body).await));
            }
            outcomes
        };
        let (good, bad) = tokio::join!(good, bad);
        // THEN each broken one is refused by name, in a stream as well, and nothing is charged
        for (name, expected, outcome) in &bad {
            assert_eq!(code(outcome), (502, *expected), "{name}: {}", outcome.2);
        }
        // and the good ones answer as ever.
        let texts: Vec<String> = good
            .iter()
            .map(|(name, outcome)| {
                assert_eq!(outcome.0, 200, "{name}: {}", outcome.2);
                text(outcome).to_owned()
            })
            .collect();
        assert_eq!(*expected.get_or_insert(texts.clone()), texts);
    }
    assert_eq!(real.journal.channel(ChannelId(1)).unwrap().unwrap().answers, 6);
    nothing_is_held(&real, 8).await;
}

/// The file of this name, wherever the store keeps it.
fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => find(&path, name),
            false => path.to_string_lossy().ends_with(name).then_some(path),
        }
    })
}

/// Waits until no place and no reservation is held.
async fn nothing_is_held(real: &Real, slots: usize) {
    let view = || {
        let channels = real.chain.state().channels;
        let committed = real.api.ledger.committed(&channels[&1]).unwrap();
        let spent = real.journal.channel(ChannelId(1)).unwrap().map_or(0, |row| row.spent);
        let load = real.engines.load();
        (real.api.permits.available_permits(), committed - spent, load.running + load.waiting)
    };
    for _ in 0..1_000 {
        if view() == (slots, 0, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("free places, reserved units, sequences: {:?}", view());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_stops_cold_adapters_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = open_store(folder);
    let real = start(folder, &store, 4, 4).await;
    for (id, name) in [(1, "warm"), (2, "cold")] {
        real.list(id, name, make(&store, folder, name, id).await);
    }
    let before = real.ask(&question("warm", 6)).await;
    assert_eq!(before.0, 200, "{}", before.2);

    // WHEN the store is not there any more
    let (store, away) = (folder.join("store"), folder.join("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(&store, "not a folder").unwrap();
    // THEN what is in memory goes on, and what is not says when to come again, in a stream too
    for stream in [false, true] {
        let mut body = question("cold", 6);
        body["stream"] = json!(stream);
        let (cold, warm) = (real.ask(&body), question("warm", 6));
        let (cold, warm) = tokio::join!(cold, real.ask(&warm));
        assert_eq!(code(&cold), (503, "store_unreachable"), "{}", cold.2);
        assert!(cold.1.as_deref().and_then(|wait| wait.parse::<u32>().ok()) > Some(0));
        assert_eq!((warm.0, text(&warm)), (200, text(&before)));
    }
    // and when it is back, so is the cold one.
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    let cold = real.ask(&question("cold", 6)).await;
    assert_eq!(cold.0, 200, "{}", cold.2);
    nothing_is_held(&real, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_cheap_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    let real = start(folder.path(), &store, 4, 4).await;
    let prompt = |text: &str| json!({"model": BASE, "prompt": text, "max_tokens": 2}).to_string();
    let field = |name: &str, value: Value| {
        let mut body = question(BASE, 2);
        body[name] = value;
        body.to_string()
    };
    let schema = |schema: Value| {
        let wrapped = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        field("response_format", wrapped)
    };
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let (chat, complete) = ("/v1/chat/completions", "/v1/completions");
    let references: serde_json::Map<String, Value> =
        (0..2_000).map(|i| (format!("d{i}"), json!({"$ref": format!("#/d{}", i + 1)}))).collect();
    let wide: Vec<Value> =
        (0..100).map(|i| json!({"properties": {format!("p{i}"): {"type": "string"}}})).collect();
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("more than a body may have", chat, vec![b' '; 3 << 20], 413, "body_too_large"),
        (
            "a million tokens",
            complete,
            prompt(&"a ".repeat(500_000)).into(),
            400,
            "context_length_exceeded",
        ),
        (
            "one long word",
            complete,
            prompt(&"a".repeat(900_000)).into(),
            400,
            "context_length_exceeded",
        ),
        ("deep JSON", chat, deep(100_000).into_bytes(), 400, "bad_request"),
        (
            "deep JSON in a field",
            chat,
            field("x", json!(0)).replace("\"x\":0", &format!("\"x\":{}", deep(200))).into(),
            400,
            "bad_request",
        ),
        ("no UTF-8", chat, b"{\"model\": \"\xff\xfe\"}".to_vec(), 400, "bad_request"),
        ("half a surrogate", chat, br#"{"model": "\ud800"}"#.to_vec(), 400, "bad_request"),
        (
            "a number without end",
            chat,
            format!("{{\"seed\": {}}}", "9".repeat(100_000)).into(),
            400,
            "bad_request",
        ),
        (
            "a name without end",
            chat,
            field("model", json!("m".repeat(100_000))).into(),
            404,
            "model_not_found",
        ),
        ("nothing but NUL", chat, vec![0; 10_000], 400, "bad_request"),
        (
            "ten thousand messages",
            chat,
            field("messages", json!(vec![json!({"role": "user", "content": "x"}); 10_000])).into(),
            400,
            "bad_request",
        ),
        (
            "a bias for every token",
            chat,
            field("logit_bias", (0..2_048).map(|i| (i.to_string(), json!(1))).collect()).into(),
            400,
            "bad_request",
        ),
        (
            "a bias for no token",
            chat,
            field("logit_bias", json!({"2048": 1})).into(),
            400,
            "bad_request",
        ),
        (
            "a schema of many references",
            chat,
            schema(json!({"$ref": "#/d0", "$defs": references})).into(),
            400,
            "bad_request",
        ),
        (
            "a product of alternatives",
            chat,
            schema(json!({"allOf": [{"anyOf": wide}, {"anyOf": wide}, {"anyOf": wide}]})).into(),
            400,
            "bad_request",
        ),
        ("a schema of itself", chat, schema(json!({"$ref": "#"})).into(), 400, "bad_request"),
        (
            "a pattern that is none",
            chat,
            schema(json!({"type": "string", "pattern": "(((("})).into(),
            400,
            "bad_request",
        ),
        (
            "a large schema",
            chat,
            schema(json!({"enum": [ "x".repeat(100_000) ]})).into(),
            400,
            "bad_request",
        ),
        // These are strange, but nothing is wrong with them.
        ("NUL in a prompt", complete, prompt("a\u{0}b\u{0}").into(), 200, "none"),
        (
            "the template's own marks",
            complete,
            prompt("<|end|><|assistant|><|end|>").into(),
            200,
            "none",
        ),
        (
            "characters of every kind",
            complete,
            prompt("\u{202e}\u{feff}🦊\u{10ffff}e\u{301}\u{301}\u{301}").into(),
            200,
            "none",
        ),
    ];
    for (name, path, body, status, expected) in cases {
        let started = Instant::now();
        let response = real.request(path, body).send().await.unwrap();
        let found = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        let code = answer["error"]["code"].as_str().unwrap_or("none");
        assert_eq!((found, code), (status, expected), "{name}: {answer}");
        println!("{name}: {status} after {:?}", started.elapsed());
        assert!(answer.to_string().len() < 4_000, "{name}: the answer is long");
    }
    // A body that never ends is cut at its limit, whatever its length was said to be.
    let endless =
        futures::stream::iter((0..10_000).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_000])));
    let sent = real.request(chat, reqwest::Body::wrap_stream(endless)).send().await;
    if let Ok(response) = sent {
        assert_eq!(response.status().as_u16(), 413);
    }
    // And somebody else is served.
    assert_eq!(real.ask(&question(BASE, 4)).await.0, 200);
    nothing_is_held(&real, 4).await;
}

/// Bytes of memory that this process really has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

/// What became of requests.
#[derive(Debug, Default)]
struct Outcomes {
    answered: u64,
    /// For want of a free place.
    refused: u64,
    given_up: u64,
}

/// Sends requests of all kinds, sixteen at a time, half of them given up after a random time.
async fn storm(real: &Arc<Real>, requests: u64, seed: u64) -> Outcomes {
    let mut tasks = tokio::task::JoinSet::new();
    let mut outcomes = Outcomes::default();
    let mut count = |outcome: Option<u16>| match outcome {
        Some(200) => outcomes.answered += 1,
        Some(429) => outcomes.refused += 1,
        Some(other) => panic!("status {other}"),
        None => outcomes.given_up += 1,
    };
    for number in 0..requests {
        if tasks.len() >= 16 {
            count(tasks.join_next().await.unwrap().unwrap());
        }
        let real = real.clone();
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed ^ number);
            let model = [BASE, "one", "two"][rng.gen_range(0..3)];
            let mut body = question(model, rng.gen_range(1..12));
            body["temperature"] = json!(rng.gen_range(0.0..1.5));
            body["stream"] = json!(rng.gen_bool(0.6));
            body["logprobs"] = json!(rng.gen_bool(0.2));
            if rng.gen_bool(0.2) {
                let schema = json!({"schema": {"enum": ["a", "b", ["c"]]}});
                body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
            }
            let request = real.request("/v1/chat/completions", body.to_string());
            let answered = async {
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                response.bytes().await.unwrap();
                status
            };
            // However slow the machine, half of them are waited for.
            if rng.gen_bool(0.5) {
                return Some(answered.await);
            }
            let patience = Duration::from_micros(rng.gen_range(0..50_000));
            tokio::time::timeout(patience, answered).await.ok()
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        count(outcome.unwrap());
    }
    outcomes
}

async fn weather(requests: u64) {
    const SLOTS: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    let real = Arc::new(start(folder.path(), &store, SLOTS, 4).await);
    for (id, name) in [(1, "one"), (2, "two")] {
        real.list(id, name, make(&store, folder.path(), name, id).await);
    }
    let questions = [BASE, "one", "two"].map(|model| question(model, 8));
    let mut before = vec![];
    for body in &questions {
        before.push(real.ask(body).await);
    }
    // What is allocated once, and stays, is allocated by now.
    storm(&real, requests / 4, 1 << 40).await;
    nothing_is_held(&real, SLOTS).await;
    let (memory, started) = (resident(), Instant::now());
    let outcomes = storm(&real, requests, 0).await;
    nothing_is_held(&real, SLOTS).await;
    let grown = resident().saturating_sub(memory) >> 20;
    println!(
        "{outcomes:?} in {:?}; memory {} MiB, {grown} MiB more",
        started.elapsed(),
        memory >> 20
    );
    let few = requests / 10;
    assert!(outcomes.given_up > few && outcomes.answered > few, "{outcomes:?}");
    assert!(grown < 64, "{grown} MiB more than before");
    // The answers are those from before.
    for (body, before) in questions.iter().zip(&before) {
        let after = real.ask(body).await;
        assert_eq!((after.0, text(&after)), (200, text(before)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_given_up_at_random_leave_nothing_behind() {
    weather(2_000).await;
}

/// `cargo test -p tributary-worker --test faults -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes up to minutes; its command stands above it"]
async fn ten_thousand_requests_given_up_at_random_leave_nothing_behind() {
    weather(10_000).await;
}
