//! The executor in the tensor library's operators: on any device, and the reference in tests. On
//! CUDA adapters are added by the kernel of our own.

mod kernel;
mod operators;

use std::panic::{catch_unwind, AssertUnwindSafe};

use tch::{Kind, Tensor};

use super::{gave_up, segments, CacheUse, Chunk, Executor, Passed, Prepared, Segment, Setup, Want};
use crate::error::{EngineError, Result};
use crate::lora::LoraTensors;
use crate::model::{BaseModel, Deltas, KvCache, Plan, Several, Single, Transformer};

use kernel::Kernel;
use operators::Operators;

/// How a batch's adapters are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoraPath {
    /// Adapter by adapter: the plain way, by which the others are judged.
    Plain,
    /// In the tensor library's operators, the adapters of a few tokens each together: two batched
    /// products over stacked matrices.
    Batched,
    /// By the multi-adapter kernel; the model must be in bf16. On the CPU the kernel is emulated,
    /// slowly, for tests.
    Kernel,
    /// [`Self::Kernel`] where it runs on a device, else [`Self::Batched`].
    #[default]
    Best,
}

/// What a [`LoraPath`] comes to.
enum Adapters {
    Operators(Operators),
    Kernel(Box<Kernel>),
}

impl Adapters {
    fn new(net: &Transformer, path: LoraPath, most: usize) -> Result<Self> {
        let kernel = || Ok(Self::Kernel(Box::new(Kernel::new(net, most)?)));
        let operators = |batched| Self::Operators(Operators::new(batched));
        match path {
            LoraPath::Plain => Ok(operators(false)),
            LoraPath::Batched => Ok(operators(true)),
            LoraPath::Kernel => kernel(),
            LoraPath::Best if !net.device().is_cuda() => Ok(operators(true)),
            LoraPath::Best => Ok(kernel().unwrap_or_else(|error: EngineError| {
                tracing::warn!(
                    %error,
                    "the multi-adapter kernel cannot be used; answers are right, but slower"
                );
                operators(true)
            })),
        }
    }

    /// Readies a step over `rows` rows.
    fn step(
        &mut self,
        segments: &[Segment],
        rows: usize,
        device: tch::Device,
    ) -> Result<Box<dyn Deltas + '_>> {
        Ok(match self {
            Self::Operators(operators) => Box::new(operators.step(segments, device)?),
            Self::Kernel(kernel) => Box::new(kernel.step(segments, rows, device)?),
        })
    }
}

struct Slot {
    place: usize,
    /// Tokens in the cache.
    tokens: i64,
}

/// The executor in stock operators. Running sequences stand in the slots `0..running`, so that
/// attention reads views of the cache.
pub(crate) struct Stock {
    base: BaseModel,
    cache: KvCache,
    capacity: usize,
    most: usize,
    slots: Vec<Slot>,
    /// Slot by place.
    places: Vec<Option<usize>>,
    adapters: Adapters,
}

impl Stock {
    /// A cache of `setup.slots` sequences, or as many as `setup.kv_bytes` holds.
    pub(crate) fn new(base: BaseModel, setup: Setup) -> Result<Self> {
        let net = base.transformer();
        let config = net.config();
        let per_token = 2 * config.layers * config.kv_heads * config.head_dim;
        let per_slot = per_token as usize * net.kind().elt_size_in_bytes() * setup.capacity.max(1);
        let most = setup.slots.min(setup.kv_bytes / per_slot.max(1));
        if most == 0 {
            return Err(EngineError::Request(format!(
                "kv_bytes {} holds not one sequence of {} tokens, which takes {per_slot}; raise \
                 it or lower the capacity",
                setup.kv_bytes, setup.capacity
            )));
        }
        let cache = net.new_cache(most as i64, setup.capacity as i64)?;
        let adapters = Adapters::new(net, setup.path, most)?;
        Ok(Self {
            base,
            cache,
            capacity: setup.capacity,
            most,
            slots: vec![],
            places: vec![],
            adapters,
        })
    }

    fn plan(&self, chunks: &[Chunk<'_>]) -> Result<Plan> {
        let vocabulary = self.base.config().vocab_size;
        let mut plan = Plan {
            ids: vec![],
            slots: vec![],
            positions: vec![],
            singles: vec![],
            severals: vec![],
        };
        for chunk in chunks {
            let slot = self.places.get(chunk.place).copied().flatten();
            let (row, start) = (plan.ids.len() as i64, chunk.start as i64);
            let (count, end) = (chunk.tokens.len(), chunk.start + chunk.tokens.len());
            let Some(slot) = slot.filter(|_| count > 0 && end <= self.capacity) else {
                return Err(EngineError::PromptTooLong { tokens: end, max: self.capacity });
            };
            let slot = slot as i64;
            if let Some(bad) = chunk.tokens.iter().find(|t| !(0..vocabulary).contains(*t)) {
                return Err(EngineError::Request(format!("token {bad} is not in the vocabulary")));
            }
            plan.ids.extend(chunk.tokens);
            plan.slots.extend(std::iter::repeat_n(slot, count));
            plan.positions.extend(start..start + count as i64);
            match count {
                1 => plan.singles.push(Single { row, slot, position: start }),
                _ => plan.severals.push(Several { row, slot, start, tokens: count as i64 }),
            }
        }
        Ok(plan)
    }

    fn pass(&mut self, chunks: &[Chunk<'_>]) -> Result<Passed> {
        let plan = self.plan(chunks)?;
        let segments = segments(chunks);
        let device = self.base.transformer().device();
        let deltas = match segments.iter().any(|s| s.lora.is_some()) {
            false => None,
            true => Some(self.adapters.step(&segments, plan.ids.len(), device)?),
        };
        let net = self.base.transformer();
        let states = net.ragged(&plan, &mut self.cache, deltas.as_deref())?; // [rows, hidden]
        drop(deltas);
        let (mut wanted, mut hidden): (Vec<i64>, Vec<i64>) = (vec![], vec![]);
        let mut row = 0;
        for chunk in chunks {
            let n = chunk.tokens.len() as i64;
            match chunk.want {
                Want::Nothing => {}
                Want::Last => wanted.push(row + n - 1),
                Want::All => wanted.extend(row..row + n),
                Want::Hidden => hidden.extend(row..row + n),
            }
            row += n;
        }
        let pick = |rows: &[i64]| -> Result<Option<Tensor>> {
            if rows.is_empty() {
                return Ok(None);
            }
            let rows = Tensor::from_slice(rows).f_to_device(device)?;
            Ok(Some(states.f_index_select(0, &rows)?))
        };
        let logits = pick(&wanted)?.map(|h| net.logits(&h));
        let hidden = pick(&hidden)?.map(|h| h.to_kind(Kind::Float));
        for chunk in chunks {
            if let Some(slot) = self.places.get(chunk.place).copied().flatten() {
                self.slots[slot].tokens = (chunk.start + chunk.tokens.len()) as i64;
            }
        }
        Ok(Passed { logits, hidden })
    }
}

impl Executor for Stock {
    fn open(&mut self, tokens: usize) -> Option<usize> {
        if self.slots.len() >= self.most || tokens > self.capacity {
            return None;
        }
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(self.slots.len());
        self.slots.push(Slot { place, tokens: 0 });
        Some(place)
    }

    fn close(&mut self, place: usize) {
        let Some(slot) = self.places.get_mut(place).and_then(Option::take) else { return };
        let last = self.slots.len() - 1;
        if slot < last {
            // The last sequence moves into the hole.
            let tokens = self.slots[last].tokens;
            let moved = tch::no_grad(|| self.cache.copy_slot(last as i64, slot as i64, tokens));
            // A copy between existing views only fails with the device itself, and then the next
            // step says so.
            debug_assert!(moved.is_ok());
            self.places[self.slots[last].place] = Some(slot);
        }
        self.slots.swap_remove(slot);
    }

    fn step(&mut self, chunks: &[Chunk<'_>]) -> Result<Passed> {
        // The library panics where it runs out of memory; what was written into the cache by then
        // lies behind every sequence's end.
        catch_unwind(AssertUnwindSafe(|| tch::no_grad(|| self.pass(chunks))))
            .unwrap_or_else(|panic| Err(gave_up(panic)))
    }

    fn cache(&self) -> CacheUse {
        let used = self.slots.iter().map(|s| s.tokens as usize).sum();
        CacheUse { used, total: self.most * self.capacity }
    }
}

fn tensors(prepared: &Prepared) -> Option<&LoraTensors> {
    match prepared {
        Prepared::Stock(tensors) => Some(tensors),
        Prepared::Cpu(_) => None,
    }
}
