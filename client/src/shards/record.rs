//! The four forms of a record, and the two kinds of training that they are for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What a training does with a record. One training has records of one kind only: answers are
/// learnt by their likelihood, preferences by that of one answer against another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An answer, or a text, to learn.
    Answers,
    /// A better and a worse answer.
    Preferences,
}

impl std::fmt::Display for RecordKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Answers => "answers to learn",
            Self::Preferences => "preferences",
        })
    }
}

/// One training example. Members other than those of the forms are allowed and ignored, such as a
/// source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// `{"prompt": …, "completion": …}`
    Completion {
        /// What is asked.
        prompt: String,
        /// What is to be answered.
        completion: String,
    },
    /// `{"prompt": …, "chosen": …, "rejected": …}`, as in TRL's preference data sets with a prompt
    /// of its own.
    Preference {
        /// What is asked.
        prompt: String,
        /// The better answer. It is the one that counts in attribution.
        chosen: String,
        /// The worse one.
        rejected: String,
    },
    /// `{"messages": [{"role": …, "content": …}, …]}`, with an answer of the assistant in it.
    Chat {
        /// The conversation.
        messages: Vec<Message>,
    },
    /// `{"text": …}`
    Text {
        /// The text.
        text: String,
    },
}

impl Record {
    /// What a training does with it.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Preference { .. } => RecordKind::Preferences,
            Self::Completion { .. } | Self::Chat { .. } | Self::Text { .. } => RecordKind::Answers,
        }
    }

    /// Reads one line, without its line end; says what is wrong with it otherwise.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("it is not UTF-8 (byte {})", error.valid_up_to() + 1))?;
        if text.starts_with('\u{feff}') {
            return Err(
                "it begins with a byte-order mark; save the file as UTF-8 without one".into()
            );
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            // The line number that the parser knows is always 1; the column is what helps.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("it is not JSON: {message} at column {}", error.column())
        })?;
        let Value::Object(object) = value else {
            return Err(format!("it is {}, not an object", kind(&value)));
        };
        let forms: Vec<&str> = ["prompt", "messages", "text"]
            .into_iter()
            .filter(|k| object.contains_key(*k))
            .collect();
        match forms.as_slice() {
            ["prompt"] => prompted(&object),
            ["messages"] => Ok(Self::Chat { messages: messages(&object)? }),
            ["text"] => Ok(Self::Text { text: string(&object, "text")? }),
            [] if object.contains_key("completion") => {
                Err("it has a `completion` but no `prompt`".into())
            }
            [] if object.contains_key("chosen") || object.contains_key("rejected") => {
                Err("it has `chosen` or `rejected` but no `prompt`; put what both answer into it"
                    .into())
            }
            [] => Err("it has neither `prompt` with `completion`, nor `prompt` with `chosen` and \
                       `rejected`, nor `messages`, nor `text`"
                .into()),
            several => {
                Err(format!("it has `{}` at once; a record has one form", several.join("` and `")))
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn string(object: &Map<String, Value>, key: &str) -> Result<String, String> {
    match object.get(key) {
        None => Err(format!("it has no `{key}`")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("its `{key}` is empty")),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("its `{key}` is {}, not a string", kind(other))),
    }
}

/// A record with a prompt: what else it has tells whether it is an answer or a preference.
fn prompted(object: &Map<String, Value>) -> Result<Record, String> {
    let preference = object.contains_key("chosen") || object.contains_key("rejected");
    match (object.contains_key("completion"), preference) {
        (true, true) => {
            Err("it has `completion` beside `chosen` or `rejected`; a record is either \
                             an answer or a preference"
                .into())
        }
        (false, false) => Err("it has no `completion`, nor `chosen` and `rejected`".into()),
        (true, false) => Ok(Record::Completion {
            prompt: string(object, "prompt")?,
            completion: string(object, "completion")?,
        }),
        (false, true) => {
            let (chosen, rejected) = (string(object, "chosen")?, string(object, "rejected")?);
            if chosen == rejected {
                return Err(
                    "its `chosen` and `rejected` are the same, so neither is preferred".into()
                );
            }
            Ok(Record::Preference { prompt: string(object, "prompt")?, chosen, rejected })
        }
    }
}

fn messages(object: &Map<String, Value>) -> Result<Vec<Message>, String> {
    let list = match object.get("messages") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) => return Err("its `messages` are empty".into()),
        other => {
            let found = other.map_or("missing", kind);
            return Err(format!("its `messages` are {found}, not a list"));
        }
    };
    let mut messages = Vec::with_capacity(list.len());
    for (number, message) in (1..).zip(list) {
        let at = |reason: String| format!("message {number}: {reason}");
        let Value::Object(message) = message else {
            return Err(at(format!("it is {}, not an object", kind(message))));
        };
        let role = string(message, "role").map_err(at)?;
        if !matches!(role.as_str(), "system" | "user" | "assistant") {
            return Err(at(format!("its role is `{role}`, not system, user or assistant")));
        }
        messages.push(Message { role, content: string(message, "content").map_err(at)? });
    }
    if messages.iter().all(|message| message.role != "assistant") {
        return Err("no message is of the assistant, so there is nothing to learn".into());
    }
    Ok(messages)
}
