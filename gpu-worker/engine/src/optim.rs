//! AdamW over one flat tensor, the learning-rate schedule, clipping.

use tch::{Kind, Tensor};

/// AdamW with decoupled weight decay, as `torch.optim.AdamW` computes it.
pub(crate) struct AdamW {
    /// First moment, like the parameters.
    pub m: Tensor,
    /// Second moment.
    pub v: Tensor,
    /// Steps taken.
    pub steps: i64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl AdamW {
    pub(crate) fn new(like: &Tensor, weight_decay: f64) -> Self {
        let m = tch::no_grad(|| like.detach().zeros_like());
        let v = m.zeros_like();
        Self { m, v, steps: 0, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay }
    }

    pub(crate) fn with_beta2(mut self, beta2: f64) -> Self {
        self.beta2 = beta2;
        self
    }

    /// One update of `parameters` in place. `decay` (0 or 1 per number) says where weight decay
    /// acts; everywhere without it.
    pub(crate) fn step(
        &mut self,
        parameters: &mut Tensor,
        gradient: &Tensor,
        lr: f64,
        decay: Option<&Tensor>,
    ) {
        tch::no_grad(|| {
            self.steps += 1;
            let t = self.steps as i32;
            let _ = self.m.g_mul_scalar_(self.beta1);
            self.m += gradient * (1.0 - self.beta1);
            let _ = self.v.g_mul_scalar_(self.beta2);
            self.v += gradient.square() * (1.0 - self.beta2);
            if self.weight_decay > 0.0 {
                match decay {
                    None => *parameters *= 1.0 - lr * self.weight_decay,
                    Some(mask) => *parameters *= 1.0 - mask * (lr * self.weight_decay),
                }
            }
            let root = (1.0 - self.beta2.powi(t)).sqrt();
            let denominator = self.v.sqrt() / root + self.eps;
            *parameters -= &self.m / denominator * (lr / (1.0 - self.beta1.powi(t)));
        })
    }
}

/// Linear warm-up to `peak`, then half a cosine down to `floor * peak`.
pub(crate) fn learning_rate(
    step: usize,
    total: usize,
    warmup: usize,
    peak: f64,
    floor: f64,
) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let span = total.saturating_sub(warmup).max(1) as f64;
    let progress = ((step - warmup) as f64 / span).min(1.0);
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    peak * (floor + (1.0 - floor) * cosine)
}

/// Scales `gradient` in place to a norm of at most `max_norm`, as `clip_grad_norm_` does; gives
/// the norm before.
pub(crate) fn clip(gradient: &mut Tensor, max_norm: Option<f64>) -> f64 {
    tch::no_grad(|| {
        let norm = gradient.norm().to_kind(Kind::Double).double_value(&[]);
        if let Some(max) = max_norm {
            let factor = max / (norm + 1e-6);
            if factor < 1.0 {
                *gradient *= factor;
            }
        }
        norm
    })
}
