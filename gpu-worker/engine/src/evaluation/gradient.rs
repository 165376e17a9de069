//! Attribution by gradients as others define it: TracIn and DataInf.

use tch::{Kind, Tensor};

use super::study::{gradient_matrix, Study};
use crate::error::Result;

/// Scores `[queries, records]`, and each record's with itself, `[records]`.
pub(super) struct Pair {
    pub scores: Tensor,
    pub own: Tensor,
}

/// Gradients at the end of training: `[records, parameters]` and `[queries, parameters]`.
pub(super) struct Gradients {
    pub records: Tensor,
    pub queries: Tensor,
    /// Numbers of each gradient matrix, in order.
    pub blocks: Vec<i64>,
}

impl Gradients {
    pub(super) fn of(study: &Study) -> Result<Self> {
        let shapes = study.adapter.config().shapes(study.base.config());
        Ok(Self {
            records: gradient_matrix(study.base, &study.adapter, &study.samples)?,
            queries: gradient_matrix(study.base, &study.adapter, &study.queries)?,
            blocks: shapes.iter().map(|[m, n]| m * n).collect(),
        })
    }
}

/// TracIn over checkpoints: `Σ_c η_c ⟨∇ℓ(q; θ_c), ∇ℓ(z; θ_c)⟩` (Pruthi et al., "Estimating Training
/// Data Influence by Tracing Gradient Descent", 2020, TracInCP), with all gradients.
pub(super) fn tracin(study: &Study) -> Result<Pair> {
    let (n, m) = (study.samples.len() as i64, study.queries.len() as i64);
    let mut scores = Tensor::zeros([m, n], (Kind::Double, tch::Device::Cpu));
    let mut own = Tensor::zeros([n], (Kind::Double, tch::Device::Cpu));
    for snapshot in &study.snapshots {
        let records = gradient_matrix(study.base, &snapshot.adapter, &study.samples)?;
        let queries = gradient_matrix(study.base, &snapshot.adapter, &study.queries)?;
        tch::no_grad(|| {
            scores += queries.matmul(&records.tr()).to_kind(Kind::Double) * snapshot.lr;
            let square = (&records * &records).sum_dim_intlist(1, false, Kind::Double);
            own += square * snapshot.lr;
        });
    }
    Ok(Pair { scores, own })
}

/// DataInf (Kwon et al., "DataInf: Efficiently Estimating Data Influence in LoRA-tuned LLMs and
/// Diffusion Models", 2024, equation 5), its sign turned so that more is in the query's favour:
///
/// ```text
/// Σ_l (1/λ_l) ( ⟨q_l, g_k,l⟩ − (1/n) Σ_i ⟨q_l, g_i,l⟩ ⟨g_i,l, g_k,l⟩ / (λ_l + ‖g_i,l‖²) )
/// λ_l = 0.1 · (1/(n d_l)) Σ_i ‖g_i,l‖²
/// ```
///
/// `l` runs over the gradient matrices, `d_l` is the size of one. λ is the authors' choice.
pub(super) fn datainf(gradients: &Gradients) -> Pair {
    let n = gradients.records.size()[0];
    let double = (Kind::Double, tch::Device::Cpu);
    let mut scores = Tensor::zeros([gradients.queries.size()[0], n], double);
    let mut own = Tensor::zeros([n], double);
    let mut start = 0;
    for &size in &gradients.blocks {
        let records = gradients.records.narrow(1, start, size);
        let queries = gradients.queries.narrow(1, start, size);
        start += size;
        let among = records.matmul(&records.tr()).to_kind(Kind::Double); // [n, n]
        let across = queries.matmul(&records.tr()).to_kind(Kind::Double); // [m, n]
        let square = among.diag(0); // [n]
        let lambda = square.sum(Kind::Double) * (0.1 / (n as f64 * size as f64));
        let weights = (&square + &lambda).reciprocal() / n as f64; // [n]
        let solve = |with: &Tensor| (with - (with * &weights).matmul(&among)) / &lambda;
        scores += solve(&across);
        own += solve(&among).diag(0);
    }
    Pair { scores, own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The formula, written out vector by vector.
    fn by_hand(g: &Tensor, q: &Tensor, blocks: &[i64]) -> Vec<f64> {
        let n = g.size()[0];
        let dot = |a: &Tensor, b: &Tensor| (a * b).sum(Kind::Double).double_value(&[]);
        let mut out = vec![0.0; n as usize];
        let mut start = 0;
        for &size in blocks {
            let row = |i: i64| g.get(i).narrow(0, start, size);
            let query = q.narrow(0, start, size);
            let squares: f64 = (0..n).map(|i| dot(&row(i), &row(i))).sum();
            let lambda = 0.1 * squares / (n as f64 * size as f64);
            for k in 0..n {
                let mut sum = 0.0;
                for i in 0..n {
                    sum += dot(&query, &row(i)) * dot(&row(i), &row(k))
                        / (lambda + dot(&row(i), &row(i)));
                }
                out[k as usize] += (dot(&query, &row(k)) - sum / n as f64) / lambda;
            }
            start += size;
        }
        out
    }

    #[test]
    fn datainf_is_its_formula() {
        tch::manual_seed(3);
        let records = Tensor::randn([6, 20], (Kind::Float, Device::Cpu));
        let queries = Tensor::randn([2, 20], (Kind::Float, Device::Cpu));
        let blocks = vec![12, 8];
        let expected: Vec<Vec<f64>> =
            (0..2).map(|i| by_hand(&records, &queries.get(i), &blocks)).collect();
        let own: Vec<f64> =
            (0..6).map(|i| by_hand(&records, &records.get(i), &blocks)[i as usize]).collect();
        let found = datainf(&Gradients { records, queries, blocks });
        for (i, row) in expected.iter().enumerate() {
            for (k, value) in row.iter().enumerate() {
                let ours = found.scores.double_value(&[i as i64, k as i64]);
                assert!((ours - value).abs() < 1e-4 * value.abs().max(1.0), "{ours} {value}");
            }
        }
        for (k, value) in own.iter().enumerate() {
            let ours = found.own.double_value(&[k as i64]);
            assert!((ours - value).abs() < 1e-4 * value.abs().max(1.0), "{ours} {value}");
        }
    }
}
