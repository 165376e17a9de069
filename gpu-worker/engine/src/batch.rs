//! Samples side by side, padded on the right.

use tch::{Device, Tensor};

use crate::record::Sample;

/// A padded batch and the places in it where loss is taken.
pub(crate) struct Batch {
    /// Token ids `[rows, seq]`.
    pub ids: Tensor,
    /// Indices into `rows * seq` whose hidden state predicts a learnt token, `[n]`.
    pub positions: Tensor,
    /// The learnt tokens, `[n]`.
    pub targets: Tensor,
    /// Weight of each, `[n]`, f32.
    pub weights: Tensor,
    /// Row of each.
    pub rows: Vec<usize>,
}

impl Batch {
    /// A batch in which learnt tokens weigh 1 and all others `other`.
    pub(crate) fn weighted(samples: &[&Sample], padding: i64, other: f32, device: Device) -> Self {
        let seq = samples.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
        let mut ids = vec![padding; samples.len() * seq];
        let (mut positions, mut targets, mut weights) = (vec![], vec![], vec![]);
        let mut rows = vec![];
        for (row, sample) in samples.iter().enumerate() {
            ids[row * seq..row * seq + sample.tokens.len()].copy_from_slice(&sample.tokens);
            for at in 1..sample.tokens.len() {
                let weight = if sample.learn[at] { 1.0 } else { other };
                if weight > 0.0 {
                    positions.push((row * seq + at - 1) as i64);
                    targets.push(sample.tokens[at]);
                    weights.push(weight);
                    rows.push(row);
                }
            }
        }
        Self {
            ids: Tensor::from_slice(&ids)
                .view([samples.len() as i64, seq as i64])
                .to_device(device),
            positions: Tensor::from_slice(&positions).to_device(device),
            targets: Tensor::from_slice(&targets).to_device(device),
            weights: Tensor::from_slice(&weights).to_device(device),
            rows,
        }
    }
}
