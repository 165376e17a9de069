//! A decoding step of fixed shapes that asks nothing of the device while it is queued, so that it
//! can be recorded once and replayed: every slot takes part, each at its own position.

use tch::{Kind, Tensor};

use super::deltas::{Deltas, GATE_UP, QKV};
use super::Transformer;
use crate::config::Projection;
use crate::error::{EngineError, Result};
use crate::rope::rotate;

/// The state of `rows` sequences under decoding.
pub(crate) struct FixedState {
    /// Last token of each, `[rows]`, int64; replaced by the next in each step.
    pub ids: Tensor,
    /// Its position, `[rows]`, int64; one more after each step. Must stay below the capacity.
    pub positions: Tensor,
    /// Per layer `[rows, kv_heads, capacity, head_dim]`.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    /// `[capacity]`, int64.
    reach: Tensor,
}

impl FixedState {
    /// Bytes of keys and values that one step reads.
    pub(crate) fn cache_bytes(&self) -> usize {
        let size = |t: &Tensor| t.numel() * t.kind().elt_size_in_bytes();
        self.keys.iter().chain(&self.values).map(size).sum()
    }
}

impl Transformer {
    /// Room for `rows` sequences of `capacity` tokens, all of them at `position`; keys and values
    /// before it are drawn at random.
    pub(crate) fn fixed_state(
        &self,
        rows: i64,
        capacity: i64,
        position: i64,
    ) -> Result<FixedState> {
        if !(0..capacity).contains(&position) || capacity > self.config.max_position {
            return Err(EngineError::Request(format!(
                "position {position} or capacity {capacity} does not fit a context of {}",
                self.config.max_position
            )));
        }
        let shape = [rows, self.config.kv_heads, capacity, self.config.head_dim];
        let make = || -> Result<Vec<Tensor>> {
            (0..self.config.layers)
                .map(|_| {
                    Ok(Tensor::f_empty(shape, (self.kind(), self.device()))?.f_normal_(0.0, 1.0)?)
                })
                .collect()
        };
        let integers = (Kind::Int64, self.device());
        Ok(FixedState {
            ids: Tensor::f_arange(rows, integers)?.f_remainder(self.config.vocab_size)?,
            positions: Tensor::f_full([rows], position, integers)?,
            keys: make()?,
            values: make()?,
            reach: Tensor::f_arange(capacity, integers)?,
        })
    }

    /// One step of greedy decoding for every row. Gives logits `[rows, vocab]`; `state` moves on.
    pub(crate) fn fixed_step(
        &self,
        state: &mut FixedState,
        deltas: Option<&dyn Deltas>,
    ) -> Result<Tensor> {
        let rows = state.ids.size()[0];
        let (heads, kv, d) = (self.config.heads, self.config.kv_heads, self.config.head_dim);
        let rope = self.rope.rows(&state.positions);
        let at = state.positions.f_view([rows, 1, 1, 1])?;
        let index = at.f_expand([rows, kv, 1, d], false)?;
        // Added to the scores: 0 where a row attends, -inf beyond its position.
        let beyond = state.reach.f_view([1, 1, 1, -1])?.f_gt_tensor(&at)?; // [rows, 1, 1, capacity]
        let capacity = state.reach.size()[0];
        let mask = Tensor::f_zeros([rows, 1, 1, capacity], (self.kind(), self.device()))?
            .f_masked_fill(&beyond, f64::NEG_INFINITY)?
            .f_expand([rows, kv, heads / kv, capacity], false)?;
        let mut x = Tensor::f_embedding(&self.embed, &state.ids, -1, false, false)?; // [rows, hidden]
        for (number, layer) in self.layers.iter().enumerate() {
            let normed = self.normed(&x, &layer.input_norm);
            let [q, k, v] = self.project(number, QKV, &normed, deltas)?;
            let q = rotate(&q.f_view([rows, heads, 1, d])?, &rope);
            let k = rotate(&k.f_view([rows, kv, 1, d])?, &rope);
            let _ = state.keys[number].f_scatter_(2, &index, &k)?;
            let _ = state.values[number].f_scatter_(2, &index, &v.f_view([rows, kv, 1, d])?)?;
            // Queries that share a key head become its rows: no copies of keys.
            let mixed = Tensor::f_scaled_dot_product_attention(
                &q.f_reshape([rows, kv, heads / kv, d])?,
                &state.keys[number],
                &state.values[number],
                Some(&mask),
                0.0,
                false,
                None,
                false,
            )?;
            let mixed = mixed.f_reshape([rows, heads * d])?;
            let [out] = self.project(number, [Projection::O], &mixed, deltas)?;
            x = x.f_add(&out)?;

            let normed = self.normed(&x, &layer.post_norm);
            let [gate, up] = self.project(number, GATE_UP, &normed, deltas)?;
            let gated = gate.f_silu()?.f_mul(&up)?;
            let [down] = self.project(number, [Projection::Down], &gated, deltas)?;
            x = x.f_add(&down)?;
        }
        let logits = self.logits(&self.normed(&x, &self.norm)); // [rows, vocab]
        state.ids.f_copy_(&logits.f_argmax(-1, false)?)?;
        let _ = state.positions.f_add_scalar_(1)?;
        Ok(logits)
    }
}
