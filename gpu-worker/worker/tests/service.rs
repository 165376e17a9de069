//! How the worker behaves as a service: overload, clients that go away, metrics, going down.

mod common;

use common::{
    backend::Echo,
    server::{chat, code, header, serve},
    voucher,
};
use rand::{rngs::StdRng, Rng, SeedableRng};
use serde_json::json;
use std::{
    sync::{atomic::Ordering, Arc},
    time::Duration,
};
use tributary_client::vouchers::HEADER;
use tributary_primitives::ChannelId;

/// Waits for something that has to become true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_clients_that_go_away_leave_nothing_behind() {
    const SLOTS: usize = 8;
    const CLIENTS: u64 = 400;
    let echo = Echo { pace: Duration::from_millis(2), ..Echo::default() };
    let server = Arc::new(serve(echo, SLOTS).await);
    server.chain.open_channel(1, u128::MAX / 4);
    let (mut completed, mut refused, mut gone) = (0, 0, 0);
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let server = server.clone();
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(client);
            tokio::time::sleep(Duration::from_millis(rng.gen_range(0..1_500))).await;
            let mut body = chat(&"word ".repeat(rng.gen_range(1..30)));
            body["stream"] = json!(rng.gen_bool(0.7));
            body["max_tokens"] = json!(rng.gen_range(1..30));
            let promise = 1_000_000_000_000 * (u128::from(client) + 1);
            let request = server
                .http
                .post(format!("{}/v1/chat/completions", server.url))
                .header(HEADER, header(&voucher(1, promise)))
                .body(body.to_string());
            let patience = Duration::from_millis(rng.gen_range(0..80));
            let answered = async {
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                (status, response.text().await.unwrap_or_default())
            };
            tokio::time::timeout(patience, answered).await.ok()
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap() {
            None => gone += 1,
            Some((200, _)) => completed += 1,
            Some((429, _)) => refused += 1,
            // A voucher that came after a larger one was spent from is told so.
            Some((402, _)) => refused += 1,
            Some((status, text)) => panic!("{status}: {text}"),
        }
    }
    println!("{completed} completed, {refused} refused, {gone} went away");
    assert!(gone > 50 && completed > 20, "{completed} completed, {refused} refused, {gone} gone");

    // THEN no place, no reservation and no generation is left.
    until("every place is free", || server.api.permits.available_permits() == SLOTS).await;
    until("no generation is left", || server.backend.running.load(Ordering::SeqCst) == 0).await;
    let (_, channel) = server.get("/v1/channels/1").await;
    assert_eq!(channel["committed"], channel["spent"]);
    assert_eq!(server.metric("tributary_worker_answers_under_way").await, 0.0);
    // Every answer that was given is in the journal, and they add up.
    let answers = channel["answers"].as_u64().unwrap();
    let spent: u128 = (1..=answers)
        .map(|n| server.journal.receipt(ChannelId(1), n).unwrap().unwrap().0.fee)
        .sum();
    assert_eq!(spent, server.spent());
    assert!(answers >= completed);
    // And all places can be taken again.
    let again = (0..SLOTS).map(|n| {
        let paid = Some(header(&voucher(1, u128::MAX / 8 + n as u128)));
        let server = server.clone();
        async move { server.chat(&chat("a b"), paid).await.0 }
    });
    let statuses = futures::future::join_all(again).await;
    assert_eq!(statuses, vec![200; SLOTS]);
}

#[tokio::test]
async fn overload_is_said_at_once_and_with_a_time_to_come_back() {
    let server = serve(Echo { pace: Duration::from_secs(30), ..Echo::default() }, 1).await;
    let slow = server
        .http
        .post(format!("{}/v1/chat/completions", server.url))
        .header(HEADER, header(&voucher(1, 500_000)))
        .body(chat("one two").to_string());
    let slow = tokio::spawn(slow.send());
    let permits = server.api.permits.clone();
    until("the place is taken", move || permits.available_permits() == 0).await;
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
        let mut body = chat("one two");
        body["prompt"] = json!("one two");
        body["input"] = json!("one two");
        let response = server
            .http
            .post(format!("{}{path}", server.url))
            .header(HEADER, header(&voucher(1, 500_000)))
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let wait = response.headers().get("retry-after").cloned();
        let answer = (response.status().as_u16(), response.json().await.unwrap());
        assert_eq!(code(&answer), (429, "rate_limit_error", "overloaded"), "{path}");
        assert!(wait.unwrap().to_str().unwrap().parse::<u32>().unwrap() > 0);
    }
    slow.abort();
    let permits = server.api.permits.clone();
    until("the place is free", move || permits.available_permits() == 1).await;
}

#[tokio::test]
async fn metrics_tell_how_busy_the_worker_is() {
    let server = serve(Echo::default(), 4).await;
    for n in 1..4u128 {
        let (status, _) =
            server.chat(&chat("a b c d"), Some(header(&voucher(1, n * 100_000)))).await;
        assert_eq!(status, 200);
    }
    for (name, expected) in [
        ("tributary_worker_queue_length", 2.0),
        ("tributary_worker_running", 0.0),
        ("tributary_worker_adapters_resident{kind=\"host\"}", 5.0),
        ("tributary_worker_adapters_resident{kind=\"device\"}", 0.0),
        ("tributary_worker_first_token_seconds_count", 3.0),
        // Four tokens have three gaps.
        ("tributary_worker_inter_token_seconds_count", 9.0),
        ("tributary_worker_tokens_total{kind=\"answer\"}", 12.0),
        ("tributary_worker_tokens_total{kind=\"prompt\"}", 12.0),
    ] {
        assert_eq!(server.metric(name).await, expected, "{name}");
    }
    assert!(server.metric("tributary_worker_answer_tokens_per_second").await >= 0.0);
}

#[tokio::test]
async fn answers_under_way_end_and_new_ones_are_sent_elsewhere_when_it_goes_down() {
    let server =
        Arc::new(serve(Echo { pace: Duration::from_millis(40), ..Echo::default() }, 8).await);
    let under_way: Vec<_> = (1..4u128)
        .map(|n| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut body = chat("one two three four five six seven eight");
                body["stream"] = json!(n == 2);
                let request = server
                    .http
                    .post(format!("{}/v1/chat/completions", server.url))
                    .header(HEADER, header(&voucher(1, n * 300_000)))
                    .body(body.to_string());
                request.send().await.unwrap().text().await.unwrap()
            })
        })
        .collect();
    let running = server.backend.running.clone();
    until("three answers run", move || running.load(Ordering::SeqCst) == 3).await;
    // WHEN it is told to stop, as the service does it
    server.api.draining.store(true, Ordering::Relaxed);
    server.api.tasks.close();
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
        let mut body = chat("hi");
        body["prompt"] = json!("hi");
        body["input"] = json!("hi");
        let paid = Some(header(&voucher(1, 950_000)));
        let answer = server.post(path, body.to_string(), paid).await;
        assert_eq!(code(&answer), (503, "server_error", "shutting_down"), "{path}");
    }
    assert_eq!(server.get("/ready").await.0, 503);
    // THEN the wait for its tasks is over when the last answer is, and all are whole.
    tokio::time::timeout(Duration::from_secs(20), server.api.tasks.wait()).await.unwrap();
    for (n, task) in under_way.into_iter().enumerate() {
        let text = task.await.unwrap();
        let piece = if n == 1 { "\" eight\"" } else { "seven eight" };
        assert!(text.contains(piece) && text.contains("receipt"), "{text}");
    }
    let (_, channel) = server.get("/v1/channels/1").await;
    assert_eq!((&channel["answers"], &channel["committed"]), (&json!(3), &channel["spent"]));
}
