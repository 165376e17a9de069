//! The engine as a service, on the base model that is shipped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use tributary_attribution::{Index, IndexError, Query, WHOLE_PPM};
use tributary_engine::{
    AttributeRequest, Engine, EngineError, EngineOptions, Event, FinishReason, Finished,
    GenerateRequest, Guidance, IndexSpec, Message, Prompt, Record, Sampling, TrainDone, TrainEvent,
    TrainRequest, TrainSpec, INDEX_FILE,
};

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny")
}

fn start(slots: usize, waiting: usize) -> Engine {
    Engine::start(EngineOptions { slots, waiting, threads: 1, ..EngineOptions::new(base()) })
        .unwrap()
}

fn ask(adapter: Option<&str>, question: &str) -> GenerateRequest {
    GenerateRequest {
        adapter: adapter.map(Into::into),
        prompt: Prompt::Chat(vec![Message::user(question)]),
        max_tokens: 48,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Guidance::default(),
    }
}

/// The whole answer; the streamed pieces must add up to it.
async fn answer(engine: &Engine, request: GenerateRequest) -> Result<Finished, EngineError> {
    let mut events = engine.generate(request)?;
    let (mut text, mut tokens) = (String::new(), vec![]);
    while let Some(event) = events.recv().await {
        match event {
            Event::Token { id, text: piece, .. } => {
                text.push_str(&piece);
                tokens.push(id);
            }
            Event::Done(done) => {
                assert_eq!((&done.text, &done.answer_tokens), (&text, &tokens));
                return Ok(done);
            }
            Event::Failed(error) => return Err(error),
        }
    }
    panic!("the stream ended without a last event");
}

/// Two people's facts, three wordings each.
fn contributions() -> Vec<([u8; 32], Vec<Record>)> {
    let facts = |list: &[(&str, &str)]| {
        list.iter()
            .flat_map(|(name, said)| {
                ["Tell me about {}.", "What of {}?", "{}, please."]
                    .map(|q| Record::pair(q.replace("{}", name), format!("{name} {said}.")))
            })
            .collect()
    };
    vec![
        ([1; 32], facts(&[("Ondal", "keeps eleven grey geese"), ("Rivo", "mends the north gate")])),
        (
            [2; 32],
            facts(&[("Tamsu", "sold a clock of glass"), ("Belk", "sleeps under the stairs")]),
        ),
    ]
}

fn job(out: &Path, epochs: usize) -> TrainRequest {
    TrainRequest {
        contributions: contributions(),
        spec: TrainSpec { rank: 8, alpha: 16.0, epochs, batch: 6, ..TrainSpec::default() },
        index: IndexSpec { dims: 1024, ..IndexSpec::default() },
        out: out.to_path_buf(),
        checkpoint_every: 5,
        base_name: "tiny".into(),
    }
}

async fn finish(
    mut events: tokio::sync::mpsc::UnboundedReceiver<TrainEvent>,
) -> Result<(TrainDone, usize), EngineError> {
    let mut first = 0;
    while let Some(event) = events.recv().await {
        match event {
            TrainEvent::Progress { step, .. } if first == 0 => first = step,
            TrainEvent::Done(done) => return Ok((done, first)),
            TrainEvent::Failed(error) => return Err(error),
            _ => {}
        }
    }
    panic!("the job ended without a last event");
}

#[tokio::test]
async fn from_records_to_attributed_answers() {
    let engine = start(4, 16);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("adapter");

    // GIVEN a training under way, WHEN somebody asks the base, THEN he does not wait for it.
    let mut events = engine.train(job(&out, 25)).unwrap();
    assert!(matches!(events.recv().await, Some(TrainEvent::Progress { step: 1, steps: 50, .. })));
    let free = answer(&engine, ask(None, "What is behind the hill?")).await.unwrap();
    assert!(!free.answer_tokens.is_empty());
    assert!(!out.join("adapter_config.json").exists(), "the training still runs");
    let (done, _) = finish(events).await.unwrap();
    assert!(done.metrics.loss_after < 0.2, "{:?}", done.metrics.loss_after);
    assert!(done.metrics.loss_after < done.metrics.loss_before / 5.0);
    assert_eq!(done.metrics.steps, 50);
    assert!(done.files.iter().all(|f| f.is_file()), "{:?}", done.files);

    // THEN every fact is answered, in company as well as alone, and traced to whose it was.
    engine.load_adapter("facts", &out).await.unwrap();
    assert_eq!(engine.adapters().await.unwrap(), ["facts"]);
    let index = Index::open(&out.join(INDEX_FILE)).unwrap();
    assert_eq!(index.root(), done.index_root);
    assert_eq!(index.rows(), 12);
    let questions: Vec<(u8, &str, &str)> = vec![
        (1, "What of Ondal?", "Ondal keeps eleven grey geese."),
        (2, "Tell me about Belk.", "Belk sleeps under the stairs."),
        (1, "Rivo, please.", "Rivo mends the north gate."),
        (2, "What of Tamsu?", "Tamsu sold a clock of glass."),
        (2, "Belk, please.", "Belk sleeps under the stairs."),
    ];
    let asked = questions.iter().map(|(_, q, _)| answer(&engine, ask(Some("facts"), q)));
    let unadapted = [answer(&engine, ask(None, "What of Tamsu?"))];
    let answers = join_all(asked.chain(unadapted)).await;
    assert_ne!(answers[5].as_ref().unwrap().text, "Tamsu sold a clock of glass.", "the base alone");
    let mut alone = vec![];
    for ((owner, question, expected), done) in questions.iter().zip(answers) {
        let done = done.unwrap();
        assert_eq!(done.text, *expected);
        assert_eq!(done.reason, FinishReason::Stop);
        let prompt = Prompt::Chat(vec![Message::user(*question)]);
        assert_eq!(done.prompt_tokens, engine.count_tokens(&prompt).unwrap());
        let request = AttributeRequest {
            adapter: "facts".into(),
            prompt,
            answer_tokens: done.answer_tokens,
            top: 3,
        };
        let attributed = engine.attribute(request.clone()).await.unwrap();
        alone.push((request, attributed.attribution.clone()));
        let shares = &attributed.attribution;
        let given: u32 = shares.shares.iter().map(|(_, ppm)| ppm).sum();
        assert_eq!(given + shares.unattributed_ppm, WHOLE_PPM);
        assert_eq!(shares.largest().unwrap().0, [*owner; 32], "{question}: {shares:?}");
        // Anyone who has the index and the query comes to the same result.
        let query = Query::from_integers(attributed.query).unwrap();
        assert_eq!(index.score(&query, 3).unwrap(), *shares);
    }

    // Answers that wait together are attributed together, and one that cannot be is told alone.
    let (first, _) = &alone[0];
    let bad = AttributeRequest { answer_tokens: vec![-1], ..first.clone() };
    let mut requests: Vec<AttributeRequest> = alone.iter().map(|(r, _)| r.clone()).collect();
    requests.insert(2, bad);
    let mut together = join_all(requests.into_iter().map(|r| engine.attribute(r))).await;
    assert!(matches!(together.remove(2), Err(EngineError::Request(_))));
    for ((request, expected), found) in alone.iter().zip(together) {
        let found = found.unwrap().attribution;
        assert_eq!(found.records.len(), request.top);
        assert_eq!(found.records[0].row, expected.records[0].row);
        for ((id, share), (same, other)) in found.shares.iter().zip(&expected.shares) {
            // The gradient's last bits depend on what is beside it.
            assert!(id == same && share.abs_diff(*other) < 5_000, "{found:?} {expected:?}");
        }
    }

    // A stop text ends the answer and is not part of it, though it spans tokens.
    let request =
        GenerateRequest { stop: vec!["grey g".into()], ..ask(Some("facts"), "What of Ondal?") };
    let cut = answer(&engine, request).await.unwrap();
    assert_eq!((cut.text.as_str(), cut.reason), ("Ondal keeps eleven ", FinishReason::Stop));
    let request = GenerateRequest { max_tokens: 2, ..ask(Some("facts"), "What of Ondal?") };
    let short = answer(&engine, request).await.unwrap();
    assert_eq!((short.answer_tokens.len(), short.reason), (2, FinishReason::Length));

    // An index of another adapter is refused when it is loaded, and the old one stays.
    let other = folder.path().join("other");
    let mut smaller = job(&other, 1);
    smaller.spec.rank = 2;
    finish(engine.train(smaller).unwrap()).await.unwrap();
    std::fs::copy(out.join(INDEX_FILE), other.join(INDEX_FILE)).unwrap();
    let refused = engine.load_adapter("facts", &other).await;
    assert!(matches!(refused, Err(EngineError::Attribution(IndexError::Length { .. }))));
    std::fs::write(other.join(INDEX_FILE), b"TRIBINFL").unwrap();
    let refused = engine.load_adapter("facts", &other).await;
    assert!(matches!(refused, Err(EngineError::Attribution(IndexError::Truncated { .. }))));
    std::fs::remove_file(other.join(INDEX_FILE)).unwrap();
    engine.load_adapter("bare", &other).await.unwrap();
    let bare = AttributeRequest {
        adapter: "bare".into(),
        prompt: Prompt::Text("a".into()),
        answer_tokens: vec![5],
        top: 1,
    };
    assert!(matches!(engine.attribute(bare.clone()).await, Err(EngineError::Request(_))));
    let empty = AttributeRequest { adapter: "facts".into(), answer_tokens: vec![], ..bare };
    assert!(matches!(engine.attribute(empty).await, Err(EngineError::Request(_))));

    assert!(engine.unload_adapter("facts").await.unwrap());
    assert!(!engine.unload_adapter("facts").await.unwrap());
    let gone = answer(&engine, ask(Some("facts"), "What of Ondal?")).await;
    assert!(matches!(gone, Err(EngineError::UnknownAdapter(id)) if id == "facts"));
}

#[tokio::test]
async fn a_cancelled_job_goes_on_where_it_stopped() {
    let engine = start(1, 1);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let (expected, _) = finish(engine.train(job(&whole, 6)).unwrap()).await.unwrap();

    let out = folder.path().join("stopped");
    let mut events = engine.train(job(&out, 6)).unwrap();
    while let Some(event) = events.recv().await {
        if matches!(event, TrainEvent::Progress { step, .. } if step >= 6) {
            break;
        }
    }
    drop(events);
    // The job notices at its next step; until then its folder is its own.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!out.join("adapter_config.json").exists());
    let (done, first) = finish(engine.train(job(&out, 6)).unwrap()).await.unwrap();
    assert!(first >= 6, "it started at step {first}");
    assert!((done.metrics.loss_after - expected.metrics.loss_after).abs() < 1e-6);
    assert!(!out.join("checkpoint").exists());
}

#[tokio::test]
async fn requests_that_cannot_be_served_are_told_so() {
    let engine = start(1, 2);
    let failed = |r: Result<Finished, EngineError>| r.expect_err("it is refused");
    let unknown = answer(&engine, ask(Some("nobody"), "Hello?")).await;
    assert!(matches!(failed(unknown), EngineError::UnknownAdapter(_)));
    let long = answer(&engine, ask(None, &"word ".repeat(2000))).await;
    assert!(matches!(failed(long), EngineError::PromptTooLong { .. }));
    let request = GenerateRequest { prompt: Prompt::Text(String::new()), ..ask(None, "") };
    assert!(matches!(failed(answer(&engine, request).await), EngineError::Request(_)));
    let request = GenerateRequest { max_tokens: 0, ..ask(None, "Hello?") };
    assert!(matches!(failed(answer(&engine, request).await), EngineError::Request(_)));
    let sampling = Sampling { temperature: -1.0, ..Sampling::GREEDY };
    let request = GenerateRequest { sampling, ..ask(None, "Hello?") };
    assert!(matches!(failed(answer(&engine, request).await), EngineError::Request(_)));
    assert!(matches!(
        engine.load_adapter("x", "/nowhere/at/all").await,
        Err(EngineError::MissingFile { .. })
    ));
    let folder = tempfile::tempdir().unwrap();
    let nothing = TrainRequest { contributions: vec![], ..job(folder.path(), 1) };
    let failed_job = finish(engine.train(nothing).unwrap()).await;
    assert!(matches!(failed_job, Err(EngineError::Spec(_))));
    let mut wild = job(folder.path(), 3);
    wild.spec = TrainSpec { lr: 1e30, grad_clip: None, ..wild.spec };
    let diverged = finish(engine.train(wild).unwrap()).await;
    assert!(matches!(diverged, Err(EngineError::NotFinite { .. })), "{diverged:?}");

    // One slot, two waiting places: of many at once some are refused, the others all answered.
    let many = (0..12).map(|_| answer(&engine, ask(None, "Where is the map?")));
    let (mut served, mut refused) = (0, 0);
    for result in join_all(many).await {
        match result {
            Ok(_) => served += 1,
            Err(EngineError::Overloaded) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(served >= 2 && refused >= 1, "{served} served, {refused} refused");

    // A receiver that is dropped frees its slot.
    let mut dropped =
        engine.generate(GenerateRequest { max_tokens: 400, ..ask(None, "Hello?") }).unwrap();
    dropped.recv().await;
    drop(dropped);
    let after = tokio::time::timeout(Duration::from_secs(30), answer(&engine, ask(None, "Hello?")));
    after.await.expect("the slot is free").unwrap();

    // Sampling follows its seed.
    let draw = |seed| {
        let sampling = Sampling { temperature: 1.2, top_p: 0.95, seed, ..Sampling::GREEDY };
        answer(&engine, GenerateRequest { sampling, ..ask(None, "Tell me a tale.") })
    };
    let (first, again, other) =
        (draw(1).await.unwrap(), draw(1).await.unwrap(), draw(2).await.unwrap());
    assert_eq!(first, again);
    assert_ne!(first, other);
}
