//! AdamW over one flat tensor, the learning-rate schedule, clipping.

use tch::{Device, Kind, Tensor};

/// Numbers below which one thread updates them all.
const PARALLEL_FROM: usize = 1 << 19;

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

/// The numbers of one update that are the same for every parameter.
#[derive(Clone, Copy)]
struct Update {
    beta1: f32,
    beta2: f32,
    /// Gradients are multiplied with this first.
    factor: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    root: f32,
    eps: f32,
    /// `lr / (1 - beta1^t)`.
    rate: f32,
    /// `lr * weight_decay`.
    decay: f32,
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
        self.step_scaled(parameters, gradient, 1.0, lr, decay);
    }

    /// Like [`Self::step`] with `factor` times the gradient, which is left as it is.
    pub(crate) fn step_scaled(
        &mut self,
        parameters: &mut Tensor,
        gradient: &Tensor,
        factor: f64,
        lr: f64,
        decay: Option<&Tensor>,
    ) {
        self.steps += 1;
        let t = self.steps as i32;
        let update = Update {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            factor: factor as f32,
            root: (1.0 / (1.0 - self.beta2.powi(t)).sqrt()) as f32,
            eps: self.eps as f32,
            rate: (lr / (1.0 - self.beta1.powi(t))) as f32,
            decay: (lr * self.weight_decay) as f32,
        };
        let all = [&*parameters, gradient, &self.m, &self.v];
        let plain = all
            .into_iter()
            .chain(decay)
            .all(|t| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous());
        if plain && all.iter().chain(decay.iter()).all(|t| t.numel() == parameters.numel()) {
            // SAFETY: each is a contiguous f32 tensor on the CPU with as many numbers as `parameters`;
            // the three that are written are different tensors, held by `&mut` or by `self`.
            unsafe {
                let count = parameters.numel();
                let read =
                    |t: &Tensor| std::slice::from_raw_parts(t.data_ptr() as *const f32, count);
                let write =
                    |t: &Tensor| std::slice::from_raw_parts_mut(t.data_ptr() as *mut f32, count);
                let decay = decay.map(read);
                fused(
                    write(parameters),
                    write(&self.m),
                    write(&self.v),
                    read(gradient),
                    decay,
                    update,
                );
            }
            return;
        }
        tch::no_grad(|| self.step_on_device(parameters, gradient, decay, update));
    }

    fn step_on_device(
        &mut self,
        parameters: &mut Tensor,
        gradient: &Tensor,
        decay: Option<&Tensor>,
        u: Update,
    ) {
        let gradient = match u.factor {
            1.0 => gradient.shallow_clone(),
            factor => gradient * f64::from(factor),
        };
        let _ = self.m.lerp_(&gradient, f64::from(1.0 - u.beta1));
        let _ = self.v.g_mul_scalar_(f64::from(u.beta2));
        self.v += gradient.square() * f64::from(1.0 - u.beta2);
        if u.decay > 0.0 {
            match decay {
                None => *parameters *= f64::from(1.0 - u.decay),
                Some(mask) => *parameters *= 1.0 - mask * f64::from(u.decay),
            }
        }
        let mut divisor = self.v.sqrt();
        divisor *= f64::from(u.root);
        divisor += f64::from(u.eps);
        let _ = parameters.addcdiv_(&(&self.m * f64::from(-u.rate)), &divisor);
    }
}

/// The update in one pass over memory, in as many threads as the tensor library uses.
fn fused(
    parameters: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    gradient: &[f32],
    decay: Option<&[f32]>,
    update: Update,
) {
    let threads = if parameters.len() < PARALLEL_FROM { 1 } else { tch::get_num_threads().max(1) };
    let chunk = parameters.len().div_ceil(threads as usize).max(1);
    let pieces = parameters
        .chunks_mut(chunk)
        .zip(m.chunks_mut(chunk))
        .zip(v.chunks_mut(chunk))
        .zip(gradient.chunks(chunk))
        .enumerate()
        .map(|(i, (((p, m), v), g))| {
            (p, m, v, g, decay.map(|d| &d[i * chunk..i * chunk + g.len()]))
        });
    if threads == 1 {
        pieces.for_each(|(p, m, v, g, d)| piece(p, m, v, g, d, update));
        return;
    }
    std::thread::scope(|scope| {
        for (p, m, v, g, d) in pieces {
            scope.spawn(move || piece(p, m, v, g, d, update));
        }
    });
}

fn piece(
    parameters: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    gradient: &[f32],
    decay: Option<&[f32]>,
    u: Update,
) {
    let one = |p: &mut f32, m: &mut f32, v: &mut f32, g: f32, keep: f32| {
        let g = g * u.factor;
        *m += (g - *m) * (1.0 - u.beta1);
        *v = *v * u.beta2 + g * g * (1.0 - u.beta2);
        *p = *p * keep - u.rate * *m / (v.sqrt() * u.root + u.eps);
    };
    let moments = m.iter_mut().zip(v.iter_mut());
    let rest = parameters.iter_mut().zip(moments).zip(gradient);
    match decay {
        None => rest.for_each(|((p, (m, v)), g)| one(p, m, v, *g, 1.0 - u.decay)),
        Some(mask) => {
            rest.zip(mask).for_each(|(((p, (m, v)), g), d)| one(p, m, v, *g, 1.0 - d * u.decay))
        }
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

/// Norm of `gradient`, and the factor that brings it to at most `max_norm`, as `clip_grad_norm_`
/// computes it.
pub(crate) fn clip_factor(gradient: &Tensor, max_norm: Option<f64>) -> (f64, f64) {
    let norm = tch::no_grad(|| gradient.norm().to_kind(Kind::Double).double_value(&[]));
    let factor = max_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0));
    (norm, factor)
}

/// Scales `gradient` in place to a norm of at most `max_norm`; gives the norm before.
pub(crate) fn clip(gradient: &mut Tensor, max_norm: Option<f64>) -> f64 {
    let (norm, factor) = clip_factor(gradient, max_norm);
    if factor < 1.0 {
        tch::no_grad(|| *gradient *= factor);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(t: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(t).unwrap()
    }

    /// The update in f64, number by number, from the definition.
    fn by_the_book(steps: &[Vec<f32>], start: &[f32], lr: f64, wd: f64, mask: &[f32]) -> Vec<f64> {
        let mut p: Vec<f64> = start.iter().map(|v| f64::from(*v)).collect();
        let (mut m, mut v) = (vec![0f64; p.len()], vec![0f64; p.len()]);
        for (t, gradient) in steps.iter().enumerate() {
            for i in 0..p.len() {
                let g = 0.5 * f64::from(gradient[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                p[i] -= lr * wd * f64::from(mask[i]) * p[i];
                let (a, b) = (1.0 - 0.9f64.powi(t as i32 + 1), 1.0 - 0.999f64.powi(t as i32 + 1));
                p[i] -= lr * (m[i] / a) / ((v[i] / b).sqrt() + 1e-8);
            }
        }
        p
    }

    #[test]
    fn one_pass_and_the_library_agree_with_the_definition() {
        // More than one thread's share, and not a multiple of anything.
        let count = PARALLEL_FROM + 7;
        let numbers = |seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1999) as f32 / 1000.0 - 1.0).collect()
        };
        let start = numbers(0);
        let gradients: Vec<Vec<f32>> = (1..4).map(numbers).collect();
        let mask: Vec<f32> = (0..count).map(|i| (i % 3 != 0) as u8 as f32).collect();
        for masked in [false, true] {
            let ones = vec![1f32; count];
            let expected =
                by_the_book(&gradients, &start, 1e-2, 0.1, if masked { &mask } else { &ones });
            let decay = masked.then(|| Tensor::from_slice(&mask));
            let mut p = Tensor::from_slice(&start);
            let mut adam = AdamW::new(&p, 0.1);
            // The library's operations run when something is not a plain slice.
            let double = Tensor::from_slice(&start).unsqueeze(1).repeat([1, 2]);
            let mut strided = double.select(1, 0);
            let mut other = AdamW::new(&strided, 0.1);
            assert!(!strided.is_contiguous());
            for gradient in &gradients {
                let g = Tensor::from_slice(gradient);
                adam.step_scaled(&mut p, &g, 0.5, 1e-2, decay.as_ref());
                other.step_scaled(&mut strided, &g, 0.5, 1e-2, decay.as_ref());
            }
            let (ours, theirs) = (list(&p), list(&strided.contiguous()));
            for i in 0..count {
                assert!((f64::from(ours[i]) - expected[i]).abs() < 1e-5, "{i}: {}", ours[i]);
                assert!((ours[i] - theirs[i]).abs() < 1e-5, "{i}: {} {}", ours[i], theirs[i]);
            }
        }
    }

    #[test]
    fn clipping_scales_to_the_norm_and_no_further() {
        let mut g = Tensor::from_slice(&[3f32, 4.0]);
        assert!((clip(&mut g, Some(10.0)) - 5.0).abs() < 1e-6);
        assert_eq!(list(&g), [3.0, 4.0]);
        assert!((clip(&mut g, Some(1.0)) - 5.0).abs() < 1e-6);
        assert!((g.norm().double_value(&[]) - 1.0).abs() < 1e-5);
        assert_eq!(clip_factor(&g, None).1, 1.0);
    }
}
