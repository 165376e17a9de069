//! Every method's scores, in one form.

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::data::Item;
use super::gradient::{datainf, tracin, Gradients, Pair};
use super::study::{mean_states, Study};
use super::text::Bm25;
use crate::engine::IndexSpec;
use crate::error::Result;
use crate::indexing::{build_influence, queries as index_queries, Corpus, Form, GradientSpace};

/// The method that fees are divided by.
pub(super) const PAYS: &str = "index, parts of ρ";

/// What a method says of every question and record: more is more in the answer's favour.
pub(super) struct Scores {
    pub method: &'static str,
    /// `[question][record]`.
    pub matrix: Vec<Vec<f64>>,
    /// Influence of each record on itself.
    pub own: Option<Vec<f64>>,
}

impl Scores {
    fn of_pair(method: &'static str, pair: &Pair) -> Result<Self> {
        let own = Vec::<f64>::try_from(&pair.own.to_kind(Kind::Double))?;
        Ok(Self { method, matrix: rows(&pair.scores)?, own: Some(own) })
    }
}

/// All methods, in the order of the table.
pub(super) fn score(
    study: &Study,
    records: &[Item],
    queries: &[Item],
    seed: u64,
    work: &Path,
) -> Result<Vec<Scores>> {
    let (base, adapter) = (study.base, &study.adapter);
    let spec = IndexSpec::default();
    let whole = GradientSpace::whole(adapter, base.config());
    let two_sided = GradientSpace::two_sided(adapter, base.config(), spec.seed)?;
    let mut all = vec![];
    let usual = Form::default();
    let plain = whole.clone().with(Form { balanced: false, ..usual });
    let ended = whole.clone().with(Form { faded: false, ..usual });
    let neither = whole.clone().with(Form { faded: false, balanced: false });
    for (space, mu, names) in [
        (&whole, spec.mu_millionths, ["index, influence", PAYS]),
        (&whole, 1_000_000, ["", "index, parts of ρ, μ = 1"]),
        (&whole, 300_000, ["", "index, parts of ρ, μ = 0.3"]),
        (
            &two_sided,
            spec.mu_millionths,
            ["index, influence, two-sided", "index, parts of ρ, two-sided"],
        ),
        (
            &plain,
            spec.mu_millionths,
            ["index, influence, not balanced", "index, parts of ρ, not balanced"],
        ),
        (
            &ended,
            spec.mu_millionths,
            ["index, influence, not faded", "index, parts of ρ, not faded"],
        ),
        (&neither, spec.mu_millionths, ["index, influence, neither", "index, parts of ρ, neither"]),
    ] {
        let spec = IndexSpec { mu_millionths: mu, ..spec };
        let scores = ours(study, space, &spec, work, names)?;
        // μ does not enter influences.
        all.extend(scores.into_iter().filter(|scores| !scores.method.is_empty()));
    }

    let gradients = Gradients::of(study)?;
    all.push(Scores::of_pair("DataInf", &datainf(&gradients))?);
    all.push(Scores::of_pair("TracIn, six adapters on the way", &tracin(study)?)?);
    let last = Pair {
        scores: gradients.queries.matmul(&gradients.records.tr()),
        own: gradients.records.square().sum_dim_intlist(1, false, Kind::Double),
    };
    all.push(Scores::of_pair("TracIn, last adapter", &last)?);
    let states = mean_states(base, adapter, &study.queries)
        .matmul(&mean_states(base, adapter, &study.samples).tr());
    all.push(Scores { method: "cosine of hidden states", matrix: rows(&states)?, own: None });
    let words = Bm25::new(&records.iter().map(Item::text).collect::<Vec<_>>());
    let matrix = queries.iter().map(|q| words.scores(&q.text())).collect();
    all.push(Scores { method: "BM25", matrix, own: None });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |_| records.iter().map(|_| rng.gen_range(-1.0..1.0)).collect();
    let matrix = (0..queries.len()).map(&mut draw).collect();
    all.push(Scores { method: "random", matrix, own: None });
    Ok(all)
}

/// What the index says, from its integers: first-order influences and parts of ρ.
fn ours(
    study: &Study,
    space: &GradientSpace,
    spec: &IndexSpec,
    work: &Path,
    names: [&'static str; 2],
) -> Result<Vec<Scores>> {
    let owners = vec![0; study.samples.len()];
    let corpus = Corpus { samples: &study.samples, owners: &owners, contributions: &[[0; 32]] };
    let path = work.join("influence.idx");
    let (base, adapter) = (study.base, &study.adapter);
    let index = build_influence(base, adapter, corpus, spec, space, &path, &mut |_| Ok(()))?;
    let queries = index_queries(base, adapter, &index, &study.queries)?;
    let ppm = |rows: Vec<Vec<i64>>| -> Vec<Vec<f64>> {
        rows.iter().map(|row| row.iter().map(|v| *v as f64 / 1e6).collect()).collect()
    };
    let parts = index.score_all(&queries, index.rows())?.into_iter().map(|found| {
        let mut row = vec![0; index.rows()];
        for record in found.records {
            if let Some(place) = row.get_mut(record.row as usize) {
                *place = record.ppm;
            }
        }
        row
    });
    let parts = parts.collect();
    let influences = index.influences(&queries)?;
    Ok(vec![
        Scores { method: names[0], matrix: ppm(influences), own: None },
        Scores { method: names[1], matrix: ppm(parts), own: None },
    ])
}

fn rows(matrix: &Tensor) -> Result<Vec<Vec<f64>>> {
    let all = matrix.to_kind(Kind::Double).contiguous();
    let row = |i: i64| Ok(Vec::<f64>::try_from(&all.get(i))?);
    (0..matrix.size()[0]).map(row).collect()
}
