//! The model's adapters on a device: one matrix pair per block and projection.

use tch::{Device, Kind, Tensor};

use super::multi_lora::{pad_rank, Job, MultiLoraKernel, Pair, Plan, Table};
use crate::config::{ModelConfig, Projection};
use crate::error::Result;
use crate::lora::{Adapter, LoraConfig};
use crate::model::Deltas;

/// Number of a block's projection among the pairs of a [`model_table`].
pub fn pair_of(layer: usize, projection: Projection) -> usize {
    layer * Projection::ALL.len() + projection as usize
}

/// An empty [`Table`] with a pair for each block and projection of `model`.
pub fn model_table(
    model: &ModelConfig,
    slots: usize,
    max_rank: usize,
    device: Device,
) -> Result<Table> {
    let mut shapes = Vec::new();
    for _ in 0..model.layers {
        for projection in Projection::ALL {
            let (input, output) = projection.size(model);
            shapes.push((input as usize, output as usize));
        }
    }
    Table::new(shapes, slots, max_rank, device)
}

/// Puts `adapter` into `slot`, in bf16 on the table's device.
pub fn load_adapter(
    table: &mut Table,
    slot: usize,
    adapter: &Adapter,
    model: &ModelConfig,
) -> Result<()> {
    let flat = adapter.flat().detach().f_to_kind(Kind::BFloat16)?.f_to_device(table.device())?;
    load_flat(table, slot, adapter.config(), &flat, model)
}

/// Puts an adapter into `slot` whose numbers stand in `flat`, bf16 on the table's device, in the
/// order of [`Adapter::flat`]. Where rank and widths allow it the table uses them where they are.
pub(crate) fn load_flat(
    table: &mut Table,
    slot: usize,
    config: &LoraConfig,
    flat: &Tensor,
    model: &ModelConfig,
) -> Result<()> {
    let mut at = 0;
    let mut cut = |rows: i64, columns: i64| -> Result<Tensor> {
        let part = flat.f_narrow(0, at, rows * columns)?.f_view([rows, columns])?;
        at += rows * columns;
        Ok(part)
    };
    let mut matrices = Vec::new();
    for _ in 0..model.layers {
        for projection in Projection::ALL {
            matrices.push(match config.targets.contains(&projection) {
                false => None,
                true => {
                    let (input, output) = projection.size(model);
                    let (a, b) = (cut(config.rank, input)?, cut(output, config.rank)?);
                    Some(pad_rank(&a, &b)?)
                }
            });
        }
    }
    let scale = config.scale();
    let pairs: Vec<_> =
        matrices.iter().map(|m| m.as_ref().map(|(a, b)| Pair { a, b, scale })).collect();
    table.load(slot, &pairs)
}

/// A step's adapters, applied by the kernel.
pub(crate) struct KernelDeltas<'a> {
    pub kernel: &'a MultiLoraKernel,
    pub table: &'a Table,
    pub plan: &'a Plan,
}

impl Deltas for KernelDeltas<'_> {
    fn add(&self, layer: usize, jobs: &[(Projection, &Tensor, &Tensor)]) -> Result<()> {
        let jobs: Vec<_> =
            jobs.iter().map(|(p, x, y)| Job { pair: pair_of(layer, *p), x, y }).collect();
        self.kernel.apply(self.table, self.plan, &jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Segment;
    use crate::model::Transformer;

    fn config() -> ModelConfig {
        ModelConfig {
            vocab_size: 96,
            hidden_size: 32,
            intermediate_size: 48,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            max_position: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: crate::config::RopeScaling::None,
            tie_word_embeddings: false,
            bos_token: None,
            eos_tokens: vec![],
        }
    }

    fn adapter(config: &ModelConfig, rank: i64, targets: Vec<Projection>) -> Result<Adapter> {
        let lora = LoraConfig { rank, alpha: 8.0, targets, rslora: false };
        let adapter = Adapter::new(lora, config, 1, Device::Cpu)?;
        // B starts as zeros; here it must do something.
        let _ = adapter.flat().shallow_clone().f_normal_(0.0, 0.3)?;
        Ok(adapter)
    }

    #[test]
    fn a_step_with_adapters_is_the_whole_pass_row_by_row() -> Result<()> {
        tch::manual_seed(11);
        let config = config();
        let device = Device::Cpu;
        let net = Transformer::build(config.clone(), |name, shape| {
            let random = Tensor::randn(shape, (Kind::Float, device)) * 0.2;
            let norm = name.ends_with("norm.weight");
            Ok((if norm { random + 1.0 } else { random }).to_kind(Kind::BFloat16))
        })?;
        let adapters = [
            adapter(&config, 8, Projection::ALL.to_vec())?,
            adapter(&config, 12, vec![Projection::Q, Projection::Down])?,
        ];
        let mut table = model_table(&config, 2, 16, device)?;
        for (slot, adapter) in adapters.iter().enumerate() {
            load_adapter(&mut table, slot, adapter, &config)?;
        }
        let kernel = MultiLoraKernel::new(device)?;
        let segments = [
            Segment { row: 0, rows: 1, slot: Some(0) },
            Segment { row: 1, rows: 1, slot: None },
            Segment { row: 2, rows: 1, slot: Some(1) },
        ];
        let plan = Plan::new(&segments, 3, device)?;
        let deltas = KernelDeltas { kernel: &kernel, table: &table, plan: &plan };
        let mut state = net.fixed_state(3, 8, 0)?;
        let mut tokens: Vec<Vec<i64>> = vec![vec![]; 3];
        let mut last = Tensor::new();
        for _ in 0..5 {
            for (row, list) in tokens.iter_mut().enumerate() {
                list.push(state.ids.int64_value(&[row as i64]));
            }
            last = net.fixed_step(&mut state, Some(&deltas))?;
        }
        for (row, segment) in segments.iter().enumerate() {
            let ids = Tensor::from_slice(&tokens[row]).unsqueeze(0);
            let lora = segment.slot.map(|s| adapters[s].tensors(&config, Kind::BFloat16));
            let whole = net.forward(&ids, lora.as_ref()).select(1, 4).squeeze_dim(0);
            let found = last.get(row as i64).to_kind(Kind::Float);
            let off = (&found - whole.to_kind(Kind::Float)).norm() / found.norm();
            let off = off.double_value(&[]);
            assert!(off < 0.03, "row {row}: off by {off} of its length");
            // Without its adapter the row is somewhere else: the test can tell.
            if segment.slot.is_some() {
                let bare = net.forward(&ids, None).select(1, 4).squeeze_dim(0);
                let away = (&found - bare.to_kind(Kind::Float)).norm() / found.norm();
                assert!(away.double_value(&[]) > 0.2, "row {row}: the adapter does nothing");
            }
        }
        assert!(net.fixed_state(1, 65, 0).is_err(), "more than the context");
        Ok(())
    }
}
