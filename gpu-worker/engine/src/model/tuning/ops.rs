//! The element-wise parts of a block with their derivatives written out.

use tch::{Kind, Tensor};

/// RMS normalisation of `x` `[rows, width]`: the result, and `1 / rms` `[rows, 1]` in f32.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor) {
    let width = x.size()[1] as f64;
    if x.kind() == Kind::Float {
        let mut scale = x.norm_scalaropt_dim(2, [1i64], true); // [rows, 1]
        scale = (scale.square() / width + eps).rsqrt();
        let mut out = x * &scale;
        out *= weight;
        return (out, scale);
    }
    let wide = x.to_kind(Kind::Float);
    let scale = (wide.square().mean_dim([1i64].as_slice(), true, None) + eps).rsqrt();
    let out = (wide * &scale).to_kind(x.kind()) * weight;
    (out, scale)
}

/// Adds to `into` the gradient of `x` in [`rms_norm`], given that of the result:
/// with `g = dy · w`, `dx = g / rms − x · Σ(g · x) / (width · rms³)`.
pub(super) fn rms_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    scale: &Tensor,
    into: &mut Tensor,
) {
    let width = x.size()[1] as f64;
    if x.kind() == Kind::Float {
        let mut g = dy * weight;
        let along = (&g * x).sum_dim_intlist([1i64].as_slice(), true, None); // [rows, 1]
        let along = along * scale.square() / -width;
        let _ = g.addcmul_(x, &along);
        let _ = into.addcmul_(&g, scale);
        return;
    }
    let wide = x.to_kind(Kind::Float);
    let mut g = dy.to_kind(Kind::Float) * weight;
    let along = (&g * &wide).sum_dim_intlist([1i64].as_slice(), true, None);
    let along = along * scale.square() / -width;
    let _ = g.addcmul_(&wide, &along);
    let _ = into.g_add_(&(g * scale).to_kind(x.kind()));
}

/// Rotary tables of packed rows.
pub(super) struct Turn {
    /// `[tokens, 1, head_dim]`.
    cos: Tensor,
    /// The same, negative in the first half: `rotate(x) = x cos + swap(x) sin`, `swap` exchanging
    /// the halves of a head.
    sin: Tensor,
}

impl Turn {
    /// From tables `[1, 1, positions, head_dim]` and the position of each row.
    pub(super) fn new((cos, sin): &(Tensor, Tensor), positions: &Tensor) -> Self {
        let pick = |t: &Tensor| t.squeeze_dim(0).squeeze_dim(0).index_select(0, positions);
        let sin = pick(sin);
        let half = sin.size()[1] / 2;
        let signed = Tensor::cat(&[sin.narrow(1, 0, half).neg(), sin.narrow(1, half, half)], 1);
        Self { cos: pick(cos).unsqueeze(1), sin: signed.unsqueeze(1) }
    }

    /// Turns the first `heads` heads of `x` `[tokens, heads * d and more]` in place; backwards
    /// turns a gradient, which is the turn by the opposite angle.
    pub(super) fn apply(&self, x: &Tensor, heads: i64, backwards: bool) {
        let d = self.cos.size()[2];
        let mut part = x.narrow(1, 0, heads * d).view([x.size()[0], heads, d]);
        let swapped = part.roll([d / 2], [2]);
        part *= &self.cos;
        let mut swapped = swapped * &self.sin;
        if backwards {
            let _ = swapped.neg_();
        }
        part += swapped;
    }
}

/// `silu(gate) · up` of `both` `[rows, 2 * width]`, gate and up side by side.
pub(super) fn gate(both: &Tensor) -> Tensor {
    let width = both.size()[1] / 2;
    let mut out = both.narrow(1, 0, width).silu();
    out *= both.narrow(1, width, width);
    out
}

/// Gradient of `both` in [`gate`], given that of the result.
pub(super) fn gate_backward(d: &Tensor, both: &Tensor) -> Tensor {
    let width = both.size()[1] / 2;
    let (gate, up) = (both.narrow(1, 0, width), both.narrow(1, width, width));
    let out = both.empty_like();
    let _ = gate.silu_backward_grad_input(&out.narrow(1, 0, width), &(d * up));
    let _ = d.mul_out(&out.narrow(1, width, width), &gate.silu());
    out
}
