//! Training of one adapter through the engine's own trainer.

use std::ops::ControlFlow;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

use super::setup::{operations, Bench};
use super::{Figure, Target};
use crate::config::ModelConfig;
use crate::cuda::Memory;
use crate::error::{EngineError, Result};
use crate::tokenizer::Tokenizer;
use crate::{train, Record, TrainSpec};

const SECTION: &str = "training";

pub(super) fn measure(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let config = bench.net().config().clone();
    let (sequence, steps) = (bench.load.sequence, bench.load.train_steps);
    if let Device::Cuda(index) = bench.device {
        Memory::empty_cache()?;
        Memory::reset_peak(index)?;
    }
    let words = word_count(&config);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // The first step is not measured.
    let records: Vec<_> = (0..steps + 1)
        .map(|_| {
            let text: Vec<_> =
                (0..sequence).map(|_| format!("w{}", rng.gen_range(0..words))).collect();
            Record::Text { text: text.join(" ") }
        })
        .collect();
    let spec = TrainSpec {
        rank: bench.load.rank,
        alpha: bench.load.rank as f64,
        epochs: 1,
        batch: 1,
        lr: 1e-4,
        seq_len: sequence,
        ..TrainSpec::default()
    };
    let mut marks = vec![];
    train(&bench.base, &records, &spec, None, &mut |_| {
        // Each step ends with its loss on the host, so nothing is under way here.
        marks.push(Instant::now());
        ControlFlow::Continue(())
    })?;
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        let reason = "the trainer reported no step".into();
        return Err(EngineError::Cuda { doing: "measuring training", reason });
    };
    let tokens = ((marks.len() - 1) * sequence) as f64;
    let rate = tokens / last.duration_since(*first).as_secs_f64();
    let weights = bench.step_bytes() / 2.0;
    // Forward and back through frozen weights: 2 operations each per weight and token. Causal
    // attention: 2 products of half the square, and two and a half times that going back.
    let square = (sequence as i64 * config.heads * config.head_dim * config.layers) as f64;
    let per_token = 4.0 * weights + 3.5 * 2.0 * square;
    let roof = bench.facts.as_ref().and_then(operations).map(|o| o / per_token);
    figures.push(
        Figure::new(SECTION, format!("one job, {sequence} tokens a step"), rate, "tok/s")
            .target(Target::AtLeast(12_500.0))
            .roof(roof, "operations per token, at the device's peak"),
    );
    if let Device::Cuda(index) = bench.device {
        let peak = Memory::of(index)?.allocated_peak as f64 / 1e9;
        figures.push(Figure::new(SECTION, "memory at most", peak, "GB"));
    }
    Ok(())
}

fn word_count(config: &ModelConfig) -> i64 {
    config.vocab_size.min(256)
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
