//! The API over real sockets: bad input, payment, streaming, overload, cancellation.

mod common;

use common::{
    backend::{Echo, CONTEXT},
    consumer,
    server::{chat, code, fee, header, plain, serve, PRICE},
    voucher, worker, GENESIS,
};
use serde_json::{json, Value};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tributary_client::{
    keys::Key,
    vouchers::{self, HEADER},
    worker_api::{Question, WorkerApi, WorkerError as ClientError},
};
use tributary_primitives::{ChannelId, JobId, H256};
use tributary_worker::{journal::JobStep, progress::Step};

#[tokio::test]
async fn an_answer_comes_with_attribution_receipt_and_payment() {
    let server = plain().await;
    let body = chat("the fox and the grapes");
    let (status, answer) = server.chat(&body, Some(header(&voucher(1, 50_000)))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "fables");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], "the fox and the grapes");
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 5);
    assert_eq!(answer["usage"]["total_tokens"], 10);
    assert_eq!(answer["attribution"]["shares"][0], json!({"contribution": 1, "ppm": 500_000}));
    assert_eq!(answer["attribution"]["unattributed_ppm"], 300_000);
    assert_eq!(answer["attribution"]["explained_ppm"], 700_000);
    assert_eq!(
        answer["attribution"]["influences"],
        json!([
            {"contribution": 1, "record": 4, "ppm": 910_000},
            {"contribution": 2, "record": 0, "ppm": -20_000},
        ])
    );
    assert_eq!(answer["payment"]["fee"], fee(5, 5).to_string());
    assert_eq!(answer["payment"]["spent"], fee(5, 5).to_string());
    assert_eq!(answer["payment"]["cumulative"], "50000");

    // The receipt is the worker's, and the journal has it.
    let signed: tributary_client::worker_api::SignedReceipt =
        serde_json::from_value(answer["receipt"].clone()).unwrap();
    assert!(signed.verify(&GENESIS, &worker().account()));
    assert_eq!(signed.receipt.sequence, 1);
    // What is evidence only is no part of it.
    assert!(answer["receipt"]["receipt"].get("influences").is_none());
    assert_eq!(
        signed.receipt.request,
        tributary_client::store::digest_of(body.to_string().as_bytes())
    );
    assert_eq!(
        signed.receipt.response,
        tributary_client::store::digest_of(b"the fox and the grapes")
    );
    let (status, kept) = server.get("/v1/receipts/1/1").await;
    assert_eq!((status, &kept), (200, &answer["receipt"]));
    assert_eq!(server.spent(), fee(5, 5));
}

#[tokio::test]
async fn the_projects_own_client_reads_a_stream() {
    let server = plain().await;
    let api = WorkerApi::new(&server.url).unwrap();
    let question = Question {
        model: "fables".into(),
        prompt: "the tortoise wins".into(),
        system: None,
        max_tokens: 10,
        temperature: 0.0,
        seed: None,
        schema: None,
    };
    // Unpaid: the client learns what to promise.
    let Err(ClientError::Payment(terms)) = api.ask(&question, None, |_| {}).await else { panic!() };
    assert_eq!(terms.min_cumulative, fee(3, 10));
    assert_eq!(terms.worker, worker().account());
    let signed = vouchers::sign(&consumer(), &GENESIS, ChannelId(1), terms.min_cumulative);
    let mut pieces = Vec::new();
    let answer =
        api.ask(&question, Some(&signed), |piece| pieces.push(piece.to_owned())).await.unwrap();
    assert_eq!(pieces, ["the", " tortoise", " wins"]);
    assert_eq!(answer.text, "the tortoise wins");
    assert_eq!(answer.finish_reason, "stop");
    assert_eq!(answer.payment.fee, fee(3, 3));
    assert_eq!(answer.receipt.receipt.request, answer.request);
    assert!(answer.receipt.verify(&GENESIS, &worker().account()));
    assert_eq!(answer.receipt, api.receipt(ChannelId(1), 1).await.unwrap());
}

#[tokio::test]
async fn a_stream_has_openais_shape() {
    let server = plain().await;
    for (path, object, mut body) in [
        ("/v1/chat/completions", "chat.completion.chunk", chat("a b c")),
        ("/v1/completions", "text_completion", json!({"model": "1", "prompt": "a b c"})),
    ] {
        body["stream"] = json!(true);
        body["max_tokens"] = json!(2);
        let text = server
            .http
            .post(format!("{}{path}", server.url))
            .header(HEADER, header(&voucher(1, 500_000)))
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let mut events: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        let chunks: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert!(chunks.iter().all(|chunk| chunk["object"] == object), "{text}");
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
        let said: String = chunks
            .iter()
            .filter_map(|chunk| {
                let choice = &chunk["choices"][0];
                choice["delta"]["content"].as_str().or(choice["text"].as_str())
            })
            .collect();
        assert_eq!(said, "a b");
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "length");
        assert_eq!(last["usage"]["completion_tokens"], 2);
        assert!(last["receipt"]["signature"].as_str().unwrap().starts_with("0x"));
        assert!(last["payment"]["spent"].is_string());
        if object == "chat.completion.chunk" {
            assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        }
    }
}

#[tokio::test]
async fn bad_bodies_get_typed_errors() {
    let server = plain().await;
    let paid = || Some(header(&voucher(1, 500_000)));
    let bad = (400, "invalid_request_error", "bad_request");
    for body in ["", "{", "[1]", "{\"model\": 3}", "{\"model\": \"fables\"}"] {
        let answer = server.post("/v1/chat/completions", body.into(), paid()).await;
        assert_eq!(code(&answer), bad, "{body}");
    }
    let mut body = chat("hi");
    body["temperature"] = json!("hot");
    let answer = server.chat(&body, paid()).await;
    assert_eq!((code(&answer), &answer.1["error"]["param"]), (bad, &json!("temperature")));
    body = chat("hi");
    body["max_tokens"] = json!(41);
    let answer = server.chat(&body, paid()).await;
    assert_eq!((code(&answer), &answer.1["error"]["param"]), (bad, &json!("max_tokens")));

    for model in ["nobody", "elsewhere", "3", "77", &"x".repeat(500)] {
        let mut body = chat("hi");
        body["model"] = json!(model);
        let answer = server.chat(&body, paid()).await;
        assert_eq!(code(&answer), (404, "invalid_request_error", "model_not_found"), "{model}");
    }
    let mut body = chat("hi");
    body["model"] = json!("secret");
    let answer = server.chat(&body, paid()).await;
    assert_eq!(code(&answer), (403, "invalid_request_error", "model_not_listed"));

    let long = "word ".repeat(CONTEXT as usize);
    let answer = server.chat(&chat(&long), paid()).await;
    assert_eq!(code(&answer), (400, "invalid_request_error", "context_length_exceeded"));
    let huge = "x".repeat(5_000);
    let answer = server.chat(&chat(&huge), paid()).await;
    assert_eq!(code(&answer), (413, "invalid_request_error", "body_too_large"));

    let (status, answer) = server.get("/v1/nothing").await;
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")));
    let (status, answer) = server.get("/v1/completions").await;
    assert_eq!((status, answer["error"]["type"].as_str()), (405, Some("invalid_request_error")));
    // Nothing of it was charged.
    assert_eq!(server.spent(), 0);
}

#[tokio::test]
async fn unpaid_and_badly_paid_requests_are_told_how_to_pay() {
    let server = plain().await;
    let mut body = chat("one two");
    body["max_tokens"] = json!(10);
    let most = fee(2, 10);
    let (status, answer) = server.chat(&body, None).await;
    assert_eq!(status, 402);
    let error = &answer["error"];
    assert_eq!(error["type"], "payment_required");
    assert_eq!(error["code"], "voucher_missing");
    assert_eq!(error["price_in"], PRICE.to_string());
    assert_eq!(error["price_out"], (PRICE * 2).to_string());
    assert_eq!(error["worker"], worker().account().to_string());
    assert_eq!(error["min_cumulative"], most.to_string());
    assert!(error["how"].as_str().unwrap().contains("tributary channel open"));

    let elsewhere = |genesis: H256, key: &Key, cumulative| {
        vouchers::sign(key, &genesis, ChannelId(1), cumulative).header()
    };
    server.chain.open_channel(2, 1_000_000);
    server.chain.open_channel(3, 1_000_000);
    server.chain.change(|state| {
        state.channels.get_mut(&2).unwrap().worker = consumer().account();
        state.channels.get_mut(&3).unwrap().closes_at = Some(50);
    });
    for (voucher, expected) in [
        ("0x".to_owned(), "voucher_malformed"),
        ("hello".to_owned(), "voucher_malformed"),
        (format!("{}00", header(&voucher(1, most))), "voucher_malformed"),
        (header(&voucher(77, most)), "channel_unknown"),
        (header(&voucher(2, most)), "channel_of_other_worker"),
        (header(&voucher(3, most)), "channel_closing"),
        // Signed by somebody else; for another chain; for another amount.
        (elsewhere(GENESIS, &Key::from_uri("//Eve").unwrap(), most), "voucher_signature"),
        (elsewhere(H256::zero(), &consumer(), most), "voucher_signature"),
        (header(&(voucher(1, most + 1).0, voucher(1, most).1)), "voucher_signature"),
        (header(&voucher(1, 1_000_001)), "voucher_above_deposit"),
        (header(&voucher(1, most - 1)), "voucher_insufficient"),
    ] {
        let answer = server.chat(&body, Some(voucher)).await;
        assert_eq!(code(&answer), (402, "payment_required", expected));
    }
    assert_eq!(server.spent(), 0);
    assert_eq!(server.journal.channel(ChannelId(1)).unwrap(), None);
}

#[tokio::test]
async fn a_voucher_pays_until_it_is_spent() {
    let server = plain().await;
    let mut body = chat("one two");
    body["max_tokens"] = json!(2);
    let each = fee(2, 2);
    // Enough for two answers and a bit.
    let paid = header(&voucher(1, 2 * each + 1));
    assert_eq!(server.chat(&body, Some(paid.clone())).await.0, 200);
    assert_eq!(server.chat(&body, Some(paid.clone())).await.0, 200);
    let answer = server.chat(&body, Some(paid)).await;
    assert_eq!(code(&answer), (402, "payment_required", "voucher_insufficient"));
    assert_eq!(answer.1["error"]["min_cumulative"], (3 * each).to_string());
    let stale = header(&voucher(1, 2 * each));
    let answer = server.chat(&body, Some(stale)).await;
    assert_eq!(code(&answer), (402, "payment_required", "voucher_stale"));
    let (status, answer) = server.chat(&body, Some(header(&voucher(1, 3 * each)))).await;
    assert_eq!((status, &answer["receipt"]["receipt"]["sequence"]), (200, &json!(3)));
    assert_eq!(answer["payment"]["spent"], (3 * each).to_string());

    let (status, channel) = server.get("/v1/channels/1").await;
    assert_eq!(status, 200);
    assert_eq!(channel["spent"], (3 * each).to_string());
    assert_eq!(channel["committed"], (3 * each).to_string());
    assert_eq!(channel["cumulative"], (3 * each).to_string());
    assert_eq!(channel["answers"], 3);
    assert_eq!(server.get("/v1/channels/9").await.0, 404);
    assert_eq!(server.get("/v1/channels/x").await.0, 400);
    assert_eq!(server.get("/v1/receipts/1/4").await.0, 404);
}

#[tokio::test]
async fn one_voucher_does_not_pay_two_answers_at_once() {
    let server = serve(Echo { pace: Duration::from_millis(150), ..Echo::default() }, 4).await;
    let mut body = chat("one two");
    body["max_tokens"] = json!(2);
    let paid = header(&voucher(1, fee(2, 2)));
    let (first, second) = tokio::join!(
        server.chat(&body, Some(paid.clone())),
        server.chat(&body, Some(paid.clone()))
    );
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 402]);
    assert_eq!(server.spent(), fee(2, 2));
}

#[tokio::test]
async fn too_many_at_once_are_refused_at_once() {
    let server = serve(Echo { pace: Duration::from_millis(400), ..Echo::default() }, 1).await;
    let body = chat("one two");
    let slow = {
        let request = server
            .http
            .post(format!("{}/v1/chat/completions", server.url))
            .header(HEADER, header(&voucher(1, 500_000)))
            .body(body.to_string());
        tokio::spawn(async move { request.send().await.unwrap().status() })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    let answer = server.chat(&body, Some(header(&voucher(1, 500_000)))).await;
    assert_eq!(code(&answer), (429, "rate_limit_error", "overloaded"));
    assert!(asked.elapsed() < Duration::from_millis(300));
    assert_eq!(slow.await.unwrap(), 200);
    // The slot is free again.
    assert_eq!(server.chat(&body, Some(header(&voucher(1, 500_000)))).await.0, 200);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_answer_and_pays_for_what_there_was() {
    let server = serve(Echo { pace: Duration::from_millis(60), ..Echo::default() }, 1).await;
    let mut body = chat(&"word ".repeat(40));
    body["stream"] = json!(true);
    body["max_tokens"] = json!(20);
    let mut response = server
        .http
        .post(format!("{}/v1/chat/completions", server.url))
        .header(HEADER, header(&voucher(1, 500_000)))
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    // The opening, and a few words.
    for _ in 0..4 {
        response.chunk().await.unwrap().unwrap();
    }
    drop(response);
    let started = Instant::now();
    let cancelled = || server.backend.cancelled.load(Ordering::Relaxed);
    while server.spent() == 0 || server.api.permits.available_permits() == 0 || cancelled() == 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "the answer does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (receipt, _) = server.journal.receipt(ChannelId(1), 1).unwrap().unwrap();
    assert!((1..20).contains(&receipt.tokens_out), "{}", receipt.tokens_out);
    assert_eq!(receipt.fee, fee(40, receipt.tokens_out.into()));
    assert_eq!(server.spent(), receipt.fee);
    // What was reserved for the rest is free again.
    let (_, channel) = server.get("/v1/channels/1").await;
    assert_eq!(channel["committed"], channel["spent"]);
}

#[tokio::test]
async fn an_engine_that_fails_charges_nothing() {
    let server = plain().await;
    server.backend.breaks.store(true, Ordering::Relaxed);
    let paid = || Some(header(&voucher(1, 500_000)));
    let answer = server.chat(&chat("one two"), paid()).await;
    assert_eq!(code(&answer), (500, "server_error", "engine"));
    let mut body = chat("one two");
    body["stream"] = json!(true);
    let text = server
        .http
        .post(format!("{}/v1/chat/completions", server.url))
        .header(HEADER, paid().unwrap())
        .body(body.to_string())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["code"], "engine");
    assert_eq!(server.spent(), 0);
    let (_, channel) = server.get("/v1/channels/1").await;
    assert_eq!(channel["committed"], "0");
}

#[tokio::test]
async fn models_jobs_health_and_metrics_are_there() {
    let server = plain().await;
    let (status, models) = server.get("/v1/models").await;
    assert_eq!((status, &models["object"]), (200, &json!("list")));
    let names: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "fables", "secret"]);
    assert_eq!(models["data"][1]["price_in"], PRICE.to_string());
    assert_eq!(models["data"][2]["price_in"], Value::Null);
    assert_eq!(server.get("/v1/models/fables").await.1["model"], 1);
    assert_eq!(server.get("/v1/models/nobody").await.0, 404);

    assert_eq!(server.get("/v1/jobs/5").await.0, 404);
    server.journal.set_job(JobId(5), JobStep::GivenUp, None, "the shard is damaged").unwrap();
    let (status, job) = server.get("/v1/jobs/5").await;
    assert_eq!((status, &job["state"]), (200, &json!("given_up")));
    let step = |step, loss| Step { step, steps: 10, loss, ..Step::default() };
    server.api.jobs.step(JobId(6), step(2, 3.0));
    server.api.jobs.step(JobId(6), Step { tokens_per_second: Some(80.0), ..step(3, 2.5) });
    let (_, job) = server.get("/v1/jobs/6").await;
    assert_eq!((&job["step"], &job["steps"], &job["loss"]), (&json!(3), &json!(10), &json!(2.5)));
    assert_eq!(job["tokens_per_second"], 80.0);
    // Step by step, all of them or those after one.
    let (_, all) = server.get("/v1/jobs/6/progress").await;
    assert_eq!(all["job"]["step"], 3);
    assert_eq!(all["steps"][0]["loss"], 3.0);
    assert_eq!(all["steps"][1]["tokens_per_second"], 80.0);
    let (_, later) = server.get("/v1/jobs/6/progress?after=2").await;
    assert_eq!(later["steps"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/jobs/6/progress?after=x").await.0, 400);
    assert_eq!(server.get("/v1/jobs/7/progress").await.0, 404);

    assert_eq!(server.get("/health").await.1["status"], "ok");
    assert_eq!(server.get("/ready").await.0, 200);
    server.chat(&chat("hi"), None).await;
    let text = server
        .http
        .get(format!("{}/metrics", server.url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains("tributary_worker_errors_total{kind=\"voucher_missing\"} 1"), "{text}");
    assert!(text.contains("route=\"/v1/chat/completions\",status=\"402\""), "{text}");

    server.api.draining.store(true, Ordering::Relaxed);
    assert_eq!(server.get("/ready").await.0, 503);
    assert_eq!(server.get("/health").await.0, 200);
    let answer = server.chat(&chat("hi"), None).await;
    assert_eq!(code(&answer), (503, "server_error", "shutting_down"));
}
