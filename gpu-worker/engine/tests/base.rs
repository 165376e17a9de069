//! Making a base model, its tokenizer, and how records become tokens.

use std::path::{Path, PathBuf};

use tch::{Device, Kind};
use tributary_engine::base::{make_base_model, BaseSpec};
use tributary_engine::{
    encode_records, BaseModel, EngineError, Message, Record, Sample, TextStream, WeightStore,
};

fn shipped() -> BaseModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    BaseModel::load(&folder, Device::Cpu).unwrap()
}

#[test]
fn the_shipped_base_is_small_and_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    let files = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().metadata().unwrap().len());
    assert!(files.sum::<u64>() <= 8_000_000);
    let base = shipped();
    let names = base.config().parameters();
    let count: i64 = names.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum();
    assert!(count <= 4_000_000, "{count} parameters");
    assert_eq!(base.config().vocab_size, 2048);
    // Weights are stored as bf16: half as many bytes as f32 would have.
    let bytes = std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert!(bytes < 2 * count as u64 + 20_000);
    let store = WeightStore::open_model(&folder).unwrap();
    assert_eq!(store.names().count(), names.len());
    let norm = store.get("model.norm.weight", &[192], Kind::Float, Device::Cpu).unwrap();
    assert!(norm.isfinite().all().int64_value(&[]) == 1);
}

#[test]
fn streams_never_break_a_character() {
    let base = shipped();
    let text = "Größe: 3 € — 漢字 und 🦀🦀 naïve.";
    let tokens = base.tokenizer().encode(text, false).unwrap();
    assert!(tokens.len() > 20, "most of these characters are several tokens");
    assert_eq!(base.tokenizer().decode(&tokens).unwrap(), text);
    let mut stream = TextStream::new(base.tokenizer().clone());
    let mut pieces: Vec<String> = tokens.iter().map(|t| stream.push(*t).unwrap()).collect();
    assert!(pieces.iter().all(|p| !p.contains('\u{FFFD}')), "{pieces:?}");
    assert!(pieces.iter().any(String::is_empty), "something was held back");
    assert_eq!(pieces.concat(), text);
    // An answer that ends within a character shows that it does.
    let crab = base.tokenizer().encode("🦀", false).unwrap();
    let mut stream = TextStream::new(base.tokenizer().clone());
    pieces = crab[..crab.len() - 1].iter().map(|t| stream.push(*t).unwrap()).collect();
    assert_eq!(pieces.concat().trim(), "");
    assert!(stream.finish().unwrap().contains('\u{FFFD}'));
}

#[test]
fn conversations_are_learnt_as_they_are_served() {
    let base = shipped();
    let tokenizer = base.tokenizer();
    let turns = |list: &[(&str, &str)]| -> Vec<Message> {
        list.iter().map(|(r, c)| Message { role: r.to_string(), content: c.to_string() }).collect()
    };
    let all = turns(&[
        ("system", "Be brief."),
        ("user", "Hello?"),
        ("assistant", "Yes."),
        ("user", "And?"),
        ("assistant", "No."),
    ]);
    let sample =
        Sample::encode(&Record::Messages { messages: all.clone() }, tokenizer, 256, 0).unwrap();
    // What is learnt are the two answers with their closing tokens.
    let learnt: Vec<i64> = sample
        .tokens
        .iter()
        .zip(&sample.learn)
        .filter_map(|(t, learn)| learn.then_some(*t))
        .collect();
    let end = tokenizer.eos()[0];
    let mut expected = tokenizer.encode("Yes.", false).unwrap();
    expected.push(end);
    expected.extend(tokenizer.encode("No.", false).unwrap());
    expected.push(end);
    assert_eq!(learnt, expected);
    // And each stands after exactly the prompt that serving would give.
    let prompt = tokenizer.encode_chat(&all[..4]).unwrap();
    assert_eq!(sample.tokens[..prompt.len()], prompt);

    let pair = Sample::encode(&Record::pair("Hello?", "Yes."), tokenizer, 256, 0).unwrap();
    let same = turns(&[("user", "Hello?"), ("assistant", "Yes.")]);
    let same = Sample::encode(&Record::Messages { messages: same }, tokenizer, 256, 0).unwrap();
    assert_eq!(pair, same);

    let text = Record::Text { text: "Plain words.".into() };
    let text = Sample::encode(&text, tokenizer, 256, 0).unwrap();
    assert_eq!(text.learnt(), text.tokens.len() - 1, "all but the first");
}

#[test]
fn records_are_read_in_three_forms_and_refused_by_number() {
    let read = |json: &str| serde_json::from_str::<Record>(json);
    let pair = read(r#"{"prompt":"a","completion":"b","source":"elsewhere"}"#).unwrap();
    assert_eq!(pair, Record::pair("a", "b"));
    assert!(matches!(
        read(r#"{"messages":[{"role":"user","content":"a"}]}"#).unwrap(),
        Record::Messages { .. }
    ));
    assert!(matches!(read(r#"{"text":"a"}"#).unwrap(), Record::Text { .. }));
    assert!(read(r#"{"question":"a"}"#).is_err());

    let base = shipped();
    let unanswered = Record::Messages { messages: vec![Message::user("a")] };
    let error = encode_records(&base, &[pair.clone(), unanswered], 64).unwrap_err();
    assert!(matches!(error, EngineError::Record { index: 1, .. }), "{error}");
    let long = Record::pair("word ".repeat(100), "b");
    let error = encode_records(&base, &[pair.clone(), pair, long], 64).unwrap_err();
    assert!(matches!(error, EngineError::Record { index: 2, .. }), "{error}");
}

/// Text to learn from: comments in a source file, prose, and what must be left out.
fn library(folder: &Path) -> PathBuf {
    let words = ["river", "mill", "stone", "wheel", "baker", "flour", "bread", "horse", "road"];
    let mut comments = String::new();
    for i in 0..9000 {
        let pick = |k: usize| words[(i * 7 + k * k * 5 + i / 9) % words.len()];
        let (a, b, c) = (pick(1), pick(2), pick(3));
        comments
            .push_str(&format!("/// The {a} stands beside the {b} and every {c} knows of it.\n"));
        comments.push_str("fn code_is_no_prose(x: &mut Vec<u8>) -> Result<(), ()> { x.clear() }\n");
        if i % 9 == 0 {
            comments.push_str("///\n");
        }
        if i % 300 == 299 {
            std::fs::write(folder.join(format!("{i}.rs")), &comments).unwrap();
            comments.clear();
        }
    }
    std::fs::write(folder.join("latin1.txt"), [0xE9; 500]).unwrap();
    folder.to_path_buf()
}

fn small(text: PathBuf) -> BaseSpec {
    BaseSpec {
        text: vec![text],
        vocab_size: 420,
        layers: 1,
        hidden_size: 32,
        intermediate_size: 64,
        heads: 2,
        kv_heads: 1,
        max_position: 256,
        steps: 30,
        batch_tokens: 512,
        subjects: 4,
        ..BaseSpec::default()
    }
}

#[test]
fn a_base_can_be_made_and_made_again() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::create_dir(&text).unwrap();
    let spec = small(library(&text));
    let make = |name: &str| {
        let out = folder.path().join(name);
        let mut steps = 0;
        let report = make_base_model(&out, &spec, |p| {
            steps += 1;
            assert_eq!(p.step, steps);
        })
        .unwrap();
        assert_eq!(steps, 30);
        (out, report)
    };
    let (first, report) = make("first");
    let (second, _) = make("second");
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&first), read(&second), "{file}");
    }
    // Uniform guessing over 420 tokens costs ln 420 = 6.04.
    assert!(report.last.prose_loss.unwrap() < 6.04, "{report:?}");
    assert!(report.last.answer_loss.unwrap() < 6.04, "{report:?}");
    let base = BaseModel::load(&first, Device::Cpu).unwrap();
    assert_eq!(base.config().vocab_size, 420);
    assert_eq!(
        base.tokenizer().decode(&base.tokenizer().encode("A river!", false).unwrap()).unwrap(),
        "A river!"
    );

    let nothing = BaseSpec { text: vec![folder.path().join("first/config.json")], ..spec.clone() };
    let error = make_base_model(&folder.path().join("third"), &nothing, |_| {}).unwrap_err();
    assert!(matches!(error, EngineError::Spec(_)), "{error}");
    let nowhere = BaseSpec { text: vec!["/nowhere/at/all".into()], ..spec };
    let error = make_base_model(&folder.path().join("third"), &nowhere, |_| {}).unwrap_err();
    assert!(matches!(error, EngineError::Io { .. }), "{error}");
}
