//! Trains a small transformer from nothing, on prose and on made-up exchanges.

use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::base::corpus::Corpus;
use crate::base::synthetic::Generator;
use crate::base::vocabulary;
use crate::batch::Batch;
use crate::config::{ModelConfig, RopeScaling};
use crate::error::{EngineError, Result};
use crate::model::{BaseModel, Transformer};
use crate::optim::{clip, learning_rate, AdamW};
use crate::record::{Record, Sample};
use crate::tokenizer::Tokenizer;

/// Loss weight of a prompt's tokens beside 1 for an answer's: questions need not be foretold,
/// only understood.
const PROMPT_WEIGHT: f32 = 0.1;
/// Exchanges drawn at once and sorted by length, so that a batch wastes little on padding.
const SORTED_BATCHES: usize = 8;
const WEIGHT_DECAY: f64 = 0.05;
const BETA2: f64 = 0.98;

/// What to make, and from what.
#[derive(Debug, Clone)]
pub struct BaseSpec {
    /// Folders and files with text.
    pub text: Vec<PathBuf>,
    /// How much of it to use, in characters.
    pub max_chars: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Transformer blocks.
    pub layers: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width of the gated MLP.
    pub intermediate_size: i64,
    /// Query heads.
    pub heads: i64,
    /// Key and value heads.
    pub kv_heads: i64,
    /// Longest context of the model, in tokens.
    pub max_position: i64,
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens of a step, about.
    pub batch_tokens: usize,
    /// Length of a window of prose, in tokens.
    pub window: usize,
    /// Part of the steps that see exchanges instead of prose, 0 to 1.
    pub exchanges: f64,
    /// Invented subjects whose answers recur.
    pub subjects: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Draws weights, order and inventions.
    pub seed: u64,
    /// Writes the weights so far every this many steps; 0 for only at the end.
    pub save_every: usize,
}

impl Default for BaseSpec {
    fn default() -> Self {
        Self {
            text: vec![],
            max_chars: 6_000_000,
            vocab_size: 2048,
            layers: 4,
            hidden_size: 192,
            intermediate_size: 512,
            heads: 6,
            kv_heads: 2,
            max_position: 512,
            steps: 1800,
            batch_tokens: 2048,
            window: 128,
            exchanges: 0.7,
            subjects: 400,
            lr: 3e-3,
            seed: 1,
            save_every: 0,
        }
    }
}

/// How far the making has come.
#[derive(Debug, Clone, Copy)]
pub struct BaseProgress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean loss per token of recent steps on prose, if there was one.
    pub prose_loss: Option<f64>,
    /// The same on answers.
    pub answer_loss: Option<f64>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct BaseReport {
    /// Numbers in the model.
    pub parameters: i64,
    /// Characters of prose used.
    pub characters: usize,
    /// The last progress.
    pub last: BaseProgress,
}

/// Makes a base model in `folder`, in the hub's layout with bf16 weights. The same text, seed and
/// thread count give the same model up to rounding.
pub fn make_base_model(
    folder: &Path,
    spec: &BaseSpec,
    mut on_progress: impl FnMut(BaseProgress),
) -> Result<BaseReport> {
    std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    let corpus = Corpus::read(&spec.text, spec.max_chars, spec.seed)?;
    let mut generator = Generator::new(spec.subjects, spec.seed);

    // The vocabulary sees as many exchanges as make a good part of the text.
    let exchanges: Vec<String> = (0..20_000)
        .map(|_| {
            let e = generator.next();
            format!("{} {}", e.question, e.answer)
        })
        .collect();
    let texts = corpus.passages.iter().cloned().chain(exchanges).collect::<Vec<_>>();
    let end = vocabulary::train(folder, texts.into_iter(), spec.vocab_size)?;

    let config = ModelConfig {
        vocab_size: spec.vocab_size as i64,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.intermediate_size,
        layers: spec.layers,
        heads: spec.heads,
        kv_heads: spec.kv_heads,
        head_dim: spec.hidden_size / spec.heads,
        max_position: spec.max_position,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: true,
        bos_token: None,
        eos_tokens: vec![end],
    };
    let tokenizer = Tokenizer::load(folder, &config)?;
    let mut stream = Vec::new();
    for passage in &corpus.passages {
        stream.extend(tokenizer.encode(passage, false)?);
        stream.push(end);
    }
    if stream.len() <= spec.window + 1 {
        return Err(EngineError::Spec("the text is shorter than one window".into()));
    }

    let mut run = Pretraining::new(spec, config)?;
    let mut ready: Vec<Batch> = Vec::new();
    let mut rng = ChaCha8Rng::seed_from_u64(spec.seed ^ 0x9E37_79B9);
    let mut progress =
        BaseProgress { step: 0, steps: spec.steps, prose_loss: None, answer_loss: None };
    for step in 0..spec.steps {
        let answers = rng.gen_bool(spec.exchanges.clamp(0.0, 1.0));
        let batch = if answers {
            if ready.is_empty() {
                ready = draw_exchanges(&mut generator, &tokenizer, spec, end)?;
                ready.shuffle(&mut rng);
            }
            ready.pop().ok_or_else(|| EngineError::Spec("batch_tokens is too small".into()))?
        } else {
            draw_prose(&stream, spec, &mut rng)
        };
        let loss = run.step(&batch, step)?;
        let shown = if answers { &mut progress.answer_loss } else { &mut progress.prose_loss };
        *shown = Some(shown.map_or(loss, |old| old * 0.95 + loss * 0.05));
        progress.step = step + 1;
        on_progress(progress);
        if spec.save_every > 0 && (step + 1) % spec.save_every == 0 {
            run.transformer()?.write(folder)?;
        }
    }
    let transformer = run.transformer()?;
    transformer.write(folder)?;
    let parameters = transformer.named().iter().map(|(_, t)| t.numel() as i64).sum();
    // What was written must load.
    let _ = BaseModel::from_parts(transformer, tokenizer);
    BaseModel::load(folder, Device::Cpu)?;
    Ok(BaseReport {
        parameters,
        characters: corpus.passages.iter().map(String::len).sum(),
        last: progress,
    })
}

fn draw_exchanges(
    generator: &mut Generator,
    tokenizer: &Tokenizer,
    spec: &BaseSpec,
    end: i64,
) -> Result<Vec<Batch>> {
    let mut samples = Vec::new();
    let mut tokens = 0;
    while tokens < spec.batch_tokens * SORTED_BATCHES {
        let exchange = generator.next();
        let record = Record::pair(exchange.question, exchange.answer);
        let sample = Sample::encode(&record, tokenizer, 256, 0)?;
        tokens += sample.tokens.len();
        samples.push(sample);
    }
    samples.sort_by_key(|s| s.tokens.len());
    let mut batches = Vec::new();
    let mut start = 0;
    for at in 1..=samples.len() {
        let width = samples[at - 1].tokens.len();
        if at == samples.len() || (at - start + 1) * width > spec.batch_tokens {
            let rows: Vec<&Sample> = samples[start..at].iter().collect();
            batches.push(Batch::weighted(&rows, end, PROMPT_WEIGHT, Device::Cpu));
            start = at;
        }
    }
    Ok(batches)
}

fn draw_prose(stream: &[i64], spec: &BaseSpec, rng: &mut ChaCha8Rng) -> Batch {
    let rows = (spec.batch_tokens / spec.window).max(1);
    let samples: Vec<Sample> = (0..rows)
        .map(|_| {
            let at = rng.gen_range(0..stream.len() - spec.window);
            let tokens = stream[at..at + spec.window].to_vec();
            let learn = (0..spec.window).map(|i| i > 0).collect();
            Sample { tokens, learn }
        })
        .collect();
    Batch::weighted(&samples.iter().collect::<Vec<_>>(), 0, 0.0, Device::Cpu)
}

struct Pretraining<'a> {
    spec: &'a BaseSpec,
    shapes: Vec<Vec<i64>>,
    sizes: Vec<i64>,
    /// All parameters, a leaf.
    flat: Tensor,
    /// 1 where weight decay acts: matrices, not norms.
    decay: Tensor,
    optimiser: AdamW,
    /// Carries the configuration and the position tables.
    template: Transformer,
}

impl<'a> Pretraining<'a> {
    fn new(spec: &'a BaseSpec, config: ModelConfig) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed.wrapping_add(1));
        let parameters = config.parameters();
        let mut values: Vec<f32> = Vec::new();
        let mut decay: Vec<f32> = Vec::new();
        for (name, shape) in &parameters {
            let count = shape.iter().product::<i64>() as usize;
            let matrix = shape.len() == 2;
            // Projections back into the stream start smaller, by the depth of the stream.
            let back = name.contains("o_proj") || name.contains("down_proj");
            let depth = if back { (2.0 * config.layers as f64).sqrt() } else { 1.0 };
            let std = (0.6 / (shape[shape.len() - 1] as f64).sqrt() / depth) as f32;
            let std = if name.contains("embed") { 0.05 } else { std };
            for _ in 0..count {
                values.push(if matrix { normal(&mut rng) * std } else { 1.0 });
                decay.push(if matrix { 1.0 } else { 0.0 });
            }
        }
        let shapes: Vec<Vec<i64>> = parameters.into_iter().map(|(_, shape)| shape).collect();
        let sizes = shapes.iter().map(|s| s.iter().product()).collect::<Vec<i64>>();
        let flat = Tensor::f_from_slice(&values)?.set_requires_grad(true);
        let template = Transformer::build(config, |_, shape| {
            Ok(Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?)
        })?;
        let optimiser = AdamW::new(&flat, WEIGHT_DECAY).with_beta2(BETA2);
        let decay = Tensor::f_from_slice(&decay)?;
        Ok(Self { spec, shapes, sizes, flat, decay, optimiser, template })
    }

    /// The network over the present parameters.
    fn transformer(&self) -> Result<Transformer> {
        let parts = self.flat.split_with_sizes(&self.sizes, 0);
        let mut views = parts.iter().zip(&self.shapes);
        // `build` asks block by block in its own order, so parameters are found by name.
        let names = self.template.config().parameters();
        let by_name: std::collections::HashMap<&str, Tensor> = names
            .iter()
            .zip(&mut views)
            .map(|((name, _), (part, shape))| (name.as_str(), part.view(shape.as_slice())))
            .collect();
        self.template.rebuild(|name, _| {
            by_name.get(name).map(Tensor::shallow_clone).ok_or_else(|| EngineError::MissingTensor {
                name: name.to_string(),
                path: PathBuf::new(),
            })
        })
    }

    fn step(&mut self, batch: &Batch, step: usize) -> Result<f64> {
        let net = self.transformer()?;
        let hidden = net.hidden(&batch.ids, None); // [rows, seq, hidden]
        let picked = hidden.view([-1, net.config().hidden_size]).index_select(0, &batch.positions);
        let log_probs = net.logits(&picked).log_softmax(-1, Kind::Float); // [n, vocab]
        let nll = -log_probs.gather(1, &batch.targets.unsqueeze(1), false).squeeze_dim(1);
        let loss = (nll * &batch.weights).sum(Kind::Float) / batch.weights.sum(Kind::Float);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(EngineError::NotFinite { step });
        }
        loss.backward();
        let mut gradient = self.flat.grad();
        clip(&mut gradient, Some(1.0));
        let warmup = (self.spec.steps / 20).clamp(1, 200);
        let lr = learning_rate(step, self.spec.steps, warmup, self.spec.lr, 0.02);
        self.optimiser.step(&mut self.flat, &gradient, lr, Some(&self.decay));
        self.flat.zero_grad();
        Ok(value)
    }
}

/// A standard normal number (Box and Muller's polar form is not needed at this rate).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.gen::<f64>()).ln()).sqrt();
    (radius * (2.0 * std::f64::consts::PI * rng.gen::<f64>()).cos()) as f32
}
