//! Low-rank adapters: flat parameters, views of them, and PEFT's files both ways.

use std::cell::RefCell;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::config::{ModelConfig, Projection};
use crate::error::{EngineError, Result};
use crate::weights::{write_safetensors, WeightStore};

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Rank, scale and targets of an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of every pair of matrices.
    pub rank: i64,
    /// The product is scaled by `alpha / rank`, or by `alpha / sqrt(rank)` with `rslora`.
    pub alpha: f64,
    /// Which projections of each block are adapted, in the order of [`Projection::ALL`].
    pub targets: Vec<Projection>,
    /// Rank-stabilised scaling.
    pub rslora: bool,
}

impl LoraConfig {
    /// What the low-rank product is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Checks ranges and puts the targets into their canonical order.
    pub fn checked(mut self) -> std::result::Result<Self, String> {
        if !(1..=1024).contains(&self.rank) {
            return Err(format!("rank {} is not within 1..=1024", self.rank));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(format!("alpha {} is not positive", self.alpha));
        }
        self.targets.sort();
        self.targets.dedup();
        if self.targets.is_empty() {
            return Err("no target projection is named".into());
        }
        Ok(self)
    }

    /// Shapes of the flat layout: for each block and target, A `[rank, in]`, then B `[out, rank]`.
    pub(crate) fn shapes(&self, model: &ModelConfig) -> Vec<[i64; 2]> {
        let mut shapes = Vec::new();
        for _ in 0..model.layers {
            for target in &self.targets {
                let (input, output) = target.size(model);
                shapes.push([self.rank, input]);
                shapes.push([output, self.rank]);
            }
        }
        shapes
    }

    /// How many numbers an adapter of this kind has.
    pub fn parameter_count(&self, model: &ModelConfig) -> i64 {
        self.shapes(model).iter().map(|[a, b]| a * b).sum()
    }
}

/// An adapter's numbers, all in one flat tensor so that optimiser and gradients are one tensor too.
pub struct Adapter {
    config: LoraConfig,
    /// `[parameters]`, f32 on the model's device; a leaf.
    flat: Tensor,
}

/// Matrices of one adapter (2-D) or one set per row of a batch (3-D), ready for a pass.
pub struct LoraTensors {
    /// `[layer][projection]`: A and B.
    pairs: Vec<[Option<(Tensor, Tensor)>; 7]>,
    scale: f64,
    /// Where a pass leaves what per-record gradients are made of; `None` in every other pass.
    tap: Option<RefCell<Vec<Tapped>>>,
}

/// What went into and came out of one adapted projection during a pass.
pub(crate) struct Tapped {
    pub layer: usize,
    pub projection: Projection,
    /// The projection's input `[batch, seq, in]`.
    pub input: Tensor,
    /// `scale · A x`, `[batch, seq, rank]`.
    pub low: Tensor,
    /// `scale · B A x`, `[batch, seq, out]`, still part of the graph.
    pub delta: Tensor,
}

impl LoraTensors {
    /// The same matrices, with a tap on every projection.
    pub(crate) fn tapped(self) -> Self {
        Self { tap: Some(RefCell::new(vec![])), ..self }
    }

    /// What the passes since the last call have left behind, in the order of computation.
    pub(crate) fn drain(&self) -> Vec<Tapped> {
        self.tap.as_ref().map(|tap| std::mem::take(&mut *tap.borrow_mut())).unwrap_or_default()
    }

    /// The adapter's part of a projection's output for `x` `[batch, seq, in]`, if it has one.
    pub(crate) fn delta(&self, layer: usize, p: Projection, x: &Tensor) -> Option<Tensor> {
        let (a, b) = self.pairs.get(layer)?[p as usize].as_ref()?;
        Some(if a.dim() == 2 {
            let low = x.linear::<Tensor>(a, None) * self.scale; // [batch, seq, rank]
            let delta = low.linear::<Tensor>(b, None);
            if let Some(tap) = &self.tap {
                tap.borrow_mut().push(Tapped {
                    layer,
                    projection: p,
                    input: x.detach(),
                    low: low.detach(),
                    delta: delta.shallow_clone(),
                });
            }
            delta
        } else {
            let low = x.bmm(&a.transpose(1, 2)) * self.scale; // [batch, seq, rank]
            low.bmm(&b.transpose(1, 2))
        })
    }

    /// A and B of a projection, if it is adapted.
    pub(crate) fn pair(&self, layer: usize, p: Projection) -> Option<&(Tensor, Tensor)> {
        self.pairs.get(layer)?[p as usize].as_ref()
    }

    /// What the product of B and A is multiplied with.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Memory of all matrices.
    pub(crate) fn bytes(&self) -> usize {
        let pairs = self.pairs.iter().flatten().flatten();
        let size = |t: &Tensor| t.numel() * t.kind().elt_size_in_bytes();
        pairs.map(|(a, b)| size(a) + size(b)).sum()
    }

    pub(crate) fn share(&self) -> Self {
        let pairs = self.pairs.iter().map(|layer| {
            std::array::from_fn(|p| {
                layer[p].as_ref().map(|(a, b)| (a.shallow_clone(), b.shallow_clone()))
            })
        });
        Self { pairs: pairs.collect(), scale: self.scale, tap: None }
    }
}

impl Adapter {
    /// A fresh adapter: A uniform in `±1/sqrt(in)` (what PEFT's Kaiming start amounts to), B zero,
    /// so that it changes nothing yet. The same seed gives the same numbers on every machine.
    pub fn new(config: LoraConfig, model: &ModelConfig, seed: u64, device: Device) -> Result<Self> {
        let config = config.checked().map_err(EngineError::Spec)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values: Vec<f32> = Vec::with_capacity(config.parameter_count(model) as usize);
        for (index, [rows, columns]) in config.shapes(model).into_iter().enumerate() {
            if index % 2 == 0 {
                let bound = 1.0 / (columns as f32).sqrt();
                values.extend((0..rows * columns).map(|_| rng.gen_range(-bound..bound)));
            } else {
                values.extend((0..rows * columns).map(|_| 0f32));
            }
        }
        Ok(Self { config, flat: Tensor::f_from_slice(&values)?.f_to_device(device)? })
    }

    /// An adapter around flat numbers `[parameters]`.
    pub(crate) fn from_flat(config: LoraConfig, flat: Tensor) -> Self {
        Self { config, flat }
    }

    /// Rank, scale, targets.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// All numbers, `[parameters]`: for each block and target A, then B.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// A second handle on the same numbers.
    pub fn share(&self) -> Self {
        Self { config: self.config.clone(), flat: self.flat.shallow_clone() }
    }

    /// The adapter with `part` of its change of the base: every B times `part`.
    pub(crate) fn faded(&self, model: &ModelConfig, part: f64) -> Result<Self> {
        let sizes: Vec<i64> = self.config.shapes(model).iter().map(|[m, n]| m * n).collect();
        let mut matrices = self.flat.detach().f_split_with_sizes(&sizes, 0)?;
        // A and B stand in turn.
        for b in matrices.iter_mut().skip(1).step_by(2) {
            *b = b.f_mul_scalar(part)?;
        }
        Ok(Self { config: self.config.clone(), flat: Tensor::f_cat(&matrices, 0)? })
    }

    /// Views for a pass, in the number format `kind`.
    pub fn tensors(&self, model: &ModelConfig, kind: Kind) -> LoraTensors {
        Self::views(&self.config, model, &self.flat.to_kind(kind))
    }

    /// Cuts `flat` (`[parameters]`, or `[rows, parameters]` for one adapter per row) into
    /// matrices. One `split`, so that a backward pass joins all gradients in one step.
    pub(crate) fn views(config: &LoraConfig, model: &ModelConfig, flat: &Tensor) -> LoraTensors {
        let shapes = config.shapes(model);
        let sizes: Vec<i64> = shapes.iter().map(|[a, b]| a * b).collect();
        let per_row = flat.dim() == 2;
        let parts = flat.split_with_sizes(&sizes, if per_row { 1 } else { 0 });
        let mut matrices = parts.iter().zip(&shapes).map(|(part, [rows, columns])| match per_row {
            true => part.reshape([flat.size()[0], *rows, *columns]),
            false => part.view([*rows, *columns]),
        });
        let mut pairs = Vec::with_capacity(model.layers as usize);
        for _ in 0..model.layers {
            let mut layer: [Option<(Tensor, Tensor)>; 7] = Default::default();
            for target in &config.targets {
                layer[*target as usize] = matrices.next().zip(matrices.next());
            }
            pairs.push(layer);
        }
        LoraTensors { pairs, scale: config.scale(), tap: None }
    }

    /// Writes PEFT's two files into `folder`, which is made if it is not there.
    pub fn save(&self, folder: &Path, model: &ModelConfig, base_name: &str) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        let written = PeftConfig {
            peft_type: Some("LORA".into()),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: Some(base_name.into()),
            r: self.config.rank,
            lora_alpha: self.config.alpha,
            target_modules: Some(Targets::List(
                self.config.targets.iter().map(|t| t.name().to_string()).collect(),
            )),
            use_rslora: self.config.rslora,
            use_dora: false,
            lora_dropout: 0.0,
            bias: "none".into(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: true.into(),
            rank_pattern: Default::default(),
            alpha_pattern: Default::default(),
            layers_to_transform: None,
            modules_to_save: None,
        };
        crate::files::write_json(&folder.join(CONFIG_FILE), &written)?;
        let flat = self.flat.detach().to_device(Device::Cpu);
        let views = Self::views(&self.config, model, &flat);
        let mut named = Vec::new();
        for (layer, pairs) in views.pairs.iter().enumerate() {
            for target in &self.config.targets {
                if let Some((a, b)) = &pairs[*target as usize] {
                    named.push((tensor_name(layer, *target, 'A'), a.shallow_clone()));
                    named.push((tensor_name(layer, *target, 'B'), b.shallow_clone()));
                }
            }
        }
        write_safetensors(&folder.join(WEIGHTS_FILE), &named, Kind::Float)
    }

    /// Reads PEFT's two files for a base of shape `model`.
    pub fn load(folder: &Path, model: &ModelConfig, device: Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        if !path.is_file() {
            return Err(EngineError::MissingFile {
                path,
                needed_for: "an adapter folder describes its rank and targets there",
            });
        }
        let text = std::fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let fail = |reason: String| EngineError::Adapter { path: path.clone(), reason };
        let raw: PeftConfig = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let config = raw.into_config().and_then(LoraConfig::checked).map_err(fail)?;

        let weights = folder.join(WEIGHTS_FILE);
        if !weights.is_file() {
            return Err(EngineError::MissingFile {
                path: weights,
                needed_for: "an adapter folder holds its matrices there",
            });
        }
        let store = WeightStore::open_file(&weights)?;
        let mut parts = Vec::new();
        let mut expected = 0;
        for layer in 0..model.layers as usize {
            for target in &config.targets {
                let (input, output) = target.size(model);
                for (which, shape) in [('A', [config.rank, input]), ('B', [output, config.rank])] {
                    let name = tensor_name(layer, *target, which);
                    let tensor = store.get(&name, &shape, Kind::Float, device)?;
                    parts.push(tensor.view([-1]));
                    expected += 1;
                }
            }
        }
        if store.names().count() != expected {
            let reason = format!(
                "{} tensors stand in the file, but {expected} follow from its configuration \
                 and the base model; it belongs to another base",
                store.names().count()
            );
            return Err(EngineError::Adapter { path: weights, reason });
        }
        Ok(Self { config, flat: Tensor::f_cat(&parts, 0)? })
    }
}

fn tensor_name(layer: usize, target: Projection, which: char) -> String {
    format!("base_model.model.model.layers.{layer}.{}.lora_{which}.weight", target.path())
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Targets {
    List(Vec<String>),
    Pattern(String),
}

/// The fields of `adapter_config.json` that bear on the numbers.
#[derive(Serialize, Deserialize)]
struct PeftConfig {
    peft_type: Option<String>,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: i64,
    lora_alpha: f64,
    target_modules: Option<Targets>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default = "no_bias")]
    bias: String,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    inference_mode: bool,
    #[serde(default)]
    init_lora_weights: serde_json::Value,
    #[serde(default)]
    rank_pattern: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    alpha_pattern: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    layers_to_transform: Option<serde_json::Value>,
    #[serde(default)]
    modules_to_save: Option<serde_json::Value>,
}

fn no_bias() -> String {
    "none".into()
}

impl PeftConfig {
    fn into_config(self) -> std::result::Result<LoraConfig, String> {
        if self.peft_type.as_deref().is_some_and(|kind| kind != "LORA") {
            return Err(format!("peft_type {:?} is not LORA", self.peft_type));
        }
        let unsupported = [
            ("use_dora", self.use_dora),
            ("bias", self.bias != "none"),
            ("fan_in_fan_out", self.fan_in_fan_out),
            ("rank_pattern", !self.rank_pattern.is_empty()),
            ("alpha_pattern", !self.alpha_pattern.is_empty()),
            ("layers_to_transform", self.layers_to_transform.is_some()),
            ("modules_to_save", self.modules_to_save.is_some()),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, used)| *used) {
            return Err(format!("`{name}` is set, which this engine does not compute"));
        }
        let targets = match self.target_modules {
            Some(Targets::List(names)) => names
                .iter()
                .map(|name| {
                    Projection::from_name(name)
                        .ok_or_else(|| format!("target module `{name}` is not one of the seven"))
                })
                .collect::<std::result::Result<Vec<_>, _>>()?,
            Some(Targets::Pattern(name)) if name == "all-linear" => Projection::ALL.to_vec(),
            Some(Targets::Pattern(name)) => {
                return Err(format!("target_modules `{name}` is a pattern; name the modules"))
            }
            None => return Err("target_modules is missing".into()),
        };
        Ok(LoraConfig { rank: self.r, alpha: self.lora_alpha, targets, rslora: self.use_rslora })
    }
}
