//! Which token a seed draws from ranked logits.
//!
//! A draw is a function of the logits, the sampling numbers, the seed and the token's index in the
//! answer, and of nothing else: the same request gets the same answer whatever runs beside it.
//! Logits are looked at from the likeliest down and only as far as needed, so that a cut to few
//! tokens needs no sorted vocabulary.

use std::cmp::Ordering;

use super::sampling::Sampling;

/// Ranks that are put in order at first; each further look takes eight times as many.
const FIRST_RANKS: usize = 32;

/// Philox4x32-10, the counter-based generator of Salmon and others, "Parallel random numbers: as
/// easy as 1, 2, 3" (2011): 128 random bits for each counter under a key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLY: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let split = |product: u64| ((product >> 32) as u32, product as u32);
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let (high0, low0) = split(u64::from(MULTIPLY[0]) * u64::from(counter[0]));
        let (high1, low1) = split(u64::from(MULTIPLY[1]) * u64::from(counter[2]));
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
    }
    counter
}

/// The number in `[0, 1)` that belongs to token `index` of an answer with this seed: the upper 53
/// bits of Philox4x32-10 at counter `(index, 0)` under the seed as key.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    let [a, b, ..] =
        philox([index as u32, (index >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32]);
    let bits = (u64::from(a) << 32 | u64::from(b)) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// What stands at a rank, counted from the likeliest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rank {
    /// A token and its logit.
    Token(i64, f32),
    /// There are fewer tokens than that.
    End,
    /// There may be one, but it was not looked up.
    Unknown,
}

/// Tokens from the likeliest down; of equal logits the lower id comes first.
pub(super) trait Ranking {
    /// What stands at `rank`.
    fn at(&mut self, rank: usize) -> Rank;
    /// The sum over all tokens of `exp((logit − best logit) / temperature)`.
    fn total(&self, temperature: f32) -> f64;
}

/// A ranking of all the logits of one row, put in order as far as it is asked.
pub(super) struct Sorting {
    /// Logit and token; the first `sorted` are in order and before all others.
    logits: Vec<(f32, u32)>,
    sorted: usize,
    best: f32,
}

impl Sorting {
    /// A ranking of the logits that are numbers, by token.
    pub(super) fn new(logits: &[f32]) -> Self {
        let numbers = logits.iter().zip(0u32..).filter(|(logit, _)| **logit > f32::NEG_INFINITY);
        let logits: Vec<(f32, u32)> = numbers.map(|(logit, token)| (*logit, token)).collect();
        let best = logits.iter().map(|(logit, _)| *logit).fold(f32::NEG_INFINITY, f32::max);
        Self { logits, sorted: 0, best }
    }

    fn extend(&mut self) {
        let wanted = (self.sorted * 8).max(FIRST_RANKS).min(self.logits.len());
        let order = |a: &(f32, u32), b: &(f32, u32)| -> Ordering {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
        };
        let rest = &mut self.logits[self.sorted..];
        let more = wanted - self.sorted;
        if more < rest.len() {
            rest.select_nth_unstable_by(more, order);
        }
        rest[..more].sort_unstable_by(order);
        self.sorted = wanted;
    }
}

impl Ranking for Sorting {
    fn at(&mut self, rank: usize) -> Rank {
        while rank >= self.sorted {
            if self.sorted == self.logits.len() {
                return Rank::End;
            }
            self.extend();
        }
        let (logit, token) = self.logits[rank];
        Rank::Token(i64::from(token), logit)
    }

    fn total(&self, temperature: f32) -> f64 {
        self.logits.iter().map(|(logit, _)| weight(*logit, self.best, temperature)).sum()
    }
}

/// The likeliest tokens of a row alone, looked up where the logits are.
pub(super) struct Head {
    ranked: Vec<(f32, i64)>,
    whole: bool,
    total: f64,
}

impl Head {
    /// Of `logits` with their `tokens`, which come likeliest first. `whole` says that there are no
    /// others, `total` is what [`Ranking::total`] gives for the temperature of the request.
    pub(super) fn new(logits: &[f32], tokens: &[i64], whole: bool, total: f64) -> Self {
        let mut ranked: Vec<_> = logits.iter().copied().zip(tokens.iter().copied()).collect();
        // A device leaves equal logits in any order.
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Self { ranked, whole, total }
    }
}

impl Ranking for Head {
    fn at(&mut self, rank: usize) -> Rank {
        match self.ranked.get(rank) {
            Some((logit, token)) if *logit > f32::NEG_INFINITY => Rank::Token(*token, *logit),
            Some(_) => Rank::End,
            None if self.whole => Rank::End,
            None => Rank::Unknown,
        }
    }

    fn total(&self, _: f32) -> f64 {
        self.total
    }
}

fn weight(logit: f32, best: f32, temperature: f32) -> f64 {
    (f64::from(logit - best) / f64::from(temperature)).exp()
}

/// What a draw came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Draw {
    /// This token.
    Token(i64),
    /// It lies beyond what the ranking knows.
    Beyond,
    /// There is nothing to draw from.
    Nothing,
}

/// Draws from the softmax of `logits / temperature`, cut to the `top_k` likeliest tokens, then to
/// the fewest likeliest ones of which the sum of probabilities reaches `top_p`, then to those of
/// at least `min_p` times the likeliest one's probability. With probabilities in falling order,
/// the token drawn is the first one at which their running sum exceeds `u` times the sum of all
/// that are left by the cuts.
pub(super) fn draw(ranking: &mut impl Ranking, sampling: &Sampling, index: u64) -> Draw {
    let Sampling { temperature, top_p, top_k, min_p, seed, .. } = *sampling;
    let best = match ranking.at(0) {
        Rank::Token(token, _) if temperature <= 0.0 => return Draw::Token(token),
        Rank::Token(_, best) => best,
        Rank::End => return Draw::Nothing,
        Rank::Unknown => return Draw::Beyond,
    };
    let limit = if top_k > 0 { top_k as usize } else { usize::MAX };
    let uniform = uniform(seed, index);
    let uncut = limit == usize::MAX && top_p >= 1.0 && min_p <= 0.0;
    let kept = if uncut {
        ranking.total(temperature)
    } else {
        let whole = match (top_p < 1.0, limit == usize::MAX) {
            (false, _) => f64::INFINITY,
            (true, true) => ranking.total(temperature),
            (true, false) => match walk(ranking, limit, |_, _| true, best, temperature) {
                Some(sum) => sum,
                None => return Draw::Beyond,
            },
        };
        let enough = whole * f64::from(top_p);
        let keep = |before: f64, weight: f64| before < enough && weight >= f64::from(min_p);
        match walk(ranking, limit, keep, best, temperature) {
            Some(sum) => sum,
            None => return Draw::Beyond,
        }
    };
    let goal = uniform * kept;
    let (mut sum, mut last) = (0.0, None);
    for rank in 0..limit {
        let (token, logit) = match ranking.at(rank) {
            Rank::Token(token, logit) => (token, logit),
            Rank::End => break,
            Rank::Unknown => return Draw::Beyond,
        };
        let weight = weight(logit, best, temperature);
        if weight == 0.0 {
            break;
        }
        sum += weight;
        if sum > goal {
            return Draw::Token(token);
        }
        last = Some(token);
        if sum >= kept {
            break;
        }
    }
    // Rounding may leave the goal a hair above the sum.
    last.map_or(Draw::Nothing, Draw::Token)
}

/// The sum of weights from the likeliest down, while `keep(sum before, weight)` holds; `None` when
/// it goes on beyond what the ranking knows.
fn walk(
    ranking: &mut impl Ranking,
    limit: usize,
    keep: impl Fn(f64, f64) -> bool,
    best: f32,
    temperature: f32,
) -> Option<f64> {
    let mut sum = 0.0;
    for rank in 0..limit {
        match ranking.at(rank) {
            Rank::Token(_, logit) => {
                let weight = weight(logit, best, temperature);
                if weight == 0.0 || !keep(sum, weight) {
                    break;
                }
                sum += weight;
            }
            Rank::End => break,
            Rank::Unknown => return None,
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers() {
        // From the authors' own table (kat_vectors, philox4x32 with 10 rounds).
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn a_ranking_is_the_sorted_order_however_far_it_is_read() {
        let logits: Vec<f32> = (0..5_000).map(|i| (uniform(3, i) * 40.0).floor() as f32).collect();
        let mut sorted: Vec<usize> = (0..logits.len()).collect();
        sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        for reach in [1, 31, 32, 33, 300, 5_000] {
            let mut ranking = Sorting::new(&logits);
            for (rank, &token) in sorted.iter().enumerate().take(reach) {
                assert_eq!(ranking.at(rank), Rank::Token(token as i64, logits[token]));
            }
        }
        let mut ranking = Sorting::new(&logits);
        assert_eq!(ranking.at(5_000), Rank::End);
    }
}
