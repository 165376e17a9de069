//! The canonical pass, and vectors.

use tch::{Kind, Tensor};
use tributary_engine::{score, EngineError, Message, Pooling, Prompt};

use super::common::{adapter, answer, ask, base, folders, kinds, options, start};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_scores_as_it_was_drawn_by_anyone() {
    let base = base();
    let place = tempfile::tempdir().unwrap();
    let (rank, targets) = kinds().remove(0);
    let folder = place.path().join("a");
    let loaded = adapter(base.config(), &folder, 7, rank, &targets);
    let engine = start(options());
    engine.load_adapter("a", &folder).await.unwrap();

    // GIVEN an answer that was written in a crowd.
    let text = "The miller of the valley keeps a blue ledger of debts. ".repeat(8);
    let crowd: Vec<_> =
        (0..3).map(|n| engine.generate(ask(None, &"Rain. ".repeat(n + 1), 40)).unwrap()).collect();
    let mut request = ask(Some("a"), &text, 40);
    request.logprobs = Some(1);
    let mut events = engine.generate(request).unwrap();
    let (mut tokens, mut logprobs) = (vec![], vec![]);
    while let Some(event) = events.recv().await {
        if let tributary_engine::Event::Token { id, logprobs: Some(own), .. } = event {
            tokens.push(id);
            logprobs.push(own.chosen);
        }
    }
    drop(crowd);

    // WHEN it is scored, THEN the probabilities are those that it was drawn with.
    let prompt = Prompt::Text(text.clone());
    let scored = engine.score(Some("a".into()), &prompt, tokens.clone()).await.unwrap();
    assert_eq!(scored.logprobs.len(), tokens.len());
    for (a, b) in scored.logprobs.iter().zip(&logprobs) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
    assert!(scored.likeliest.iter().all(|l| *l), "greedy answers are the likeliest tokens");
    // Anyone comes to the same fingerprint, with any number of threads.
    let ids = base.tokenizer().encode(&text, true).unwrap();
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        let again = score(&base, Some(&loaded), &ids, &tokens).unwrap();
        assert_eq!(again, scored, "{threads} threads");
    }
    // Another token, another adapter, another prompt: another fingerprint.
    let mut wrong = tokens.clone();
    wrong[5] = (wrong[5] + 1) % base.config().vocab_size;
    let other = score(&base, Some(&loaded), &ids, &wrong).unwrap();
    assert_ne!(other.fingerprint, scored.fingerprint);
    assert!(!other.likeliest[5]);
    let bare = score(&base, None, &ids, &tokens).unwrap();
    assert_ne!(bare.fingerprint, scored.fingerprint);
    let shorter = score(&base, Some(&loaded), &ids[1..], &tokens).unwrap();
    assert_ne!(shorter.fingerprint, scored.fingerprint);

    assert!(matches!(score(&base, None, &ids, &[]), Err(EngineError::Request(_))));
    assert!(matches!(score(&base, None, &ids, &[1 << 40]), Err(EngineError::Request(_))));
    let long = vec![5; 600];
    assert!(matches!(score(&base, None, &ids, &long), Err(EngineError::PromptTooLong { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_pooled_hidden_states() {
    let base = base();
    let place = tempfile::tempdir().unwrap();
    let folder = folders(place.path(), 1).remove(0);
    let engine = start(options());
    engine.load_adapter("a", &folder).await.unwrap();
    let long = "A long tale of the river and of those who crossed it. ".repeat(20);
    let texts = ["Where is the ferry?", "The ferry is in the east.", long.as_str()];
    let prompts: Vec<Prompt> = texts.iter().map(|t| Prompt::Text((*t).into())).collect();
    for pooling in [Pooling::Mean, Pooling::Last] {
        let busy = engine.generate(ask(Some("a"), "Tell me.", 60)).unwrap();
        let vectors = engine.embed(None, prompts.clone(), pooling).await.unwrap();
        drop(busy);
        for (text, embedded) in texts.iter().zip(vectors) {
            let ids = base.tokenizer().encode(text, true).unwrap();
            assert_eq!(embedded.tokens, ids.len());
            let expected = tch::no_grad(|| {
                let hidden =
                    base.transformer().hidden(&Tensor::from_slice(&ids).unsqueeze(0), None);
                let hidden = hidden.squeeze_dim(0); // [tokens, hidden]
                let pooled = match pooling {
                    Pooling::Mean => hidden.mean_dim(0, false, Kind::Float),
                    Pooling::Last => hidden.get(ids.len() as i64 - 1),
                };
                &pooled / pooled.norm()
            });
            let found = Tensor::from_slice(&embedded.vector);
            let gap = (found - expected).abs().max().double_value(&[]);
            assert!(gap < 1e-5, "{text}: {gap}");
        }
    }
    let adapted = engine.embed(Some("a".into()), prompts.clone(), Pooling::Mean).await.unwrap();
    let bare = engine.embed(None, prompts.clone(), Pooling::Mean).await.unwrap();
    assert_ne!(adapted[0].vector, bare[0].vector);
    let nobody = engine.embed(Some("b".into()), prompts, Pooling::Mean).await;
    assert!(matches!(nobody, Err(EngineError::UnknownAdapter(_))));
    let chat = Prompt::Chat(vec![Message::user("word ".repeat(3000))]);
    let long = engine.embed(None, vec![chat], Pooling::Mean).await;
    assert!(matches!(long, Err(EngineError::PromptTooLong { .. })));
    // All is given back.
    answer(&engine, ask(None, "Still there?", 2)).await.unwrap();
    let stats = super::common::until(&engine, "rest", |s| s.running == 0 && s.waiting == 0).await;
    assert_eq!(stats.kv_used, 0);
}
