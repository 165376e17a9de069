use super::*;
use crate::Key;
use tributary_primitives::{signing::Signable, ContributionId};

fn parse(text: &str) -> Result<Shard, ShardError> {
    Shard::parse(text.as_bytes().to_vec())
}

#[test]
fn the_forms_of_answers_are_read() {
    let shard = parse(concat!(
        r#"{"prompt":"Who?","completion":"Nobody.","source":"a book"}"#, "\n",
        r#"{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}"#, "\r\n",
        r#"{"text":"Once."}"#, "\n\n",
    ))
    .unwrap();
    assert_eq!(shard.len(), 3);
    assert_eq!(
        shard.parsed()[0],
        Record::Completion { prompt: "Who?".into(), completion: "Nobody.".into() }
    );
    assert!(matches!(&shard.parsed()[1], Record::Chat { messages } if messages.len() == 3));
    assert_eq!(shard.records().nth(2).unwrap(), br#"{"text":"Once."}"#);
    // Line ends are part of the file but not of the records.
    assert!(!shard.records().any(|record| record.ends_with(b"\r")));
    assert_eq!(shard.content(), digest_of(shard.bytes()));
}

#[test]
fn preferences_are_read_and_proven_like_other_records() {
    let line = r#"{"prompt":"Who?","chosen":"Nobody.","rejected":"Me.","source":"a book"}"#;
    let other = r#"{"prompt":"Who?","chosen":"Me.","rejected":"Nobody."}"#;
    let shard = parse(&format!("{line}\r\n{other}\n")).unwrap();
    assert_eq!(shard.kind(), RecordKind::Preferences);
    let expected = Record::Preference {
        prompt: "Who?".into(),
        chosen: "Nobody.".into(),
        rejected: "Me.".into(),
    };
    assert_eq!(shard.parsed()[0], expected);
    // Written out again it is the form that is read, and the one that others read too.
    let written = serde_json::to_string(&expected).unwrap();
    assert_eq!(written, r#"{"prompt":"Who?","chosen":"Nobody.","rejected":"Me."}"#);
    assert_eq!(parse(&written).unwrap().parsed(), [expected]);
    // What is proven is the line as it stands, with what was ignored in it.
    let seed = [8; 32];
    let proof = shard.prove(&seed, 0).unwrap();
    assert_eq!(proof.record, line);
    assert!(proof.holds(&shard.root(&seed)));
    assert!(!RecordProof { record: written, ..proof }.holds(&shard.root(&seed)));
    assert_eq!(parse(r#"{"text":"a"}"#).unwrap().kind(), RecordKind::Answers);
}

#[test]
fn a_shard_holds_one_kind_of_records() {
    let preference = r#"{"prompt":"a","chosen":"b","rejected":"c"}"#;
    let forms = [
        r#"{"prompt":"a","completion":"b"}"#,
        r#"{"messages":[{"role":"assistant","content":"a"}]}"#,
        r#"{"text":"a"}"#,
    ];
    for answer in forms {
        let error = parse(&format!("{answer}\n{answer}\n{preference}\n")).unwrap_err();
        assert!(
            matches!(error, ShardError::MixedKinds { line: 3, kind: RecordKind::Answers }),
            "{error}"
        );
        let error = parse(&format!("{preference}\n{answer}\n")).unwrap_err();
        let kind = RecordKind::Preferences;
        assert!(
            matches!(error, ShardError::MixedKinds { line: 2, kind: found } if found == kind),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().starts_with("line 2 is not one of the preferences"), "{error}");
    }
    assert_eq!(parse(&forms.join("\n")).unwrap().len(), 3);
}

#[test]
fn a_last_line_without_an_end_counts() {
    assert_eq!(parse(r#"{"text":"a"}"#).unwrap().len(), 1);
}

#[test]
fn each_bad_line_is_named_with_its_reason() {
    let good = r#"{"text":"fine"}"#;
    for (line, reason) in [
        ("{", "not JSON"),
        (r#"{"text":"a"} trailing"#, "not JSON"),
        ("[1]", "a list, not an object"),
        ("7", "a number, not an object"),
        (r#""text""#, "a string, not an object"),
        ("null", "null, not an object"),
        ("{}", "neither"),
        (r#"{"chosen":"x","rejected":"y"}"#, "no `prompt`"),
        (r#"{"rejected":[{"role":"user","content":"x"}]}"#, "no `prompt`"),
        (r#"{"prompt":"x","chosen":"y"}"#, "no `rejected`"),
        (r#"{"prompt":"x","rejected":"y"}"#, "no `chosen`"),
        (r#"{"prompt":"x","chosen":"y","rejected":"y"}"#, "are the same"),
        (r#"{"prompt":"x","chosen":"","rejected":"y"}"#, "`chosen` is empty"),
        (r#"{"prompt":"x","chosen":"y","rejected":"\n"}"#, "`rejected` is empty"),
        (r#"{"prompt":"","chosen":"x","rejected":"y"}"#, "`prompt` is empty"),
        (r#"{"prompt":"x","chosen":["y"],"rejected":"z"}"#, "`chosen` is a list"),
        (r#"{"prompt":["x"],"chosen":"y","rejected":"z"}"#, "`prompt` is a list"),
        (r#"{"prompt":"w","completion":"x","chosen":"y","rejected":"z"}"#, "beside `chosen`"),
        (r#"{"text":"w","prompt":"x","chosen":"y","rejected":"z"}"#, "at once"),
        (r#"{"completion":"x"}"#, "no `prompt`"),
        (r#"{"prompt":"x"}"#, "no `completion`"),
        (r#"{"prompt":"x","completion":3}"#, "`completion` is a number"),
        (r#"{"prompt":" ","completion":"x"}"#, "`prompt` is empty"),
        (r#"{"text":""}"#, "`text` is empty"),
        (r#"{"text":["x"]}"#, "`text` is a list"),
        (r#"{"text":"x","prompt":"y","completion":"z"}"#, "at once"),
        (r#"{"messages":[]}"#, "empty"),
        (r#"{"messages":{}}"#, "an object, not a list"),
        (r#"{"messages":["x"]}"#, "message 1: it is a string"),
        (r#"{"messages":[{"role":"user"}]}"#, "message 1: it has no `content`"),
        (r#"{"messages":[{"role":"tool","content":"x"}]}"#, "role is `tool`"),
        (r#"{"messages":[{"role":"user","content":"x"}]}"#, "nothing to learn"),
        ("\u{feff}{\"text\":\"x\"}", "byte-order mark"),
    ] {
        let error = parse(&format!("{good}\n{line}\n{good}\n")).unwrap_err();
        assert!(matches!(error, ShardError::BadLine { line: 2, .. }), "{line}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("line 2: ") && text.contains(reason), "{line}: {text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_named() {
    let mut bytes = b"{\"text\":\"a\"}\n{\"text\":\"".to_vec();
    bytes.extend([0xff, b'"', b'}', b'\n']);
    let error = Shard::parse(bytes).unwrap_err().to_string();
    assert_eq!(error, "line 2: it is not UTF-8 (byte 10)");
}

#[test]
fn blank_lines_are_allowed_at_the_end_only() {
    assert_eq!(parse("{\"text\":\"a\"}\n\r\n\n").unwrap().len(), 1);
    let error = parse("{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n").unwrap_err();
    assert!(matches!(error, ShardError::BadLine { line: 2, .. }), "{error}");
    for empty in ["", "\n", "\r\n\r\n"] {
        assert!(matches!(parse(empty), Err(ShardError::Empty)));
    }
}

#[test]
fn sizes_are_bounded() {
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(LINE_MAX));
    assert!(matches!(parse(&long), Err(ShardError::LongLine { line: 1, .. })));
    let long = "x".repeat(LINE_MAX / 2);
    let long = format!("{{\"prompt\":\"a\",\"chosen\":\"{long}\",\"rejected\":\"{long}y\"}}");
    assert!(matches!(parse(&long), Err(ShardError::LongLine { line: 1, .. })));
    let fits = format!("{{\"text\":\"{}\"}}", "x".repeat(LINE_MAX - 11));
    assert_eq!(fits.len(), LINE_MAX);
    assert_eq!(parse(&fits).unwrap().len(), 1);
    let large = vec![b' '; usize::try_from(SHARD_MAX).unwrap() + 1];
    assert!(matches!(Shard::parse(large), Err(ShardError::TooLarge { .. })));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::File::create(&path).unwrap().set_len(SHARD_MAX + 1).unwrap();
    assert!(matches!(Shard::read(&path), Err(ShardError::TooLarge { .. })));
    assert_eq!(Shard::read(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn any_record_can_be_proven_and_no_other() {
    let shard = parse("{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n").unwrap();
    let seed = [3; 32];
    let root = shard.root(&seed);
    assert_ne!(root, shard.root(&[4; 32]));
    for index in 0..3 {
        let proof = shard.prove(&seed, index).unwrap();
        assert!(proof.holds(&root));
        assert!(!RecordProof { record: "{\"text\":\"d\"}".into(), ..proof.clone() }.holds(&root));
        assert!(!RecordProof { salt: hex::encode([0; 32]), ..proof.clone() }.holds(&root));
        assert!(!RecordProof { salt: "zz".into(), ..proof }.holds(&root));
    }
    assert!(matches!(
        shard.prove(&seed, 3),
        Err(ShardError::NoSuchRecord { index: 3, records: 3 })
    ));
}

#[test]
fn an_offer_is_signed_for_one_chain() {
    let shard = parse("{\"text\":\"a\"}\n").unwrap();
    let key = Key::from_uri("//Payout").unwrap();
    let (here, there) = (H256::repeat_byte(1), H256::repeat_byte(2));
    let offer = shard.offer(DatanetId(7), &[1; 32], key.account(), 100);
    assert_eq!((offer.records, offer.bytes), (1, 13));
    let signature = key.sign(&offer, &here);
    assert!(offer.verify(&here, &signature, &key.account()));
    assert!(!offer.verify(&there, &signature, &key.account()));
    let other = ContributionOffer { datanet: DatanetId(8), ..offer };
    assert!(!other.verify(&here, &signature, &key.account()));
}

#[test]
fn the_seed_of_a_shard_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let book = ShardBook::new(folder.path().join("shards"));
    let shard = parse("{\"text\":\"a\"}\n").unwrap();
    let file = Path::new("a.jsonl");
    let seed = book.seed_for(&shard, file, "payout", DatanetId(1)).unwrap();
    assert_eq!(book.seed_for(&shard, file, "payout", DatanetId(1)).unwrap(), seed);
    let mut kept = book.get(&shard.content()).unwrap().unwrap();
    assert_eq!(kept.records_root, shard.root(&seed));
    kept.contribution = Some(ContributionId(5));
    book.put(&kept).unwrap();
    assert_eq!(book.by_contribution(ContributionId(5)).unwrap(), Some(kept));
    assert_eq!(book.by_contribution(ContributionId(6)).unwrap(), None);
    let path = book.path(&shard.content());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "nonsense").unwrap();
    assert!(matches!(book.get(&shard.content()), Err(ShardError::Kept { .. })));
}
