//! The command-line tool, as a person would use it: its own home, one command at a time.

use crate::process::program;
use anyhow::{bail, Context, Result};
use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::process::Command;

/// One person's `tributary`.
#[derive(Clone, Debug)]
pub struct Cli {
    /// Where her keys lie.
    pub home: PathBuf,
    /// URL of the node.
    pub node: String,
    /// URL of the object store.
    pub store: String,
}

/// What a command ended with.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub code: i32,
    /// Its JSON on stdout; null when there is none.
    pub json: Value,
    /// Its text on stderr.
    pub text: String,
}

impl Cli {
    /// Runs one command with `--json` and gives its end, good or bad.
    pub async fn end(&self, arguments: &[&str]) -> Result<Ended> {
        let output = Command::new(program("tributary")?)
            .arg("--json")
            .args(arguments)
            .env("TRIBUTARY_HOME", &self.home)
            .env("TRIBUTARY_NODE", &self.node)
            .env("TRIBUTARY_STORE", &self.store)
            .stdin(Stdio::null())
            .output()
            .await
            .context("tributary could not be started")?;
        Ok(Ended {
            code: output.status.code().unwrap_or(-1),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs one command that must succeed, and gives its JSON.
    pub async fn run(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.end(arguments).await?;
        if ended.code != 0 {
            bail!(
                "`tributary {}` ended with {}:\n{}{}",
                arguments.join(" "),
                ended.code,
                ended.text,
                ended.json
            );
        }
        Ok(ended.json)
    }
}

/// A field of a JSON answer as a whole number.
pub fn number(json: &Value, field: &str) -> Result<u64> {
    json.pointer(field)
        .and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
        .with_context(|| format!("no number at {field} in {json}"))
}

/// A field of a JSON answer as text.
pub fn text(json: &Value, field: &str) -> Result<String> {
    json.pointer(field)
        .and_then(|value| value.as_str())
        .map(str::to_string)
        .with_context(|| format!("no text at {field} in {json}"))
}
