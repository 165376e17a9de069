//! What a batch is made of: answers to learn, or preferences.

use crate::error::{EngineError, Result};
use crate::model::tuning::{Packed, Rows};
use crate::model::BaseModel;
use crate::record::{Record, Sample};

/// A record's tokens, ready for training.
pub(super) struct Example {
    /// What is learnt; of a preference, the chosen answer.
    pub sample: Sample,
    /// The rejected answer of a preference.
    pub rejected: Option<Sample>,
    /// Log-probabilities of the chosen and the rejected answer under the base alone.
    pub reference: Option<(f64, f64)>,
}

/// A number for each learnt token, and what they amount to.
pub(super) struct Weighed {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Derivative of that mean with respect to each learnt token's loss.
    pub weights: Vec<f32>,
}

impl Example {
    /// Tokens of all records: either all of them preferences or none.
    pub(super) fn encode_all(
        base: &BaseModel,
        records: &[Record],
        seq_len: usize,
    ) -> Result<Vec<Self>> {
        let limit = seq_len.min(base.config().max_position as usize);
        let preferences = matches!(records.first(), Some(Record::Preference { .. }));
        let mut examples = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let rejected = match record {
                Record::Preference { prompt, rejected, .. } => {
                    Some(Record::pair(prompt.as_str(), rejected.as_str()))
                }
                _ => None,
            };
            if rejected.is_some() != preferences {
                let reason = "preferences and answers to learn stand in one job; make two jobs";
                return Err(EngineError::Record { index, reason: reason.into() });
            }
            let encode = |r: &Record| Sample::encode(r, base.tokenizer(), limit, index);
            let sample = encode(record)?;
            let rejected = rejected.as_ref().map(encode).transpose()?;
            examples.push(Self { sample, rejected, reference: None });
        }
        Ok(examples)
    }

    /// The sequences that go through the model.
    pub(super) fn sequences(&self) -> impl Iterator<Item = &Sample> {
        std::iter::once(&self.sample).chain(&self.rejected)
    }

    /// Tokens that go through the model.
    pub(super) fn tokens(&self) -> usize {
        self.sequences().map(Packed::tokens_of).sum()
    }

    /// Tokens of all its sequences.
    pub(super) fn length(&self) -> usize {
        self.sequences().map(|s| s.tokens.len()).sum()
    }

    /// What this example counts for in a batch's mean: its learnt tokens, or one pair.
    pub(super) fn share(&self) -> usize {
        match self.rejected {
            None => self.sample.learnt(),
            Some(_) => 1,
        }
    }
}

/// The part of a batch's mean loss that `examples` make up, given the loss of each learnt token of
/// their sequences, `losses[rows]` for each of `sequences`; the whole batch has `total` shares.
///
/// Answers: the mean over learnt tokens. Preferences: the mean over pairs of
/// `−ln σ(β · ((ln π(c) − ln ref(c)) − (ln π(r) − ln ref(r))))`, equation 7 of Rafailov et al. 2023.
pub(super) fn weigh(
    examples: &[&Example],
    sequences: &[Rows],
    losses: &[f32],
    total: usize,
    beta: f64,
) -> Weighed {
    let total = total.max(1) as f64;
    let mut weights = Vec::with_capacity(losses.len());
    let mut loss = 0.0;
    let mut next = sequences.iter().map(|rows| {
        let start = rows.start as usize;
        losses.get(start..start + rows.len as usize).unwrap_or_default()
    });
    let sum = |part: &[f32]| part.iter().map(|l| f64::from(*l)).sum::<f64>();
    for example in examples {
        let chosen = next.next().unwrap_or_default();
        if example.rejected.is_none() {
            loss += sum(chosen) / total;
            weights.extend(chosen.iter().map(|_| (1.0 / total) as f32));
            continue;
        }
        let rejected = next.next().unwrap_or_default();
        let z = preference(example, -sum(chosen), -sum(rejected), beta);
        loss += softplus(-z) / total;
        // d loss / d ln π(c) = −β σ(−z), and a token's loss is minus its log-probability.
        let slope = (beta / (1.0 + z.exp()) / total) as f32;
        weights.extend(chosen.iter().map(|_| slope));
        weights.extend(rejected.iter().map(|_| -slope));
    }
    Weighed { loss, weights }
}

/// β times how much more the adapter prefers the chosen answer than the base does.
fn preference(example: &Example, chosen: f64, rejected: f64, beta: f64) -> f64 {
    let (base_chosen, base_rejected) = example.reference.unwrap_or((0.0, 0.0));
    beta * ((chosen - base_chosen) - (rejected - base_rejected))
}

/// `ln(1 + eˣ)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Cuts examples into runs of at most `limit` tokens each; a longer one stands alone.
pub(super) fn passes<T: Copy>(
    examples: &[T],
    tokens: impl Fn(T) -> usize,
    limit: usize,
) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = vec![];
    let mut filled = usize::MAX;
    for example in examples {
        let count = tokens(*example);
        match runs.last_mut() {
            Some(run) if filled.saturating_add(count) <= limit => {
                run.push(*example);
                filled += count;
            }
            _ => {
                runs.push(vec![*example]);
                filled = count;
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_order_and_limit() {
        let runs = passes(&[3usize, 4, 9, 1, 1, 6], |n| n, 8);
        assert_eq!(runs, [vec![3, 4], vec![9], vec![1, 1, 6]]);
        assert!(passes(&[] as &[usize], |n| n, 8).is_empty());
    }

    #[test]
    fn a_preferences_slope_is_the_derivative_of_its_loss() {
        let sample = |n: usize| Sample::from_parts(&[1], &vec![2; n]);
        let example =
            Example { sample: sample(2), rejected: Some(sample(3)), reference: Some((-4.0, -5.5)) };
        let rows = [Rows { start: 0, len: 2 }, Rows { start: 2, len: 3 }];
        let losses = [1.5f32, 1.0, 2.0, 0.5, 1.25];
        let at = |losses: &[f32]| weigh(&[&example], &rows, losses, 4, 0.3);
        let found = at(&losses);
        for index in 0..losses.len() {
            let mut moved = losses;
            moved[index] += 1.0 / 64.0;
            let up = at(&moved).loss;
            moved[index] -= 2.0 / 64.0;
            let slope = (up - at(&moved).loss) * 32.0;
            assert!((slope - f64::from(found.weights[index])).abs() < 1e-5, "{index}");
        }
        assert!(softplus(1000.0) == 1000.0 && softplus(-1000.0) == 0.0);
    }
}
