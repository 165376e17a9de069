//! Serving: many adapters over one base, full and at a steady rate.

use crate::{load::request, table};
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tributary_engine::{
    traffic::{closed, open, Popularity, Spread, OPEN_LOAD},
    Engine, EngineOptions, GenerateRequest,
};

/// Sequences that run at once.
pub const SLOTS: usize = 64;
/// Adapters that are prepared at once, where a row does not say otherwise.
pub const RESIDENT: usize = 64;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Requests of a full run.
    pub requests: usize,
    /// Tokens of each answer.
    pub tokens: usize,
    /// Seconds of a run at a steady rate.
    pub seconds: f64,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Different adapters; 0 asks the base.
    pub adapters: usize,
    /// Adapters that may be prepared at once.
    pub resident: usize,
    /// Which are asked.
    pub popularity: &'static str,
    /// Tokens in a second when as many requests as fit are under way.
    pub tokens_per_second: f64,
    /// The same, as a part of what the base does without adapters.
    pub of_base: f64,
    /// Mean number of different adapters among the sequences of a step, in the full run.
    pub distinct: f64,
    /// Requests in a second in the open loop.
    pub arrivals_per_second: f64,
    /// To the first token, in the open loop.
    pub first_token: Spread,
    /// Between tokens, in the open loop.
    pub inter_token: Spread,
    /// Refused in the open loop.
    pub refused: usize,
}

/// An engine with `resident` places for prepared adapters.
pub fn engine(base: &Path, threads: usize, resident: usize) -> Result<Engine> {
    Ok(Engine::start(EngineOptions {
        threads,
        slots: SLOTS,
        capacity: 256,
        waiting: 100_000,
        device_adapters: resident,
        ..EngineOptions::new(base)
    })?)
}

/// Registers `count` adapters; of more than there are folders, several share a folder but nothing
/// in memory.
pub async fn register(engine: &Engine, folders: &[PathBuf], count: usize) -> Result<()> {
    for number in 0..count {
        engine.load_adapter(number.to_string(), &folders[number % folders.len()]).await?;
    }
    Ok(())
}

fn requests<'a>(
    engine: &'a Engine,
    popularity: Popularity,
    adapters: usize,
    count: usize,
    tokens: usize,
) -> impl Iterator<Item = GenerateRequest> + 'a {
    let make = move |adapter, number| request(engine, adapter, number, tokens);
    popularity.requests(adapters, count, 7, make)
}

/// The base without any adapter, which everything else is compared with.
pub async fn base(engine: &Engine, amount: Amount) -> Result<f64> {
    let warm = requests(engine, Popularity::Uniform, 0, SLOTS, amount.tokens);
    closed(engine, warm, SLOTS, None).await?;
    let asked = requests(engine, Popularity::Uniform, 0, amount.requests, amount.tokens);
    Ok(closed(engine, asked, SLOTS, None).await?.rate())
}

/// One row: full, then at a steady rate.
pub async fn row(
    engine: &Engine,
    adapters: usize,
    resident: usize,
    popularity: Popularity,
    base: f64,
    amount: Amount,
) -> Result<Row> {
    let asked = requests(engine, popularity, adapters, amount.requests, amount.tokens);
    let full = closed(engine, asked, SLOTS, None).await?;
    let per_second = OPEN_LOAD * base / amount.tokens as f64;
    let count = ((per_second * amount.seconds) as usize).max(16);
    let asked = requests(engine, popularity, adapters, count, amount.tokens);
    let steady = open(engine, asked, per_second, 11, None).await?;
    Ok(Row {
        adapters,
        resident,
        popularity: popularity.name(),
        tokens_per_second: full.rate(),
        of_base: full.rate() / base,
        distinct: full.distinct,
        arrivals_per_second: per_second,
        first_token: Spread::of(steady.first()),
        inter_token: Spread::of(steady.between()),
        refused: steady.refused,
    })
}

/// The table for people.
pub fn show(heading: &str, rows: &[Row]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                format!("{} {}", row.adapters, row.popularity),
                row.resident.to_string(),
                format!("{:.0}", row.tokens_per_second),
                format!("{:.2}", row.of_base),
                format!("{:.1}", row.distinct),
                format!("{:.1}", row.arrivals_per_second),
                format!("{:.0} / {:.0}", row.first_token.p50_ms, row.first_token.p99_ms),
                format!("{:.1} / {:.1}", row.inter_token.p50_ms, row.inter_token.p99_ms),
            ]
        })
        .collect();
    table::print(
        heading,
        &[
            "adapters",
            "resident",
            "tok/s full",
            "of base",
            "distinct",
            "req/s open",
            "first token ms p50/p99",
            "inter-token ms p50/p99",
        ],
        &cells,
    );
}
