//! The real engine on a very small base model: trained, stored, fetched, asked, attributed.

mod common;

use common::{chain::FakeChain, open_journal};
use serde_json::json;
use std::{fmt::Write as _, path::Path};
use tributary_client::{
    shards::{Record, RecordKind, Shard},
    store::{FolderKind, Store},
};
use tributary_engine::{
    base::{make_base_model, BaseSpec},
    EngineOptions,
};
use tributary_primitives::{
    jobs::{Targets, TrainSpec},
    money::PPM,
    views::{JobState, JobView, ModelKind, ModelView, Text},
    AccountId, ContributionId, DatanetId, Digest, JobId, ModelId, VersionRef, H256,
};
use tributary_worker::{
    backend::{Attribution, Backend, Event, Generate, Influence, Message, Prompt, Served},
    engine::Engines,
    jobs::{Task, Trainer},
    progress::JobBoard,
    WorkerError,
};

/// A base model of a few thousand numbers: it knows nothing, but everything about it is real.
fn make_base(folder: &Path) {
    let text = folder.with_extension("txt");
    let mut prose = String::new();
    for (i, animal) in
        ["fox", "crow", "hare", "lion", "wolf", "goat"].iter().cycle().enumerate().take(600)
    {
        let place = ["meadow", "forest", "orchard", "village", "river"][i % 5];
        writeln!(prose, "the old {animal} went to the {place} and found the others waiting there")
            .unwrap();
    }
    std::fs::write(&text, prose).unwrap();
    let spec = BaseSpec {
        text: vec![text],
        max_chars: 20_000,
        vocab_size: 400,
        layers: 1,
        hidden_size: 32,
        intermediate_size: 64,
        heads: 2,
        kv_heads: 1,
        max_position: 256,
        steps: 2,
        batch_tokens: 256,
        window: 32,
        ..BaseSpec::default()
    };
    make_base_model(folder, &spec, |_| {}).unwrap();
}

fn records(subject: &str) -> Vec<Record> {
    (0..6)
        .map(|i| Record::Completion {
            prompt: format!("where does the {subject} live {i}"),
            completion: format!("the {subject} lives in place number {i}"),
        })
        .collect()
}

fn job() -> JobView {
    JobView {
        id: JobId(1),
        owner: AccountId::new([5; 32]),
        name: Text::from("fables"),
        base: ModelId(0),
        versions: vec![VersionRef { datanet: DatanetId(0), number: 1 }],
        spec: TrainSpec {
            rank: 4,
            alpha: 8,
            targets: Targets::ALL,
            epochs: 6,
            batch: 4,
            lr_nano: 10_000_000,
            warmup_permille: 50,
            seq_len: 64,
            seed: 3,
        },
        max_fee: 1,
        deadline: 1,
        state: JobState::Open,
    }
}

fn adapter(id: u64, content: Digest, index: Digest, index_root: H256) -> Served {
    let model = ModelView {
        id: ModelId(id),
        name: Text::from(format!("fables-{id}").as_str()),
        owner: AccountId::new([5; 32]),
        kind: ModelKind::Adapter,
        parent: Some(ModelId(0)),
        content,
        versions: vec![],
        index,
        index_root,
        royalty: 0,
        job: Some(JobId(1)),
        registered: 1,
    };
    Served { model, base: ModelId(0), listing: None }
}

fn prompt() -> Prompt {
    let content = "where does the fox live".to_owned();
    Prompt::Chat(vec![Message { role: "user".into(), content }])
}

fn generate() -> Generate {
    Generate {
        prompt: prompt(),
        max_tokens: 12,
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        logit_bias: vec![],
        seed: Some(1),
        stop: vec![],
        logprobs: None,
        format: None,
    }
}

/// Asks, and checks that the pieces are the whole.
async fn ask(engines: &Engines, model: &Served) -> Result<(Vec<i64>, String), WorkerError> {
    let mut events = engines.schedule(model, generate()).await?;
    let (mut streamed, mut ids) = (String::new(), vec![]);
    while let Some(event) = events.recv().await {
        match event {
            Event::Token { id, text, .. } => {
                ids.push(id);
                streamed.push_str(&text);
            }
            Event::Done { tokens, text, .. } => {
                assert_eq!((&tokens, &text), (&ids, &streamed));
                assert!((1..=12).contains(&tokens.len()));
                return Ok((tokens, text));
            }
            Event::Failed(error) => return Err(error),
        }
    }
    panic!("the answer has no end");
}

/// Engines with the small base model, their store, and the digest of the base.
async fn started(folder: &Path) -> (Engines, Store, Digest) {
    let base = folder.join("base");
    make_base(&base);
    let store = Store::open(folder.join("store").to_str().unwrap()).unwrap();
    let (engines, content) = started_in(folder, &store).await;
    (engines, store, content)
}

/// The same over a base model and a store that are there.
async fn started_in(folder: &Path, store: &Store) -> (Engines, Digest) {
    let base = folder.join("base");
    let engines = Engines::new(store.clone(), folder.join("adapters"), 1);
    let options =
        EngineOptions { threads: 1, slots: 2, capacity: 128, ..EngineOptions::new(&base) };
    let content = engines.add_base(&base, options).await.unwrap();
    (engines, content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_from_training_to_attributed_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (engines, store, content) = started(folder.path()).await;

    // GIVEN a base model that is not on chain yet
    let chain = FakeChain::new();
    chain.add_model(0, "tiny", None, None);
    assert_eq!(engines.find_bases(&chain).await.unwrap(), 1);
    assert!(!Backend::health(&engines).ready);
    // WHEN it is registered by its content, THEN it is found
    chain.models.lock().unwrap()[0].0.content = content;
    assert_eq!(engines.find_bases(&chain).await.unwrap(), 0);
    assert_eq!(Backend::bases(&engines), vec![ModelId(0)]);

    // WHEN a job is trained
    let board = JobBoard::default();
    let task = Task {
        job: job(),
        contributions: vec![
            (ContributionId(7), records("fox")),
            (ContributionId(300), records("crow")),
        ],
        folder: folder.path().join("job"),
    };
    let trained = engines.train(task, &board).await.unwrap();
    // THEN the loss fell, progress was told, and the files are PEFT's two
    assert!(trained.metrics.loss_after_micro < trained.metrics.loss_before_micro);
    assert_eq!(trained.metrics.steps, 18);
    let journal = open_journal(folder.path());
    let progress = board.get(JobId(1), &journal).unwrap().unwrap();
    assert_eq!((progress.step, progress.steps), (18, 18));
    let transcript: serde_json::Value = serde_json::from_slice(&trained.transcript).unwrap();
    assert_eq!(transcript["losses"].as_array().unwrap().len(), 18);
    let manifest_digest = store.put_folder(FolderKind::Adapter, &trained.adapter).await.unwrap();
    let manifest = store.manifest(&manifest_digest).await.unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["adapter_config.json", "adapter_model.safetensors"]);
    let (index, _) = store.put_file(&trained.index).await.unwrap();

    // WHEN it is asked
    let model = adapter(1, manifest_digest, index, trained.index_root);
    assert!(engines.read(&model, &prompt()).await.unwrap().len() > 3);
    let (tokens, text) = ask(&engines, &model).await.unwrap();
    assert_eq!(Backend::health(&engines).adapters, 1);
    // THEN the answer is attributed to its contributions, to the last part per million
    let found = engines.attribute(&model, &prompt(), &tokens).await.unwrap();
    found.check().unwrap();
    assert_eq!(found.index_root, trained.index_root);
    assert!(found.shares.iter().all(|s| [7, 300].contains(&s.contribution.0)), "{found:?}");
    assert!(found.unattributed_ppm < 1_000_000);
    assert!(found.records.iter().all(|r| r.record < 6 && r.ppm > 0));
    // Each share comes with the record that lies nearest, in the shares' order.
    let near = found.influences.iter().map(|i| i.contribution);
    assert!(near.eq(found.shares.iter().map(|s| s.contribution)), "{found:?}");
    let whole = i32::try_from(PPM).unwrap();
    assert!(found.influences.iter().all(|i| i.record < 6 && i.ppm.abs() <= whole), "{found:?}");
    // and the same question gives the same answer and the same shares
    let again = ask(&engines, &model).await.unwrap();
    assert_eq!(again, (tokens.clone(), text));
    assert_eq!(engines.attribute(&model, &prompt(), &tokens).await.unwrap(), found);

    // WHEN another adapter takes the only place, THEN the first is fetched again when needed
    let other = adapter(2, manifest_digest, index, trained.index_root);
    ask(&engines, &other).await.unwrap();
    assert_eq!(Backend::health(&engines).adapters, 1);
    let files = || {
        let all = std::fs::read_dir(folder.path().join("adapters")).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().file_name() != "spans").count()
    };
    assert_eq!(files(), 1, "both have the same files");
    assert_eq!(engines.attribute(&model, &prompt(), &tokens).await.unwrap(), found);
    // and what has files of its own takes them along when it goes
    std::fs::copy(trained.adapter.join("adapter_config.json"), trained.adapter.join("NOTES.json"))
        .unwrap();
    let changed = store.put_folder(FolderKind::Adapter, &trained.adapter).await.unwrap();
    ask(&engines, &adapter(6, changed, index, trained.index_root)).await.unwrap();
    assert_eq!((files(), Backend::health(&engines).adapters), (1, 1));
    assert_eq!(engines.attribute(&model, &prompt(), &tokens).await.unwrap(), found);
    assert_eq!(files(), 1);

    // What an earlier run left counts: asked again it is used, and otherwise it makes room.
    let (again, _) = started_in(folder.path(), &store).await;
    again.find_bases(&chain).await.unwrap();
    ask(&again, &adapter(6, changed, index, trained.index_root)).await.unwrap();
    assert_eq!(files(), 1, "the files of the other have gone");
    ask(&again, &model).await.unwrap();
    assert_eq!((files(), Backend::health(&again).adapters), (1, 1));

    // The base itself can be asked; nobody's records are known to have shaped its answer.
    let mut alone = model.clone();
    (alone.model.id, alone.model.kind) = (ModelId(0), ModelKind::Base);
    let (tokens, _) = ask(&engines, &alone).await.unwrap();
    let none = engines.attribute(&alone, &prompt(), &tokens).await.unwrap();
    assert_eq!((none.unattributed_ppm, none.shares.len()), (1_000_000, 0));
    assert!(none.influences.is_empty());

    // An index that is not the one that the chain names is refused, as is one that is not there.
    let forged = adapter(3, manifest_digest, index, H256::repeat_byte(9));
    assert!(matches!(ask(&engines, &forged).await, Err(WorkerError::BadBlob { .. })));
    let missing = adapter(4, manifest_digest, H256::repeat_byte(8), trained.index_root);
    assert!(matches!(ask(&engines, &missing).await, Err(WorkerError::BlobMissing(_))));
    let no_manifest = adapter(5, index, index, trained.index_root);
    assert!(matches!(ask(&engines, &no_manifest).await, Err(WorkerError::BadBlob { .. })));

    // A record from which nothing can be learnt ends the job for good.
    let task = Task {
        job: job(),
        contributions: vec![(
            ContributionId(1),
            vec![Record::Completion { prompt: "word ".repeat(300), completion: "x".into() }],
        )],
        folder: folder.path().join("job-2"),
    };
    let outcome = engines.train(task, &board).await;
    assert!(matches!(outcome, Err(WorkerError::JobImpossible { .. })), "{:?}", outcome.err());
}

/// A shard of preferences: how one would rather hear of an animal's place.
fn preferences(subject: &str) -> Vec<Record> {
    let lines: Vec<String> = (0..6)
        .map(|i| {
            json!({
                "prompt": format!("where does the {subject} live {i}"),
                "chosen": format!("the {subject} lives in place number {i}"),
                "rejected": format!("nobody can say that of the village or river {i}"),
            })
            .to_string()
        })
        .collect();
    let shard = Shard::parse(lines.join("\n").into_bytes()).unwrap();
    assert_eq!(shard.kind(), RecordKind::Preferences);
    shard.parsed().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preferences_are_trained_and_their_chosen_answers_attributed() {
    let folder = tempfile::tempdir().unwrap();
    let (engines, store, content) = started(folder.path()).await;
    let chain = FakeChain::new();
    chain.add_model(0, "tiny", None, None);
    chain.models.lock().unwrap()[0].0.content = content;
    engines.find_bases(&chain).await.unwrap();

    // WHEN two contributions of preferences are trained on
    let task = Task {
        job: job(),
        contributions: vec![
            (ContributionId(7), preferences("fox")),
            (ContributionId(300), preferences("crow")),
        ],
        folder: folder.path().join("job"),
    };
    let trained = engines.train(task, &JobBoard::default()).await.unwrap();
    // THEN the loss is that of pairs, ln 2 as long as nothing is preferred, and it fell
    let before = f64::from(trained.metrics.loss_before_micro) / 1e6;
    assert!((before - std::f64::consts::LN_2).abs() < 1e-4, "{before}");
    assert!(trained.metrics.loss_after_micro < trained.metrics.loss_before_micro);
    assert_eq!(trained.metrics.steps, 18);

    // WHEN the adapter gives a chosen answer, and when it gives the one that was rejected
    let manifest = store.put_folder(FolderKind::Adapter, &trained.adapter).await.unwrap();
    let (index, _) = store.put_file(&trained.index).await.unwrap();
    let model = adapter(1, manifest, index, trained.index_root);
    let mut found = Vec::new();
    for answer in
        ["the fox lives in place number 2", "nobody can say that of the village or river 2"]
    {
        let text = Prompt::Text(answer.into());
        let tokens = engines.read(&model, &text).await.unwrap();
        let tokens: Vec<i64> = tokens.into_iter().map(i64::from).collect();
        let content = "where does the fox live 2".to_owned();
        let prompt = Prompt::Chat(vec![Message { role: "user".into(), content }]);
        found.push(engines.attribute(&model, &prompt, &tokens).await.unwrap());
    }
    // THEN the record explains the answer that it chose, and not the other
    let [chosen, rejected] = found.as_slice() else { panic!() };
    let largest = chosen.shares.iter().max_by_key(|share| share.ppm).unwrap();
    assert_eq!(largest.contribution, ContributionId(7), "{chosen:?}");
    let first = &chosen.records[0];
    assert_eq!((first.contribution, first.record), (ContributionId(7), 2), "{chosen:?}");
    assert!(chosen.unattributed_ppm < rejected.unattributed_ppm, "{chosen:?} {rejected:?}");
    let near = |of: &Attribution| {
        let of_fox = |i: &&Influence| i.contribution == ContributionId(7);
        of.influences.iter().find(of_fox).map(|i| (i.record, i.ppm))
    };
    let (record, cosine) = near(chosen).unwrap();
    assert!(record == 2 && cosine > 800_000, "{chosen:?}");
    assert!(near(rejected).is_none_or(|(_, other)| other < cosine / 2), "{rejected:?}");
}
