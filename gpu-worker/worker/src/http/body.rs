//! The bodies that the API takes: OpenAI's, of which every field is checked by name.

mod fields;

use crate::{
    backend::{Format, Generate, Message, Prompt},
    error::{Result, WorkerError},
};
use fields::{missing, wrong, Fields};
use serde_json::Value;

/// Tokens named beside each token of an answer, at most.
const MAX_LOGPROBS: u64 = 20;
/// Texts of one request for vectors, at most.
const MAX_TEXTS: usize = 64;
/// Tokens of which the likelihood is moved, at most.
const MAX_BIASES: usize = 1_024;

/// Which of the endpoints is asked.
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
    /// Whether a stream's usage comes in a last part of its own, as OpenAI sends it.
    pub include_usage: bool,
    /// What to generate.
    pub generate: Generate,
}

/// A checked body of `/v1/embeddings`.
#[derive(Clone, Debug, PartialEq)]
pub struct AskVectors {
    /// Name or id of the model.
    pub model: String,
    /// The texts.
    pub texts: Vec<String>,
    /// Whether vectors are sent as the base64 of their little-endian numbers.
    pub base64: bool,
}

/// Reads a body. `default_tokens` is the length of an answer when none is asked for.
pub fn parse(endpoint: Endpoint, body: &[u8], default_tokens: u32) -> Result<Ask> {
    let fields = Fields::read(body)?;
    refuse_unsupported(&fields)?;
    let model = fields.text("model")?.ok_or_else(|| missing("model"))?;
    let prompt = match endpoint {
        Endpoint::Chat => Prompt::Chat(fields.messages()?),
        Endpoint::Text => Prompt::Text(fields.prompt()?),
    };
    let asked = match fields.integer("max_completion_tokens", 1, u64::from(u32::MAX))? {
        Some(tokens) => Some(tokens),
        None => fields.integer("max_tokens", 1, u64::from(u32::MAX))?,
    };
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let small = |field: &str, most| -> Result<Option<u32>> {
        Ok(fields.integer(field, 0, most)?.map(|n| n as u32))
    };
    Ok(Ask {
        model,
        stream,
        include_usage: include_usage(&fields, stream)?,
        generate: Generate {
            prompt,
            max_tokens: asked.map_or(default_tokens, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            temperature: fields.number("temperature", 0.0, 2.0)?.unwrap_or(0.0),
            top_p: match fields.number("top_p", 0.0, 1.0)? {
                Some(0.0) => return Err(WorkerError::field("top_p", "`top_p` has to be above 0")),
                top_p => top_p.unwrap_or(1.0),
            },
            top_k: small("top_k", 1 << 20)?.unwrap_or(0),
            min_p: fields.number("min_p", 0.0, 1.0)?.unwrap_or(0.0),
            frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            logit_bias: logit_bias(&fields)?,
            seed: fields.integer("seed", 0, u64::MAX)?,
            stop: fields.stops()?,
            logprobs: match endpoint {
                Endpoint::Chat => chat_logprobs(&fields)?,
                Endpoint::Text => small("logprobs", MAX_LOGPROBS)?,
            },
            format: response_format(&fields)?,
        },
    })
}

/// Reads a body of `/v1/embeddings`.
pub fn parse_vectors(body: &[u8]) -> Result<AskVectors> {
    let fields = Fields::read(body)?;
    let model = fields.text("model")?.ok_or_else(|| missing("model"))?;
    if fields.get("dimensions").is_some() {
        let message = "`dimensions` is not supported: vectors have as many as the model's states";
        return Err(WorkerError::field("dimensions", message));
    }
    let base64 = match fields.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => false,
        Some(Some("base64")) => true,
        Some(_) => return Err(wrong("encoding_format", "float or base64")),
    };
    let expected = || wrong("input", &format!("a text or a list of 1 to {MAX_TEXTS} texts"));
    let one = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(expected()),
    };
    let texts = match fields.get("input") {
        None => return Err(missing("input")),
        Some(Value::Array(list)) if (1..=MAX_TEXTS).contains(&list.len()) => {
            list.iter().map(one).collect::<Result<_>>()?
        }
        Some(value) => vec![one(value)?],
    };
    Ok(AskVectors { model, texts, base64 })
}

/// `stream_options.include_usage`, which belongs to streams alone.
fn include_usage(fields: &Fields, stream: bool) -> Result<bool> {
    match fields.get("stream_options") {
        None => Ok(false),
        Some(_) if !stream => {
            Err(WorkerError::field("stream_options", "`stream_options` goes with `stream` alone"))
        }
        Some(Value::Object(options)) => match options.get("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(_) => Err(wrong("stream_options.include_usage", "true or false")),
        },
        Some(_) => Err(wrong("stream_options", "an object")),
    }
}

/// `logprobs` and `top_logprobs` of a conversation.
fn chat_logprobs(fields: &Fields) -> Result<Option<u32>> {
    let top = fields.integer("top_logprobs", 0, MAX_LOGPROBS)?;
    match (fields.boolean("logprobs")?.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0) as u32)),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            Err(WorkerError::field("top_logprobs", "`top_logprobs` needs `logprobs` to be true"))
        }
    }
}

/// Token ids, as texts, with what is added to their logits.
fn logit_bias(fields: &Fields) -> Result<Vec<(u32, f32)>> {
    let expected = || {
        let what =
            format!("an object of up to {MAX_BIASES} token ids with numbers from -100 to 100");
        wrong("logit_bias", &what)
    };
    let map = match fields.get("logit_bias") {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) if map.len() <= MAX_BIASES => map,
        Some(_) => return Err(expected()),
    };
    let mut all = map
        .iter()
        .map(|(token, added)| {
            let token: u32 = token.parse().map_err(|_| expected())?;
            let added = added.as_f64().filter(|added| (-100.0..=100.0).contains(added));
            Ok((token, added.ok_or_else(expected)? as f32))
        })
        .collect::<Result<Vec<_>>>()?;
    all.sort_by_key(|(token, _)| *token);
    // "7" and "07" are one token.
    if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(expected());
    }
    Ok(all)
}

fn response_format(fields: &Fields) -> Result<Option<Format>> {
    let name = "response_format";
    let expected = || wrong(name, "an object whose type is text, json_object or json_schema");
    let Some(format) = fields.get(name) else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::JsonObject)),
        Some("json_schema") => {
            let at = "response_format.json_schema";
            let wrapped = format.get("json_schema").and_then(Value::as_object);
            let wrapped = wrapped.ok_or_else(|| wrong(at, "an object with a `schema`"))?;
            if wrapped.get("name").is_some_and(|name| !name.is_string()) {
                return Err(wrong(&format!("{at}.name"), "a text"));
            }
            let schema = wrapped.get("schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| wrong(&format!("{at}.schema"), "a JSON schema"))?;
            Ok(Some(Format::JsonSchema(schema.clone())))
        }
        _ => Err(expected()),
    }
}

/// Fields that would change the answer and that no engine here can honour.
fn refuse_unsupported(fields: &Fields) -> Result<()> {
    let off = |value: &Value| match value {
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    for field in ["tools", "functions", "echo", "suffix", "prediction", "audio"] {
        if fields.get(field).is_some_and(|value| !off(value)) {
            return Err(WorkerError::field(field, format!("`{field}` is not supported")));
        }
    }
    for field in ["n", "best_of"] {
        if fields.get(field).is_some_and(|value| value.as_u64() != Some(1)) {
            // An answer has one receipt, with one text and one attribution in it.
            let message = format!("`{field}` other than 1 is not supported; ask once for each");
            return Err(WorkerError::field(field, message));
        }
    }
    Ok(())
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
#[path = "body_tests.rs"]
mod tests;
