//! How a token is chosen from logits.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{EngineError, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token always.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability are drawn from.
    pub top_p: f32,
    /// Only so many of the likeliest tokens are drawn from; 0 sets no limit.
    pub top_k: u32,
    /// Draws the tokens, together with their position in the answer.
    pub seed: u64,
}

/// Probabilities of a chosen token and of the likeliest ones.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Natural logarithm of the chosen token's probability, before temperature and cuts.
    pub chosen: f32,
    /// The likeliest tokens with theirs, likeliest first.
    pub top: Vec<(i64, f32)>,
}

/// What choosing needs to know of one row.
pub(crate) struct Row<'a> {
    pub sampling: &'a Sampling,
    /// Tokens of the answer before this one: with the seed, it fixes the draw.
    pub index: u64,
    /// Which tokens may come, one flag per token of the vocabulary; all without it.
    pub allowed: Option<&'a [bool]>,
    /// How many of the likeliest tokens to name; no probabilities are computed without it.
    pub logprobs: Option<usize>,
}

/// A chosen token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    pub token: i64,
    pub logprobs: Option<TokenLogprobs>,
}

impl Sampling {
    /// The likeliest token always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 };

    /// Says what is out of range.
    pub fn check(&self) -> Result<()> {
        let Self { temperature, top_p, .. } = *self;
        if !(temperature.is_finite() && temperature >= 0.0 && top_p > 0.0 && top_p <= 1.0) {
            return Err(EngineError::Request(
                "temperature must be 0 or more, top_p above 0 and at most 1".into(),
            ));
        }
        Ok(())
    }
}

/// Chooses a token per row of `logits` `[rows, vocab]`.
pub(crate) fn choose(logits: &Tensor, rows: &[Row<'_>]) -> Result<Vec<Chosen>> {
    let likeliest = Vec::<i64>::try_from(logits.argmax(-1, false))?;
    let mut chosen = Vec::with_capacity(rows.len());
    for (at, (row, greedy)) in rows.iter().zip(likeliest).enumerate() {
        if row.sampling.temperature == 0.0 && row.allowed.is_none() && row.logprobs.is_none() {
            chosen.push(Chosen { token: greedy, logprobs: None });
            continue;
        }
        let values = Vec::<f32>::try_from(logits.get(at as i64).to_kind(Kind::Float))?;
        chosen.push(choose_one(values, row)?);
    }
    Ok(chosen)
}

fn choose_one(mut logits: Vec<f32>, row: &Row<'_>) -> Result<Chosen> {
    let logprobs = row.logprobs.map(|count| probabilities(&logits, count));
    if let Some(allowed) = row.allowed {
        let flags = allowed.iter().copied().chain(std::iter::repeat(false));
        for (logit, allowed) in logits.iter_mut().zip(flags) {
            if !allowed {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
    let token = match row.sampling.temperature > 0.0 {
        true => draw(&logits, row.sampling, row.index),
        false => likeliest(&logits),
    };
    let logprobs = logprobs.map(|(all, top)| TokenLogprobs { chosen: all[token], top });
    Ok(Chosen { token: token as i64, logprobs })
}

/// The first of the likeliest tokens.
fn likeliest(logits: &[f32]) -> usize {
    let best = |best: (usize, f32), (token, &logit): (usize, &f32)| match logit > best.1 {
        true => (token, logit),
        false => best,
    };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), best).0
}

/// Log-probabilities of all tokens, and the `count` likeliest with theirs.
fn probabilities(logits: &[f32], count: usize) -> (Vec<f32>, Vec<(i64, f32)>) {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - top).exp()).sum();
    let all: Vec<f32> = logits.iter().map(|l| (f64::from(*l) - top - sum.ln()) as f32).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&a, &b| all[b].total_cmp(&all[a]).then(a.cmp(&b)));
    let named = order.into_iter().take(count).map(|token| (token as i64, all[token])).collect();
    (all, named)
}

/// Draws from the softmax of `logits / temperature`, cut to the `top_k` likeliest tokens and then
/// to the smallest set of likeliest tokens whose probability reaches `top_p`. A function of the
/// logits, the seed and the index alone.
fn draw(logits: &[f32], sampling: &Sampling, index: u64) -> usize {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weighted: Vec<(f64, usize)> = logits
        .iter()
        .enumerate()
        .filter(|(_, l)| **l > f32::NEG_INFINITY)
        .map(|(token, l)| (f64::from((l - top) / sampling.temperature).exp(), token))
        .collect();
    weighted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if sampling.top_k > 0 {
        weighted.truncate(sampling.top_k as usize);
    }
    let total: f64 = weighted.iter().map(|(p, _)| p).sum();
    let mut kept = 0.0;
    let mut count = 0;
    for (p, _) in &weighted {
        kept += p;
        count += 1;
        if kept >= total * f64::from(sampling.top_p) {
            break;
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
    rng.set_stream(index);
    let mut at = rng.gen::<f64>() * kept;
    for (p, token) in &weighted[..count] {
        at -= p;
        if at <= 0.0 {
            return *token;
        }
    }
    weighted[..count].last().map_or(0, |(_, token)| *token)
}
