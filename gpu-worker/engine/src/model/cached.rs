//! Passes over a cache of keys and values, for generation.

use tch::{Kind, Tensor};

use super::Transformer;
use crate::lora::LoraTensors;
use crate::rope::rotate;

/// Keys and values of past tokens, one slot per running sequence.
pub(crate) struct KvCache {
    /// Per layer `[slots, kv_heads, capacity, head_dim]`.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
}

impl Transformer {
    /// Room for `slots` sequences of `capacity` tokens.
    pub(crate) fn new_cache(&self, slots: i64, capacity: i64) -> KvCache {
        let make = || {
            let shape = [slots, self.config.kv_heads, capacity, self.config.head_dim];
            (0..self.config.layers)
                .map(|_| Tensor::zeros(shape, (self.kind(), self.device())))
                .collect()
        };
        KvCache { keys: make(), values: make() }
    }

    /// Runs whole prompts, one per row of `ids` `[rows, seq]` padded on the right, and fills the
    /// cache slots. Gives hidden states `[rows, seq, hidden]`.
    pub(crate) fn prefill(
        &self,
        ids: &Tensor,
        slots: &[i64],
        cache: &mut KvCache,
        lora: Option<&LoraTensors>,
    ) -> Tensor {
        let seq = ids.size()[1];
        let rope = self.rope.prefix(seq);
        let mut x = Tensor::embedding(&self.embed, ids, -1, false, false);
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.block(layer, index, x, lora, |q, k, v| {
                let (q, k) = (rotate(q, &rope), rotate(k, &rope));
                for (row, &slot) in slots.iter().enumerate() {
                    let mut into = cache.keys[index].select(0, slot).narrow(1, 0, seq);
                    into.copy_(&k.select(0, row as i64));
                    let mut into = cache.values[index].select(0, slot).narrow(1, 0, seq);
                    into.copy_(&v.select(0, row as i64));
                }
                self.attend_causal(&q, &k, v)
            });
        }
        self.normed(&x, &self.norm)
    }

    /// Runs one token per running sequence: `ids` `[rows]` at `positions` `[rows]` of `slots`
    /// `[rows]`. Gives hidden states `[rows, hidden]`.
    pub(crate) fn decode(
        &self,
        ids: &Tensor,
        slots: &Tensor,
        positions: &Tensor,
        longest: i64,
        cache: &mut KvCache,
        lora: Option<&LoraTensors>,
    ) -> Tensor {
        let rows = ids.size()[0];
        let (kv, d) = (self.config.kv_heads, self.config.head_dim);
        let group = self.config.heads / kv;
        let rope = self.rope.rows(positions);
        let reach = Tensor::arange(longest, (Kind::Int64, self.device()));
        let mask = reach.unsqueeze(0).le_tensor(&positions.unsqueeze(1)); // [rows, longest]
        let mask = mask.unsqueeze(1).unsqueeze(1); // [rows, 1, 1, longest]
        let mut x = Tensor::embedding(&self.embed, &ids.unsqueeze(1), -1, false, false);
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.block(layer, index, x, lora, |q, k, v| {
                let (q, k) = (rotate(q, &rope), rotate(k, &rope));
                let at = [Some(slots), None, Some(positions)];
                let _ = cache.keys[index].index_put_(&at, &k.squeeze_dim(2), false);
                let _ = cache.values[index].index_put_(&at, &v.squeeze_dim(2), false);
                let keys = cache.keys[index].narrow(2, 0, longest).index_select(0, slots);
                let values = cache.values[index].narrow(2, 0, longest).index_select(0, slots);
                // Queries that share a key head become its rows: no copies of keys.
                let q = q.reshape([rows, kv, group, d]);
                let mixed = Tensor::scaled_dot_product_attention(
                    &q,
                    &keys,
                    &values,
                    Some(&mask),
                    0.0,
                    false,
                    None,
                    false,
                );
                mixed.reshape([rows, kv * group, 1, d])
            });
        }
        self.normed(&x, &self.norm).squeeze_dim(1)
    }
}
