use super::*;
use serde_json::json;

fn chat(value: Value) -> Result<Ask> {
    parse(Endpoint::Chat, value.to_string().as_bytes(), 64)
}

fn param(outcome: Result<Ask>) -> Option<String> {
    match outcome {
        Err(WorkerError::BadRequest { param, .. }) => param,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_body_is_read() {
    let ask = chat(json!({
        "model": "m", "stream": true, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9,
        "seed": 3, "stop": ["a", "b"], "n": 1, "frequency_penalty": 0.5, "user": "anybody",
        "presence_penalty": -2, "top_k": 40, "min_p": 0.25, "logprobs": true, "top_logprobs": 2,
        "logit_bias": {"50": -100, "7": 1.5}, "stream_options": {"include_usage": true},
        "response_format": {"type": "json_object"},
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        ],
    }))
    .unwrap();
    assert!(ask.stream && ask.include_usage);
    assert_eq!((ask.generate.top_k, ask.generate.min_p), (40, 0.25));
    assert_eq!((ask.generate.frequency_penalty, ask.generate.presence_penalty), (0.5, -2.0));
    assert_eq!(ask.generate.logit_bias, vec![(7, 1.5), (50, -100.0)]);
    assert_eq!(ask.generate.logprobs, Some(2));
    assert_eq!(ask.generate.format, Some(Format::JsonObject));
    assert_eq!(ask.generate.max_tokens, 7);
    assert_eq!(ask.generate.stop, vec!["a", "b"]);
    let Prompt::Chat(messages) = ask.generate.prompt else { panic!() };
    assert_eq!(messages[0].role, "system");
    assert_eq!(messages[1].content, "xy");
}

#[test]
fn defaults_are_greedy_and_of_the_default_length() {
    let ask = parse(Endpoint::Text, br#"{"model":"m","prompt":["hi"],"seed":null}"#, 64).unwrap();
    assert_eq!(ask.generate.max_tokens, 64);
    assert_eq!(ask.generate.temperature, 0.0);
    assert_eq!(ask.generate.seed, None);
    assert!(!ask.stream);
}

#[test]
fn each_wrong_field_is_named() {
    let message = json!([{"role": "user", "content": "hi"}]);
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "m", "messages": message});
        body[field] = value;
        param(chat(body))
    };
    for (field, value) in [
        ("model", json!(3)),
        ("model", json!("")),
        ("messages", json!("hi")),
        ("messages", json!([])),
        ("stream", json!("yes")),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!(-1)),
        ("max_completion_tokens", json!("many")),
        ("temperature", json!(3)),
        ("top_p", json!(0)),
        ("seed", json!(-1)),
        ("stop", json!(5)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("stop", json!([""])),
        ("n", json!(2)),
        ("tools", json!([{"type": "function"}])),
        ("tools", json!({"a": 1})),
        ("top_k", json!(-1)),
        ("top_k", json!(2.5)),
        ("min_p", json!(1.5)),
        ("frequency_penalty", json!(2.1)),
        ("presence_penalty", json!("much")),
        ("logprobs", json!(3)),
        ("top_logprobs", json!(21)),
        ("top_logprobs", json!(2)),
        ("logit_bias", json!([1])),
        ("logit_bias", json!({"a": 1})),
        ("logit_bias", json!({"1": 101})),
        ("logit_bias", json!({"1": 1, "01": 1})),
        ("stream_options", json!({"include_usage": true})),
        ("response_format", json!("json")),
        ("response_format", json!({"type": "xml"})),
    ] {
        assert_eq!(with(field, value.clone()).as_deref(), Some(field), "{field}: {value}");
    }
    for (format, field) in [
        (json!({"type": "json_schema"}), "response_format.json_schema"),
        (
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": "y"}}),
            "response_format.json_schema.schema",
        ),
        (
            json!({"type": "json_schema", "json_schema": {"name": 7, "schema": {}}}),
            "response_format.json_schema.name",
        ),
    ] {
        assert_eq!(with("response_format", format).as_deref(), Some(field));
    }
    for (item, field) in [
        (json!({"content": "hi"}), "messages[0].role"),
        (json!({"role": "tool", "content": "hi"}), "messages[0].role"),
        (json!({"role": "user"}), "messages[0].content"),
        (json!({"role": "user", "content": [{"type": "image_url"}]}), "messages[0].content"),
        (json!("hi"), "messages[0].role"),
    ] {
        assert_eq!(with("messages", json!([item])).as_deref(), Some(field));
    }
    assert_eq!(param(chat(json!({"messages": message}))).as_deref(), Some("model"));
    assert_eq!(param(chat(json!({"model": "m"}))).as_deref(), Some("messages"));
    for prompt in [json!(7), json!([]), json!(["a", "b"]), json!([1, 2]), json!("")] {
        let body = json!({"model": "m", "prompt": prompt}).to_string();
        let outcome = parse(Endpoint::Text, body.as_bytes(), 64);
        assert_eq!(param(outcome).as_deref(), Some("prompt"));
    }
}

#[test]
fn what_is_not_an_object_is_refused() {
    for body in ["", "{", "[]", "3", "{\"model\":}"] {
        assert_eq!(param(parse(Endpoint::Chat, body.as_bytes(), 64)), None);
    }
    assert_eq!(param(parse(Endpoint::Chat, &[0xff, 0xfe], 64)), None);
}

#[test]
fn formats_and_probabilities_are_read_as_each_endpoint_has_them() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let wrapped = json!({"name": "thing", "strict": true, "schema": schema});
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "m", "prompt": "hi"});
        body[field] = value;
        parse(Endpoint::Text, body.to_string().as_bytes(), 64).unwrap().generate
    };
    let format = json!({"type": "json_schema", "json_schema": wrapped});
    assert_eq!(with("response_format", format).format, Some(Format::JsonSchema(schema)));
    assert_eq!(with("response_format", json!({"type": "text"})).format, None);
    assert_eq!(with("logprobs", json!(3)).logprobs, Some(3));
    assert_eq!(with("logprobs", json!(0)).logprobs, Some(0));
    assert_eq!(with("logprobs", json!(null)).logprobs, None);
}

#[test]
fn texts_for_vectors_are_one_or_a_list() {
    let read = |body: Value| parse_vectors(body.to_string().as_bytes());
    let ask = read(json!({"model": "m", "input": "a"})).unwrap();
    assert_eq!((ask.texts, ask.base64), (vec!["a".to_owned()], false));
    let ask = read(json!({"model": "m", "input": ["a", "b"], "encoding_format": "base64"}));
    let ask = ask.unwrap();
    assert_eq!((ask.texts.len(), ask.base64), (2, true));
    for (body, field) in [
        (json!({"input": "a"}), "model"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": ""}), "input"),
        (json!({"model": "m", "input": []}), "input"),
        (json!({"model": "m", "input": [1, 2]}), "input"),
        (json!({"model": "m", "input": vec!["a"; 65]}), "input"),
        (json!({"model": "m", "input": "a", "dimensions": 8}), "dimensions"),
        (json!({"model": "m", "input": "a", "encoding_format": "int8"}), "encoding_format"),
    ] {
        match read(body) {
            Err(WorkerError::BadRequest { param, .. }) => assert_eq!(param.as_deref(), Some(field)),
            other => panic!("{other:?}"),
        }
    }
}
