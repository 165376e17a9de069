//! Projections of a flat batch, and what adapters add to them.

use tch::Tensor;

use super::{Layer, Transformer};
use crate::config::Projection;
use crate::error::Result;

/// Adds adapters to projections of a flat batch.
pub(crate) trait Deltas {
    /// For each of `jobs`, which may read the same input, adds to `y` `[rows, out]` in place what
    /// the rows' adapters make of `x` `[rows, in]` in that projection of block `layer`. The last
    /// dimension of `y` is contiguous, its rows need not be.
    fn add(&self, layer: usize, jobs: &[(Projection, &Tensor, &Tensor)]) -> Result<()>;
}

/// Projections that read the same input.
pub(super) const QKV: [Projection; 3] = [Projection::Q, Projection::K, Projection::V];
pub(super) const GATE_UP: [Projection; 2] = [Projection::Gate, Projection::Up];

impl Transformer {
    /// Projections of `x` `[rows, in]` in block `layer`, `[rows, out]` each, with what adapters add
    /// to them. Where the base holds their matrices joined they are views of one product.
    pub(super) fn project<const N: usize>(
        &self,
        layer: usize,
        group: [Projection; N],
        x: &Tensor,
        deltas: Option<&dyn Deltas>,
    ) -> Result<[Tensor; N]> {
        let Layer { projections, qkv, gate_up, .. } = &self.layers[layer];
        let joined = match group.as_slice() {
            same if same == QKV => qkv.as_ref(),
            same if same == GATE_UP => gate_up.as_ref(),
            _ => None,
        };
        let outputs = match joined {
            None => group.map(|p| projections[p as usize].linear(x)),
            Some(matrix) => {
                let all = x.linear::<Tensor>(matrix, None);
                let mut column = 0;
                group.map(|p| {
                    let (_, width) = p.size(&self.config);
                    column += width;
                    all.narrow(1, column - width, width)
                })
            }
        };
        if let Some(deltas) = deltas {
            let jobs: Vec<_> = group.iter().zip(&outputs).map(|(p, y)| (*p, x, y)).collect();
            deltas.add(layer, &jobs)?;
        }
        Ok(outputs)
    }
}
