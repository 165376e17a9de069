//! Synthetic indices and how fast they are; for benchmark programs.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use crate::disk::DiskBuilder;
use crate::format::Index;
use crate::layout::Layout;
use crate::quantise::Query;
use crate::sketch::{mix, Sketch};
use crate::spans::{SpanBuilder, SpanIndex, SpanOptions};
use crate::storage::{io, part_of};
use crate::Result;

/// Times of many calls, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Half of the calls took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

/// How fast an influence index answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryFigures {
    /// Records.
    pub rows: u32,
    /// Dimensions.
    pub dims: u32,
    /// Length of the file.
    pub bytes: u64,
    /// Mapping the file and checking all of it.
    pub open_ms: f64,
    /// One answer at a time.
    pub one: Times,
    /// Eight answers in one pass, per answer.
    pub eight: Times,
}

/// How fast an influence index is built from gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BuildFigures {
    /// Records.
    pub rows: u32,
    /// Dimensions.
    pub dims: u32,
    /// Numbers of a gradient.
    pub input: u64,
    /// Projecting, quantising and writing a record's row.
    pub set_per_s: f64,
    /// Everything after the last record: the damped inverse and the second matrix.
    pub solve_s: f64,
    /// Records by all of the time.
    pub records_per_s: f64,
}

/// How fast and how large a span index is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanFigures {
    /// Tokens of the text, separators left out.
    pub tokens: u64,
    /// Tokens of an answer.
    pub answer: usize,
    /// Bytes of the file by tokens.
    pub bytes_per_token: f64,
    /// Sorting and writing.
    pub build_tokens_per_s: f64,
    /// Mapping the file and checking all of it.
    pub open_ms: f64,
    /// Searching one answer.
    pub query: Times,
}

/// Answers from an index of random rows, which take as long as real ones. The file is made in
/// `folder` and removed.
pub fn influence_queries(
    folder: &Path,
    rows: u32,
    dims: u32,
    rounds: usize,
) -> Result<QueryFigures> {
    let path = folder.join(format!("random-{rows}.idx"));
    write_random(&path, rows, dims)?;
    let start = Instant::now();
    let index = Index::open(&path)?;
    let open_ms = milliseconds(start);
    let query = |number: usize| {
        let at = |i: u32| (mix((number as u64) << 32 | u64::from(i)) % 255) as i16 - 127;
        Query::from_integers((0..dims).map(|i| at(i) as i8).collect())
    };
    let queries: Vec<Query> = (0..8).map(query).collect::<Result<_>>()?;
    let (mut one, mut eight) = (vec![], vec![]);
    for round in 0..rounds.max(1) {
        let start = Instant::now();
        index.score(&queries[round % queries.len()], 10)?;
        one.push(milliseconds(start));
        let start = Instant::now();
        index.score_all(&queries, 10)?;
        eight.push(milliseconds(start) / queries.len() as f64);
    }
    let bytes = index.as_bytes().len() as u64;
    drop(index);
    std::fs::remove_file(&path).map_err(|e| io(&path, &e))?;
    Ok(QueryFigures { rows, dims, bytes, open_ms, one: times(one), eight: times(eight) })
}

/// Builds an index on disk from random gradients of `input` numbers.
pub fn influence_build(folder: &Path, rows: u32, dims: u32, input: u64) -> Result<BuildFigures> {
    let path = folder.join(format!("built-{rows}.idx"));
    let sketch = Sketch { seed: 1, input, dims };
    let mut builder = DiskBuilder::create(&path, sketch, 10_000, vec![[1; 32]], rows)?;
    let mut gradient: Vec<f32> = (0..input).map(noise).collect();
    let start = Instant::now();
    for row in 0..rows {
        // Another gradient each time, without the time of drawing a whole one.
        let length = gradient.len();
        gradient[row as usize % length] += 1.0;
        gradient.rotate_left(row as usize % 61);
        builder.set(row, 0, &gradient)?;
    }
    let set_s = start.elapsed().as_secs_f64();
    let index = builder.finish()?;
    let whole_s = start.elapsed().as_secs_f64();
    drop(index);
    std::fs::remove_file(&path).map_err(|e| io(&path, &e))?;
    Ok(BuildFigures {
        rows,
        dims,
        input,
        set_per_s: f64::from(rows) / set_s,
        solve_s: whole_s - set_s,
        records_per_s: f64::from(rows) / whole_s,
    })
}

/// Searches answers of which every other sixteen tokens are copied from the text.
pub fn spans(folder: &Path, tokens: u64, answer: usize, rounds: usize) -> Result<SpanFigures> {
    const RECORD: u64 = 256;
    // Low numbers are common, as in a real vocabulary: the product of two even draws.
    let token = |i: u64| {
        let hash = mix(i ^ 0x5eed);
        (((hash >> 32) % 180) * ((hash & 0xffff_ffff) % 180)) as u32
    };
    let text: Vec<u32> = (0..tokens).map(token).collect();
    let start = Instant::now();
    let mut builder = SpanBuilder::new(vec![[1; 32], [2; 32]])?;
    for (i, record) in text.chunks(RECORD as usize).enumerate() {
        builder.push(i as u32 % 2, record)?;
    }
    let index = builder.build()?;
    let path = folder.join(format!("spans-{tokens}.idx"));
    index.save(&path)?;
    let build_s = start.elapsed().as_secs_f64();
    let bytes = index.as_bytes().len() as f64;
    drop(index);
    let start = Instant::now();
    let index = SpanIndex::open(&path)?;
    let open_ms = milliseconds(start);
    let mut all = vec![];
    for round in 0..rounds.max(1) as u64 {
        let piece = |i: usize| match i / 16 % 2 {
            0 => {
                let from = mix(round << 20 | (i / 16) as u64) % tokens;
                text.get((from as usize + i % 16) % text.len()).copied().unwrap_or(0)
            }
            _ => token(mix(round << 20 | i as u64)),
        };
        let asked: Vec<u32> = (0..answer).map(piece).collect();
        let start = Instant::now();
        index.spans(&asked, &SpanOptions::default())?;
        all.push(milliseconds(start));
    }
    drop(index);
    std::fs::remove_file(&path).map_err(|e| io(&path, &e))?;
    Ok(SpanFigures {
        tokens,
        answer,
        bytes_per_token: bytes / tokens as f64,
        build_tokens_per_s: tokens as f64 / build_s,
        open_ms,
        query: times(all),
    })
}

/// A valid index whose integers are noise.
fn write_random(path: &Path, rows: u32, dims: u32) -> Result<()> {
    let sketch = Sketch { seed: 1, input: u64::from(dims), dims };
    let layout = Layout { sketch, lambda_millionths: 10_000, rows, contributions: 1000, form: 0 }
        .checked()?;
    let ids: Vec<[u8; 32]> = (0..1000u64)
        .map(|i| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            id
        })
        .collect();
    let owners: Vec<u32> = (0..rows).map(|row| row % 1000).collect();
    // Rows of noise have a scale of about 1/(73 √d); W's are a hundredth of it.
    let scale = (f64::from(u32::MAX) / (73.0 * f64::from(dims).sqrt())) as u32;
    let scales = vec![scale.max(1); rows as usize];
    let w_scales = vec![(scale / 100).max(1); rows as usize];
    let part = part_of(path);
    let failed = |e: std::io::Error| io(&part, &e);
    let mut file = BufWriter::new(std::fs::File::create(&part).map_err(failed)?);
    file.write_all(&layout.front(&ids, &owners, &scales, &w_scales)).map_err(failed)?;
    let mut left = layout.length() - layout.front(&ids, &owners, &scales, &w_scales).len();
    let mut state = 1u64;
    while left > 0 {
        let mut bytes = [0u8; 8];
        state = mix(state);
        for (byte, value) in bytes.iter_mut().zip(state.to_le_bytes()) {
            *byte = if value == i8::MIN as u8 { 0 } else { value };
        }
        let count = left.min(8);
        file.write_all(&bytes[..count]).map_err(failed)?;
        left -= count;
    }
    file.into_inner().map_err(|e| failed(e.into_error()))?;
    std::fs::rename(&part, path).map_err(|e| io(path, &e))
}

fn noise(i: u64) -> f32 {
    (mix(i) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn times(mut all: Vec<f64>) -> Times {
    all.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let last = all.len().saturating_sub(1);
        all.get((part * last as f64).ceil() as usize).copied().unwrap_or(0.0)
    };
    Times { p50_ms: at(0.5), p99_ms: at(0.99) }
}
