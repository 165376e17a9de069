//! The two indices that a training job leaves behind.

use std::path::Path;

use tch::Device;
use tributary_attribution::{Builder, IndexError, Sketch, SpanIndex, SpanOptions};
use tributary_engine::indexing::{
    build_influence, build_spans, queries, span_tokens, Corpus, Form, GradientSpace,
};
use tributary_engine::{
    encode_records, train, BaseModel, Engine, EngineError, EngineOptions, IndexSpec, Record,
    Sample, TrainEvent, TrainRequest, TrainSpec, SPANS_FILE,
};

const FACTS: [[(&str, &str); 2]; 2] = [
    [("Ondal", "keeps eleven grey geese"), ("Rivo", "mends the north gate")],
    [("Tamsu", "sold a clock of glass"), ("Belk", "sleeps under the stairs")],
];

fn records(person: usize) -> Vec<Record> {
    FACTS[person]
        .iter()
        .flat_map(|(name, said)| {
            ["Tell me about {}.", "What of {}?", "{}, please."]
                .map(|q| Record::pair(q.replace("{}", name), format!("{name} {said}.")))
        })
        .collect()
}

fn spec(epochs: usize) -> TrainSpec {
    TrainSpec { rank: 8, alpha: 16.0, epochs, batch: 6, ..TrainSpec::default() }
}

fn base() -> BaseModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    BaseModel::load(&folder, Device::Cpu).unwrap()
}

#[tokio::test]
async fn a_job_writes_the_spans_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    let engine = Engine::start(EngineOptions { threads: 1, ..EngineOptions::new(place) }).unwrap();
    let request = TrainRequest {
        contributions: vec![([1; 32], records(0)), ([2; 32], records(1))],
        spec: spec(1),
        index: IndexSpec { dims: 256, ..IndexSpec::default() },
        out: folder.path().join("adapter"),
        checkpoint_every: 50,
        base_name: "tiny".into(),
    };
    let mut events = engine.train(request).unwrap();
    let done = loop {
        match events.recv().await.expect("a last event comes") {
            TrainEvent::Done(done) => break done,
            TrainEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    };
    assert_eq!(done.spans, folder.path().join("adapter").join(SPANS_FILE));
    assert!(!done.files.contains(&done.spans), "it is not published with the adapter");
    let spans = SpanIndex::open(&done.spans).unwrap();
    assert_eq!(spans.root(), done.spans_root);
    assert_eq!((spans.records(), spans.contributions()), (12, [[1; 32], [2; 32]].as_slice()));

    // WHEN an answer holds words of the second person's records, THEN they are found there.
    let base = base();
    let answer = base.tokenizer().encode("Certainly: Tamsu sold a clock of glass.", false).unwrap();
    let found = spans.spans(&span_tokens(&answer, 0).unwrap(), &SpanOptions::default()).unwrap();
    let text = |s: &tributary_attribution::Span| {
        let tokens = &answer[s.start as usize..(s.start + s.length) as usize];
        base.tokenizer().decode(tokens).unwrap()
    };
    assert!(text(&found[0]).contains("sold a clock of glass"), "{}", text(&found[0]));
    assert_eq!(found[0].count, 3, "three wordings of one fact");
    assert!(found[0].occurrences.iter().all(|o| o.contribution == 1 && o.record >= 6));
    assert_eq!(found[0].occurrences.len(), 3);
}

#[test]
fn every_space_finds_whose_record_it_was() {
    tch::set_num_threads(1);
    let base = base();
    let all: Vec<Record> = [records(0), records(1)].concat();
    let owners: Vec<u32> = (0..12).map(|i| i / 6).collect();
    let spec = spec(12);
    let trained = train(&base, &all, &spec, None, &mut |_| std::ops::ControlFlow::Continue(()));
    let adapter = trained.unwrap().adapter;
    let samples = encode_records(&base, &all, spec.seq_len).unwrap();
    let ids = [[1; 32], [2; 32]];
    let corpus = Corpus { samples: &samples, owners: &owners, contributions: &ids };
    let index_spec = IndexSpec { dims: 1024, ..IndexSpec::default() };
    let whole = GradientSpace::whole(&adapter, base.config());
    let chosen = GradientSpace::choose(&adapter, base.config(), 5).unwrap();
    assert_eq!(chosen, whole);
    assert_eq!(whole.numbers(), adapter.flat().numel() as u64);
    let two_sided = GradientSpace::two_sided(&adapter, base.config(), index_spec.seed).unwrap();
    assert!(two_sided.numbers() < whole.numbers() / 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("influence.idx");
    let build = |spec: &IndexSpec, space: &GradientSpace, calls: &mut Vec<usize>| {
        build_influence(&base, &adapter, corpus, spec, space, &path, &mut |done| {
            calls.push(done);
            Ok(())
        })
        .unwrap()
    };
    let few_dims = IndexSpec { dims: 8, ..index_spec };
    let solved_on_disk = build(&few_dims, &whole, &mut vec![]);
    assert_eq!((solved_on_disk.rows(), solved_on_disk.sketch().dims), (12, 8));
    let forms = [(false, false), (false, true), (true, false), (true, true)];
    let spaces = forms.into_iter().flat_map(|(faded, balanced)| {
        let form = Form { faded, balanced };
        [whole.clone().with(form), two_sided.clone().with(form)]
    });
    for space in spaces {
        let mut calls = vec![];
        let index = build(&index_spec, &space, &mut calls);
        assert_eq!(tributary_attribution::Index::open(&path).unwrap(), index);
        assert_eq!(calls, (1..=12).collect::<Vec<_>>());
        assert_eq!(GradientSpace::of(&index, &adapter, base.config()).unwrap(), space);
        // Answers to known questions, all in one pass and one by one.
        let asked: Vec<Sample> = [1usize, 4, 7, 10].map(|i| samples[i].clone()).to_vec();
        let together = queries(&base, &adapter, &index, &asked).unwrap();
        for ((query, sample), row) in together.iter().zip(&asked).zip([1u32, 4, 7, 10]) {
            let found = index.score(query, 1).unwrap();
            assert_eq!(found.records[0].row, row);
            assert_eq!(found.largest().unwrap().0, ids[row as usize / 6]);
            let alone = queries(&base, &adapter, &index, std::slice::from_ref(sample)).unwrap();
            let apart = query.integers().iter().zip(alone[0].integers());
            assert!(apart.into_iter().all(|(a, b)| a.abs_diff(*b) <= 1));
        }
    }
    // A projection of another seed than the index's would never be found again.
    let seeded = IndexSpec { seed: index_spec.seed + 1, ..index_spec };
    let refused =
        build_influence(&base, &adapter, corpus, &seeded, &two_sided, &path, &mut |_| Ok(()));
    assert!(matches!(refused, Err(EngineError::Spec(_))));
    // Indices of another adapter's size and of another kind of gradient are refused.
    let made = |input: u64, form: u32| {
        let sketch = Sketch { seed: 0, input, dims: 8 };
        let mut builder =
            Builder::new(sketch, index_spec.damping(), vec![[1; 32]], 1).unwrap().form(form);
        builder.set(0, 0, &vec![1.0; input as usize]).unwrap();
        GradientSpace::of(&builder.build().unwrap(), &adapter, base.config())
    };
    let refused = made(77, 1);
    assert!(matches!(refused, Err(EngineError::Attribution(IndexError::Length { .. }))));
    assert!(matches!(made(adapter.flat().numel() as u64, 9), Err(EngineError::Request(_))));
    // So is a number that is no token.
    let bad = [Sample { tokens: vec![3, -1], learn: vec![false, true] }];
    let corpus = Corpus { samples: &bad, owners: &[0], contributions: &ids };
    assert!(matches!(build_spans(corpus), Err(EngineError::Record { index: 0, .. })));
}
