//! The executor in the tensor library's operators: on any device, and the reference in tests.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::{gave_up, segments, CacheUse, Chunk, Executor, Passed, Prepared, Segment, Setup, Want};
use crate::config::Projection;
use crate::error::{EngineError, Result};
use crate::lora::LoraTensors;
use crate::model::{BaseModel, KvCache, MultiLora, Plan, Several, Single};

/// Longer segments are computed one by one: beside them, padding all others would cost more.
const LONG: usize = 8;

/// How the tensor library's operators add adapters to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoraPath {
    /// Adapter by adapter: the plain way, by which the others are judged.
    Plain,
    /// The adapters of a few tokens each together, in two batched products over stacked matrices.
    #[default]
    Batched,
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
    path: LoraPath,
    /// Stacked matrices of the last set of short segments.
    stacked: Option<Stacked>,
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
        Ok(Self {
            base,
            cache,
            capacity: setup.capacity,
            most,
            slots: vec![],
            places: vec![],
            path: setup.path,
            stacked: None,
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
        let lora = match segments.iter().any(|s| s.lora.is_some()) {
            false => None,
            true => Some(Segments::new(&segments, self.path, self.stacked.take(), device)?),
        };
        let net = self.base.transformer();
        let states = net.ragged(&plan, &mut self.cache, lora.as_ref().map(|l| l as &dyn MultiLora));
        self.stacked = lora.and_then(|l| l.stacked);
        let states = states?; // [rows, hidden]
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

/// Matrices of several adapters on top of one another, ranks padded with zeros.
struct Stacked {
    of: Vec<Rc<Prepared>>,
    /// `[layer][projection]`: A `[adapters, rank, in]` and B `[adapters, out, rank]` with the
    /// scale folded in.
    pairs: Vec<[Option<(Tensor, Tensor)>; 7]>,
}

impl Stacked {
    fn new(of: Vec<Rc<Prepared>>) -> Result<Self> {
        let mut pairs = vec![];
        loop {
            let layer = pairs.len();
            let mut all: [Option<(Tensor, Tensor)>; 7] = Default::default();
            for (pair, p) in all.iter_mut().zip(Projection::ALL) {
                *pair = stack(&of, layer, p)?;
            }
            if all.iter().all(Option::is_none) {
                return Ok(Self { of, pairs });
            }
            pairs.push(all);
        }
    }

    fn is_of(&self, other: &[Rc<Prepared>]) -> bool {
        self.of.len() == other.len() && self.of.iter().zip(other).all(|(a, b)| Rc::ptr_eq(a, b))
    }
}

fn stack(of: &[Rc<Prepared>], layer: usize, p: Projection) -> Result<Option<(Tensor, Tensor)>> {
    let found: Vec<_> = of
        .iter()
        .map(|one| tensors(one).and_then(|t| Some((t.pair(layer, p)?, t.scale()))))
        .collect();
    let Some(((a0, b0), _)) = found.iter().flatten().next() else { return Ok(None) };
    let rank = found.iter().flatten().map(|((a, _), _)| a.size()[0]).max().unwrap_or(0);
    let (count, input, output) = (of.len() as i64, a0.size()[1], b0.size()[0]);
    let options = (a0.kind(), a0.device());
    let a_all = Tensor::f_zeros([count, rank, input], options)?;
    let b_all = Tensor::f_zeros([count, output, rank], options)?;
    for (at, pair) in found.iter().enumerate() {
        if let Some(((a, b), scale)) = pair {
            let r = a.size()[0];
            a_all.f_select(0, at as i64)?.f_narrow(0, 0, r)?.f_copy_(a)?;
            b_all.f_select(0, at as i64)?.f_narrow(1, 0, r)?.f_copy_(&(b * *scale))?;
        }
    }
    Ok(Some((a_all, b_all)))
}

fn tensors(prepared: &Prepared) -> Option<&LoraTensors> {
    match prepared {
        Prepared::Stock(tensors) => Some(tensors),
        Prepared::Cpu(_) => None,
    }
}

/// The adapters of one step.
struct Segments {
    /// Computed one by one.
    long: Vec<Segment>,
    stacked: Option<Stacked>,
    /// Rows of the stacked segments: which, `[adapters · most]` padded with row 0, where they
    /// stand in the padded product, and which they are.
    padded: Tensor,
    places: Tensor,
    rows: Tensor,
}

impl Segments {
    fn new(
        all: &[Segment],
        path: LoraPath,
        before: Option<Stacked>,
        device: tch::Device,
    ) -> Result<Self> {
        let adapted = all.iter().filter(|s| s.lora.is_some()).cloned();
        let (mut short, mut long): (Vec<Segment>, Vec<Segment>) =
            adapted.partition(|s| path == LoraPath::Batched && s.rows <= LONG);
        if short.len() == 1 {
            long.append(&mut short);
        }
        let most = short.iter().map(|s| s.rows).max().unwrap_or(0);
        let (mut padded, mut places, mut rows) = (vec![], vec![], vec![]);
        for (number, segment) in short.iter().enumerate() {
            for at in 0..most {
                let row = if at < segment.rows { segment.row + at } else { segment.row };
                padded.push(row as i64);
                if at < segment.rows {
                    places.push((number * most + at) as i64);
                    rows.push(row as i64);
                }
            }
        }
        let of: Vec<Rc<Prepared>> = short.into_iter().filter_map(|s| s.lora).collect();
        let stacked = match before {
            _ if of.is_empty() => None,
            Some(before) if before.is_of(&of) => Some(before),
            _ => Some(Stacked::new(of)?),
        };
        let there = |list: Vec<i64>| Tensor::f_from_slice(&list)?.f_to_device(device);
        Ok(Self {
            long,
            stacked,
            padded: there(padded)?,
            places: there(places)?,
            rows: there(rows)?,
        })
    }
}

impl MultiLora for Segments {
    fn apply(&self, layer: usize, p: Projection, x: &Tensor, y: &Tensor) -> Result<()> {
        for segment in &self.long {
            let (row, rows) = (segment.row as i64, segment.rows as i64);
            let delta = segment.lora.as_deref().and_then(tensors).and_then(|lora| {
                lora.delta(layer, p, &x.narrow(0, row, rows).unsqueeze(0)) // [1, rows, out]
            });
            if let Some(delta) = delta {
                let _ = y.f_narrow(0, row, rows)?.f_add_(&delta.squeeze_dim(0))?;
            }
        }
        let Some(stacked) = &self.stacked else { return Ok(()) };
        let Some((a, b)) = stacked.pairs.get(layer).and_then(|l| l[p as usize].as_ref()) else {
            return Ok(());
        };
        let count = stacked.of.len() as i64;
        let x = x.f_index_select(0, &self.padded)?.f_view([count, -1, x.size()[1]])?;
        let low = x.f_bmm(&a.transpose(1, 2))?; // [adapters, most, rank]
        let delta = low.f_bmm(&b.transpose(1, 2))?; // [adapters, most, out]
        let delta = delta.f_flatten(0, 1)?.f_index_select(0, &self.places)?;
        let _ = y.shallow_clone().f_index_add_(0, &self.rows, &delta)?;
        Ok(())
    }
}
