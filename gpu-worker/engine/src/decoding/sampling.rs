//! How a token is chosen from logits.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use toktrie::SimpleVob;

use super::draw::{draw, Draw, Head, Sorting};
use super::grammar::Grammar;
use crate::error::{EngineError, Result};

/// Version of what logits, sampling numbers, seed and position give. Any change that could make
/// another token come raises it.
pub const SAMPLER_VERSION: u32 = 1;

/// Likeliest tokens that are looked up on a device; a draw beyond them fetches the whole row.
const HEAD: i64 = 1_024;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the likeliest token always.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability are drawn from.
    pub top_p: f32,
    /// Only so many of the likeliest tokens are drawn from; 0 sets no limit.
    pub top_k: u32,
    /// Only tokens of at least this share of the likeliest one's probability are drawn from.
    pub min_p: f32,
    /// Taken from a token's logit for each time that it stands in the answer.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once it stands in the answer.
    pub presence_penalty: f32,
    /// Draws the tokens, together with their position in the answer.
    pub seed: u64,
}

/// What else an answer is held to.
#[derive(Debug, Clone, Default)]
pub struct Guidance {
    /// Added to the logits of these tokens; a token outside the vocabulary has no effect.
    pub bias: Vec<(i64, f32)>,
    /// Which texts the answer may be; any without it.
    pub grammar: Option<Grammar>,
}

/// Probabilities of a chosen token and of the likeliest ones.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Natural logarithm of the chosen token's probability, before temperature, cuts, penalties,
    /// biases and grammar.
    pub chosen: f32,
    /// The likeliest tokens with theirs, likeliest first.
    pub top: Vec<(i64, f32)>,
}

/// What choosing needs to know of one row.
pub(crate) struct Row<'a> {
    pub sampling: &'a Sampling,
    /// Tokens of the answer before this one: with the seed, it fixes the draw.
    pub index: u64,
    /// Added to logits.
    pub bias: &'a [(i64, f32)],
    /// How often tokens stand in the answer; needed for penalties alone.
    pub counts: &'a HashMap<i64, u32>,
    /// Which tokens may come; all without it.
    pub allowed: Option<&'a SimpleVob>,
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
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        seed: 0,
    };

    /// Says what is out of range.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(EngineError::Request(what.into()));
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return wrong("temperature must be 0 or more");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p must be above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return wrong("min_p must be from 0 to 1");
        }
        if !(self.frequency_penalty.is_finite() && self.presence_penalty.is_finite()) {
            return wrong("frequency_penalty and presence_penalty must be numbers");
        }
        Ok(())
    }

    /// Whether tokens that stand in the answer count.
    pub(super) fn penalises(&self) -> bool {
        self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

impl Row<'_> {
    /// Whether the likeliest token of the model's own logits is the answer.
    fn is_plain(&self) -> bool {
        self.sampling.temperature == 0.0 && self.logprobs.is_none() && !self.is_moved()
    }

    /// Whether its logits are changed before anything is chosen.
    fn is_moved(&self) -> bool {
        self.allowed.is_some() || !self.bias.is_empty() || self.sampling.penalises()
    }

    /// What is added to the logits of single tokens of a vocabulary of this size.
    fn moves(&self, vocabulary: usize) -> Vec<(i64, f32)> {
        let Sampling { frequency_penalty, presence_penalty, .. } = *self.sampling;
        let penalties = self.counts.iter().map(|(token, count)| {
            (*token, -(frequency_penalty * *count as f32 + presence_penalty))
        });
        let penalties = penalties.filter(|_| self.sampling.penalises());
        let all = self.bias.iter().copied().chain(penalties);
        all.filter(|(token, _)| usize::try_from(*token).is_ok_and(|t| t < vocabulary)).collect()
    }

    /// Changes logits as the row demands.
    fn apply(&self, logits: &mut [f32]) {
        for (token, added) in self.moves(logits.len()) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += added;
            }
        }
        if let Some(allowed) = self.allowed {
            for (token, logit) in logits.iter_mut().enumerate() {
                if token >= allowed.len() || !allowed.get(token) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

fn nothing() -> EngineError {
    EngineError::Request("the model's logits are not numbers, or no token may come".into())
}

/// Chooses a token per row of `logits` `[rows, vocab]`.
pub(crate) fn choose(logits: &Tensor, rows: &[Row<'_>]) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Option<Chosen>> = vec![None; rows.len()];
    if rows.iter().any(Row::is_plain) {
        let likeliest = Vec::<i64>::try_from(logits.argmax(-1, false))?;
        for ((row, token), chosen) in rows.iter().zip(likeliest).zip(&mut chosen) {
            *chosen = row.is_plain().then_some(Chosen { token, logprobs: None });
        }
    }
    let others: Vec<usize> = (0..rows.len()).filter(|at| chosen[*at].is_none()).collect();
    if !others.is_empty() {
        let places: Vec<i64> = others.iter().map(|at| *at as i64).collect();
        let places = Tensor::from_slice(&places).to_device(logits.device());
        let own = logits.index_select(0, &places).to_kind(Kind::Float); // [others, vocab]
        let wanted: Vec<&Row<'_>> = others.iter().map(|at| &rows[*at]).collect();
        let drawn = match logits.device() {
            Device::Cpu => choose_here(&own, &wanted)?,
            _ => choose_there(&own, &wanted, HEAD)?,
        };
        for (at, one) in others.into_iter().zip(drawn) {
            chosen[at] = Some(one);
        }
    }
    chosen.into_iter().map(|one| one.ok_or_else(nothing)).collect()
}

/// Chooses from `logits` `[rows, vocab]`, f32, on the processor.
fn choose_here(logits: &Tensor, rows: &[&Row<'_>]) -> Result<Vec<Chosen>> {
    let (count, vocabulary) = logits.size2()?;
    let mut values = vec![0f32; (count * vocabulary) as usize];
    logits.contiguous().f_copy_data(&mut values, (count * vocabulary) as usize)?;
    let each = values.chunks_exact_mut(vocabulary as usize);
    rows.iter().zip(each).map(|(row, values)| choose_one(values, row)).collect()
}

fn choose_one(logits: &mut [f32], row: &Row<'_>) -> Result<Chosen> {
    let own = row.logprobs.map(|count| own_probabilities(logits, count));
    // The chosen token's own logit is needed after the others have been changed.
    let before = (own.is_some() && row.is_moved()).then(|| logits.to_vec());
    if row.is_moved() {
        row.apply(logits);
    }
    let token = match row.sampling.temperature > 0.0 {
        false => likeliest(logits).ok_or_else(nothing)?,
        true => match draw(&mut Sorting::new(logits), row.sampling, row.index) {
            Draw::Token(token) => token,
            Draw::Beyond | Draw::Nothing => return Err(nothing()),
        },
    };
    let logprobs = own.map(|(sum, top)| {
        let logit = before.as_deref().unwrap_or(logits).get(token as usize);
        TokenLogprobs { chosen: logit.map_or(f32::NEG_INFINITY, |l| log_share(*l, sum)), top }
    });
    Ok(Chosen { token, logprobs })
}

/// The first of the likeliest tokens.
fn likeliest(logits: &[f32]) -> Option<i64> {
    let best = |best: Option<(i64, f32)>, (token, &logit): (i64, &f32)| match best {
        Some((_, most)) if logit <= most || logit.is_nan() => best,
        None if logit == f32::NEG_INFINITY || logit.is_nan() => None,
        _ => Some((token, logit)),
    };
    (0i64..).zip(logits).fold(None, best).map(|(token, _)| token)
}

fn log_share(logit: f32, log_sum: f64) -> f32 {
    (f64::from(logit) - log_sum) as f32
}

/// Logarithm of the sum of `exp(logit)`, and the `count` likeliest tokens with the logarithms of
/// their probabilities.
fn own_probabilities(logits: &[f32], count: usize) -> (f64, Vec<(i64, f32)>) {
    use super::draw::{Rank, Ranking};
    let mut ranking = Sorting::new(logits);
    let best = match ranking.at(0) {
        Rank::Token(_, best) => best,
        Rank::End | Rank::Unknown => return (0.0, vec![]),
    };
    let sum = f64::from(best) + ranking.total(1.0).ln();
    let mut top = Vec::with_capacity(count);
    for rank in 0..count {
        let Rank::Token(token, logit) = ranking.at(rank) else { break };
        top.push((token, log_share(logit, sum)));
    }
    (sum, top)
}

/// Chooses from `logits` `[rows, vocab]`, f32, of which only the `head` likeliest of each row
/// leave their device; the whole row does where a draw lies beyond them.
fn choose_there(logits: &Tensor, rows: &[&Row<'_>], head: i64) -> Result<Vec<Chosen>> {
    let (count, vocabulary) = logits.size2()?;
    let head = head.min(vocabulary);
    let moved = moved(logits, rows)?;
    let (top, tokens) = moved.topk(head, -1, true, true); // [rows, head]
    let temperatures: Vec<f32> =
        rows.iter().map(|row| row.sampling.temperature.max(1e-6)).collect();
    let temperatures = Tensor::from_slice(&temperatures).to_device(logits.device()).unsqueeze(1);
    let best = top.narrow(1, 0, 1); // [rows, 1]
    let totals = ((&moved - &best) / temperatures).logsumexp([1], false).exp();
    let (top, tokens, totals) = (floats(&top)?, integers(&tokens)?, floats(&totals)?);
    let own = rows.iter().filter_map(|row| row.logprobs).max();
    let own = own.map(|most| OwnProbabilities::new(logits, most as i64)).transpose()?;

    let mut chosen = Vec::with_capacity(count as usize);
    for (at, row) in rows.iter().enumerate() {
        let part = at * head as usize..(at + 1) * head as usize;
        let (whole, total) = (head == vocabulary, f64::from(totals[at]));
        let mut ranking = Head::new(&top[part.clone()], &tokens[part], whole, total);
        let token = match draw(&mut ranking, row.sampling, row.index) {
            Draw::Token(token) => token,
            Draw::Nothing => return Err(nothing()),
            Draw::Beyond => {
                let all = floats(&moved.get(at as i64))?;
                match draw(&mut Sorting::new(&all), row.sampling, row.index) {
                    Draw::Token(token) => token,
                    Draw::Beyond | Draw::Nothing => return Err(nothing()),
                }
            }
        };
        let logprobs = match (&own, row.logprobs) {
            (Some(own), Some(count)) => Some(own.of(logits, at, token, count)),
            _ => None,
        };
        chosen.push(Chosen { token, logprobs });
    }
    Ok(chosen)
}

/// `logits` `[rows, vocab]` with what each row changes in its own.
fn moved(logits: &Tensor, rows: &[&Row<'_>]) -> Result<Tensor> {
    let vocabulary = logits.size2()?.1;
    let mut moved = logits.shallow_clone();
    let (mut places, mut added) = ((vec![], vec![]), vec![]);
    for (at, row) in (0i64..).zip(rows) {
        for (token, value) in row.moves(vocabulary as usize) {
            places.0.push(at);
            places.1.push(token);
            added.push(value);
        }
    }
    if !added.is_empty() {
        let at = |list: &[i64]| Some(Tensor::from_slice(list).to_device(logits.device()));
        let added = Tensor::from_slice(&added).to_device(logits.device());
        moved = moved.index_put(&[at(&places.0), at(&places.1)], &added, true);
    }
    if rows.iter().any(|row| row.allowed.is_some()) {
        let mut barred = vec![false; rows.len() * vocabulary as usize];
        for (row, barred) in rows.iter().zip(barred.chunks_exact_mut(vocabulary as usize)) {
            if let Some(allowed) = row.allowed {
                for (token, barred) in barred.iter_mut().enumerate() {
                    *barred = token >= allowed.len() || !allowed.get(token);
                }
            }
        }
        let barred = Tensor::from_slice(&barred).view(logits.size().as_slice());
        moved = moved.masked_fill(&barred.to_device(logits.device()), f64::NEG_INFINITY);
    }
    Ok(moved)
}

/// The likeliest tokens of several rows by the model's own probabilities.
struct OwnProbabilities {
    /// Per row, the logarithm of the sum of `exp(logit)`.
    sums: Vec<f32>,
    /// `[rows, most]`
    logits: Vec<f32>,
    tokens: Vec<i64>,
    most: usize,
}

impl OwnProbabilities {
    fn new(logits: &Tensor, most: i64) -> Result<Self> {
        let most = most.clamp(0, logits.size2()?.1);
        let (top, tokens) = logits.topk(most, -1, true, true);
        Ok(Self {
            sums: floats(&logits.logsumexp([1], false))?,
            logits: floats(&top)?,
            tokens: integers(&tokens)?,
            most: most as usize,
        })
    }

    fn of(&self, logits: &Tensor, row: usize, token: i64, count: usize) -> TokenLogprobs {
        let sum = f64::from(self.sums[row]);
        let part = row * self.most..row * self.most + count.min(self.most);
        let top = self.tokens[part.clone()].iter().zip(&self.logits[part]);
        let chosen = logits.double_value(&[row as i64, token]) as f32;
        TokenLogprobs {
            chosen: log_share(chosen, sum),
            top: top.map(|(token, logit)| (*token, log_share(*logit, sum))).collect(),
        }
    }
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::try_from(tensor.to_device(Device::Cpu).contiguous().view([-1]))?)
}

fn integers(tensor: &Tensor) -> Result<Vec<i64>> {
    Ok(Vec::try_from(tensor.to_device(Device::Cpu).contiguous().view([-1]))?)
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
