use super::*;
use crate::Key;
use codec::Encode;
use tributary_primitives::{
    signing::{Receipt, Share},
    ContributionId, ModelId,
};

fn receipt() -> Receipt {
    Receipt {
        worker: Key::from_uri("//Worker").unwrap().account(),
        channel: ChannelId(2),
        sequence: 1,
        model: ModelId(3),
        request: H256::repeat_byte(1),
        response: H256::repeat_byte(2),
        tokens_in: 10,
        tokens_out: 20,
        fee: 123,
        shares: vec![Share { contribution: ContributionId(4), ppm: 700_000 }],
        unattributed: 300_000,
        index_root: H256::repeat_byte(5),
        commitment: H256::repeat_byte(6),
    }
}

#[test]
fn events_are_cut_wherever_the_network_cuts_them() {
    let all = b": ping\n\ndata: {\"a\":1}\n\ndata:x\r\n\r\nevent: e\ndata: 1\ndata: 2\n\n";
    for step in 1..all.len() {
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for piece in all.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(data) = next_event(&mut buffer) {
                found.push(data);
            }
        }
        assert_eq!(found, ["{\"a\":1}", "x", "1\n2"], "in pieces of {step}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_receipt_is_its_workers() {
    let (key, other) = (Key::from_uri("//Signer").unwrap(), Key::from_uri("//Other").unwrap());
    let genesis = H256::repeat_byte(7);
    let signature = key.sign(&receipt(), &genesis);
    let signature = format!("0x{}", hex::encode(signature.encode()));
    let signed = SignedReceipt { receipt: receipt(), signature };
    assert!(signed.verify(&genesis, &key.account()));
    assert!(!signed.verify(&genesis, &other.account()));
    assert!(!signed.verify(&H256::zero(), &key.account()));
    let mut more = signed.clone();
    more.receipt.fee += 1;
    assert!(!more.verify(&genesis, &key.account()));
    assert!(!SignedReceipt { signature: "0x01".into(), ..signed }.verify(&genesis, &key.account()));
}

#[test]
fn an_answer_needs_its_receipt() {
    let mut reading = Reading::default();
    let chunk = |text: &str| json!({"choices": [{"delta": {"content": text}}]});
    assert_eq!(reading.take(chunk("Hel")).unwrap().as_deref(), Some("Hel"));
    assert_eq!(reading.take(chunk("")).unwrap(), None);
    reading.take(chunk("lo")).unwrap();
    let end = json!({
        "choices": [{"delta": {}, "finish_reason": "length"}],
        "attribution": {"shares": [{"contribution": 4, "ppm": 700_000}],
            "unattributed_ppm": 300_000, "explained_ppm": 700_000, "records": [],
            "influences": [{"contribution": 4, "record": 2, "ppm": -5}],
            "index_root": H256::zero()},
        "receipt": {"receipt": receipt(), "signature": "0x00"},
        "payment": {"fee": "5", "spent": "12", "cumulative": "100"},
    });
    reading.take(end).unwrap();
    let answer = reading.finish(H256::zero()).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason.as_str()), ("Hello", "length"));
    assert_eq!((answer.payment.fee, answer.payment.spent), (5, 12));
    let near = answer.attribution.influence_of(ContributionId(4)).unwrap();
    assert_eq!((near.record, near.ppm), (2, -5));
    assert_eq!(answer.attribution.influence_of(ContributionId(5)), None);
    // A worker that does not say it yet is understood.
    let mut older = serde_json::to_value(&answer.attribution).unwrap();
    older.as_object_mut().unwrap().remove("influences");
    assert!(serde_json::from_value::<Attribution>(older).unwrap().influences.is_empty());
    let mut broken = Reading::default();
    broken.take(chunk("Hel")).unwrap();
    assert!(broken.finish(H256::zero()).unwrap_err().contains("broke off"));
    let error = json!({"error": {"message": "engine", "type": "server_error"}});
    assert!(matches!(
        Reading::default().take(error),
        Err(WorkerError::Refused { message, .. }) if message == "engine"
    ));
}

#[test]
fn a_commitment_is_rebuilt_from_what_the_worker_shows() {
    let shown: ShownCommitment = serde_json::from_value(json!({
        "digest": H256::zero(), "base": H256::repeat_byte(1), "adapter": null,
        "tokenizer": H256::repeat_byte(2), "index": null, "prompt_tokens": 2,
        "answer": [7, 8], "seed": 3, "sampler": 1,
        "sampling": {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
            "frequency_penalty": 0.0, "presence_penalty": 0.0, "logit_bias": [[5, -1.5]],
            "format": null},
    }))
    .unwrap();
    let whole = shown.whole(vec![4, 5]);
    assert_eq!((whole.prompt.as_slice(), whole.answer.as_slice()), (&[4, 5][..], &[7, 8][..]));
    assert_eq!(whole.sampling.temperature, 0.7.into());
    assert_eq!(whole.sampling.logit_bias, vec![(5, (-1.5).into())]);
    assert_ne!(whole.digest(), shown.whole(vec![4, 6]).digest());
}

#[test]
fn a_question_asks_for_a_schema_when_it_has_one() {
    let question = Question {
        model: "m".into(),
        prompt: "p".into(),
        system: None,
        max_tokens: 5,
        temperature: 0.0,
        seed: None,
        schema: None,
    };
    assert!(question.body().get("response_format").is_none());
    let schema = json!({"type": "object"});
    let body = Question { schema: Some(schema.clone()), ..question }.body();
    assert_eq!(body["response_format"]["json_schema"]["schema"], schema);
    assert_eq!(body["response_format"]["type"], "json_schema");
}

#[test]
fn refusals_are_told_apart() {
    let terms = json!({"message": "pay", "price_in": "1", "price_out": "2",
        "worker": Key::from_uri("//Worker").unwrap().address(), "min_cumulative": "30"});
    let error = refusal(StatusCode::PAYMENT_REQUIRED, Some(&terms), b"");
    assert!(matches!(error, WorkerError::Payment(t) if t.min_cumulative == 30));
    let error = refusal(StatusCode::NOT_FOUND, Some(&json!({"message": "no model"})), b"");
    assert!(matches!(error, WorkerError::NotFound(m) if m == "no model"));
    let error = refusal(StatusCode::BAD_GATEWAY, None, b"<html>");
    assert!(matches!(error, WorkerError::Refused { status: 502, message } if message == "<html>"));
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let api = WorkerApi::new(&format!("http://127.0.0.1:{port}/")).unwrap();
    let error = api.job(JobId(1)).await.unwrap_err();
    assert!(matches!(error, WorkerError::Unreachable { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}
