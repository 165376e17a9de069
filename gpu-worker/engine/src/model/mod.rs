//! The transformer: weights of a base model and the passes over them.

mod cached;
mod deltas;
mod dense;
mod fixed;
mod nf4;
pub(crate) mod tuning;
mod weight;

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::config::{ModelConfig, Projection};
use crate::error::Result;
use crate::rope::Rope;
use crate::tokenizer::Tokenizer;
use crate::weights::{write_safetensors, WeightStore};

pub(crate) use cached::{KvCache, Plan, Several, Single};
pub(crate) use deltas::Deltas;
pub use nf4::nf4_round_trip;
pub use weight::Quantise;
pub(crate) use weight::Weight;

struct Layer {
    input_norm: Tensor,
    post_norm: Tensor,
    /// In the order of [`Projection::ALL`], each `[out, in]`.
    projections: [Weight; 7],
    /// Q, K and V under each other `[q + k + v, hidden]`; the three projections are views of it.
    /// `None` while they lie apart.
    qkv: Option<Tensor>,
    /// Gate and up likewise, `[2 * intermediate, hidden]`.
    gate_up: Option<Tensor>,
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

/// See [`Transformer::parts`].
pub(crate) struct Parts {
    pub embed: Tensor,
    pub layers: Vec<LayerParts>,
    pub norm: Tensor,
    pub head: Tensor,
    /// Cosines and sines, `[1, 1, max_position, head_dim]` each.
    pub rope: (Tensor, Tensor),
}

/// Weights of one block; projections `[out, in]` in the order of [`Projection::ALL`].
pub(crate) struct LayerParts {
    pub input_norm: Tensor,
    pub post_norm: Tensor,
    pub projections: [Tensor; 7],
}

/// A base model: transformer and tokenizer from a folder in the hub's layout.
pub struct BaseModel {
    transformer: Transformer,
    tokenizer: Tokenizer,
}

impl BaseModel {
    /// Loads `folder`: `config.json`, `model*.safetensors`, `tokenizer.json` and, when there is
    /// one, `tokenizer_config.json` with the chat template.
    ///
    /// On the CPU the weights become f32 whatever they are stored as; on CUDA they become bf16.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        Self::load_with(folder, device, Quantise::None)
    }

    /// Like [`Self::load`], the projections held as `quantise` says. Training and serving work the
    /// same on a quantised base; it is another base all the same, so an adapter is served on what
    /// it was trained on.
    pub fn load_with(folder: &Path, device: Device, quantise: Quantise) -> Result<Self> {
        let kind = if device.is_cuda() { Kind::BFloat16 } else { Kind::Float };
        let config = ModelConfig::read(folder)?;
        let store = WeightStore::open_model(folder)?;
        let get = |name: &str, shape: &[i64]| store.get(name, shape, kind, device);
        let mut transformer =
            Transformer::build_with(config, get, |matrix| Weight::quantised(matrix, quantise))?;
        transformer.join();
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

    /// The same model in bf16.
    #[cfg(test)]
    pub(crate) fn in_bf16(&self) -> Result<Self> {
        let mut named: std::collections::HashMap<String, Tensor> =
            self.transformer.named().into_iter().collect();
        let net = Transformer::build(self.config().clone(), |name, _| {
            let tensor = named.remove(name).ok_or(crate::EngineError::Stopped)?;
            Ok(tensor.to_kind(Kind::BFloat16))
        })?;
        Ok(Self::from_parts(net, self.tokenizer.clone()))
    }
}

impl Transformer {
    /// Builds from a function that gives each named parameter with the shape asked for.
    pub fn build(
        config: ModelConfig,
        get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
    ) -> Result<Self> {
        Self::build_with(config, get, |matrix| Ok(Weight::dense(matrix)))
    }

    /// Like [`Self::build`]; `hold` says how each projection is kept.
    fn build_with(
        config: ModelConfig,
        mut get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
        hold: impl Fn(Tensor) -> Result<Weight>,
    ) -> Result<Self> {
        let h = config.hidden_size;
        let embed = get("model.embed_tokens.weight", &[config.vocab_size, h])?;
        let mut layers = Vec::with_capacity(config.layers as usize);
        for layer in 0..config.layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
            let mut projection = |p: Projection| {
                let (input, output) = p.size(&config);
                get(&at(p.path()), &[output, input]).and_then(&hold)
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
                qkv: None,
                gate_up: None,
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

    /// Lays projections that read the same input under each other in memory.
    fn join(&mut self) {
        for layer in &mut self.layers {
            let (attention, mlp) = layer.projections.split_at_mut(4);
            layer.qkv = Weight::join(&mut attention[..3]);
            layer.gate_up = Weight::join(&mut mlp[..2]);
        }
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.numel() * t.kind().elt_size_in_bytes();
        let layers = self.layers.iter().map(|l| {
            let norms = of(&l.input_norm) + of(&l.post_norm);
            norms + l.projections.iter().map(Weight::bytes).sum::<usize>()
        });
        of(&self.embed) + of(&self.norm) + self.head.as_ref().map_or(0, of) + layers.sum::<usize>()
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

    /// Handles on all weights, for whoever lays them out anew.
    pub(crate) fn parts(&self) -> Parts {
        let layer = |l: &Layer| LayerParts {
            input_norm: l.input_norm.shallow_clone(),
            post_norm: l.post_norm.shallow_clone(),
            projections: std::array::from_fn(|i| l.projections[i].dense_copy()),
        };
        let (cos, sin) = self.rope.prefix(self.config.max_position);
        Parts {
            embed: self.embed.shallow_clone(),
            layers: self.layers.iter().map(layer).collect(),
            norm: self.norm.shallow_clone(),
            head: self.head_weight().shallow_clone(),
            rope: (cos, sin),
        }
    }

    pub(crate) fn share(&self) -> Self {
        Self {
            config: self.config.clone(),
            embed: self.embed.shallow_clone(),
            layers: self
                .layers
                .iter()
                .map(|l| Layer {
                    input_norm: l.input_norm.shallow_clone(),
                    post_norm: l.post_norm.shallow_clone(),
                    projections: std::array::from_fn(|i| l.projections[i].share()),
                    qkv: l.qkv.as_ref().map(Tensor::shallow_clone),
                    gate_up: l.gate_up.as_ref().map(Tensor::shallow_clone),
                })
                .collect(),
            norm: self.norm.shallow_clone(),
            head: self.head.as_ref().map(Tensor::shallow_clone),
            rope: self.rope.share(),
        }
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
                list.push(layer.projections[projection as usize].dense_copy());
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
