//! Constrained and steered answers of the base model that is shipped, through the whole engine.
//!
//! The base knows nothing of JSON, and at a high temperature draws nearly anything that it may: a
//! good adversary for a grammar.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{json, Value};
use tch::Device;
use tributary_engine::{
    generate, BaseModel, Engine, EngineError, EngineOptions, Event, FinishReason, Finished, Format,
    GenerateRequest, Guidance, Message, Pooling, Prompt, Request, Sampling, TokenLogprobs,
};

fn base() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny")
}

fn start(slots: usize) -> Engine {
    let options = EngineOptions { slots, waiting: 256, threads: 1, ..EngineOptions::new(base()) };
    Engine::start(options).unwrap()
}

fn wild(seed: u64) -> Sampling {
    Sampling { temperature: 3.0, seed, ..Sampling::GREEDY }
}

fn ask(sampling: Sampling, max_tokens: usize, guidance: Guidance) -> GenerateRequest {
    GenerateRequest {
        adapter: None,
        prompt: Prompt::Chat(vec![Message::user("Write something.")]),
        max_tokens,
        sampling,
        stop: vec![],
        logprobs: None,
        guidance,
    }
}

type Answer = (Finished, Vec<Option<TokenLogprobs>>);

async fn answer(engine: &Engine, request: GenerateRequest) -> Result<Answer, EngineError> {
    let mut events = engine.generate(request)?;
    let mut all = vec![];
    while let Some(event) = events.recv().await {
        match event {
            Event::Token { logprobs, .. } => all.push(logprobs),
            Event::Done(done) => return Ok((done, all)),
            Event::Failed(error) => return Err(error),
        }
    }
    panic!("the stream ended without a last event");
}

fn grammar(engine: &Engine, schema: Value) -> Guidance {
    let grammar = engine.grammar(&Format::JsonSchema(schema)).unwrap();
    Guidance { grammar: Some(grammar), ..Guidance::default() }
}

type Check = fn(&Value) -> bool;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Schemas, each with what a value that it accepts is like, and how many of 24 wild answers are
/// at least to be whole within the limit of tokens.
fn schemas() -> Vec<(&'static str, Value, Check, usize)> {
    vec![
        (
            "a record",
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "age": {"type": "integer", "minimum": 0, "maximum": 130},
                    "tags": {"type": "array", "maxItems": 3,
                        "items": {"enum": ["red", "green", "blü\u{1f98a}"]}},
                },
                "required": ["name", "age"],
                "additionalProperties": false,
            }),
            |v| {
                let tags = v.get("tags").map_or(Some(vec![]), |t| t.as_array().cloned());
                v["name"].as_str().is_some_and(|s| s.chars().count() <= 12)
                    && v["age"].as_u64().is_some_and(|n| n <= 130)
                    && keys(v).iter().all(|k| ["name", "age", "tags"].contains(k))
                    && tags.is_some_and(|tags| {
                        tags.len() <= 3
                            && tags.iter().all(|t| {
                                ["red", "green", "blü\u{1f98a}"].contains(&t.as_str().unwrap_or(""))
                            })
                    })
            },
            20,
        ),
        (
            "a number or nothing",
            json!({"anyOf": [{"type": "null"}, {"type": "number", "minimum": -2, "maximum": 3}]}),
            |v| v.is_null() || v.as_f64().is_some_and(|n| (-2.0..=3.0).contains(&n)),
            20,
        ),
        (
            "a date",
            json!({"type": "string", "format": "date"}),
            |v| {
                let parts: Vec<u32> =
                    v.as_str().unwrap_or("").split('-').filter_map(|p| p.parse().ok()).collect();
                matches!(parts.as_slice(), [_, 1..=12, 1..=31])
            },
            24,
        ),
        (
            "a pattern",
            json!({"type": "string", "pattern": "^[a-c]{2,5}\\d$"}),
            |v| {
                let text = v.as_str().unwrap_or("").as_bytes();
                text.split_last().is_some_and(|(last, start)| {
                    last.is_ascii_digit()
                        && (2..=5).contains(&start.len())
                        && start.iter().all(|b| (b'a'..=b'c').contains(b))
                })
            },
            24,
        ),
        (
            "a list of at least five",
            json!({"type": "array", "items": {"type": "boolean"}, "minItems": 5, "maxItems": 9}),
            |v| {
                let list = v.as_array().cloned().unwrap_or_default();
                (5..=9).contains(&list.len()) && list.iter().all(Value::is_boolean)
            },
            20,
        ),
        (
            "a tree",
            json!({
                "$ref": "#/$defs/tree",
                "$defs": {"tree": {
                    "type": "object",
                    "properties": {
                        "leaf": {"const": 1},
                        "kids": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/tree"}},
                    },
                    "required": ["leaf"],
                    "additionalProperties": false,
                }},
            }),
            |v| {
                fn tree(v: &Value) -> bool {
                    let kids = v.get("kids").map_or(Some(vec![]), |k| k.as_array().cloned());
                    v["leaf"] == 1
                        && keys(v).iter().all(|k| ["leaf", "kids"].contains(k))
                        && kids.is_some_and(|kids| kids.len() <= 2 && kids.iter().all(tree))
                }
                tree(v)
            },
            6,
        ),
        (
            "names by pattern",
            json!({
                "type": "object", "minProperties": 1, "maxProperties": 1,
                "patternProperties": {"^x_[a-z]{1,3}$": {"type": "null"}},
                "additionalProperties": false,
            }),
            |v| {
                let keys = keys(v);
                keys.len() == 1
                    && keys[0].starts_with("x_")
                    && (3..=5).contains(&keys[0].len())
                    && v[keys[0]].is_null()
            },
            20,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wild_answers_follow_their_schema_unless_they_are_cut() {
    let engine = start(24);
    for (name, schema, accepts, least) in schemas() {
        let guidance = grammar(&engine, schema);
        let asked = (0..24).map(|seed| answer(&engine, ask(wild(seed), 120, guidance.clone())));
        let mut texts = BTreeSet::new();
        let mut whole = 0;
        for outcome in join_all(asked).await {
            let (done, _) = outcome.unwrap();
            match done.reason {
                FinishReason::Stop => {
                    let value = serde_json::from_str(&done.text)
                        .unwrap_or_else(|e| panic!("{name}: {e}: {:?}", done.text));
                    assert!(accepts(&value), "{name}: {}", done.text);
                    whole += 1;
                }
                FinishReason::Length => assert_eq!(done.answer_tokens.len(), 120),
                FinishReason::Grammar => panic!("{name}: too complex at {:?}", done.text),
            }
            texts.insert(done.text);
        }
        assert!(whole >= least, "{name}: {whole} whole answers: {texts:?}");
        assert!(texts.len() >= 2, "{name}: {texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_object_will_do_where_only_json_is_asked_for() {
    let engine = start(16);
    let grammar = Some(engine.grammar(&Format::JsonObject).unwrap());
    let guidance = Guidance { grammar, ..Guidance::default() };
    let mut whole = 0;
    // Wild ones are mostly cut; mild ones end.
    let warm = |seed| Sampling { temperature: 1.0, seed, ..Sampling::GREEDY };
    let asked = (0..16).map(|s| if s % 2 == 0 { wild(s) } else { warm(s) });
    let asked = asked.map(|sampling| answer(&engine, ask(sampling, 200, guidance.clone())));
    for outcome in join_all(asked).await {
        let (done, _) = outcome.unwrap();
        if done.reason == FinishReason::Stop {
            let value: Value = serde_json::from_str(&done.text).unwrap();
            assert!(value.is_object(), "{value}");
            whole += 1;
        } else {
            // Even a cut answer is the beginning of an object.
            assert!(done.text.trim_start().starts_with('{'), "{:?}", done.text);
        }
    }
    assert!(whole >= 2, "{whole} whole answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constrained_answer_does_not_depend_on_its_company() {
    let engine = start(8);
    let (_, schema, _, _) = schemas().remove(0);
    let request = || ask(wild(7), 60, grammar(&engine, schema.clone()));
    let (alone, _) = answer(&engine, request()).await.unwrap();
    let company = (0..6).map(|seed| {
        let guidance = match seed % 2 {
            0 => Guidance::default(),
            _ => grammar(&engine, json!({"type": "array", "items": {"type": "integer"}})),
        };
        answer(&engine, ask(wild(100 + seed), 50, guidance))
    });
    let (again, _) = tokio::join!(answer(&engine, request()), join_all(company));
    let (again, _) = again.unwrap();
    assert_eq!((again.answer_tokens, again.text), (alone.answer_tokens, alone.text));
}

#[test]
fn bad_schemas_are_named_and_bombs_are_cheap() {
    let engine = start(1);
    let reason = |schema: Value| match engine.grammar(&Format::JsonSchema(schema.clone())) {
        Err(EngineError::Schema(reason)) => reason,
        Err(other) => panic!("{other}: {schema}"),
        Ok(_) => panic!("taken: {schema}"),
    };
    for (schema, part) in [
        (json!({"type": "thing"}), "#/type"),
        (json!({"properties": {"a": {"not": {}}}}), "#/properties/a/not"),
        (json!({"type": "string", "pattern": "("}), "regex"),
        (json!({"type": "string", "format": "horoscope"}), "horoscope"),
        (json!({"$ref": "#/$defs/nowhere"}), "nowhere"),
        (json!({"type": "integer", "minimum": 3, "maximum": 2}), "minimum"),
        (json!({"allOf": [{"type": "string"}, {"type": "null"}]}), "nsatisfiable"),
        (json!({"$ref": "#"}), "no value satisfies it"),
        (json!(false), "object"),
    ] {
        let found = reason(schema.clone());
        assert!(found.contains(part), "{found:?} does not name {part:?}: {schema}");
        assert!(found.len() < 600, "{found}");
    }

    // None of these may take the process down, or take long: each is refused or compiled in
    // bounded time, and the engine goes on.
    let chain: serde_json::Map<String, Value> = (0..500)
        .map(|i| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)})))
        .chain([("d500".into(), json!({"type": "null"}))])
        .collect();
    let wide = |n: usize| {
        let options: Vec<_> =
            (0..n).map(|i| json!({"properties": {format!("p{i}"): {"type": "string"}}})).collect();
        json!({"anyOf": options})
    };
    let bombs = [
        json!({"$ref": "#/$defs/d0", "$defs": chain}),
        json!({"allOf": [wide(40), wide(40), wide(40), wide(40)]}),
        json!({"type": "string", "pattern": "((((a{1,90}){1,90}){1,90}){1,90})"}),
        json!({"type": "string", "pattern": "(a|aa|aaa|b)*c(a|b){300}"}),
        json!({"type": "array", "minItems": 100_000, "items": {"type": "array", "minItems": 100_000}}),
        json!({"type": "string", "minLength": 99_999, "maxLength": 100_000}),
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"anyOf": [{"$ref": "#/anyOf/1"}, {"$ref": "#/anyOf/0"}]}),
        json!({"type": "integer", "multipleOf": 99_999_989, "minimum": 1}),
        json!({"enum": (0..4_000).map(|i| format!("value {i}")).collect::<Vec<_>>()}),
    ];
    for bomb in bombs {
        let started = Instant::now();
        let outcome = engine.grammar(&Format::JsonSchema(bomb.clone()));
        let text: String = bomb.to_string().chars().take(60).collect();
        println!("{text}: {:?} in {:?}", outcome.as_ref().err(), started.elapsed());
        assert!(
            matches!(outcome, Ok(_) | Err(EngineError::Schema(_))),
            "{:?}: {text}",
            outcome.err()
        );
        // A guard against hanging, five times the compiler's own limit of five seconds.
        assert!(started.elapsed() < Duration::from_secs(25), "{text}");
    }
    assert!(engine.grammar(&Format::JsonSchema(json!({"type": "null"}))).is_ok());
}

#[test]
fn compiling_is_shared_and_refused_beyond_its_places() {
    let engine = Arc::new(start(1));
    let started = Instant::now();
    let slow = |i: usize| {
        let options: Vec<_> =
            (0..30).map(|p| json!({"properties": {format!("p{p}"): {"minimum": i}}})).collect();
        json!({"allOf": [{"anyOf": options}, {"anyOf": options}]})
    };
    let threads: Vec<_> = (0..24)
        .map(|i| {
            let (engine, schema) = (engine.clone(), slow(i));
            std::thread::spawn(move || engine.grammar(&Format::JsonSchema(schema)).map(|_| ()))
        })
        .collect();
    for thread in threads {
        let outcome = thread.join().unwrap();
        let fine =
            matches!(outcome, Ok(()) | Err(EngineError::Overloaded | EngineError::Schema(_)));
        assert!(fine, "{outcome:?}");
    }
    // The places are free again, and what was compiled is found.
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    for _ in 0..40 {
        engine.grammar(&Format::JsonSchema(schema.clone())).unwrap();
    }
    println!("{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probabilities_biases_and_penalties_reach_the_answer() {
    let engine = start(4);
    let request =
        GenerateRequest { logprobs: Some(5), ..ask(Sampling::GREEDY, 12, Guidance::default()) };
    let (plain, logprobs) = answer(&engine, request).await.unwrap();
    assert_eq!(logprobs.len(), plain.answer_tokens.len());
    for (token, logprobs) in plain.answer_tokens.iter().zip(&logprobs) {
        let logprobs = logprobs.as_ref().unwrap();
        assert_eq!(logprobs.top.len(), 5);
        assert_eq!((logprobs.top[0].0, logprobs.top[0].1), (*token, logprobs.chosen));
        assert!(logprobs.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(logprobs.top.iter().map(|(_, l)| f64::from(*l).exp()).sum::<f64>() <= 1.0 + 1e-5);
    }
    // The engine's probabilities are those of one pass over prompt and answer.
    let model = BaseModel::load(&base(), Device::Cpu).unwrap();
    let prompt =
        engine.prompt_tokens(&ask(Sampling::GREEDY, 1, Guidance::default()).prompt).unwrap();
    let all: Vec<i64> = prompt.iter().chain(&plain.answer_tokens).copied().collect();
    let ids = tch::Tensor::from_slice(&all).unsqueeze(0);
    let expected =
        tch::no_grad(|| model.transformer().forward(&ids, None)).log_softmax(-1, tch::Kind::Double);
    for (i, (token, logprobs)) in plain.answer_tokens.iter().zip(&logprobs).enumerate() {
        let at = (prompt.len() + i - 1) as i64;
        let expected = expected.double_value(&[0, at, *token]);
        let found = f64::from(logprobs.as_ref().unwrap().chosen);
        assert!((found - expected).abs() < 1e-3, "token {i}: {found} for {expected}");
    }

    // A token that is biased away never comes, one that is biased in always.
    let first = plain.answer_tokens[0];
    let bias = |added| Guidance { bias: vec![(first, added)], ..Guidance::default() };
    let (without, _) = answer(&engine, ask(Sampling::GREEDY, 12, bias(-100.0))).await.unwrap();
    assert!(!without.answer_tokens.contains(&first));
    let (only, _) = answer(&engine, ask(Sampling::GREEDY, 5, bias(100.0))).await.unwrap();
    assert_eq!(only.answer_tokens, vec![first; 5]);
    let broken = ask(Sampling::GREEDY, 5, bias(f32::NAN));
    assert!(matches!(answer(&engine, broken).await, Err(EngineError::Request(_))));
    // With a penalty above all logits' differences, no token comes twice.
    let sampling = Sampling { presence_penalty: 1e4, ..Sampling::GREEDY };
    let (varied, _) = answer(&engine, ask(sampling, 40, Guidance::default())).await.unwrap();
    let different: BTreeSet<_> = varied.answer_tokens.iter().collect();
    assert_eq!(different.len(), varied.answer_tokens.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_have_length_one_and_tell_texts_apart() {
    let engine = start(2);
    let embed = |text: &str| {
        let prompts = vec![Prompt::Text(text.into())];
        let all = engine.embed(None, prompts, Pooling::Mean);
        async { all.await.map(|all| all[0].vector.clone()) }
    };
    let (a, again, b) = (
        embed("the fox and the grapes").await.unwrap(),
        embed("the fox and the grapes").await.unwrap(),
        embed("General Public License").await.unwrap(),
    );
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    assert_eq!(a, again);
    assert_eq!(a.len() as i64, engine.info().config.hidden_size);
    assert!((dot(&a, &a) - 1.0).abs() < 1e-5);
    assert!(dot(&a, &b) < 0.999, "{}", dot(&a, &b));
    // By the definition: the mean of the last hidden states, divided by its length.
    let model = BaseModel::load(&base(), Device::Cpu).unwrap();
    let tokens = engine.prompt_tokens(&Prompt::Text("the fox and the grapes".into())).unwrap();
    let ids = tch::Tensor::from_slice(&tokens).unsqueeze(0);
    let mean = tch::no_grad(|| model.transformer().hidden(&ids, None)).squeeze_dim(0).mean_dim(
        [0i64].as_slice(),
        false,
        tch::Kind::Double,
    );
    let mean = Vec::<f64>::try_from(&mean / mean.norm()).unwrap();
    assert!(mean.iter().zip(&a).all(|(m, a)| (m - f64::from(*a)).abs() < 1e-5));
    for tokens in [vec![], vec![-1], vec![1 << 40]] {
        assert!(matches!(
            engine.embed_tokens(None, vec![tokens], Pooling::Mean).await,
            Err(EngineError::Request(_))
        ));
    }
    let long = engine.embed_tokens(None, vec![vec![5; 1 << 16]], Pooling::Mean).await;
    assert!(matches!(long, Err(EngineError::PromptTooLong { .. })));
    let unknown = engine.embed_tokens(Some("nobody".into()), vec![vec![5]], Pooling::Mean).await;
    assert!(matches!(unknown, Err(EngineError::UnknownAdapter(_))));
}

#[test]
fn whole_batches_can_be_guided_without_an_engine() {
    let model = BaseModel::load(&base(), Device::Cpu).unwrap();
    let format = Format::JsonSchema(json!({"enum": ["yes", "no"]}));
    let grammar = model.tokenizer().grammar(&format).unwrap();
    let prompt = model.tokenizer().encode_chat(&[Message::user("Is it so?")]).unwrap();
    let request = |seed| Request {
        prompt: prompt.clone(),
        max_tokens: 16,
        sampling: wild(seed),
        stop: vec![],
        logprobs: None,
        guidance: Guidance { grammar: Some(grammar.clone()), ..Guidance::default() },
    };
    let answers = generate(&model, (0..12).map(|seed| (request(seed), None)).collect(), 5).unwrap();
    let texts: BTreeSet<&str> = answers.iter().map(|a| a.text.as_str()).collect();
    assert!(answers.iter().all(|a| a.finished == FinishReason::Stop));
    assert!(texts.iter().all(|t| ["\"yes\"", "\"no\""].contains(t)), "{texts:?}");
    assert_eq!(texts.len(), 2, "{texts:?}");
}
