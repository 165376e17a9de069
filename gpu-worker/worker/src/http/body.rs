//! The bodies that the API takes: OpenAI's, of which every field is checked by name.

use crate::{
    backend::{Generate, Message, Prompt},
    error::{Result, WorkerError},
};
use serde_json::{Map, Value};

const MAX_MESSAGES: usize = 256;
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 256;

/// Which of the two endpoints is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// A checked body.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Name or id of the model.
    pub model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// What to generate.
    pub generate: Generate,
}

/// Reads a body. `default_tokens` is the length of an answer when none is asked for.
pub fn parse(endpoint: Endpoint, body: &[u8], default_tokens: u32) -> Result<Ask> {
    let value: Value = serde_json::from_slice(body).map_err(|e| WorkerError::BadRequest {
        message: format!("the body is not JSON: {e}"),
        param: None,
    })?;
    let Value::Object(fields) = value else {
        return Err(WorkerError::BadRequest {
            message: "the body has to be a JSON object".into(),
            param: None,
        });
    };
    let fields = Fields(fields);
    fields.refuse_unsupported()?;
    let model = fields.text("model")?.ok_or_else(|| missing("model"))?;
    let prompt = match endpoint {
        Endpoint::Chat => Prompt::Chat(fields.messages()?),
        Endpoint::Text => Prompt::Text(fields.prompt()?),
    };
    let asked = match fields.integer("max_completion_tokens", 1, u64::from(u32::MAX))? {
        Some(tokens) => Some(tokens),
        None => fields.integer("max_tokens", 1, u64::from(u32::MAX))?,
    };
    Ok(Ask {
        model,
        stream: fields.boolean("stream")?.unwrap_or(false),
        generate: Generate {
            prompt,
            max_tokens: asked.map_or(default_tokens, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            temperature: fields.number("temperature", 0.0, 2.0)?.unwrap_or(0.0),
            top_p: match fields.number("top_p", 0.0, 1.0)? {
                Some(0.0) => return Err(WorkerError::field("top_p", "`top_p` has to be above 0")),
                top_p => top_p.unwrap_or(1.0),
            },
            seed: fields.integer("seed", 0, u64::MAX)?,
            stop: fields.stops()?,
        },
    })
}

fn missing(field: &str) -> WorkerError {
    WorkerError::field(field, format!("`{field}` is missing"))
}

fn wrong(field: &str, expected: &str) -> WorkerError {
    WorkerError::field(field, format!("`{field}` has to be {expected}"))
}

/// The fields of a body; a null is a field that is not there.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<String>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(wrong(field, "a text that is not empty")),
        }
    }

    fn boolean(&self, field: &str) -> Result<Option<bool>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong(field, "true or false")),
        }
    }

    fn integer(&self, field: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(field, &format!("a whole number from {least} to {most}"))),
        }
    }

    fn number(&self, field: &str, least: f64, most: f64) -> Result<Option<f64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(field, &format!("a number from {least} to {most}"))),
        }
    }

    fn stops(&self) -> Result<Vec<String>> {
        let expected = || wrong("stop", "a text or a list of up to 4 texts of 1 to 256 bytes");
        let stops: Vec<String> = match self.get("stop") {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => list
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(expected))
                .collect::<Result<_>>()?,
            Some(_) => return Err(expected()),
        };
        let fits = |s: &String| (1..=MAX_STOP_BYTES).contains(&s.len());
        if stops.len() > MAX_STOPS || !stops.iter().all(fits) {
            return Err(expected());
        }
        Ok(stops)
    }

    fn prompt(&self) -> Result<String> {
        match self.get("prompt") {
            None => Err(missing("prompt")),
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(text)] if !text.is_empty() => Ok(text.clone()),
                _ => Err(wrong("prompt", "one text; lists of prompts or tokens are not taken")),
            },
            Some(_) => Err(wrong("prompt", "a text that is not empty")),
        }
    }

    fn messages(&self) -> Result<Vec<Message>> {
        let list = match self.get("messages") {
            None => return Err(missing("messages")),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(wrong("messages", "a list of messages")),
        };
        if list.is_empty() || list.len() > MAX_MESSAGES {
            return Err(wrong("messages", &format!("a list of 1 to {MAX_MESSAGES} messages")));
        }
        list.iter().enumerate().map(|(i, item)| message(i, item)).collect()
    }

    /// Fields that would change the answer and that no engine here can honour.
    fn refuse_unsupported(&self) -> Result<()> {
        let off = |value: &Value| match value {
            Value::Bool(on) => !on,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        for field in [
            "tools",
            "functions",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "frequency_penalty",
            "presence_penalty",
            "echo",
            "suffix",
        ] {
            if self.get(field).is_some_and(|value| !off(value)) {
                return Err(WorkerError::field(field, format!("`{field}` is not supported")));
            }
        }
        for field in ["n", "best_of"] {
            if self.get(field).is_some_and(|value| value.as_u64() != Some(1)) {
                return Err(WorkerError::field(
                    field,
                    format!("`{field}` other than 1 is not supported"),
                ));
            }
        }
        if let Some(format) = self.get("response_format") {
            if format.get("type").and_then(Value::as_str) != Some("text") {
                let message = "`response_format` other than text is not supported";
                return Err(WorkerError::field("response_format", message));
            }
        }
        Ok(())
    }
}

fn message(index: usize, value: &Value) -> Result<Message> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let role = match value.get("role").and_then(Value::as_str) {
        Some(role @ ("system" | "user" | "assistant")) => role.to_owned(),
        Some("developer") => "system".to_owned(),
        _ => return Err(wrong(&at("role"), "system, user or assistant")),
    };
    let content = match value.get("content") {
        Some(Value::String(text)) => text.clone(),
        // The parts of a message; only text can be read here.
        Some(Value::Array(parts)) => {
            let texts: Option<Vec<&str>> = parts
                .iter()
                .map(|part| {
                    let text = part.get("type").and_then(Value::as_str) == Some("text");
                    part.get("text").and_then(Value::as_str).filter(|_| text)
                })
                .collect();
            texts.ok_or_else(|| wrong(&at("content"), "text or parts of type text"))?.concat()
        }
        _ => return Err(wrong(&at("content"), "a text")),
    };
    Ok(Message { role, content })
}

#[cfg(test)]
mod tests {
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
            "seed": 3, "stop": ["a", "b"], "n": 1, "frequency_penalty": 0, "user": "anybody",
            "messages": [
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            ],
        }))
        .unwrap();
        assert!(ask.stream);
        assert_eq!(ask.generate.max_tokens, 7);
        assert_eq!(ask.generate.stop, vec!["a", "b"]);
        let Prompt::Chat(messages) = ask.generate.prompt else { panic!() };
        assert_eq!(messages[0].role, "system");
        assert_eq!(messages[1].content, "xy");
    }

    #[test]
    fn defaults_are_greedy_and_of_the_default_length() {
        let ask =
            parse(Endpoint::Text, br#"{"model":"m","prompt":["hi"],"seed":null}"#, 64).unwrap();
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
            ("logprobs", json!(true)),
            ("response_format", json!({"type": "json_object"})),
        ] {
            assert_eq!(with(field, value.clone()).as_deref(), Some(field), "{field}: {value}");
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
}
