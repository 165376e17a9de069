//! Training through the engine's own trainer: one adapter, and several at once.

use std::ops::ControlFlow;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

use super::setup::{operations, Bench, Load};
use super::{Figure, Target};
use crate::config::ModelConfig;
use crate::cuda::{DeviceFacts, Memory};
use crate::error::{EngineError, Result};
use crate::tokenizer::Tokenizer;
use crate::{step_together, train, Record, TrainSpec, Trainer};

const SECTION: &str = "training";
/// Jobs that are trained at once.
const JOBS: usize = 8;
/// Bytes for each of an adapter's numbers while it is trained: itself, its gradient and the
/// optimiser's two, in f32, and a copy in bf16.
const STATE_BYTES: usize = 18;
/// Kept free beside that.
const SPARE: f64 = 4e9;

/// What of it has a counterpart in PEFT, which trains several jobs one after the other.
pub(super) fn comparable(load: &Load) -> [String; 2] {
    let sequence = load.sequence;
    [format!("one job, {sequence} tokens a step"), format!("{JOBS} jobs, {sequence} tokens each")]
}

pub(super) fn measure(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let sequence = bench.load.sequence;
    let [one, several] = comparable(&bench.load);
    let before = fresh_memory(bench)?;
    let rate = rate_of_one(bench)?;
    // Forward and back through frozen weights: 2 operations each per weight and token. Causal
    // attention: 2 products of half the square, and two and a half times that going back.
    let config = bench.net().config();
    let width = (config.heads * config.head_dim * config.layers) as f64;
    let roof = |length: usize| {
        let per_token = 2.0 * bench.step_bytes() + 3.5 * 2.0 * length as f64 * width;
        bench.facts.as_ref().and_then(operations).map(|o| o / per_token)
    };
    let basis = "operations per token, at the device's peak";
    figures.push(
        Figure::new(SECTION, one, rate, "tok/s")
            .target(Target::AtLeast(12_500.0))
            .roof(roof(sequence), basis),
    );
    let peak = push_peak(bench, "memory at most", figures)?;

    // As many tokens as one job's step has, so that all jobs share each pass.
    let length = (sequence / JOBS).max(2);
    let name = format!("{JOBS} jobs in one pass, {length} tokens each");
    fresh_memory(bench)?;
    let rate = rate_together(bench, length, TrainSpec::default().pass_tokens)?;
    figures.push(Figure::new(SECTION, name.as_str(), rate, "tok/s").roof(roof(length), basis));
    push_peak(bench, &format!("{name}: memory at most"), figures)?;

    // Each as the one job above; their passes are as long as memory allows.
    fresh_memory(bench)?;
    let in_pass = match (bench.device, before, peak) {
        (Device::Cuda(index), Some(before), Some(peak)) => {
            let free = DeviceFacts::of(index)?.memory.0 as f64;
            let states = (JOBS * STATE_BYTES) as f64 / 2.0 * bench.adapter_bytes();
            (((free - states - SPARE) / (peak - before).max(1.0)) as usize).clamp(1, JOBS)
        }
        _ => JOBS,
    };
    let rate = rate_together(bench, sequence, in_pass * sequence)?;
    figures.push(Figure::new(SECTION, several.as_str(), rate, "tok/s").roof(roof(sequence), basis));
    figures.push(Figure::new(SECTION, format!("{several}: in a pass"), in_pass as f64, "jobs"));
    push_peak(bench, &format!("{several}: memory at most"), figures)?;
    Ok(())
}

/// Lets the peak begin anew and gives the memory in tensors now, on a CUDA device.
fn fresh_memory(bench: &Bench) -> Result<Option<f64>> {
    let Device::Cuda(index) = bench.device else { return Ok(None) };
    Memory::empty_cache()?;
    Memory::reset_peak(index)?;
    Ok(Some(Memory::of(index)?.allocated as f64))
}

/// Notes the most memory since the peak began anew, on a CUDA device, and gives it.
fn push_peak(bench: &Bench, name: &str, figures: &mut Vec<Figure>) -> Result<Option<f64>> {
    let Device::Cuda(index) = bench.device else { return Ok(None) };
    let peak = Memory::of(index)?.allocated_peak as f64;
    figures.push(Figure::new(SECTION, name, peak / 1e9, "GB"));
    Ok(Some(peak))
}

/// Tokens per second of one job, by the trainer as everybody calls it.
fn rate_of_one(bench: &Bench) -> Result<f64> {
    let (sequence, steps) = (bench.load.sequence, bench.load.train_steps);
    let mut marks = vec![];
    let records = records(bench, sequence, steps + 1);
    train(&bench.base, &records, &spec(bench, sequence, 1), None, &mut |_| {
        // Each step ends with its loss on the host, so nothing is under way here.
        marks.push(Instant::now());
        ControlFlow::Continue(())
    })?;
    rate(&marks, sequence)
}

/// Tokens per second of [`JOBS`] jobs in all, with records of `length` tokens and passes of
/// `pass_tokens` at most.
fn rate_together(bench: &Bench, length: usize, pass_tokens: usize) -> Result<f64> {
    let records = records(bench, length, bench.load.together_steps + 1);
    let mut trainers = (1..=JOBS as u64)
        .map(|seed| {
            let spec = TrainSpec { pass_tokens, ..spec(bench, length, seed) };
            Trainer::new(&bench.base, &records, &spec, None)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut marks = vec![];
    while trainers.iter().any(|trainer| !trainer.is_done()) {
        let mut all: Vec<&mut Trainer<'_>> = trainers.iter_mut().collect();
        step_together(&mut all).into_iter().collect::<Result<Vec<_>>>()?;
        // The updates of the last ones may still be under way.
        bench.finish()?;
        marks.push(Instant::now());
    }
    rate(&marks, JOBS * length)
}

/// From the moments at which steps of so many tokens ended; the first step is not measured.
fn rate(marks: &[Instant], tokens: usize) -> Result<f64> {
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        let reason = "the trainer reported no step".into();
        return Err(EngineError::Cuda { doing: "measuring training", reason });
    };
    Ok(((marks.len() - 1) * tokens) as f64 / last.duration_since(*first).as_secs_f64())
}

/// Random words, `length` tokens in each record.
fn records(bench: &Bench, length: usize, count: usize) -> Vec<Record> {
    let words = word_count(bench.base.config());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..count)
        .map(|_| {
            let text: Vec<_> =
                (0..length).map(|_| format!("w{}", rng.gen_range(0..words))).collect();
            Record::Text { text: text.join(" ") }
        })
        .collect()
}

fn spec(bench: &Bench, length: usize, seed: u64) -> TrainSpec {
    TrainSpec {
        rank: bench.load.rank,
        alpha: bench.load.rank as f64,
        epochs: 1,
        batch: 1,
        lr: 1e-4,
        seq_len: length,
        seed,
        ..TrainSpec::default()
    }
}

/// Words that the tokenizer knows: one for each token, since answers may be any of them.
pub(super) fn word_count(config: &ModelConfig) -> i64 {
    config.vocab_size
}

/// A tokenizer with the words `w0`, `w1`, … and nothing else.
pub(super) fn word_tokenizer(config: &ModelConfig) -> Result<Tokenizer> {
    let vocabulary: serde_json::Map<_, _> =
        (0..word_count(config)).map(|n| (format!("w{n}"), serde_json::Value::from(n))).collect();
    let description = serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w0" },
    });
    let name = format!("tributary-bench-tokenizer-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).map_err(EngineError::io(&folder))?;
    let tokenizer = crate::files::write_json(&folder.join("tokenizer.json"), &description)
        .and_then(|()| Tokenizer::load(&folder, config));
    // A folder left behind in the place for temporary files does no harm.
    let _ = std::fs::remove_dir_all(&folder);
    tokenizer
}
