//! `target/demo/report.json`: what the demo did, and whether it holds what it promises.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it holds.
    pub pass: bool,
    /// What was found.
    pub figure: String,
    /// What it was to be.
    pub bar: String,
}

/// A transaction that the demo sent.
#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    /// What it did.
    pub what: String,
    /// Hash of the extrinsic, `0x…`.
    pub hash: String,
    /// Number of its block.
    pub block: u64,
}

/// One answer of the served model.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The question.
    pub prompt: String,
    /// What the model said.
    pub answer: String,
    /// What it should have said; absent for prompts that no record speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Whether it is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
    /// Whether the largest share went to the contributor of the exploit that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributed_right: Option<bool>,
    /// Shares by contribution, in parts per million.
    pub shares: BTreeMap<u64, u32>,
    /// Share that no record explains, in parts per million.
    pub unattributed_ppm: u32,
    /// What it cost, in units.
    pub fee: String,
}

/// A person's balance before and after, in units.
#[derive(Clone, Debug, Serialize)]
pub struct BalanceRow {
    /// Role in the story.
    pub who: String,
    /// Address (SS58).
    pub address: String,
    /// Before the first transaction.
    pub before: String,
    /// After the last one.
    pub after: String,
}

/// The whole report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Genesis hash of the chain that it ran on.
    pub genesis: String,
    /// First and last block of the story.
    pub blocks: (u64, u64),
    /// Every transaction, in order.
    pub transactions: Vec<Transaction>,
    /// sha2-256 digests by what they name: shards, version root, adapter, index, transcript.
    pub digests: BTreeMap<String, String>,
    /// Mean loss over the records, in nats, before training.
    pub loss_before: f64,
    /// The same after training.
    pub loss_after: f64,
    /// Answers to the held-out wordings.
    pub held_out: Vec<Answer>,
    /// Answers to prompts that no record speaks of.
    pub off_topic: Vec<Answer>,
    /// Many adapters served at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd: Option<crate::story::Crowd>,
    /// Balances before and after.
    pub balances: Vec<BalanceRow>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// Seconds that each act took.
    pub durations_s: BTreeMap<String, f64>,
}

impl Report {
    /// Adds a check.
    pub fn check(&mut self, name: &str, pass: bool, figure: impl ToString, bar: impl ToString) {
        self.checks.push(Check {
            name: name.into(),
            pass,
            figure: figure.to_string(),
            bar: bar.to_string(),
        });
    }

    /// Whether everything holds.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.pass)
    }

    /// Writes it as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("the report could not be written to {}", path.display()))
    }
}
