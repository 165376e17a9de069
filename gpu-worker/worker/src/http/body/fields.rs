//! The fields of a body, each read as what it has to be.

use super::message;
use crate::{
    backend::Message,
    error::{Result, WorkerError},
};
use serde_json::{Map, Value};

const MAX_MESSAGES: usize = 256;
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 256;

pub(super) fn missing(field: &str) -> WorkerError {
    WorkerError::field(field, format!("`{field}` is missing"))
}

pub(super) fn wrong(field: &str, expected: &str) -> WorkerError {
    WorkerError::field(field, format!("`{field}` has to be {expected}"))
}

/// The fields of a body; a null is a field that is not there.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a JSON object.
    pub(super) fn read(body: &[u8]) -> Result<Self> {
        let bad = |message: String| WorkerError::BadRequest { message, param: None };
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(bad("the body has to be a JSON object".into())),
            Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<String>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(wrong(field, "a text that is not empty")),
        }
    }

    pub(super) fn boolean(&self, field: &str) -> Result<Option<bool>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong(field, "true or false")),
        }
    }

    pub(super) fn integer(&self, field: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(field, &format!("a whole number from {least} to {most}"))),
        }
    }

    /// A number, as the single-precision one that it is computed with.
    pub(super) fn number(&self, field: &str, least: f64, most: f64) -> Result<Option<f32>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number as f32)),
            _ => Err(wrong(field, &format!("a number from {least} to {most}"))),
        }
    }

    pub(super) fn stops(&self) -> Result<Vec<String>> {
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

    pub(super) fn prompt(&self) -> Result<String> {
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

    pub(super) fn messages(&self) -> Result<Vec<Message>> {
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
}
