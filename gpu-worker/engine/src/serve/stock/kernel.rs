//! Adapters through the multi-adapter kernel: resident ones stand in the slots of a table, and a
//! step says which rows use which slot.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use tch::{Device, Kind, Tensor};

use super::operators::{self, Operators};
use super::tensors;
use crate::config::Projection;
use crate::cuda::{
    self, model_table, pad_rank, KernelDeltas, MultiLoraKernel, Pair, Plan, Table, MAX_RANK,
};
use crate::error::{EngineError, Result};
use crate::lora::LoraTensors;
use crate::model::{Deltas, Transformer};
use crate::serve::{Prepared, Segment};

/// Adds adapters with the kernel.
pub(super) struct Kernel {
    kernel: MultiLoraKernel,
    table: Table,
    layers: usize,
    /// Who stands in each slot. Whoever is let go elsewhere leaves the table with the next step.
    slots: Vec<Weak<Prepared>>,
    /// Slot by adapter; the weak handle above keeps an address from being given again.
    slot_of: HashMap<*const Prepared, usize>,
    /// Where the search for a slot that this step does not use begins.
    hand: usize,
    /// For adapters that the kernel does not take.
    others: Operators,
}

impl Kernel {
    /// For steps of up to `most` adapters over `net`, which is in bf16.
    pub(super) fn new(net: &Transformer, most: usize) -> Result<Self> {
        if net.kind() != Kind::BFloat16 {
            let reason = format!("the model is in {:?}, the kernel takes bf16", net.kind());
            return Err(EngineError::Cuda { doing: "readying the kernel for adapters", reason });
        }
        let kernel = MultiLoraKernel::new(net.device())?;
        // Twice what one step needs, so that adapters that take turns are not moved each time.
        let count = 2 * most.max(1);
        Ok(Self {
            kernel,
            table: model_table(net.config(), count, MAX_RANK, net.device())?,
            layers: net.config().layers as usize,
            slots: (0..count).map(|_| Weak::new()).collect(),
            slot_of: HashMap::new(),
            hand: 0,
            others: Operators::new(false),
        })
    }

    /// Readies one step over `rows` rows.
    pub(super) fn step(
        &mut self,
        segments: &[Segment],
        rows: usize,
        device: Device,
    ) -> Result<Step<'_>> {
        self.drop_gone()?;
        let (mut planned, mut others) = (vec![], vec![]);
        let mut used = vec![false; self.slots.len()];
        let known = |s: &Segment| self.slot_of.get(&Rc::as_ptr(s.lora.as_ref()?)).copied();
        // All that are there are marked first, so that a new one takes none of their slots.
        segments.iter().filter_map(known).for_each(|slot| used[slot] = true);
        for segment in segments {
            let Some(lora) = &segment.lora else { continue };
            let Some(matrices) = tensors(lora).filter(|t| fits(t, self.layers)) else {
                others.push(segment.clone());
                continue;
            };
            let slot = match self.slot_of.get(&Rc::as_ptr(lora)) {
                Some(slot) => *slot,
                None => {
                    let slot = self.free(&used).ok_or_else(|| EngineError::Cuda {
                        doing: "readying adapters",
                        reason: "a step holds more adapters than the table has slots".into(),
                    })?;
                    self.load(slot, lora, matrices)?;
                    used[slot] = true;
                    slot
                }
            };
            planned.push(cuda::Segment { row: segment.row, rows: segment.rows, slot: Some(slot) });
        }
        let plan = Plan::new(&planned, rows, device)?;
        let others = match others.is_empty() {
            true => None,
            false => Some(self.others.step(&others, device)?),
        };
        Ok(Step { kernel: &self.kernel, table: &self.table, plan, others })
    }

    /// Empties the slots of adapters that nobody holds any more.
    fn drop_gone(&mut self) -> Result<()> {
        for (slot, who) in self.slots.iter_mut().enumerate() {
            if who.as_ptr() != Weak::<Prepared>::new().as_ptr() && who.strong_count() == 0 {
                self.table.clear(slot)?;
                self.slot_of.remove(&who.as_ptr());
                *who = Weak::new();
            }
        }
        Ok(())
    }

    /// A slot that this step does not use, in turn.
    fn free(&mut self, used: &[bool]) -> Option<usize> {
        let count = self.slots.len();
        let empty = self.slots.iter().position(|who| who.strong_count() == 0);
        let slot = empty.or_else(|| {
            (self.hand..self.hand + count).map(|at| at % count).find(|slot| !used[*slot])
        })?;
        self.hand = (slot + 1) % count;
        Some(slot)
    }

    fn load(&mut self, slot: usize, lora: &Rc<Prepared>, matrices: &LoraTensors) -> Result<()> {
        // Should loading fail, the slot is nobody's.
        self.slot_of.remove(&self.slots[slot].as_ptr());
        self.slots[slot] = Weak::new();
        let mut padded = vec![];
        for layer in 0..self.layers {
            for p in Projection::ALL {
                let pair = matrices.pair(layer, p);
                padded.push(pair.map(|(a, b)| pad_rank(a, b)).transpose()?);
            }
        }
        let scale = matrices.scale();
        let pairs: Vec<_> =
            padded.iter().map(|p| p.as_ref().map(|(a, b)| Pair { a, b, scale })).collect();
        self.table.load(slot, &pairs)?;
        self.slots[slot] = Rc::downgrade(lora);
        self.slot_of.insert(Rc::as_ptr(lora), slot);
        Ok(())
    }
}

/// Whether the kernel takes all matrices of an adapter.
fn fits(lora: &LoraTensors, layers: usize) -> bool {
    let pairs = (0..layers).flat_map(|layer| Projection::ALL.map(|p| lora.pair(layer, p)));
    pairs.flatten().all(|(a, _)| a.size()[0] <= MAX_RANK as i64)
}

/// The adapters of one step.
pub(super) struct Step<'a> {
    kernel: &'a MultiLoraKernel,
    table: &'a Table,
    plan: Plan,
    others: Option<operators::Step<'a>>,
}

impl Deltas for Step<'_> {
    fn add(&self, layer: usize, jobs: &[(Projection, &Tensor, &Tensor)]) -> Result<()> {
        let Self { kernel, table, plan, others } = self;
        KernelDeltas { kernel, table, plan }.add(layer, jobs)?;
        others.as_ref().map_or(Ok(()), |others| others.add(layer, jobs))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Adapters, LoraPath, Stock};
    use super::*;
    use crate::lora::{Adapter, LoraConfig};
    use crate::model::BaseModel;
    use crate::serve::{Chunk, Executor, Preparer, Setup, Want};

    /// The small base in bf16.
    fn base() -> Result<BaseModel> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
        BaseModel::load(&folder, Device::Cpu)?.in_bf16()
    }

    fn adapter(base: &BaseModel, rank: i64, targets: &[Projection]) -> Result<Rc<Prepared>> {
        let lora = LoraConfig { rank, alpha: 8.0, targets: targets.to_vec(), rslora: false };
        let adapter = Adapter::new(lora, base.config(), 1, Device::Cpu)?;
        // B starts as zeros; here it must do something.
        let _ = adapter.flat().shallow_clone().f_normal_(0.0, 0.1)?;
        Ok(Rc::new(Preparer::new(base.transformer(), false).prepare(&adapter)?))
    }

    fn stock(base: &BaseModel, path: LoraPath, slots: usize) -> Result<Stock> {
        let setup = Setup { loops: false, path, ..Setup::full(base.transformer(), slots, 64, 1) };
        Stock::new(base.share(), setup)
    }

    /// Logits after each token of a step of one piece for each adapter, beginning at `start`.
    fn step(
        stock: &mut Stock,
        who: &[Option<&Rc<Prepared>>],
        lengths: &[usize],
        start: usize,
    ) -> Result<Tensor> {
        let tokens: Vec<Vec<i64>> = (0..who.len())
            .map(|n| (0..lengths[n] as i64).map(|t| 40 + (97 * t + 31 * n as i64) % 800).collect())
            .collect();
        let chunks: Vec<Chunk> = who
            .iter()
            .enumerate()
            .map(|(n, lora)| Chunk {
                place: n,
                start,
                tokens: &tokens[n],
                lora: *lora,
                want: Want::All,
            })
            .collect();
        let logits = stock.step(&chunks)?.logits.ok_or(EngineError::Stopped)?;
        Ok(logits.to_kind(Kind::Float))
    }

    /// How far rows are apart, as a part of their length, at most.
    fn apart(one: &Tensor, other: &Tensor) -> f64 {
        let norm = |t: &Tensor| t.norm_scalaropt_dim(2, [1], false);
        (norm(&(one - other)) / norm(other)).max().double_value(&[])
    }

    #[test]
    fn the_kernel_serves_what_the_plain_way_does() -> Result<()> {
        tch::manual_seed(5);
        let base = base()?;
        let (all, some) = (Projection::ALL, [Projection::Q, Projection::V, Projection::Down]);
        // One rank must be padded, one is more than the kernel takes.
        let loras = [
            adapter(&base, 8, &all)?,
            adapter(&base, 10, &some)?,
            adapter(&base, 64, &all)?,
            adapter(&base, 72, &some)?,
        ];
        let who = [Some(&loras[0]), None, Some(&loras[1]), Some(&loras[2]), Some(&loras[3])];
        let run = |path: LoraPath, who: &[Option<&Rc<Prepared>>]| -> Result<[Tensor; 2]> {
            let mut stock = stock(&base, path, 5)?;
            for _ in who {
                stock.open(32);
            }
            // Short and long pieces, then a token of each.
            let read = step(&mut stock, who, &[3, 2, 12, 1, 9], 0)?;
            Ok([read, step(&mut stock, who, &[1; 5], 12)?])
        };
        let (plain, bare) = (run(LoraPath::Plain, &who)?, run(LoraPath::Plain, &[None; 5])?);
        for path in [LoraPath::Kernel, LoraPath::Batched] {
            for (found, wanted) in run(path, &who)?.iter().zip(&plain) {
                let off = apart(found, wanted);
                assert!(off < 0.03, "{path:?}: off by {off} of a row's length");
            }
        }
        // The test can tell: without adapters the rows are elsewhere.
        assert!(apart(&bare[0], &plain[0]) > 0.2);
        Ok(())
    }

    #[test]
    fn adapters_take_turns_in_the_table_and_leave_it_when_they_are_let_go() -> Result<()> {
        tch::manual_seed(6);
        let base = base()?;
        let mut loras = (0..7)
            .map(|_| adapter(&base, 8, &Projection::ALL))
            .collect::<Result<Vec<Rc<Prepared>>>>()?;
        // Two sequences at once: four slots for seven adapters.
        let (mut ours, mut plain) =
            (stock(&base, LoraPath::Kernel, 2)?, stock(&base, LoraPath::Plain, 2)?);
        for _ in 0..2 {
            ours.open(32);
            plain.open(32);
        }
        for (at, [a, b]) in
            [[0, 1], [2, 3], [1, 0], [4, 5], [6, 0], [5, 5], [3, 6]].into_iter().enumerate()
        {
            let who = [Some(&loras[a]), Some(&loras[b])];
            let found = step(&mut ours, &who, &[1, 1], at)?;
            let off = apart(&found, &step(&mut plain, &who, &[1, 1], at)?);
            assert!(off < 0.03, "adapters {a} and {b}: off by {off}");
        }
        let resident = |stock: &Stock| match &stock.adapters {
            Adapters::Kernel(kernel) => kernel.slot_of.len(),
            Adapters::Operators(_) => 0,
        };
        assert_eq!(resident(&ours), 4);
        let kept = loras.remove(3);
        drop(loras);
        let _ = step(&mut ours, &[Some(&kept), None], &[1, 1], 7)?;
        assert_eq!(resident(&ours), 1);
        // A model in another format is told so.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
        let wide = BaseModel::load(&folder, Device::Cpu)?;
        let refused = stock(&wide, LoraPath::Kernel, 2);
        assert!(matches!(refused, Err(EngineError::Cuda { .. })));
        Ok(())
    }
}
