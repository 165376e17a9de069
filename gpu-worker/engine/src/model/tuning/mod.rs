//! The pass of training: packed records of several adapters through the frozen base, and back.
//!
//! The backward is written out by hand, block by block. That is worth it here because the base is
//! frozen: what is needed is the gradient of each block's input and of the thin LoRA matrices, and
//! nothing else. So projections that read the same input share one product with the base, what the
//! backward keeps is chosen (see [`Manner`]), the last block computes only rows that carry loss, and
//! the first one passes nothing further down. The plain passes in `dense.rs` compute the same under
//! the tensor library's own differentiation; tests compare the two.
//!
//! Rows of different adapters meet only in products with the base and side by side in attention.
//! No number of one adapter's rows enters another's.

mod attention;
mod low_rank;
mod ops;
mod packed;
#[cfg(test)]
mod tests;

use tch::Tensor;

use super::{Layer, Transformer};
use crate::config::Projection;

pub(crate) use low_rank::TunedAdapter;
pub(crate) use packed::{Packed, Rows};

/// Stacks in the order of [`low_rank::STACKS`].
const QKV: usize = 0;
const OUT: usize = 1;
const GATE_UP: usize = 2;
const DOWN: usize = 3;

/// How a pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether a backward will follow.
    pub keep: bool,
    /// Compute the gate, its activation and the normalised inputs again in the backward instead of
    /// keeping them: selective checkpointing. What is kept of a block falls by more than half.
    pub recompute: bool,
}

/// A pass made forwards.
pub(crate) struct Forward {
    /// Unweighted loss of each learnt token, `[learnt]`, f32.
    pub per_token: Tensor,
    /// Gradient of each learnt token's loss at its final hidden state, `[learnt, hidden]`.
    unit: Tensor,
    /// Last residual stream `[learnt, hidden]` and its `1 / rms`.
    last: Tensor,
    last_scale: Tensor,
    blocks: Vec<KeptBlock>,
    turn: ops::Turn,
}

/// What the backward of one block needs.
struct KeptBlock {
    /// Input `[tokens, hidden]`, `1 / rms`, and the normalised input unless it is computed again.
    x: Tensor,
    x_scale: Tensor,
    x_normed: Option<Tensor>,
    attention: Vec<attention::Kept>,
    /// Mixed values `[rows, heads * d]`; rows are all tokens, in the last block the learnt ones.
    mixed: Tensor,
    /// The stream between attention and MLP `[rows, hidden]`.
    middle: Tensor,
    middle_scale: Tensor,
    middle_normed: Option<Tensor>,
    /// Gate and up side by side `[rows, 2 * intermediate]`, and `silu(gate) · up`.
    both: Option<Tensor>,
    gated: Option<Tensor>,
    /// `scale · A x` by stack and part.
    low: [Vec<Option<Tensor>>; 4],
}

type Adapters<'a> = [Option<&'a TunedAdapter>];

impl Transformer {
    /// Runs packed records through the model, part `i` with `adapters[i]`.
    pub(crate) fn tune(&self, packed: &Packed, adapters: &Adapters, manner: Manner) -> Forward {
        tch::no_grad(|| self.tune_forward(packed, adapters, manner))
    }

    fn tune_forward(&self, packed: &Packed, adapters: &Adapters, manner: Manner) -> Forward {
        let turn = ops::Turn::new(&self.rope.prefix(packed.longest), &packed.positions);
        let mut x = self.embed.index_select(0, &packed.ids); // [tokens, hidden]
        let mut blocks = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let last = index + 1 == self.layers.len();
            let (out, kept) =
                self.block_forward(packed, adapters, (index, layer), x, &turn, manner, last);
            blocks.extend(kept);
            x = out;
        }
        // From here on, rows are the learnt positions alone.
        let (hidden, last_scale) = ops::rms_norm(&x, &self.norm, self.config.rms_norm_eps);
        let (per_token, unit) = self.head_loss(&hidden, &packed.targets, manner.keep);
        Forward { per_token, unit, last: x, last_scale, blocks, turn }
    }

    #[allow(clippy::too_many_arguments)]
    fn block_forward(
        &self,
        packed: &Packed,
        adapters: &Adapters,
        (index, layer): (usize, &Layer),
        x: Tensor,
        turn: &ops::Turn,
        manner: Manner,
        last: bool,
    ) -> (Tensor, Option<KeptBlock>) {
        let (heads, kv) = (self.config.heads, self.config.kv_heads);
        let eps = self.config.rms_norm_eps;
        let project = |stack: usize, input: &Tensor, parts: &[Rows]| {
            let out = layer.stack(stack, input);
            let low = |(rows, adapter): (&Rows, &Option<&TunedAdapter>)| {
                let low = adapter.and_then(|a| a.low(index, stack)).filter(|_| rows.len > 0)?;
                Some(low.forward(&rows.of(input), &rows.of(&out)))
            };
            let low: Vec<_> = parts.iter().zip(adapters).map(low).collect();
            (out, low)
        };

        let (normed, x_scale) = ops::rms_norm(&x, &layer.input_norm, eps);
        let (qkv, low_qkv) = project(QKV, &normed, &packed.parts);
        turn.apply(&qkv, heads + kv, false);
        let (mixed, attention) = attention::attend(&self.config, packed, &qkv, manner.keep);
        // What comes after the last attention is needed only where loss is taken.
        let (mixed, stream, parts) = match last {
            true => (
                mixed.index_select(0, &packed.learnt),
                x.index_select(0, &packed.learnt),
                &packed.learnt_parts,
            ),
            false => (mixed, x.shallow_clone(), &packed.parts),
        };
        let (mut middle, low_out) = project(OUT, &mixed, parts);
        middle += stream;
        let (middle_normed, middle_scale) = ops::rms_norm(&middle, &layer.post_norm, eps);
        let (both, low_both) = project(GATE_UP, &middle_normed, parts);
        let gated = ops::gate(&both);
        let (mut out, low_down) = project(DOWN, &gated, parts);
        out += &middle;
        let kept = manner.keep.then(|| {
            let or_again = |t: Tensor| (!manner.recompute).then_some(t);
            KeptBlock {
                x,
                x_scale,
                x_normed: or_again(normed),
                attention,
                mixed,
                middle,
                middle_scale,
                middle_normed: or_again(middle_normed),
                both: or_again(both),
                gated: or_again(gated),
                low: [low_qkv, low_out, low_both, low_down],
            }
        });
        (out, kept)
    }

    /// Adds to each adapter's gradient that of the sum of all losses, each weighed by `weights`
    /// `[learnt]`, f32.
    pub(crate) fn tune_back(
        &self,
        forward: Forward,
        packed: &Packed,
        adapters: &Adapters,
        weights: &Tensor,
    ) {
        tch::no_grad(|| {
            let Forward { unit, last, last_scale, blocks, turn, .. } = forward;
            let mut unit = unit;
            let _ = unit.g_mul_(&weights.to_kind(unit.kind()).unsqueeze(1));
            let mut d = last.zeros_like(); // [learnt, hidden]
            ops::rms_norm_backward(&unit, &last, &self.norm, &last_scale, &mut d);
            let layers = self.layers.iter().enumerate().zip(blocks).rev();
            for (layer, kept) in layers {
                d = self.block_backward(packed, adapters, layer, kept, &turn, d);
            }
        });
    }

    /// The gradient of a block's input from that of its output; of the first block's, which
    /// nobody needs, what came in.
    fn block_backward(
        &self,
        packed: &Packed,
        adapters: &Adapters,
        (index, layer): (usize, &Layer),
        kept: KeptBlock,
        turn: &ops::Turn,
        mut d: Tensor,
    ) -> Tensor {
        let (heads, kv) = (self.config.heads, self.config.kv_heads);
        let eps = self.config.rms_norm_eps;
        let last = index + 1 == self.layers.len();
        let parts = if last { &packed.learnt_parts } else { &packed.parts };
        let [low_qkv, low_out, low_both, low_down] = &kept.low;
        let project_back = |stack: usize,
                            input: &Tensor,
                            low: &[Option<Tensor>],
                            dy: &Tensor,
                            parts: &[Rows],
                            through: bool| {
            let dx = through.then(|| layer.stack_back(stack, dy));
            for ((rows, adapter), low) in parts.iter().zip(adapters).zip(low) {
                let (Some(adapter), Some(low)) = (adapter, low) else { continue };
                if let Some(matrices) = adapter.low(index, stack) {
                    let dx = dx.as_ref().map(|dx| rows.of(dx));
                    matrices.backward(&rows.of(input), low, &rows.of(dy), dx.as_ref());
                }
            }
            dx
        };

        // The MLP.
        let middle_normed = kept
            .middle_normed
            .unwrap_or_else(|| ops::rms_norm(&kept.middle, &layer.post_norm, eps).0);
        let both = kept.both.unwrap_or_else(|| {
            let both = layer.stack(GATE_UP, &middle_normed);
            for (rows, adapter) in parts.iter().zip(adapters) {
                if let Some(low) = adapter.and_then(|a| a.low(index, GATE_UP)) {
                    let _ = low.forward(&rows.of(&middle_normed), &rows.of(&both));
                }
            }
            both
        });
        let gated = kept.gated.unwrap_or_else(|| ops::gate(&both));
        let back = project_back(DOWN, &gated, low_down, &d, parts, true);
        drop(gated);
        let Some(d_gated) = back else { return d };
        let d_both = ops::gate_backward(&d_gated, &both);
        drop((d_gated, both));
        let back = project_back(GATE_UP, &middle_normed, low_both, &d_both, parts, true);
        let Some(d_normed) = back else { return d };
        ops::rms_norm_backward(
            &d_normed,
            &kept.middle,
            &layer.post_norm,
            &kept.middle_scale,
            &mut d,
        );

        // Attention. From here on, `d` is the gradient of the stream between.
        let back = project_back(OUT, &kept.mixed, low_out, &d, parts, true);
        let Some(mut d_mixed) = back else { return d };
        if last {
            let spread = |t: &Tensor| {
                let size = [packed.ids.size()[0], t.size()[1]];
                Tensor::zeros(size, (t.kind(), t.device())).index_copy_(0, &packed.learnt, t)
            };
            d_mixed = spread(&d_mixed);
            d = spread(&d);
        }
        let d_qkv = attention::backward(&self.config, packed, &d_mixed, kept.attention);
        turn.apply(&d_qkv, heads + kv, true);
        let x_normed =
            kept.x_normed.unwrap_or_else(|| ops::rms_norm(&kept.x, &layer.input_norm, eps).0);
        let through = index > 0;
        let back = project_back(QKV, &x_normed, low_qkv, &d_qkv, &packed.parts, through);
        if let Some(d_normed) = back {
            ops::rms_norm_backward(&d_normed, &kept.x, &layer.input_norm, &kept.x_scale, &mut d);
        }
        d
    }
}

impl Layer {
    /// The base's part of a stack's output, `[rows, out of the stack]`.
    fn stack(&self, stack: usize, x: &Tensor) -> Tensor {
        match self.joined(stack) {
            Some(block) => x.linear::<Tensor>(block, None),
            None => {
                let outputs = self.members(stack).map(|p| self.projections[p as usize].linear(x));
                let mut outputs: Vec<Tensor> = outputs.collect();
                match (outputs.len(), outputs.pop()) {
                    (1, Some(one)) => one,
                    (_, last) => {
                        outputs.extend(last);
                        Tensor::cat(&outputs, 1)
                    }
                }
            }
        }
    }

    /// The gradient of the input of [`Self::stack`].
    fn stack_back(&self, stack: usize, dy: &Tensor) -> Tensor {
        if let Some(block) = self.joined(stack) {
            return dy.matmul(block);
        }
        let mut column = 0;
        let mut sum: Option<Tensor> = None;
        for p in self.members(stack) {
            let matrix = self.projections[p as usize].dense_copy(); // [out, in]
            let own = dy.narrow(1, column, matrix.size()[0]);
            column += matrix.size()[0];
            match &mut sum {
                None => sum = Some(own.mm(&matrix)),
                Some(sum) => {
                    let _ = sum.addmm_(&own, &matrix);
                }
            }
        }
        sum.unwrap_or_else(|| dy.shallow_clone())
    }

    fn members(&self, stack: usize) -> impl Iterator<Item = Projection> {
        low_rank::STACKS.get(stack).into_iter().flat_map(|members| members.iter().copied())
    }

    fn joined(&self, stack: usize) -> Option<&Tensor> {
        match stack {
            QKV => self.qkv.as_ref(),
            GATE_UP => self.gate_up.as_ref(),
            _ => None,
        }
    }
}
