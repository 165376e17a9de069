//! The model, the adapters and the loads of a run.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::{Options, Shape};
use crate::config::{ModelConfig, Projection, RopeScaling};
use crate::cuda::adapters::load_flat;
use crate::cuda::{model_table, synchronize, DeviceFacts, Graph, MultiLoraKernel, Segment, Table};
use crate::error::Result;
use crate::lora::LoraConfig;
use crate::model::{BaseModel, Transformer};

/// Sizes of what is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Rows of a decoding batch, and adapters in it at most.
    pub batch: usize,
    /// Tokens before each row's first step.
    pub context: i64,
    /// Steps of one round of decoding; there are three rounds.
    pub steps: i64,
    pub rank: i64,
    /// Rows and adapters of the prefill that the kernel is measured on.
    pub prefill: (usize, usize),
    /// Places for adapters, more than will fit.
    pub slots: usize,
    /// Loads of one adapter from host memory.
    pub loads: usize,
    /// Tokens of a training record, and steps measured.
    pub sequence: usize,
    pub train_steps: usize,
    /// Steps measured where several jobs train at once.
    pub together_steps: usize,
    /// Repetitions of one kernel call.
    pub repeats: usize,
}

/// Everything that the sections share.
pub(super) struct Bench {
    pub device: Device,
    pub facts: Option<DeviceFacts>,
    pub load: Load,
    pub base: BaseModel,
    pub kernel: MultiLoraKernel,
    pub table: Table,
    pub lora: LoraConfig,
    /// Slots from 0 that hold an adapter.
    pub loaded: usize,
}

impl Bench {
    pub(super) fn new(options: &Options, facts: Option<DeviceFacts>) -> Result<Self> {
        let (config, load) = sizes(options.shape);
        let device = options.device;
        tch::manual_seed(1);
        let net = Transformer::build(config.clone(), |name, shape| {
            let mut empty = Tensor::f_empty(shape, (Kind::BFloat16, device))?;
            Ok(match name.ends_with("norm.weight") {
                true => empty.f_ones_like()?,
                false => empty.f_normal_(0.0, 0.02)?,
            })
        })?;
        let rank = load.rank;
        let lora = LoraConfig {
            rank,
            alpha: rank as f64,
            targets: Projection::ALL.to_vec(),
            rslora: false,
        };
        let table = model_table(&config, load.slots, rank as usize, device)?;
        let kernel = MultiLoraKernel::new(device)?;
        let base = BaseModel::from_parts(net, super::training::word_tokenizer(&config)?);
        let mut bench = Self { device, facts, load, base, kernel, table, lora, loaded: 0 };
        for _ in 0..load.batch {
            bench.load_random()?;
        }
        Ok(bench)
    }

    /// The network.
    pub(super) fn net(&self) -> &Transformer {
        self.base.transformer()
    }

    /// Bytes of one adapter in bf16.
    pub(super) fn adapter_bytes(&self) -> f64 {
        2.0 * self.lora.parameter_count(self.net().config()) as f64
    }

    /// Bytes of the model's weights.
    pub(super) fn weight_bytes(&self) -> usize {
        2 * self.net().config().parameters().iter().map(count).sum::<i64>() as usize
    }

    /// Bytes of weights that a decoding step reads: all but the embedding, of which it reads one
    /// row per sequence.
    pub(super) fn step_bytes(&self) -> f64 {
        let config = self.net().config();
        let embedding = match config.tie_word_embeddings {
            true => 0,
            false => 2 * config.vocab_size * config.hidden_size,
        };
        self.weight_bytes() as f64 - embedding as f64
    }

    /// Numbers of one adapter, drawn at random, on the bench's device.
    pub(super) fn random_adapter(&self) -> Result<Tensor> {
        let count = self.lora.parameter_count(self.net().config());
        Ok(Tensor::f_empty([count], (Kind::BFloat16, self.device))?.f_normal_(0.0, 0.01)?)
    }

    /// Puts one more random adapter into the next slot.
    pub(super) fn load_random(&mut self) -> Result<()> {
        let flat = self.random_adapter()?;
        let slot = self.loaded;
        load_flat(&mut self.table, slot, &self.lora, &flat, self.base.config())?;
        self.loaded += 1;
        Ok(())
    }

    /// Lets all adapters go.
    pub(super) fn drop_adapters(&mut self) {
        for slot in 0..self.loaded {
            // Only a lost device makes this fail; the next section will say so.
            let _ = self.table.clear(slot);
        }
        self.loaded = 0;
    }

    /// One row per segment, the slots spread evenly over all that are loaded.
    pub(super) fn distinct(&self) -> Vec<Segment> {
        let step = (self.loaded / self.load.batch.max(1)).max(1);
        (0..self.load.batch)
            .map(|row| Segment { row, rows: 1, slot: Some((row * step) % self.loaded.max(1)) })
            .collect()
    }

    /// The device's bandwidth, if it is known.
    pub(super) fn bandwidth(&self) -> Option<f64> {
        self.facts.as_ref().map(|f| f.bandwidth)
    }

    /// Waits for the device.
    pub(super) fn finish(&self) -> Result<()> {
        match self.device {
            Device::Cuda(index) => synchronize(index),
            _ => Ok(()),
        }
    }

    /// Time of one call of `body`: the mean over the load's repetitions, recorded once on a CUDA
    /// device so that the host's part is left out.
    pub(super) fn time(&self, mut body: impl FnMut() -> Result<()>) -> Result<Duration> {
        let repeats = self.load.repeats.max(1);
        let elapsed = match self.device {
            Device::Cuda(index) => {
                let graph = Graph::record(index, body)?;
                graph.replay()?;
                graph.stream().synchronize()?;
                let start = Instant::now();
                for _ in 0..repeats {
                    graph.replay()?;
                }
                graph.stream().synchronize()?;
                start.elapsed()
            }
            _ => {
                body()?;
                let start = Instant::now();
                for _ in 0..repeats {
                    body()?;
                }
                start.elapsed()
            }
        };
        Ok(elapsed / repeats as u32)
    }
}

fn count((_, shape): &(String, Vec<i64>)) -> i64 {
    shape.iter().product()
}

/// Dense bf16 operations per second of a device, from its clock and the operations that each
/// multiprocessor does per cycle (NVIDIA's architecture papers: A100 2,048, H100 and H200 4,096).
pub(super) fn operations(facts: &DeviceFacts) -> Option<f64> {
    let per_cycle = match facts.capability {
        (8, 0) => 2048.0,
        (9, 0) => 4096.0,
        _ => return None,
    };
    let (count, clock) = facts.processors;
    Some(f64::from(count) * clock * per_cycle)
}

pub(super) fn sizes(shape: Shape) -> (ModelConfig, Load) {
    let tiny = ModelConfig {
        vocab_size: 256,
        hidden_size: 64,
        intermediate_size: 96,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        max_position: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: false,
        bos_token: None,
        eos_tokens: vec![],
    };
    match shape {
        Shape::Tiny => (
            tiny,
            Load {
                batch: 3,
                context: 8,
                steps: 1,
                rank: 8,
                prefill: (24, 2),
                slots: 5,
                loads: 3,
                sequence: 32,
                train_steps: 2,
                together_steps: 2,
                repeats: 1,
            },
        ),
        Shape::Llama3_8b => (
            ModelConfig {
                vocab_size: 128_256,
                hidden_size: 4096,
                intermediate_size: 14_336,
                layers: 32,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                max_position: 8192,
                ..tiny
            },
            Load {
                batch: 64,
                context: 512,
                steps: 32,
                rank: 16,
                prefill: (4096, 8),
                slots: 2048,
                loads: 50,
                sequence: 4096,
                train_steps: 6,
                together_steps: 3,
                repeats: 50,
            },
        ),
    }
}
