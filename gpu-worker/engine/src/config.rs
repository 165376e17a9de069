//! The hub's `config.json` for Llama-family models.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};

/// How positions are rescaled beyond the length that the base was trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Plain rotary embedding.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's rule: low frequencies divided, high ones kept, a smooth passage between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths longer than `original / low` are divided.
        low_freq_factor: f64,
        /// Wavelengths shorter than `original / high` are kept.
        high_freq_factor: f64,
        /// The context length before scaling, in tokens.
        original_max_position: f64,
    },
}

/// The shape of a Llama-family transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width of the gated MLP.
    pub intermediate_size: i64,
    /// Transformer blocks.
    pub layers: i64,
    /// Query heads.
    pub heads: i64,
    /// Key and value heads; divides `heads`.
    pub kv_heads: i64,
    /// Width of one head; even.
    pub head_dim: i64,
    /// Longest context, in tokens.
    pub max_position: i64,
    /// Added to the mean square before the root in RMS normalisation.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Position rescaling.
    pub rope_scaling: RopeScaling,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Start-of-text token, if the model has one.
    pub bos_token: Option<i64>,
    /// Tokens that end an answer.
    pub eos_tokens: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(i64),
    Many(Vec<i64>),
}

#[derive(Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    max_position_embeddings: Option<i64>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_act: Option<String>,
    bos_token_id: Option<i64>,
    eos_token_id: Option<OneOrMany>,
}

/// `config.json` as we write it: the fields that every Llama loader reads.
#[derive(Serialize)]
struct WrittenConfig {
    architectures: [&'static str; 1],
    model_type: &'static str,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: i64,
    head_dim: i64,
    max_position_embeddings: i64,
    rms_norm_eps: f64,
    rope_theta: f64,
    tie_word_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    hidden_act: &'static str,
    bos_token_id: Option<i64>,
    eos_token_id: Option<i64>,
    torch_dtype: &'static str,
}

impl ModelConfig {
    /// Reads `folder/config.json`.
    ///
    /// Errors when the file is missing, is not JSON, lacks a field, or asks for what this engine
    /// does not compute (biases, another activation, another position scaling).
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        if !path.is_file() {
            return Err(EngineError::MissingFile {
                path,
                needed_for: "a model folder describes its architecture there",
            });
        }
        let text = std::fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let fail = |reason: String| EngineError::Config { path: path.clone(), reason };
        let raw: RawConfig = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        Self::from_raw(raw).map_err(fail)
    }

    fn from_raw(raw: RawConfig) -> std::result::Result<Self, String> {
        if let Some(kind) = raw.model_type.as_deref().filter(|k| !matches!(*k, "llama" | "mistral"))
        {
            return Err(format!("model_type `{kind}` is not of the Llama family"));
        }
        if raw.attention_bias == Some(true) || raw.mlp_bias == Some(true) {
            return Err("biases in attention or MLP are not supported".into());
        }
        if let Some(act) = raw.hidden_act.as_deref().filter(|a| !matches!(*a, "silu" | "swish")) {
            return Err(format!("hidden_act `{act}` is not supported, only silu"));
        }
        let kv_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
        let sizes = [
            ("vocab_size", raw.vocab_size),
            ("hidden_size", raw.hidden_size),
            ("intermediate_size", raw.intermediate_size),
            ("num_hidden_layers", raw.num_hidden_layers),
            ("num_attention_heads", raw.num_attention_heads),
            ("num_key_value_heads", kv_heads),
        ];
        if let Some((name, value)) = sizes.iter().find(|(_, v)| *v < 1 || *v > 1 << 24) {
            return Err(format!("{name} is {value}, which no model has"));
        }
        if raw.num_attention_heads % kv_heads != 0 {
            return Err(format!(
                "{} query heads cannot be shared among {kv_heads} key heads",
                raw.num_attention_heads
            ));
        }
        let head_dim = raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads);
        if head_dim < 2 || head_dim % 2 != 0 {
            return Err(format!("head_dim {head_dim} must be even and positive"));
        }
        let max_position = raw.max_position_embeddings.unwrap_or(2048);
        if !(1..=1 << 24).contains(&max_position) {
            return Err(format!("max_position_embeddings is {max_position}"));
        }
        // Newer writers put both scaling and theta into `rope_parameters`.
        let rope = raw.rope_parameters.or(raw.rope_scaling);
        let rope_theta =
            rope.as_ref().and_then(|r| r.rope_theta).or(raw.rope_theta).unwrap_or(10_000.0);
        let rope_scaling = match rope {
            None => RopeScaling::None,
            Some(rope) => rope.into_scaling(max_position as f64)?,
        };
        Ok(Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            kv_heads,
            head_dim,
            max_position,
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
            bos_token: raw.bos_token_id,
            eos_tokens: match raw.eos_token_id {
                None => vec![],
                Some(OneOrMany::One(id)) => vec![id],
                Some(OneOrMany::Many(ids)) => ids,
            },
        })
    }

    /// Writes `folder/config.json`. Only unscaled positions are written: the bases that we make
    /// have no others.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("config.json");
        if self.rope_scaling != RopeScaling::None {
            let reason = "writing a configuration with rope scaling is not supported".into();
            return Err(EngineError::Config { path, reason });
        }
        let written = WrittenConfig {
            architectures: ["LlamaForCausalLM"],
            model_type: "llama",
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            head_dim: self.head_dim,
            max_position_embeddings: self.max_position,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: self.rope_theta,
            tie_word_embeddings: self.tie_word_embeddings,
            attention_bias: false,
            mlp_bias: false,
            hidden_act: "silu",
            bos_token_id: self.bos_token,
            eos_token_id: self.eos_tokens.first().copied(),
            torch_dtype: "bfloat16",
        };
        crate::files::write_json(&path, &written)
    }

    /// Name and shape of every parameter, in the order in which they are laid out flat.
    pub fn parameters(&self) -> Vec<(String, Vec<i64>)> {
        let h = self.hidden_size;
        let mut list = vec![("model.embed_tokens.weight".to_string(), vec![self.vocab_size, h])];
        for layer in 0..self.layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
            list.push((at("input_layernorm"), vec![h]));
            for projection in Projection::ALL {
                if projection == Projection::Gate {
                    list.push((at("post_attention_layernorm"), vec![h]));
                }
                let (input, output) = projection.size(self);
                list.push((at(projection.path()), vec![output, input]));
            }
        }
        list.push(("model.norm.weight".to_string(), vec![h]));
        if !self.tie_word_embeddings {
            list.push(("lm_head.weight".to_string(), vec![self.vocab_size, h]));
        }
        list
    }
}

impl RawRope {
    fn into_scaling(self, max_position: f64) -> std::result::Result<RopeScaling, String> {
        let kind = self.rope_type.as_deref().unwrap_or("default");
        let need = |name: &str, value: Option<f64>| {
            value
                .filter(|v| v.is_finite() && *v > 0.0)
                .ok_or_else(|| format!("rope scaling `{kind}` needs a positive `{name}`"))
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: need("factor", self.factor)? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: need("factor", self.factor)?,
                low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                original_max_position: need(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings.or(Some(max_position)),
                )?,
            }),
            other => Err(format!("rope scaling `{other}` is not supported (linear, llama3)")),
        }
    }
}

/// The seven linear maps of a block that an adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Projection {
    /// Queries.
    #[serde(rename = "q_proj")]
    Q,
    /// Keys.
    #[serde(rename = "k_proj")]
    K,
    /// Values.
    #[serde(rename = "v_proj")]
    V,
    /// Attention output.
    #[serde(rename = "o_proj")]
    O,
    /// MLP gate.
    #[serde(rename = "gate_proj")]
    Gate,
    /// MLP up.
    #[serde(rename = "up_proj")]
    Up,
    /// MLP down.
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    /// All seven, in the order of a block.
    pub const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// The name that PEFT's `target_modules` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::O => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The projection of this name, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Path inside a block, as checkpoints name it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Width in and width out.
    pub fn size(self, config: &ModelConfig) -> (i64, i64) {
        let (h, f) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        match self {
            Self::Q => (h, q),
            Self::K | Self::V => (h, kv),
            Self::O => (q, h),
            Self::Gate | Self::Up => (h, f),
            Self::Down => (f, h),
        }
    }
}
