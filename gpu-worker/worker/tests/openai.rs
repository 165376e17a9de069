//! The shapes of OpenAI's API: likelihoods, formats, usage, vectors; and the commitment of an answer.

mod common;

use common::{
    backend::VOCABULARY,
    server::{chat, code, fee, header, plain, Server},
    voucher, worker, GENESIS,
};
use serde_json::{json, Value};
use tributary_client::{
    store::digest_of,
    worker_api::{Attribution, SignedReceipt},
};
use tributary_primitives::{ContributionId, H256};
use tributary_worker::backend::{Format, Span};

fn paid() -> Option<String> {
    Some(header(&voucher(1, 900_000)))
}

/// The tokens that the echoing engine reads from a text: each word's length.
fn tokens(text: &str) -> Vec<u32> {
    text.split_whitespace().map(|word| word.len() as u32).collect()
}

async fn ask(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer) = server.post(path, body.to_string(), paid()).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn likelihoods_have_openais_shapes() {
    let server = plain().await;
    let mut body = chat("a bcd ef");
    let plain = ask(&server, "/v1/chat/completions", &body).await;
    assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(2);
    let answer = ask(&server, "/v1/chat/completions", &body).await;
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 3);
    assert_eq!(
        content[1],
        json!({
            "token": " bcd", "logprob": -2.0, "bytes": [32, 98, 99, 100],
            "top_logprobs": [
                {"token": "o", "logprob": -1.0, "bytes": [111]},
                {"token": "oo", "logprob": -2.0, "bytes": [111, 111]},
            ],
        })
    );
    // Streamed, each piece brings its own, and all of them are the same.
    body["stream"] = json!(true);
    let chunks = server.stream("/v1/chat/completions", &body, paid().unwrap()).await;
    let streamed: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(&streamed, content);

    // The older endpoint has columns.
    let mut body = json!({"model": "fables", "prompt": "a bcd ef", "logprobs": 1});
    let answer = ask(&server, "/v1/completions", &body).await;
    let expected = json!({
        "tokens": ["a", " bcd", " ef"],
        "token_logprobs": [-0.5, -2.0, -1.5],
        "top_logprobs": [{"o": -1.0}, {"o": -1.0}, {"o": -1.0}],
        "text_offset": [0, 1, 5],
    });
    assert_eq!(answer["choices"][0]["logprobs"], expected);
    body["stream"] = json!(true);
    let chunks = server.stream("/v1/completions", &body, paid().unwrap()).await;
    let offsets: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["text_offset"].get(0).cloned())
        .collect();
    assert_eq!(offsets, [0, 1, 5].map(Value::from));
}

#[tokio::test]
async fn a_streams_usage_comes_last_when_it_is_asked_for() {
    let server = plain().await;
    let mut body = chat("a b c");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let chunks = server.stream("/v1/chat/completions", &body, paid().unwrap()).await;
    let (usage, others) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(
        usage["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6})
    );
    assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    let closing = others.last().unwrap();
    assert_eq!(closing["choices"][0]["finish_reason"], "stop");
    assert!(closing["receipt"]["signature"].is_string());
    assert!(chunks.iter().all(|c| c["system_fingerprint"] == "fp_1.2.3_s9_babababababa"));
    // Without it the closing part has the usage.
    body["stream_options"] = json!({"include_usage": false});
    let chunks = server.stream("/v1/chat/completions", &body, paid().unwrap()).await;
    let closing = chunks.last().unwrap();
    assert_eq!(closing["usage"]["total_tokens"], 6);
    assert_eq!(closing["choices"][0]["finish_reason"], "stop");
    assert!(chunks[0].get("usage").is_none());
}

#[tokio::test]
async fn every_number_reaches_the_engine() {
    let server = plain().await;
    let mut body = chat("a b");
    let set = json!({
        "temperature": 0.7, "top_p": 0.9, "top_k": 12, "min_p": 0.05, "frequency_penalty": 0.25,
        "presence_penalty": -1.5, "logit_bias": {"999": 3, "4": -100}, "seed": 77,
        "stop": "x", "max_tokens": 9,
        "response_format": {"type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "array"}}},
    });
    for (field, value) in set.as_object().unwrap() {
        body[field] = value.clone();
    }
    ask(&server, "/v1/chat/completions", &body).await;
    let asked = server.backend.asked.lock().unwrap().clone().unwrap();
    assert_eq!((asked.temperature, asked.top_p, asked.top_k, asked.min_p), (0.7, 0.9, 12, 0.05));
    assert_eq!((asked.frequency_penalty, asked.presence_penalty), (0.25, -1.5));
    assert_eq!(asked.logit_bias, vec![(4, -100.0), (999, 3.0)]);
    assert_eq!((asked.seed, asked.max_tokens, asked.logprobs), (Some(77), 9, None));
    assert_eq!(asked.stop, vec!["x"]);
    assert_eq!(asked.format, Some(Format::JsonSchema(json!({"type": "array"}))));

    // Out of the vocabulary; a schema that cannot be followed.
    let mut bad = chat("a b");
    bad["logit_bias"] = json!({VOCABULARY.to_string(): 1});
    let answer = server.chat(&bad, paid()).await;
    assert_eq!(code(&answer), (400, "invalid_request_error", "bad_request"));
    assert_eq!(answer.1["error"]["param"], "logit_bias");
    let mut bad = chat("a b");
    let schema = json!({"name": "n", "schema": {"not": {}}});
    bad["response_format"] = json!({"type": "json_schema", "json_schema": schema});
    for stream in [false, true] {
        bad["stream"] = json!(stream);
        let answer = server.chat(&bad, paid()).await;
        assert_eq!(code(&answer), (400, "invalid_request_error", "bad_request"));
        assert_eq!(answer.1["error"]["param"], "response_format");
        assert!(answer.1["error"]["message"].as_str().unwrap().contains("#/not"));
    }
    // What was reserved for them is free again.
    let (_, channel) = server.get("/v1/channels/1").await;
    assert_eq!(channel["committed"], channel["spent"]);
}

#[tokio::test]
async fn the_receipt_commits_to_what_the_answer_follows_from() {
    let server = plain().await;
    let mut body = chat("the fox and the grapes");
    body["temperature"] = json!(0.5);
    body["logit_bias"] = json!({"3": 1.5});
    let read = |answer: &Value| -> (SignedReceipt, Attribution) {
        (
            serde_json::from_value(answer["receipt"].clone()).unwrap(),
            serde_json::from_value(answer["attribution"].clone()).unwrap(),
        )
    };
    let answer = ask(&server, "/v1/chat/completions", &body).await;
    let (signed, attribution) = read(&answer);
    let shown = attribution.commitment.unwrap();
    assert!(signed.verify(&GENESIS, &worker().account()));
    assert_eq!(signed.receipt.commitment, shown.digest);
    // A client that reads the prompt as the model does rebuilds it.
    let rebuilt = shown.whole(tokens("the fox and the grapes"));
    assert_eq!(rebuilt.digest(), signed.receipt.commitment);
    assert_ne!(shown.whole(tokens("the fox and the grape")).digest(), shown.digest);
    assert_eq!((shown.base, shown.tokenizer), (H256::repeat_byte(0xba), H256::repeat_byte(0x70)));
    // The model's own digests, as the chain names them.
    assert_eq!(
        (shown.adapter, shown.index),
        (Some(H256::repeat_byte(1)), Some(H256::repeat_byte(2)))
    );
    assert_eq!((shown.sampler, shown.answer.as_slice()), (9, &[0, 1, 2, 3, 4][..]));
    assert_eq!(shown.sampling.temperature, 0.5.into());
    assert_eq!(shown.sampling.logit_bias, vec![(3, 1.5.into())]);
    assert!(shown.seed > 0, "a seed is drawn when none is asked for");

    // Another request, another seed and commitment; the same seed gives the same commitment.
    let (_, again) = read(&ask(&server, "/v1/chat/completions", &body).await);
    assert_ne!(again.commitment.as_ref().unwrap().seed, shown.seed);
    body["seed"] = json!(5);
    let (first, _) = read(&ask(&server, "/v1/chat/completions", &body).await);
    let (second, _) = read(&ask(&server, "/v1/chat/completions", &body).await);
    assert_eq!(first.receipt.commitment, second.receipt.commitment);
    body["response_format"] = json!({"type": "json_object"});
    let (formed, attribution) = read(&ask(&server, "/v1/chat/completions", &body).await);
    assert_ne!(formed.receipt.commitment, second.receipt.commitment);
    let format = attribution.commitment.unwrap().sampling.format;
    assert_eq!(format, Some(digest_of(br#"{"type":"object"}"#)));
    // The base itself has no adapter and no index.
    body["model"] = json!("base");
    let (_, attribution) = read(&ask(&server, "/v1/chat/completions", &body).await);
    let shown = attribution.commitment.unwrap();
    assert_eq!((shown.adapter, shown.index), (None, None));
}

#[tokio::test]
async fn spans_stand_in_the_attribution_when_there_are_some() {
    let server = plain().await;
    let answer = ask(&server, "/v1/chat/completions", &chat("a b")).await;
    assert!(answer["attribution"].get("spans").is_none());
    let contributions = vec![ContributionId(1), ContributionId(2)];
    *server.backend.spans.lock().unwrap() =
        Some(vec![Span { tokens: [0, 2], characters: [0, 3], occurrences: 7, contributions }]);
    let answer = ask(&server, "/v1/chat/completions", &chat("a b")).await;
    assert_eq!(
        answer["attribution"]["spans"],
        json!([{"tokens": [0, 2], "characters": [0, 3], "occurrences": 7, "contributions": [1, 2]}])
    );
    let read: Attribution = serde_json::from_value(answer["attribution"].clone()).unwrap();
    assert_eq!(read.spans.unwrap()[0].occurrences, 7);
}

#[tokio::test]
async fn vectors_are_paid_by_the_tokens_of_the_texts() {
    let server = plain().await;
    let body = json!({"model": "fables", "input": ["one two", "three"]});
    let answer = ask(&server, "/v1/embeddings", &body).await;
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("fables")));
    assert_eq!(
        answer["data"],
        json!([
            {"object": "embedding", "index": 0, "embedding": [1.0, 0.0, 2.0]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0, 1.0]},
        ])
    );
    assert_eq!(answer["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    assert_eq!(answer["payment"]["fee"], fee(3, 0).to_string());
    assert_eq!(server.spent(), fee(3, 0));
    let signed: SignedReceipt = serde_json::from_value(answer["receipt"].clone()).unwrap();
    assert!(signed.verify(&GENESIS, &worker().account()));
    let receipt = signed.receipt;
    assert_eq!((receipt.tokens_in, receipt.tokens_out, receipt.unattributed), (3, 0, 1_000_000));
    let bytes: Vec<u8> =
        [1.0f32, 0.0, 2.0, 1.0, 0.0, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(receipt.response, digest_of(&bytes));
    assert_eq!(answer["commitment"]["digest"], json!(receipt.commitment));

    let body = json!({"model": "fables", "input": "one", "encoding_format": "base64"});
    let answer = ask(&server, "/v1/embeddings", &body).await;
    // 1.0, 0.0 and 1.0, little-endian: 0000803f 00000000 0000803f.
    assert_eq!(answer["data"][0]["embedding"], "AACAPwAAAAAAAIA/");

    let long = "word ".repeat(65);
    let body = json!({"model": "fables", "input": long}).to_string();
    let refused = server.post("/v1/embeddings", body, paid()).await;
    assert_eq!(code(&refused), (400, "invalid_request_error", "context_length_exceeded"));
    let body = json!({"model": "fables", "input": "one"}).to_string();
    let unpaid = server.post("/v1/embeddings", body, None).await;
    assert_eq!(code(&unpaid), (402, "payment_required", "voucher_missing"));
    assert_eq!(unpaid.1["error"]["min_cumulative"], fee(1, 0).to_string());
}

#[tokio::test]
async fn models_say_what_a_client_needs() {
    let server = plain().await;
    let (_, model) = server.get("/v1/models/fables").await;
    assert_eq!((&model["object"], &model["kind"]), (&json!("model"), &json!("Adapter")));
    assert_eq!((&model["base"], &model["parent"]), (&json!(0), &json!(0)));
    assert_eq!((&model["context"], &model["vocabulary"]), (&json!(64), &json!(VOCABULARY)));
    assert_eq!(model["for_sale"], true);
    assert_eq!(model["index"], format!("0x{}", "02".repeat(32)));
    let (_, models) = server.get("/v1/models").await;
    assert_eq!(models["data"][1], model);
    assert_eq!(models["data"][2]["for_sale"], false);
}
