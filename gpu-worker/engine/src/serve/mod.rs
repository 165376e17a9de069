//! Serving: many sequences in one pass, each with an adapter of its own.
//!
//! - [`Executor`] runs one ragged step: a flat batch of tokens, one of every decoding sequence and
//!   pieces of prompts. There are two: [`cpu`] with loops of our own, and [`stock`] with the
//!   tensor library's operators, which runs on CUDA and is the reference in tests.
//! - [`runner`] holds the running sequences ([`sequence`]), cuts prompts into pieces and keeps one sequence's
//!   failure from the others.
//! - [`queue`] says who is next, [`pool`] which adapters are where, [`loader`] fetches them.

pub(crate) mod cpu;
pub(crate) mod loader;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod runner;
pub(crate) mod score;
mod sequence;
pub(crate) mod stats;
pub(crate) mod stock;

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::{EngineError, Result};
use crate::lora::{Adapter, LoraTensors};
use crate::model::{BaseModel, Transformer};

use cpu::pack::PackedLora;
pub use sequence::Pooling;

/// An adapter in the form that an executor reads.
pub(crate) enum Prepared {
    /// Panels for the loops of our own.
    Cpu(Arc<PackedLora>),
    /// Tensors on the model's device.
    Stock(LoraTensors),
}

/// Makes adapters ready for an executor, on any thread.
#[derive(Debug, Clone)]
pub(crate) struct Preparer {
    config: ModelConfig,
    kind: Kind,
    device: Device,
    loops: bool,
}

impl Preparer {
    /// For an executor over `net`; `loops` as in [`executor`].
    pub(crate) fn new(net: &Transformer, loops: bool) -> Self {
        Self { config: net.config().clone(), kind: net.kind(), device: net.device(), loops }
    }

    /// The shape of the base.
    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the executor computes.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Copies `adapter` into the executor's form.
    pub(crate) fn prepare(&self, adapter: &Adapter) -> Result<Prepared> {
        if self.loops {
            let views = adapter.tensors(&self.config, Kind::Float);
            return Ok(Prepared::Cpu(Arc::new(PackedLora::new(&views, &self.config)?)));
        }
        let flat = adapter.flat().f_to_device(self.device)?;
        let there = Adapter::from_flat(adapter.config().clone(), flat);
        Ok(Prepared::Stock(there.tensors(&self.config, self.kind)))
    }

    /// The executor's form of matrices that are ready for a dense pass on the same device.
    pub(crate) fn adopt(&self, lora: &LoraTensors) -> Result<Prepared> {
        match self.loops {
            true => Ok(Prepared::Cpu(Arc::new(PackedLora::new(lora, &self.config)?))),
            false => Ok(Prepared::Stock(lora.share())),
        }
    }
}

impl Prepared {
    /// Memory that it takes where the executor reads it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Cpu(packed) => packed.bytes(),
            Self::Stock(tensors) => tensors.bytes(),
        }
    }
}

/// What a piece of a sequence should give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Only to be in the cache.
    Nothing,
    /// Logits after its last token.
    Last,
    /// Logits after each of its tokens.
    All,
    /// Final hidden states of each of its tokens.
    Hidden,
}

/// A piece of one sequence in a step. Pieces of one adapter stand together in a step.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    /// From [`Executor::open`].
    pub place: usize,
    /// Position of the first token; all before it have been in earlier steps.
    pub start: usize,
    /// The tokens, at least one.
    pub tokens: &'a [i64],
    /// `None` is the base itself.
    pub lora: Option<&'a Rc<Prepared>>,
    /// What to give.
    pub want: Want,
}

/// What a step gives, rows in the order of the pieces.
pub(crate) struct Passed {
    /// `[rows, vocab]`; `None` when no piece wants logits.
    pub logits: Option<Tensor>,
    /// `[rows, hidden]`, f32; `None` when no piece wants hidden states.
    pub hidden: Option<Tensor>,
}

/// Room in the cache, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheUse {
    pub used: usize,
    pub total: usize,
}

/// Runs ragged steps over a cache of keys and values.
pub(crate) trait Executor {
    /// Room for a sequence of `tokens` tokens, or `None` when there is none now.
    fn open(&mut self, tokens: usize) -> Option<usize>;
    /// Frees a place.
    fn close(&mut self, place: usize);
    /// Runs the pieces. After an error the cache holds what it held, and the same step, or
    /// parts of it, can be tried again.
    fn step(&mut self, chunks: &[Chunk<'_>]) -> Result<Passed>;
    /// How full the cache is.
    fn cache(&self) -> CacheUse;
}

/// How an executor is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Whether the CPU's own loops run; they need a model in f32 on the CPU.
    pub loops: bool,
    /// Threads of those loops.
    pub threads: usize,
    /// Sequences at once.
    pub slots: usize,
    /// Tokens of one sequence at most.
    pub capacity: usize,
    /// Memory for keys and values.
    pub kv_bytes: usize,
    /// How stock operators add adapters.
    pub path: stock::LoraPath,
}

impl Setup {
    /// For `slots` sequences of `capacity` tokens each, with memory for all of them.
    pub(crate) fn full(net: &Transformer, slots: usize, capacity: usize, threads: usize) -> Self {
        let loops = Self::can_loop(net);
        let path = stock::LoraPath::default();
        Self { loops, threads, slots, capacity, kv_bytes: usize::MAX, path }
    }

    /// Whether the CPU's own loops can run this model.
    pub(crate) fn can_loop(net: &Transformer) -> bool {
        net.device() == Device::Cpu && net.kind() == Kind::Float
    }
}

/// The executor for a base model.
pub(crate) fn executor(base: &BaseModel, setup: Setup) -> Result<Box<dyn Executor>> {
    let net = base.transformer();
    if setup.loops && !Setup::can_loop(net) {
        let reason = "the CPU's own loops need a model in f32 on the CPU".into();
        return Err(EngineError::Request(reason));
    }
    Ok(match setup.loops {
        true => Box::new(cpu::Cpu::new(net, setup)?),
        false => Box::new(stock::Stock::new(base.share(), setup)?),
    })
}

/// What the tensor library said when it gave up: it panics where it runs out of memory.
pub(crate) fn gave_up(panic: Box<dyn std::any::Any + Send>) -> EngineError {
    let said = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
    EngineError::Step(said.unwrap_or_else(|| "no reason was given".into()))
}

/// Rows of one adapter, one after another in a flat batch.
#[derive(Clone)]
pub(crate) struct Segment {
    pub lora: Option<Rc<Prepared>>,
    pub row: usize,
    pub rows: usize,
}

/// Neighbouring pieces of the same adapter together.
pub(crate) fn segments(chunks: &[Chunk<'_>]) -> Vec<Segment> {
    let mut all: Vec<Segment> = Vec::new();
    let mut row = 0;
    for chunk in chunks {
        let rows = chunk.tokens.len();
        match all.last_mut() {
            Some(last) if same(last.lora.as_ref(), chunk.lora) => last.rows += rows,
            _ => all.push(Segment { lora: chunk.lora.cloned(), row, rows }),
        }
        row += rows;
    }
    all
}

pub(crate) fn same(a: Option<&Rc<Prepared>>, b: Option<&Rc<Prepared>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Rc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
