//! An adapter's matrices during a pass, and the places where their gradients go.
//!
//! Each adapter's thin products run over its own rows, one adapter after the other. On a CPU nothing
//! is lost by that. On CUDA it costs a launch per product: with many jobs in a pass, or few rows
//! each, one grouped product per stack would take its place.

use tch::{Kind, Tensor};

use crate::config::{ModelConfig, Projection};
use crate::lora::LoraConfig;

/// Projections that read the same input: one product with the base serves all of a stack, and one
/// product with all its A matrices.
pub(crate) const STACKS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// One adapter, cut into matrices for a pass in the model's number format.
pub(crate) struct TunedAdapter {
    /// `[layer][stack]`; `None` where no projection of the stack is adapted.
    layers: Vec<[Option<Low>; 4]>,
    /// Gradient of the flat parameters, f32; passes add to it.
    gradient: Tensor,
}

/// The low-rank part of a stack.
pub(super) struct Low {
    /// A of each member under each other, `[members * rank, in]`.
    a: Tensor,
    members: Vec<Member>,
    rank: i64,
    scale: f64,
}

struct Member {
    /// `[out, rank]`.
    b: Tensor,
    /// Gradients of A `[rank, in]` and B `[out, rank]`, views of the flat gradient.
    gradient_a: Tensor,
    gradient_b: Tensor,
    /// First column in the output of the stack.
    column: i64,
    /// Width out.
    width: i64,
}

impl TunedAdapter {
    /// Cuts `flat` `[parameters]`, laid out as [`crate::Adapter::flat`] says; `config` has its
    /// targets in canonical order.
    pub(crate) fn new(config: &LoraConfig, model: &ModelConfig, flat: &Tensor, kind: Kind) -> Self {
        let gradient = flat.detach().zeros_like();
        let numbers = flat.detach().to_kind(kind);
        let mut at = 0;
        let mut cut = |rows: i64, columns: i64| {
            let part = |t: &Tensor| t.narrow(0, at, rows * columns).view([rows, columns]);
            let pair = (part(&numbers), part(&gradient));
            at += rows * columns;
            pair
        };
        let mut layers = Vec::with_capacity(model.layers as usize);
        for _ in 0..model.layers {
            layers.push(STACKS.map(|stack| Low::new(stack, config, model, &mut cut)));
        }
        Self { layers, gradient }
    }

    /// Gradient of the flat parameters, as summed up so far.
    pub(crate) fn gradient(&self) -> &Tensor {
        &self.gradient
    }

    pub(super) fn low(&self, layer: usize, stack: usize) -> Option<&Low> {
        self.layers.get(layer)?.get(stack)?.as_ref()
    }
}

impl Low {
    /// The order of `cut` is that of the flat layout, because the stacks follow each other as
    /// [`Projection::ALL`] does.
    fn new(
        stack: &[Projection],
        config: &LoraConfig,
        model: &ModelConfig,
        cut: &mut impl FnMut(i64, i64) -> (Tensor, Tensor),
    ) -> Option<Self> {
        let (mut all_a, mut members, mut column) = (vec![], vec![], 0);
        for projection in stack {
            let (input, output) = projection.size(model);
            if config.targets.contains(projection) {
                let (a, gradient_a) = cut(config.rank, input);
                let (b, gradient_b) = cut(output, config.rank);
                all_a.push(a);
                members.push(Member { b, gradient_a, gradient_b, column, width: output });
            }
            column += output;
        }
        let a = match all_a.len() {
            0 => return None,
            1 => all_a.remove(0),
            _ => Tensor::cat(&all_a, 0),
        };
        Some(Self { a, members, rank: config.rank, scale: config.scale() })
    }

    /// Adds the low-rank product of `x` `[rows, in]` to `y` `[rows, out of the stack]` in place.
    /// Gives `scale · A x` `[rows, members * rank]`, which the backward needs.
    pub(super) fn forward(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let mut low = x.mm(&self.a.tr());
        if self.scale != 1.0 {
            low *= self.scale;
        }
        for (index, member) in self.members.iter().enumerate() {
            let own = low.narrow(1, index as i64 * self.rank, self.rank);
            let _ = y.narrow(1, member.column, member.width).addmm_(&own, &member.b.tr());
        }
        low
    }

    /// Adds the gradients of A and B, and, where `dx` `[rows, in]` is wanted, that of the input,
    /// given the input `x`, what [`Self::forward`] gave, and the gradient `dy` of the output.
    pub(super) fn backward(&self, x: &Tensor, low: &Tensor, dy: &Tensor, dx: Option<&Tensor>) {
        let mut dlow = low.empty_like();
        for (index, member) in self.members.iter().enumerate() {
            let columns = |t: &Tensor| t.narrow(1, index as i64 * self.rank, self.rank);
            let own = dy.narrow(1, member.column, member.width);
            let _ = own.mm_out(&columns(&dlow), &member.b);
            add_product(&member.gradient_b, &own.tr(), &columns(low));
        }
        if self.scale != 1.0 {
            dlow *= self.scale;
        }
        if let Some(dx) = dx {
            let _ = dx.shallow_clone().addmm_(&dlow, &self.a);
        }
        if let [member] = self.members.as_slice() {
            add_product(&member.gradient_a, &dlow.tr(), x);
            return;
        }
        let all = dlow.tr().mm(x); // [members * rank, in]
        for (index, member) in self.members.iter().enumerate() {
            let own = all.narrow(0, index as i64 * self.rank, self.rank);
            let _ = member.gradient_a.shallow_clone().g_add_(&own);
        }
    }
}

/// `into += a b`; `into` is f32, `a` and `b` may be narrower.
fn add_product(into: &Tensor, a: &Tensor, b: &Tensor) {
    let mut into = into.shallow_clone();
    if a.kind() == into.kind() {
        let _ = into.addmm_(a, b);
    } else {
        let _ = into.g_add_(&a.mm(b));
    }
}
