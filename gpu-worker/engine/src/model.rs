//! The transformer: weights of a base model and the passes over them.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::config::{ModelConfig, Projection};
use crate::error::Result;
use crate::lora::LoraTensors;
use crate::rope::{rotate, Rope};
use crate::tokenizer::Tokenizer;
use crate::weights::{write_safetensors, WeightStore};

/// Logit rows times vocabulary that are held at once when a loss is computed.
const LOSS_CHUNK_VALUES: i64 = 1 << 25;

struct Layer {
    input_norm: Tensor,
    post_norm: Tensor,
    /// In the order of [`Projection::ALL`], each `[out, in]`.
    projections: [Tensor; 7],
}

/// The weights of a transformer and their shape. Frozen unless it was built for pre-training.
pub struct Transformer {
    config: ModelConfig,
    embed: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// `None` when the embedding is the output projection too.
    head: Option<Tensor>,
    rope: Rope,
}

/// A base model: transformer and tokenizer from a folder in the hub's layout.
pub struct BaseModel {
    transformer: Transformer,
    tokenizer: Tokenizer,
}

/// Keys and values of past tokens, one slot per running sequence.
pub(crate) struct KvCache {
    /// Per layer `[slots, kv_heads, capacity, head_dim]`.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
}

impl BaseModel {
    /// Loads `folder`: `config.json`, `model*.safetensors`, `tokenizer.json` and, when there is
    /// one, `tokenizer_config.json` with the chat template.
    ///
    /// On the CPU the weights become f32 whatever they are stored as; on CUDA they become bf16.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let kind = if device.is_cuda() { Kind::BFloat16 } else { Kind::Float };
        let config = ModelConfig::read(folder)?;
        let store = WeightStore::open_model(folder)?;
        let transformer =
            Transformer::build(config, |name, shape| store.get(name, shape, kind, device))?;
        let tokenizer = Tokenizer::load(folder, transformer.config())?;
        Ok(Self { transformer, tokenizer })
    }

    /// Joins parts made elsewhere.
    pub(crate) fn from_parts(transformer: Transformer, tokenizer: Tokenizer) -> Self {
        Self { transformer, tokenizer }
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.transformer.config
    }

    /// The network.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    /// The tokenizer with its chat template.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A second handle on the same frozen weights, for another thread.
    pub fn share(&self) -> Self {
        Self { transformer: self.transformer.share(), tokenizer: self.tokenizer.clone() }
    }
}

impl Transformer {
    /// Builds from a function that gives each named parameter with the shape asked for.
    pub fn build(
        config: ModelConfig,
        mut get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
    ) -> Result<Self> {
        let h = config.hidden_size;
        let embed = get("model.embed_tokens.weight", &[config.vocab_size, h])?;
        let mut layers = Vec::with_capacity(config.layers as usize);
        for layer in 0..config.layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
            let mut projection = |p: Projection| {
                let (input, output) = p.size(&config);
                get(&at(p.path()), &[output, input])
            };
            let projections = [
                projection(Projection::Q)?,
                projection(Projection::K)?,
                projection(Projection::V)?,
                projection(Projection::O)?,
                projection(Projection::Gate)?,
                projection(Projection::Up)?,
                projection(Projection::Down)?,
            ];
            layers.push(Layer {
                input_norm: get(&at("input_layernorm"), &[h])?,
                post_norm: get(&at("post_attention_layernorm"), &[h])?,
                projections,
            });
        }
        let norm = get("model.norm.weight", &[h])?;
        let head = match config.tie_word_embeddings {
            true => None,
            false => Some(get("lm_head.weight", &[config.vocab_size, h])?),
        };
        let rope = Rope::new(&config, embed.kind(), embed.device());
        Ok(Self { config, embed, layers, norm, head, rope })
    }

    /// Like [`Self::build`], with the position tables of another transformer of the same shape.
    pub(crate) fn rebuild(&self, get: impl FnMut(&str, &[i64]) -> Result<Tensor>) -> Result<Self> {
        let mut config = self.config.clone();
        // The tables are the costly part of a build; one position is enough for a throw-away.
        config.max_position = 1;
        let mut built = Self::build(config, get)?;
        built.rope = self.rope.share();
        built.config = self.config.clone();
        Ok(built)
    }

    /// The shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embed.device()
    }

    /// The number format of the weights.
    pub fn kind(&self) -> Kind {
        self.embed.kind()
    }

    fn share(&self) -> Self {
        Self {
            config: self.config.clone(),
            embed: self.embed.shallow_clone(),
            layers: self
                .layers
                .iter()
                .map(|l| Layer {
                    input_norm: l.input_norm.shallow_clone(),
                    post_norm: l.post_norm.shallow_clone(),
                    projections: std::array::from_fn(|i| l.projections[i].shallow_clone()),
                })
                .collect(),
            norm: self.norm.shallow_clone(),
            head: self.head.as_ref().map(Tensor::shallow_clone),
            rope: self.rope.share(),
        }
    }

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
    /// Gives the weighted sum and a surrogate whose gradient is that sum's: logits are made in
    /// chunks and dropped at once, only their gradient on the hidden states is kept.
    pub(crate) fn loss(&self, hidden: &Tensor, targets: &Tensor, weights: &Tensor) -> Loss {
        let head = self.head_weight();
        let rows = hidden.size()[0];
        let chunk = (LOSS_CHUNK_VALUES / self.config.vocab_size).clamp(1, rows.max(1));
        let (per_token, gradient) = tch::no_grad(|| {
            let mut losses = Vec::new();
            let mut gradients = Vec::new();
            let mut start = 0;
            while start < rows {
                let n = chunk.min(rows - start);
                let h = hidden.narrow(0, start, n);
                let t = targets.narrow(0, start, n).unsqueeze(1); // [n, 1]
                let w = weights.narrow(0, start, n);
                let log_probs = h.linear::<Tensor>(head, None).log_softmax(-1, Kind::Float); // [n, vocab]
                losses.push(-log_probs.gather(1, &t, false).squeeze_dim(1)); // [n]
                                                                             // d loss / d logits = softmax - one-hot
                let mut d = log_probs.exp();
                let minus_one = Tensor::full([n, 1], -1.0, (Kind::Float, h.device()));
                let _ = d.scatter_add_(1, &t, &minus_one);
                d *= w.unsqueeze(1);
                gradients.push(d.to_kind(head.kind()).matmul(head)); // [n, hidden]
                start += n;
            }
            (Tensor::cat(&losses, 0), Tensor::cat(&gradients, 0))
        });
        let surrogate = (hidden * gradient).sum(Kind::Float);
        Loss { per_token, surrogate }
    }

    fn head_weight(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    fn normed(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        x.rms_norm([self.config.hidden_size], Some(weight), self.config.rms_norm_eps)
    }

    /// One block; `attend` gets queries, keys and values `[batch, heads, seq, head_dim]` before
    /// rotation and gives `[batch, heads, seq, head_dim]`.
    fn block(
        &self,
        layer: &Layer,
        index: usize,
        x: Tensor,
        lora: Option<&LoraTensors>,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        let project = |p: Projection, input: &Tensor| {
            let base = input.linear::<Tensor>(&layer.projections[p as usize], None);
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

    fn attend_causal(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
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

    /// Every parameter with its checkpoint name, in the order of [`ModelConfig::parameters`].
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        let mut list = vec![self.embed.shallow_clone()];
        for layer in &self.layers {
            list.push(layer.input_norm.shallow_clone());
            for projection in Projection::ALL {
                if projection == Projection::Gate {
                    list.push(layer.post_norm.shallow_clone());
                }
                list.push(layer.projections[projection as usize].shallow_clone());
            }
        }
        list.push(self.norm.shallow_clone());
        list.extend(self.head.as_ref().map(Tensor::shallow_clone));
        let names = self.config.parameters().into_iter().map(|(name, _)| name);
        names.zip(list).collect()
    }

    /// Writes `config.json` and `model.safetensors` (bf16) into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        self.config.write(folder)?;
        write_safetensors(&folder.join("model.safetensors"), &self.named(), Kind::BFloat16)
    }
}

/// What [`Transformer::loss`] gives.
pub(crate) struct Loss {
    /// Unweighted loss of each position, `[n]`, f32.
    pub per_token: Tensor,
    /// A scalar with the gradient of the weighted sum.
    pub surrogate: Tensor,
}
