//! Attribution: building and asking both indices.

use crate::{table, training};
use anyhow::{Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::{path::Path, time::Instant};
use tributary_attribution::{DiskBuilder, Query, Sketch, SpanBuilder, SpanOptions};
use tributary_engine::{
    encode_records,
    indexing::{build_influence, Corpus, GradientSpace},
    traffic::Spread,
    train, BaseModel, IndexSpec,
};

/// Dimensions of the synthetic rows.
const DIMS: u32 = 256;
/// Numbers of a synthetic gradient, before the sketch.
const INPUT: usize = 512;
/// Answers that are asked of each index.
const ASKED: usize = 20;
/// Tokens of an answer.
const ANSWER: usize = 128;
/// Tokens that a synthetic text is drawn from, the k-th in proportion to 1/k.
const VOCABULARY: usize = 32_000;

/// One size of influence index.
#[derive(Clone, Debug, Serialize)]
pub struct Influence {
    /// Rows.
    pub records: usize,
    /// Dimensions of a row.
    pub dims: u32,
    /// Rows sketched, solved and written in a second, from gradients that are there.
    pub build_per_second: f64,
    /// From a quantised query to all shares.
    pub query: Spread,
    /// Bytes of the file.
    pub bytes: u64,
}

/// One size of span index.
#[derive(Clone, Debug, Serialize)]
pub struct Spans {
    /// Tokens of all records.
    pub tokens: usize,
    /// Tokens sorted in a second.
    pub build_per_second: f64,
    /// All maximal spans of an answer of 128 tokens.
    pub query: Spread,
    /// Bytes of the index for each token.
    pub bytes_per_token: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Records in a second with the passes over the model: gradients, sketch, solution, file.
    pub model_records_per_second: f64,
    /// Synthetic influence indices.
    pub influence: Vec<Influence>,
    /// Synthetic span indices.
    pub spans: Vec<Spans>,
}

fn influence(folder: &Path, records: usize) -> Result<Influence> {
    let mut rng = ChaCha8Rng::seed_from_u64(records as u64);
    let sketch = Sketch { seed: 1, input: INPUT as u64, dims: DIMS };
    let path = folder.join(format!("influence-{records}"));
    let owners: Vec<[u8; 32]> = (0..16).map(|n| [n; 32]).collect();
    let start = Instant::now();
    let damping = IndexSpec::default().damping();
    let mut builder = DiskBuilder::create(&path, sketch, damping, owners, records as u32)?;
    let mut gradient = vec![0f32; INPUT];
    for row in 0..records as u32 {
        gradient.iter_mut().for_each(|v| *v = rng.gen_range(-1.0..1.0));
        builder.set(row, row % 16, &gradient)?;
    }
    let index = builder.finish()?;
    let seconds = start.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for _ in 0..ASKED {
        gradient.iter_mut().for_each(|v| *v = rng.gen_range(-1.0..1.0));
        let query = Query::from_gradient(&gradient, &sketch)?;
        let start = Instant::now();
        let found = index.score(&query, 8)?;
        times.push(start.elapsed().as_secs_f64());
        anyhow::ensure!(found.records.len() == 8, "an index of {records} rows named too few");
    }
    drop(index);
    let bytes = std::fs::metadata(&path)?.len();
    std::fs::remove_file(&path)?;
    let build_per_second = records as f64 / seconds;
    Ok(Influence { records, dims: DIMS, build_per_second, query: Spread::of(times), bytes })
}

fn spans(tokens: usize) -> Result<Spans> {
    let mut rng = ChaCha8Rng::seed_from_u64(tokens as u64);
    // The k-th token in proportion to 1/k, by inverting its distribution.
    let draw = |rng: &mut ChaCha8Rng| {
        ((VOCABULARY as f64).powf(rng.gen::<f64>()) as u32).min(VOCABULARY as u32 - 1)
    };
    let text: Vec<u32> = (0..tokens).map(|_| draw(&mut rng)).collect();
    let mut builder = SpanBuilder::new(vec![[1; 32], [2; 32]])?;
    for (number, record) in text.chunks(256).enumerate() {
        builder.push(number as u32 % 2, record)?;
    }
    let start = Instant::now();
    let index = builder.build()?;
    let seconds = start.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for _ in 0..ASKED {
        // Half of it stands in the records, half is drawn anew.
        let at = rng.gen_range(0..text.len().saturating_sub(ANSWER).max(1));
        let mut answer: Vec<u32> = text.iter().skip(at).take(ANSWER / 2).copied().collect();
        answer.extend((answer.len()..ANSWER).map(|_| draw(&mut rng)));
        let start = Instant::now();
        let found = index.spans(&answer, &SpanOptions::default())?;
        times.push(start.elapsed().as_secs_f64());
        anyhow::ensure!(!found.is_empty(), "a passage of the records was not found");
    }
    Ok(Spans {
        tokens,
        build_per_second: tokens as f64 / seconds,
        query: Spread::of(times),
        bytes_per_token: index.as_bytes().len() as f64 / tokens as f64,
    })
}

/// The whole way from records to an index, for an adapter that was trained for a step.
fn with_model(base: &BaseModel, data: &Path, count: usize) -> Result<f64> {
    let records = training::records(data, count)?;
    let spec = training::spec(1);
    let trained =
        train(base, &records[..records.len().min(training::BATCH)], &spec, None, &mut |_| {
            std::ops::ControlFlow::Continue(())
        })?;
    let samples = encode_records(base, &records, spec.seq_len)?;
    let owners = vec![0u32; samples.len()];
    let ids = [[1u8; 32]];
    let corpus = Corpus { samples: &samples, owners: &owners, contributions: &ids };
    let index = IndexSpec::default();
    let space = GradientSpace::choose(&trained.adapter, base.config(), index.seed)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("influence.idx");
    let start = Instant::now();
    build_influence(base, &trained.adapter, corpus, &index, &space, &path, &mut |_| Ok(()))?;
    Ok(samples.len() as f64 / start.elapsed().as_secs_f64())
}

/// Builds and asks indices of several sizes.
pub fn run(base: &BaseModel, data: &Path, quick: bool) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let (rows, tokens, records): (&[usize], &[usize], usize) = match quick {
        false => (&[10_000, 100_000, 1_000_000], &[1_000_000, 10_000_000], 320),
        true => (&[1_000], &[20_000], 32),
    };
    let influence = rows.iter().map(|n| influence(folder.path(), *n)).collect::<Result<_>>();
    let spans = tokens.iter().map(|n| spans(*n)).collect::<Result<_>>();
    Ok(Report {
        model_records_per_second: with_model(base, data, records)?,
        influence: influence.context("influence indices")?,
        spans: spans.context("span indices")?,
    })
}

/// The tables for people.
pub fn show(report: &Report) {
    let times = |spread: &Spread| format!("{:.2} / {:.2}", spread.p50_ms, spread.p99_ms);
    let cells: Vec<Vec<String>> = report
        .influence
        .iter()
        .map(|row| {
            vec![
                row.records.to_string(),
                format!("{:.0}", row.build_per_second),
                times(&row.query),
                format!("{:.0}", row.bytes as f64 / row.records as f64),
            ]
        })
        .collect();
    let heading = format!(
        "Influence, {DIMS} dimensions, synthetic gradients (with the model's passes: {:.0} records/s)",
        report.model_records_per_second
    );
    let columns = ["records", "records/s built", "query ms p50/p99", "bytes a record"];
    table::print(&heading, &columns, &cells);
    let cells: Vec<Vec<String>> = report
        .spans
        .iter()
        .map(|row| {
            vec![
                row.tokens.to_string(),
                format!("{:.0}", row.build_per_second),
                times(&row.query),
                format!("{:.1}", row.bytes_per_token),
            ]
        })
        .collect();
    let columns = ["tokens", "tokens/s sorted", "query ms p50/p99", "bytes a token"];
    table::print("Spans, answers of 128 tokens", &columns, &cells);
}
