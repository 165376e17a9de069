//! Matrices laid out for the inner loops: base weights once, adapters when they are loaded.

use tch::{Kind, Tensor};

use super::simd::LANES;
use crate::config::{ModelConfig, Projection};
use crate::error::{EngineError, Result};
use crate::lora::LoraTensors;
use crate::model::Transformer;

/// A matrix `[columns, k]` as panels: panel `p` holds columns `16 p ..` as `k` rows of sixteen.
pub(crate) struct Packed {
    pub panels: Vec<[f32; LANES]>,
    pub k: usize,
    pub columns: usize,
}

impl Packed {
    /// From `columns` rows of `k` numbers, each times `scale`.
    pub(crate) fn new(rows: &[f32], columns: usize, k: usize, scale: f32) -> Self {
        let mut panels = vec![[0f32; LANES]; columns.div_ceil(LANES) * k];
        for (column, row) in rows.chunks_exact(k.max(1)).take(columns).enumerate() {
            let panel = &mut panels[column / LANES * k..][..k];
            for (into, value) in panel.iter_mut().zip(row) {
                into[column % LANES] = value * scale;
            }
        }
        Self { panels, k, columns }
    }

    fn of(tensor: &Tensor) -> Result<Self> {
        let (columns, k) = tensor.size2()?;
        Ok(Self::new(&floats(tensor)?, columns as usize, k as usize, 1.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(LANES)
    }
}

/// The numbers of a tensor in its order.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(Vec::<f32>::try_from(flat)?)
}

pub(crate) struct LayerWeights {
    pub input_norm: Vec<f32>,
    pub post_norm: Vec<f32>,
    /// Queries, keys and values in one.
    pub qkv: Packed,
    pub o: Packed,
    /// A panel of gates, a panel of ups, and so on in turn.
    pub gate_up: Packed,
    pub down: Packed,
}

/// A base model's weights, laid out for the CPU.
pub(crate) struct Weights {
    pub config: ModelConfig,
    /// `[vocab, hidden]`.
    pub embed: Vec<f32>,
    pub layers: Vec<LayerWeights>,
    pub norm: Vec<f32>,
    pub head: Packed,
    /// `[max_position, head_dim]` each.
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

impl Weights {
    /// Copies the weights of `net` into panels.
    pub(crate) fn new(net: &Transformer) -> Result<Self> {
        tch::no_grad(|| {
            let config = net.config().clone();
            let parts = net.parts();
            let mut layers = Vec::with_capacity(parts.layers.len());
            for layer in &parts.layers {
                let [q, k, v, o, gate, up, down] = &layer.projections;
                let qkv = Tensor::f_cat(&[q, k, v], 0)?;
                let width = (config.intermediate_size as usize).div_ceil(LANES) * LANES;
                layers.push(LayerWeights {
                    input_norm: floats(&layer.input_norm)?,
                    post_norm: floats(&layer.post_norm)?,
                    qkv: Packed::of(&qkv)?,
                    o: Packed::of(o)?,
                    gate_up: interleave(&Packed::of(gate)?, &Packed::of(up)?, width),
                    down: Packed::of(down)?,
                });
            }
            let (cos, sin) = parts.rope;
            Ok(Self {
                embed: floats(&parts.embed)?,
                layers,
                norm: floats(&parts.norm)?,
                head: Packed::of(&parts.head)?,
                cos: floats(&cos)?,
                sin: floats(&sin)?,
                config,
            })
        })
    }
}

fn interleave(gate: &Packed, up: &Packed, width: usize) -> Packed {
    let k = gate.k;
    let mut panels = Vec::with_capacity(2 * gate.panels.len());
    for (g, u) in gate.panels.chunks_exact(k).zip(up.panels.chunks_exact(k)) {
        panels.extend_from_slice(g);
        panels.extend_from_slice(u);
    }
    Packed { panels, k, columns: 2 * width }
}

/// Projections that read the same input, and so share one product with all their A matrices.
pub(crate) const GROUPS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// One projection's B in a group.
pub(crate) struct Part {
    /// First of its columns in the product with the group's A.
    pub from: usize,
    /// `[out, rank]` with the scale folded in.
    pub b: Packed,
    /// Where its output begins in the group's output, and from panel to panel.
    pub column: usize,
    pub step: usize,
}

/// The adapted projections of one group.
pub(crate) struct Group {
    /// All A matrices below one another: `[ranks, in]`.
    pub a: Packed,
    pub parts: Vec<Part>,
}

/// An adapter laid out for the CPU: any rank and any targets.
pub(crate) struct PackedLora {
    /// By layer and group.
    pub layers: Vec<[Option<Group>; 4]>,
    bytes: usize,
}

impl PackedLora {
    /// Lays out `lora` for a base of shape `config`.
    pub(crate) fn new(lora: &LoraTensors, config: &ModelConfig) -> Result<Self> {
        let mut layers = Vec::with_capacity(config.layers as usize);
        let mut bytes = 0;
        for layer in 0..config.layers as usize {
            let mut groups: [Option<Group>; 4] = Default::default();
            for (group, projections) in groups.iter_mut().zip(GROUPS) {
                *group = pack_group(lora, layer, projections, config)?;
                if let Some(group) = group {
                    let parts = group.parts.iter().map(|p| p.b.panels.len());
                    let rows = group.a.panels.len() + parts.sum::<usize>();
                    bytes += rows * LANES * size_of::<f32>();
                }
            }
            layers.push(groups);
        }
        Ok(Self { layers, bytes })
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn pack_group(
    lora: &LoraTensors,
    layer: usize,
    projections: &[Projection],
    config: &ModelConfig,
) -> Result<Option<Group>> {
    let (mut rows, mut parts) = (vec![], vec![]);
    let (mut from, mut column, mut input) = (0, 0, 0);
    for (number, projection) in projections.iter().enumerate() {
        let (wanted_in, wanted_out) = projection.size(config);
        if let Some((a, b)) = lora.pair(layer, *projection) {
            let ((rank, found_in), (found_out, b_rank)) = (a.size2()?, b.size2()?);
            if (found_in, found_out, b_rank) != (wanted_in, wanted_out, rank) {
                return Err(EngineError::TensorShape {
                    name: format!("layers.{layer}.{}.lora", projection.path()),
                    expected: vec![wanted_out, rank, wanted_in],
                    found: vec![found_out, b_rank, found_in],
                });
            }
            input = wanted_in as usize;
            let b =
                Packed::new(&floats(b)?, wanted_out as usize, rank as usize, lora.scale() as f32);
            // Gates and ups stand in turn, panel by panel; all else one after another.
            let paired = matches!(projection, Projection::Gate | Projection::Up);
            parts.push(Part {
                from,
                b,
                column: if paired { number * LANES } else { column },
                step: if paired { 2 * LANES } else { LANES },
            });
            rows.extend(floats(a)?);
            from += rank as usize;
        }
        column += wanted_out as usize;
    }
    Ok(match parts.is_empty() {
        true => None,
        false => Some(Group { a: Packed::new(&rows, from, input, 1.0), parts }),
    })
}
