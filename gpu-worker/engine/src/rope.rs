//! Rotary position embedding, with the rescalings that Llama checkpoints use.

use tch::{Device, Kind, Tensor};

use crate::config::{ModelConfig, RopeScaling};

/// Cosines and sines for every position: two tensors `[max_position, head_dim]`.
pub(crate) struct Rope {
    cos: Tensor,
    sin: Tensor,
}

/// Angular frequency of each of the `head_dim / 2` rotated pairs.
///
/// Source of the `llama3` rule: the Llama 3.1 release's `apply_scaling`.
pub(crate) fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let dim = config.head_dim as f64;
    (0..config.head_dim / 2)
        .map(|pair| {
            let plain = config.rope_theta.powf(-(2.0 * pair as f64) / dim);
            match config.rope_scaling {
                RopeScaling::None => plain,
                RopeScaling::Linear { factor } => plain / factor,
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position,
                } => {
                    let wavelength = 2.0 * std::f64::consts::PI / plain;
                    if wavelength > original_max_position / low_freq_factor {
                        plain / factor
                    } else if wavelength < original_max_position / high_freq_factor {
                        plain
                    } else {
                        let smooth = (original_max_position / wavelength - low_freq_factor)
                            / (high_freq_factor - low_freq_factor);
                        (1.0 - smooth) * plain / factor + smooth * plain
                    }
                }
            }
        })
        .collect()
}

impl Rope {
    pub(crate) fn new(config: &ModelConfig, kind: Kind, device: Device) -> Self {
        // In f32 as the references compute it, so that long positions round alike.
        let inverse = Tensor::from_slice(&frequencies(config)).to_kind(Kind::Float);
        let positions = Tensor::arange(config.max_position, (Kind::Float, Device::Cpu));
        let half = positions.unsqueeze(1) * inverse.unsqueeze(0); // [positions, head_dim / 2]
        let angles = Tensor::cat(&[&half, &half], 1); // [positions, head_dim]
        Self {
            cos: angles.cos().to_kind(kind).to_device(device),
            sin: angles.sin().to_kind(kind).to_device(device),
        }
    }

    /// A second handle on the same tables.
    pub(crate) fn share(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// Tables for positions `0..len`: `[1, 1, len, head_dim]`.
    pub(crate) fn prefix(&self, len: i64) -> (Tensor, Tensor) {
        let cut = |t: &Tensor| t.narrow(0, 0, len).unsqueeze(0).unsqueeze(0);
        (cut(&self.cos), cut(&self.sin))
    }

    /// Tables for one position per row, `positions` being `[rows]`: `[rows, 1, 1, head_dim]`.
    pub(crate) fn rows(&self, positions: &Tensor) -> (Tensor, Tensor) {
        let pick = |t: &Tensor| t.index_select(0, positions).unsqueeze(1).unsqueeze(1);
        (pick(&self.cos), pick(&self.sin))
    }
}

/// Rotates `x` `[batch, heads, seq, head_dim]`, first half against second, as checkpoints of the
/// hub are laid out.
pub(crate) fn rotate(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Tensor {
    let half = x.size()[3] / 2;
    let turned = Tensor::cat(&[&x.narrow(3, half, half).neg(), &x.narrow(3, 0, half)], 3);
    x * cos + turned * sin
}
