//! A pass over a ragged batch with a cache of keys and values, in the tensor library's operators.

use tch::{Kind, Tensor};

use super::deltas::{Deltas, GATE_UP, QKV};
use super::Transformer;
use crate::config::Projection;
use crate::error::Result;
use crate::rope::rotate;

/// Neighbouring slots are attended together in groups of this many when lengths differ much.
const SPAN: usize = 8;

/// Keys and values of past tokens, one slot per sequence.
pub(crate) struct KvCache {
    /// Per layer `[slots, kv_heads, capacity, head_dim]`.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
}

impl KvCache {
    /// Copies the first `tokens` positions of slot `from` into slot `to`.
    pub(crate) fn copy_slot(&mut self, from: i64, to: i64, tokens: i64) -> Result<()> {
        for all in self.keys.iter().chain(&self.values) {
            let source = all.f_select(0, from)?.f_narrow(1, 0, tokens)?;
            all.f_select(0, to)?.f_narrow(1, 0, tokens)?.f_copy_(&source)?;
        }
        Ok(())
    }
}

/// One token of one sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single {
    /// Its row in the batch.
    pub row: i64,
    pub slot: i64,
    /// Position of the token.
    pub position: i64,
}

/// Several tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Several {
    /// First row in the batch.
    pub row: i64,
    pub slot: i64,
    /// Position of the first token.
    pub start: i64,
    pub tokens: i64,
}

/// Where the rows of a flat batch belong.
pub(crate) struct Plan {
    /// Token, slot and position of each row.
    pub ids: Vec<i64>,
    pub slots: Vec<i64>,
    pub positions: Vec<i64>,
    pub singles: Vec<Single>,
    pub severals: Vec<Several>,
}

/// Slots that are attended together, `[first, first + count)`, over `longest` positions.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    first: i64,
    count: i64,
    longest: i64,
}

/// Covers the slots of `singles`: all in one, or group by group where that reads much less.
fn spans(singles: &[Single]) -> Vec<Span> {
    let Some(last) = singles.iter().map(|s| s.slot).max() else { return vec![] };
    let longest = |from: i64, to: i64| {
        let inside = singles.iter().filter(|s| (from..to).contains(&s.slot));
        inside.map(|s| s.position + 1).max()
    };
    let whole = Span { first: 0, count: last + 1, longest: longest(0, last + 1).unwrap_or(1) };
    let groups: Vec<Span> = (0..=last)
        .step_by(SPAN)
        .filter_map(|first| {
            let count = (SPAN as i64).min(last + 1 - first);
            let longest = longest(first, first + count)?;
            Some(Span { first, count, longest })
        })
        .collect();
    let read: i64 = groups.iter().map(|g| g.count * g.longest).sum();
    match read * 10 < whole.count * whole.longest * 7 {
        true => groups,
        false => vec![whole],
    }
}

/// What the slots of one span need in each layer.
struct SpanMask {
    span: Span,
    /// Rows of the batch, and where they stand in the span.
    rows: Tensor,
    places: Tensor,
    /// `[count, 1, 1, longest]`, true where a slot attends.
    mask: Tensor,
}

impl Transformer {
    /// Room for `slots` sequences of `capacity` tokens.
    pub(crate) fn new_cache(&self, slots: i64, capacity: i64) -> Result<KvCache> {
        let shape = [slots, self.config.kv_heads, capacity, self.config.head_dim];
        let make = || -> Result<Vec<Tensor>> {
            let options = (self.kind(), self.device());
            (0..self.config.layers).map(|_| Ok(Tensor::f_zeros(shape, options)?)).collect()
        };
        Ok(KvCache { keys: make()?, values: make()? })
    }

    /// Runs a flat batch: writes its keys and values into the cache and gives final hidden states
    /// `[rows, hidden]`.
    pub(crate) fn ragged(
        &self,
        plan: &Plan,
        cache: &mut KvCache,
        deltas: Option<&dyn Deltas>,
    ) -> Result<Tensor> {
        let device = self.device();
        let there = |list: &[i64]| Tensor::from_slice(list).to_device(device);
        let (h, kv, d) = (self.config.heads, self.config.kv_heads, self.config.head_dim);
        let rows = plan.ids.len() as i64;
        let positions = there(&plan.positions);
        let at = [Some(there(&plan.slots)), None, Some(positions.shallow_clone())];
        let rope = self.rope.rows(&positions); // [rows, 1, 1, head_dim]
        let spans = self.masks(&plan.singles);
        let causal: Vec<Tensor> = plan.severals.iter().map(|s| self.causal(s)).collect();

        let mut x = Tensor::embedding(&self.embed, &there(&plan.ids), -1, false, false);
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = self.normed(&x, &layer.input_norm);
            let [q, k, v] = self.project(index, QKV, &normed, deltas)?;
            let heads = |t: Tensor, n: i64| t.view([rows, n, 1, d]);
            let (q, k, v) =
                (rotate(&heads(q, h), &rope), rotate(&heads(k, kv), &rope), heads(v, kv));
            let (keys, values) = (&mut cache.keys[index], &mut cache.values[index]);
            let _ = keys.index_put_(&at, &k.squeeze_dim(2), false);
            let _ = values.index_put_(&at, &v.squeeze_dim(2), false);

            // Queries that share a key head become its rows: no copies of keys.
            let q = q.view([rows, kv, h / kv, d]);
            let mixed = Tensor::empty([rows, h * d], (q.kind(), device));
            for SpanMask { span, rows, places, mask } in &spans {
                let mut spread = Tensor::zeros([span.count, kv, h / kv, d], (q.kind(), device));
                let _ = spread.index_copy_(0, places, &q.index_select(0, rows));
                let cut =
                    |all: &Tensor| all.narrow(0, span.first, span.count).narrow(2, 0, span.longest);
                let out = attend(&spread, &cut(keys), &cut(values), mask); // [count, kv, group, d]
                let out = out.index_select(0, places).reshape([-1, h * d]);
                let _ = mixed.shallow_clone().index_copy_(0, rows, &out);
            }
            for (several, mask) in plan.severals.iter().zip(&causal) {
                let Several { row, slot, start, tokens } = *several;
                let cut = |all: &Tensor| all.narrow(0, slot, 1).narrow(2, 0, start + tokens);
                // [1, kv, tokens · group, d]
                let q = q.narrow(0, row, tokens).transpose(0, 1).reshape([1, kv, -1, d]);
                let out = attend(&q, &cut(keys), &cut(values), mask)
                    .view([kv, tokens, h / kv, d])
                    .transpose(0, 1)
                    .reshape([tokens, h * d]);
                mixed.narrow(0, row, tokens).copy_(&out);
            }
            let [out] = self.project(index, [Projection::O], &mixed, deltas)?;
            x += out;

            let normed = self.normed(&x, &layer.post_norm);
            let [gate, up] = self.project(index, GATE_UP, &normed, deltas)?;
            let gated = gate.silu() * up;
            let [down] = self.project(index, [Projection::Down], &gated, deltas)?;
            x += down;
        }
        Ok(self.normed(&x, &self.norm))
    }

    fn masks(&self, singles: &[Single]) -> Vec<SpanMask> {
        let there = |list: &[i64]| Tensor::from_slice(list).to_device(self.device());
        let of = |span: Span| {
            let range = span.first..span.first + span.count;
            let inside: Vec<&Single> = singles.iter().filter(|s| range.contains(&s.slot)).collect();
            // A slot without a token in this step attends to its first position, for nobody.
            let mut reach = vec![0; span.count as usize];
            for single in &inside {
                reach[(single.slot - span.first) as usize] = single.position;
            }
            let places: Vec<i64> = inside.iter().map(|s| s.slot - span.first).collect();
            let rows: Vec<i64> = inside.iter().map(|s| s.row).collect();
            let steps = Tensor::arange(span.longest, (Kind::Int64, self.device()));
            let mask = steps.unsqueeze(0).le_tensor(&there(&reach).unsqueeze(1));
            SpanMask {
                rows: there(&rows),
                places: there(&places),
                mask: mask.unsqueeze(1).unsqueeze(1), // [count, 1, 1, longest]
                span,
            }
        };
        spans(singles).into_iter().map(of).collect()
    }

    /// `[tokens · group, start + tokens]`, true where a query attends.
    fn causal(&self, several: &Several) -> Tensor {
        let group = self.config.heads / self.config.kv_heads;
        let options = (Kind::Int64, self.device());
        let own = Tensor::arange(several.tokens, options) + several.start;
        let own = own.repeat_interleave_self_int(group, None, None).unsqueeze(1);
        Tensor::arange(several.start + several.tokens, options).unsqueeze(0).le_tensor(&own)
    }
}

fn attend(q: &Tensor, keys: &Tensor, values: &Tensor, mask: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention(q, keys, values, Some(mask), 0.0, false, None, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_very_different_lengths_are_attended_in_groups() {
        let single = |slot: i64, position: i64| Single { row: slot, slot, position };
        let even: Vec<Single> = (0..20).map(|slot| single(slot, 90 + slot % 3)).collect();
        assert_eq!(spans(&even), [Span { first: 0, count: 20, longest: 93 }]);
        let uneven: Vec<Single> =
            (0..20).map(|slot| single(slot, if slot < 8 { 900 } else { 9 })).collect();
        let group = |first, count, longest| Span { first, count, longest };
        assert_eq!(spans(&uneven), [group(0, 8, 901), group(8, 8, 10), group(16, 4, 10)]);
        // Only slots with a token are looked at.
        assert_eq!(spans(&[single(17, 4)]), [group(16, 2, 5)]);
        assert!(spans(&[]).is_empty());
    }
}
