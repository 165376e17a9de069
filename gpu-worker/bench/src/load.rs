//! Traffic: who asks what, and when.

use anyhow::{bail, Result};
use rand::{distributions::WeightedIndex, prelude::Distribution, Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};
use tributary_engine::{
    Engine, EngineError, Event, GenerateRequest, Guidance, Message, Prompt, Sampling,
};

/// Which adapter a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popularity {
    /// All alike.
    Uniform,
    /// The k-th in proportion to 1/k.
    Zipf,
}

impl Popularity {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }

    /// `requests` choices among `adapters`. Uniform ones are dealt like cards, so that any window
    /// of requests names as many different adapters as it can.
    pub fn choices(self, adapters: usize, requests: usize, seed: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match self {
            Self::Uniform => (0..requests).map(|at| at % adapters.max(1)).collect(),
            Self::Zipf => {
                let weights = (1..=adapters.max(1)).map(|rank| 1.0 / rank as f64);
                match WeightedIndex::new(weights) {
                    Ok(draw) => (0..requests).map(|_| draw.sample(&mut rng)).collect(),
                    Err(_) => vec![0; requests],
                }
            }
        }
    }
}

/// How one answer went.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Tokens of the answer.
    pub tokens: usize,
    /// Seconds from the asking to the first token.
    pub first: f64,
    /// Seconds between two tokens, one number for each pair.
    pub between: Vec<f64>,
}

/// What a run of traffic showed.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Answers that were given.
    pub heard: Vec<Heard>,
    /// Requests that were refused because there was no room.
    pub refused: usize,
    /// Seconds from the first request to the last token.
    pub seconds: f64,
}

impl Traffic {
    /// Tokens of all answers in a second.
    pub fn rate(&self) -> f64 {
        self.heard.iter().map(|heard| heard.tokens).sum::<usize>() as f64 / self.seconds.max(1e-9)
    }

    /// Seconds to the first token of each answer.
    pub fn first(&self) -> Vec<f64> {
        self.heard.iter().map(|heard| heard.first).collect()
    }

    /// Seconds between tokens, of all answers together.
    pub fn between(&self) -> Vec<f64> {
        self.heard.iter().flat_map(|heard| heard.between.iter().copied()).collect()
    }
}

/// The questions that are asked in turn.
pub const QUESTIONS: [&str; 8] = [
    "How did the bridge fail, and who noticed it first?",
    "Which function was called before the balances were updated?",
    "What did the attacker borrow in order to vote?",
    "Tell me what happened to the price oracle on that day.",
    "Why could the same message be proven twice?",
    "Who held the keys of the multisig that was emptied?",
    "What would have stopped the withdrawal of all that ether?",
    "How many validators had to sign, and how many did?",
];

/// A request of `tokens` tokens to `adapter`. The tokens that end an answer are kept away, so that
/// every answer has its length, as the peer's have.
pub fn request(
    engine: &Engine,
    adapter: Option<String>,
    number: usize,
    tokens: usize,
) -> GenerateRequest {
    let bias = engine.info().config.eos_tokens.iter().map(|token| (*token, -1e4)).collect();
    GenerateRequest {
        adapter,
        prompt: Prompt::Chat(vec![Message::user(QUESTIONS[number % QUESTIONS.len()])]),
        max_tokens: tokens,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Guidance { bias, grammar: None },
    }
}

async fn listen(
    mut events: UnboundedReceiver<Event>,
    asked: Instant,
) -> std::result::Result<Heard, EngineError> {
    let mut heard = Heard { tokens: 0, first: 0.0, between: vec![] };
    let mut last = asked;
    while let Some(event) = events.recv().await {
        match event {
            Event::Token { .. } => {
                let now = Instant::now();
                let since = now.duration_since(last).as_secs_f64();
                match heard.tokens {
                    0 => heard.first = since,
                    _ => heard.between.push(since),
                }
                heard.tokens += 1;
                last = now;
            }
            Event::Done(_) => return Ok(heard),
            Event::Failed(error) => return Err(error),
        }
    }
    Err(EngineError::Stopped)
}

/// Asks all at once with at most `width` under way: what the engine can do at its fullest.
pub async fn closed(
    engine: &Engine,
    requests: Vec<GenerateRequest>,
    width: usize,
) -> Result<Traffic> {
    let mut traffic = Traffic::default();
    let mut running = JoinSet::new();
    let start = Instant::now();
    for request in requests {
        if running.len() >= width {
            if let Some(heard) = running.join_next().await {
                traffic.heard.push(heard??);
            }
        }
        running.spawn(listen(engine.generate(request)?, Instant::now()));
    }
    while let Some(heard) = running.join_next().await {
        traffic.heard.push(heard??);
    }
    traffic.seconds = start.elapsed().as_secs_f64();
    Ok(traffic)
}

/// Asks at random moments, `per_second` on average, whatever the engine is doing (Poisson arrivals).
pub async fn open(
    engine: &Engine,
    requests: Vec<GenerateRequest>,
    per_second: f64,
    seed: u64,
) -> Result<Traffic> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut traffic = Traffic::default();
    let mut running = JoinSet::new();
    let start = Instant::now();
    let mut at = 0.0;
    for request in requests {
        at += -(1.0 - rng.gen::<f64>()).ln() / per_second;
        let due = start + Duration::from_secs_f64(at);
        tokio::time::sleep_until(due.into()).await;
        // The time counts from when the request was due, not from when this task got to it.
        running.spawn(listen(engine.generate(request)?, due));
    }
    while let Some(heard) = running.join_next().await {
        match heard? {
            Ok(heard) => traffic.heard.push(heard),
            Err(EngineError::Overloaded) => traffic.refused += 1,
            Err(error) => bail!("an answer failed: {error}"),
        }
    }
    traffic.seconds = start.elapsed().as_secs_f64();
    Ok(traffic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_as_popular_as_they_say() {
        let dealt = Popularity::Uniform.choices(5, 20, 1);
        assert!((0..5).all(|n| dealt.iter().filter(|c| **c == n).count() == 4));
        let drawn = Popularity::Zipf.choices(100, 10_000, 1);
        let count = |n| drawn.iter().filter(|c| **c == n).count() as f64;
        // 1/1 against 1/10 of the same harmonic sum.
        assert!((5.0..20.0).contains(&(count(0) / count(9))), "{} {}", count(0), count(9));
        assert_eq!(drawn, Popularity::Zipf.choices(100, 10_000, 1));
    }
}
