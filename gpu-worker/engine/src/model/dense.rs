//! Passes over whole sequences, with gradients where an adapter asks for them.

use tch::{Kind, Tensor};

use super::{Layer, Transformer};
use crate::config::Projection;
use crate::lora::LoraTensors;
use crate::rope::rotate;

/// Logit rows times vocabulary that are held at once when a loss is computed.
const LOSS_CHUNK_VALUES: i64 = 1 << 25;

impl Transformer {
    /// Final hidden states `[batch, seq, hidden]` of token ids `[batch, seq]`, positions from 0.
    ///
    /// Rows may be padded on the right with any token: attention is causal, so what stands
    /// before is not touched by it.
    pub fn hidden(&self, ids: &Tensor, lora: Option<&LoraTensors>) -> Tensor {
        let seq = ids.size()[1];
        let rope = self.rope.prefix(seq);
        let mut x = Tensor::embedding(&self.embed, ids, -1, false, false);
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.block(layer, index, x, lora, |q, k, v| {
                let (q, k) = (rotate(q, &rope), rotate(k, &rope));
                self.attend_causal(&q, &k, v)
            });
        }
        self.normed(&x, &self.norm)
    }

    /// Logits `[.., vocab]` of hidden states `[.., hidden]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear::<Tensor>(self.head_weight(), None)
    }

    /// Logits `[batch, seq, vocab]` of token ids `[batch, seq]`.
    pub fn forward(&self, ids: &Tensor, lora: Option<&LoraTensors>) -> Tensor {
        self.logits(&self.hidden(ids, lora))
    }

    /// Cross-entropy of `targets` `[n]` at hidden states `[n, hidden]`, each weighed by `weights`
    /// `[n]`, for a frozen output projection.
    ///
    /// Gives a surrogate whose gradient is the weighted sum's: logits are made in chunks and dropped
    /// at once, only their gradient on the hidden states is kept.
    pub(crate) fn loss(&self, hidden: &Tensor, targets: &Tensor, weights: &Tensor) -> Loss {
        let (per_token, mut unit) = tch::no_grad(|| self.head_loss(hidden, targets, true));
        let _ = tch::no_grad(|| unit.g_mul_(&weights.to_kind(unit.kind()).unsqueeze(1)));
        let surrogate = (hidden * unit).sum(Kind::Float);
        Loss { per_token, surrogate }
    }

    /// Cross-entropy `[n]` (f32) of `targets` `[n]` at hidden states `[n, hidden]` and, if
    /// `gradient` is wanted, the gradient of each at its own hidden state, `[n, hidden]`; else an
    /// empty tensor.
    pub(super) fn head_loss(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
        gradient: bool,
    ) -> (Tensor, Tensor) {
        let head = self.head_weight();
        let rows = hidden.size()[0];
        let chunk = (LOSS_CHUNK_VALUES / self.config.vocab_size).clamp(1, rows.max(1));
        let mut losses = Vec::new();
        let mut gradients = Vec::new();
        let mut start = 0;
        while start < rows {
            let n = chunk.min(rows - start);
            let h = hidden.narrow(0, start, n);
            let t = targets.narrow(0, start, n).unsqueeze(1); // [n, 1]
            let mut log_probs = h.linear::<Tensor>(head, None).log_softmax(-1, Kind::Float); // [n, vocab]
            losses.push(-log_probs.gather(1, &t, false).squeeze_dim(1)); // [n]
            if gradient {
                // d loss / d logits = softmax - one-hot
                let mut d = log_probs.exp_();
                let minus_one = Tensor::full([n, 1], -1.0, (Kind::Float, h.device()));
                let _ = d.scatter_add_(1, &t, &minus_one);
                gradients.push(d.to_kind(head.kind()).matmul(head)); // [n, hidden]
            }
            start += n;
        }
        let empty = |kind| Tensor::zeros([0], (kind, hidden.device()));
        let join = |all: Vec<Tensor>, kind| match all.is_empty() {
            true => empty(kind),
            false => Tensor::cat(&all, 0),
        };
        (join(losses, Kind::Float), join(gradients, head.kind()))
    }

    pub(super) fn head_weight(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    pub(super) fn normed(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        x.rms_norm([self.config.hidden_size], Some(weight), self.config.rms_norm_eps)
    }

    /// One block; `attend` gets queries, keys and values `[batch, heads, seq, head_dim]` before
    /// rotation and gives `[batch, heads, seq, head_dim]`.
    pub(super) fn block(
        &self,
        layer: &Layer,
        index: usize,
        x: Tensor,
        lora: Option<&LoraTensors>,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        let project = |p: Projection, input: &Tensor| {
            let base = layer.projections[p as usize].linear(input);
            match lora.and_then(|l| l.delta(index, p, input)) {
                Some(delta) => base + delta,
                None => base,
            }
        };
        let size = x.size();
        let (batch, seq, d) = (size[0], size[1], self.config.head_dim);
        let heads = |t: Tensor, n: i64| t.view([batch, seq, n, d]).transpose(1, 2);

        let normed = self.normed(&x, &layer.input_norm);
        let q = heads(project(Projection::Q, &normed), self.config.heads);
        let k = heads(project(Projection::K, &normed), self.config.kv_heads);
        let v = heads(project(Projection::V, &normed), self.config.kv_heads);
        let mixed = attend(&q, &k, &v); // [batch, heads, seq, head_dim]
        let mixed = mixed.transpose(1, 2).reshape([batch, seq, self.config.heads * d]);
        let x = x + project(Projection::O, &mixed);

        let normed = self.normed(&x, &layer.post_norm);
        let gated = project(Projection::Gate, &normed).silu() * project(Projection::Up, &normed);
        &x + project(Projection::Down, &gated)
    }

    pub(super) fn attend_causal(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let (k, v) = (self.spread(k), self.spread(v));
        Tensor::scaled_dot_product_attention::<Tensor>(q, &k, &v, None, 0.0, true, None, false)
    }

    /// Repeats each key head for the query heads that share it.
    fn spread(&self, x: &Tensor) -> Tensor {
        let group = self.config.heads / self.config.kv_heads;
        if group == 1 {
            return x.shallow_clone();
        }
        let size = x.size();
        let (batch, kv, seq, d) = (size[0], size[1], size[2], size[3]);
        x.unsqueeze(2).expand([batch, kv, group, seq, d], false).reshape([
            batch,
            kv * group,
            seq,
            d,
        ])
    }
}

/// What [`Transformer::loss`] gives.
pub(crate) struct Loss {
    /// Unweighted loss of each position, `[n]`, f32.
    pub per_token: Tensor,
    /// A scalar with the gradient of the weighted sum.
    pub surrogate: Tensor,
}
