//! How fast indices are built and searched.

use std::path::Path;
use std::time::Instant;

use serde_json::{json, Value};
use tributary_attribution::bench::{influence_build, influence_queries, spans, Times};

use super::study::encode;
use super::DataSet;
use crate::error::Result;
use crate::indexing::GradientSpace;
use crate::lora::{Adapter, LoraConfig};
use crate::model::BaseModel;

/// Sizes of the benchmark.
#[derive(Debug, Clone)]
pub struct SpeedSettings {
    /// Records and dimensions of the indices that are asked.
    pub queried: Vec<(u32, u32)>,
    /// Records and dimensions of the indices that are built.
    pub built: Vec<(u32, u32)>,
    /// Tokens of the span indices.
    pub span_tokens: Vec<u64>,
    /// Calls of each kind.
    pub rounds: usize,
}

impl Default for SpeedSettings {
    /// 10,000, 100,000 and 1,000,000 records of 1,024 dimensions (2 GB for the largest, in the work
    /// folder); spans in 100,000 to 10 million tokens.
    fn default() -> Self {
        Self {
            queried: vec![(10_000, 1024), (100_000, 1024), (1_000_000, 1024)],
            built: vec![(2_000, 1024), (10_000, 1024)],
            span_tokens: vec![100_000, 1_000_000, 10_000_000],
            rounds: 20,
        }
    }
}

/// Times everything, in `work`. The result is one JSON object: `gradients` (records per second
/// through the model, whole and projected), `build`, `query`, `spans`.
pub fn speed(
    base: &BaseModel,
    data_folder: &Path,
    work: &Path,
    settings: &SpeedSettings,
    say: &mut dyn FnMut(String),
) -> Result<Value> {
    std::fs::create_dir_all(work).map_err(crate::EngineError::io(work))?;
    let data = DataSet::read(data_folder, 8, 4)?;
    let samples = encode(base, &data.records, 256)?;
    let targets = crate::Projection::ALL.to_vec();
    let lora = LoraConfig { rank: 16, alpha: 32.0, targets, rslora: false };
    let adapter = Adapter::new(lora, base.config(), 1, base.transformer().device())?;
    let rate = |space: &GradientSpace| -> Result<f64> {
        let start = Instant::now();
        space.gradients(base, &adapter, &samples, &mut |_, _| Ok(()))?;
        Ok(samples.len() as f64 / start.elapsed().as_secs_f64())
    };
    let gradients = json!({
        "adapter_numbers": adapter.flat().numel(),
        "whole_records_per_s": rate(&GradientSpace::whole(&adapter, base.config()))?,
        "two_sided_records_per_s": rate(&GradientSpace::two_sided(&adapter, base.config(), 1)?)?,
    });
    say("gradients".into());
    let times = |t: &Times| json!({ "p50": t.p50_ms, "p99": t.p99_ms });
    let mut query = vec![];
    for &(rows, dims) in &settings.queried {
        let found = influence_queries(work, rows, dims, settings.rounds)?;
        query.push(json!({
            "records": found.rows, "dims": found.dims, "bytes": found.bytes,
            "open_ms": found.open_ms, "one_ms": times(&found.one),
            "eight_ms_each": times(&found.eight),
        }));
        say(format!("{rows} records asked"));
    }
    let mut build = vec![];
    for &(rows, dims) in &settings.built {
        let found = influence_build(work, rows, dims, adapter.flat().numel() as u64)?;
        build.push(json!({
            "records": found.rows, "dims": found.dims, "gradient_numbers": found.input,
            "rows_per_s": found.set_per_s, "solve_s": found.solve_s,
            "records_per_s": found.records_per_s,
        }));
        say(format!("{rows} records built"));
    }
    let mut span = vec![];
    for &tokens in &settings.span_tokens {
        let found = spans(work, tokens, 256, settings.rounds)?;
        span.push(json!({
            "tokens": found.tokens, "answer_tokens": found.answer,
            "bytes_per_token": found.bytes_per_token,
            "build_tokens_per_s": found.build_tokens_per_s, "open_ms": found.open_ms,
            "query_ms": times(&found.query),
        }));
        say(format!("spans of {tokens} tokens"));
    }
    Ok(json!({ "gradients": gradients, "query": query, "build": build, "spans": span }))
}
