//! Traffic for measuring an engine: who asks what and when, and what was heard. The benchmarks of
//! the CPU and of the GPU share it.

mod spread;

use std::time::{Duration, Instant};

use rand::{distributions::WeightedIndex, prelude::Distribution, seq::SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinError, task::JoinSet};

use crate::decoding::{Guidance, Sampling};
use crate::engine::{Engine, Event, GenerateRequest, Prompt};
use crate::error::{EngineError, Result};
use crate::serve::stats::EngineStats;

pub use spread::{quantile, Spread};

/// Part of the base's own full rate at which requests come in an open loop.
pub const OPEN_LOAD: f64 = 0.35;

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

    /// `requests` choices among `adapters`. Uniform ones are dealt from a shuffled pack again and
    /// again, so that any window of requests names as many different adapters as it can, and a
    /// short one does not name those first that were loaded first.
    pub fn choices(self, adapters: usize, requests: usize, seed: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match self {
            Self::Uniform => {
                let mut pack: Vec<usize> = (0..adapters.max(1)).collect();
                pack.shuffle(&mut rng);
                pack.into_iter().cycle().take(requests).collect()
            }
            Self::Zipf => {
                let weights = (1..=adapters.max(1)).map(|rank| 1.0 / rank as f64);
                match WeightedIndex::new(weights) {
                    Ok(draw) => (0..requests).map(|_| draw.sample(&mut rng)).collect(),
                    Err(_) => vec![0; requests],
                }
            }
        }
    }

    /// `requests` requests to `adapters` adapters, which are named by their number from 0; without
    /// any, all go to the base. `make` is given the adapter's name and the request's number.
    pub fn requests<'a>(
        self,
        adapters: usize,
        requests: usize,
        seed: u64,
        make: impl Fn(Option<String>, usize) -> GenerateRequest + 'a,
    ) -> impl Iterator<Item = GenerateRequest> + 'a {
        let choices = self.choices(adapters, requests, seed).into_iter().enumerate();
        choices
            .map(move |(number, choice)| make((adapters > 0).then(|| choice.to_string()), number))
    }
}

/// A greedy request for `tokens` tokens. The tokens that end an answer are kept away, so that
/// every answer has its length.
pub fn request(
    engine: &Engine,
    adapter: Option<String>,
    prompt: Prompt,
    tokens: usize,
) -> GenerateRequest {
    let bias = engine.info().config.eos_tokens.iter().map(|token| (*token, -1e4)).collect();
    GenerateRequest {
        adapter,
        prompt,
        max_tokens: tokens,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Guidance { bias, grammar: None },
    }
}

/// How one answer went.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Tokens of the answer; 0 when the run ended before the first.
    pub tokens: usize,
    /// Seconds from the asking to the first token, or to the end of the run if none came.
    pub first: f64,
    /// Seconds between two tokens, one number for each pair.
    pub between: Vec<f64>,
    /// Tokens that came within the time that is measured.
    counted: usize,
}

/// What a run of traffic showed.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Answers that were given, or begun, or waited for until the run ended.
    pub heard: Vec<Heard>,
    /// Requests that were refused because there was no room.
    pub refused: usize,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Mean number of different adapters among the sequences of a step in that time.
    pub distinct: f64,
}

impl Traffic {
    /// Tokens of all answers in a second.
    pub fn rate(&self) -> f64 {
        let tokens = self.heard.iter().map(|heard| heard.counted).sum::<usize>();
        tokens as f64 / self.seconds.max(1e-9)
    }

    /// Seconds to the first token of each answer.
    pub fn first(&self) -> Vec<f64> {
        self.heard.iter().map(|heard| heard.first).collect()
    }

    /// Seconds between tokens, of all answers together.
    pub fn between(&self) -> Vec<f64> {
        self.heard.iter().flat_map(|heard| heard.between.iter().copied()).collect()
    }

    /// Requests that had not got their first token when the run ended.
    pub fn unanswered(&self) -> usize {
        self.heard.iter().filter(|heard| heard.tokens == 0).count()
    }
}

/// Bounds a run in time instead of by the number of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Goes before and is not measured.
    pub lead: Duration,
    /// Is measured; what is under way at its end is given up.
    pub time: Duration,
}

/// Hears an answer from `from` on, and until `until` if that is given.
async fn listen(
    mut events: UnboundedReceiver<Event>,
    asked: Instant,
    from: Instant,
    until: Option<Instant>,
) -> Result<Heard> {
    let mut heard = Heard { tokens: 0, first: 0.0, between: vec![], counted: 0 };
    let mut last = asked;
    loop {
        let event = match until {
            None => events.recv().await,
            Some(end) => match tokio::time::timeout_at(end.into(), events.recv()).await {
                Ok(event) => event,
                Err(_) if heard.tokens > 0 => return Ok(heard),
                Err(_) => {
                    let first = end.saturating_duration_since(asked).as_secs_f64();
                    return Ok(Heard { first, ..heard });
                }
            },
        };
        match event {
            Some(Event::Token { .. }) => {
                let now = Instant::now();
                let since = now.saturating_duration_since(last).as_secs_f64();
                match heard.tokens {
                    0 => heard.first = since,
                    _ => heard.between.push(since),
                }
                heard.tokens += 1;
                heard.counted += usize::from(now >= from);
                last = now;
            }
            Some(Event::Done(_)) => return Ok(heard),
            Some(Event::Failed(error)) => return Err(error),
            None => return Err(EngineError::Stopped),
        }
    }
}

/// A listener that panicked or was ended can only have lost its runtime.
fn joined(heard: std::result::Result<Result<Heard>, JoinError>) -> Result<Heard> {
    heard.unwrap_or(Err(EngineError::Stopped))
}

/// Asks with `width` requests under way at any time: what the engine can do at its fullest. Goes
/// on until there are no more requests, or until the window closes.
pub async fn closed(
    engine: &Engine,
    requests: impl IntoIterator<Item = GenerateRequest>,
    width: usize,
    window: Option<Window>,
) -> Result<Traffic> {
    let start = Instant::now();
    let from = start + window.map_or(Duration::ZERO, |window| window.lead);
    let until = window.map(|window| from + window.time);
    let before = tokio::spawn({
        let engine = engine.clone();
        async move {
            tokio::time::sleep_until(from.into()).await;
            engine.stats()
        }
    });
    let mut heard = vec![];
    let mut running = JoinSet::new();
    for request in requests {
        if running.len() >= width {
            if let Some(one) = running.join_next().await {
                heard.push(joined(one)?);
            }
        }
        if until.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        running.spawn(listen(engine.generate(request)?, Instant::now(), from, until));
    }
    while let Some(one) = running.join_next().await {
        heard.push(joined(one)?);
    }
    let end = until.unwrap_or_else(Instant::now).min(Instant::now());
    let before = before.await.map_err(|_| EngineError::Stopped)?;
    let seconds = end.saturating_duration_since(from).as_secs_f64();
    Ok(Traffic { heard, refused: 0, seconds, distinct: distinct(&before, &engine.stats()) })
}

/// Asks at random moments, `per_second` on average, whatever the engine is doing (Poisson
/// arrivals). After the last request the answers are waited for, for `patience` at most if that
/// is given.
pub async fn open(
    engine: &Engine,
    requests: impl IntoIterator<Item = GenerateRequest>,
    per_second: f64,
    seed: u64,
    patience: Option<Duration>,
) -> Result<Traffic> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (before, start) = (engine.stats(), Instant::now());
    let mut at = 0.0;
    let requests: Vec<(GenerateRequest, Instant)> = requests
        .into_iter()
        .map(|request| {
            at += -(1.0 - rng.gen::<f64>()).ln() / per_second;
            (request, start + Duration::from_secs_f64(at))
        })
        .collect();
    let until = requests.last().zip(patience).map(|((_, due), patience)| *due + patience);
    let mut traffic = Traffic::default();
    let mut running = JoinSet::new();
    for (request, due) in requests {
        tokio::time::sleep_until(due.into()).await;
        // The time counts from when the request was due, not from when this task got to it.
        running.spawn(listen(engine.generate(request)?, due, start, until));
    }
    while let Some(heard) = running.join_next().await {
        match joined(heard) {
            Ok(heard) => traffic.heard.push(heard),
            Err(EngineError::Overloaded) => traffic.refused += 1,
            Err(error) => return Err(error),
        }
    }
    traffic.seconds = start.elapsed().as_secs_f64();
    traffic.distinct = distinct(&before, &engine.stats());
    Ok(traffic)
}

/// Mean number of different adapters in a step between two moments.
fn distinct(before: &EngineStats, after: &EngineStats) -> f64 {
    let steps = after.steps.saturating_sub(before.steps).max(1);
    after.adapters_in_steps.saturating_sub(before.adapters_in_steps) as f64 / steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_as_popular_as_they_say() {
        let dealt = Popularity::Uniform.choices(5, 20, 1);
        assert!((0..5).all(|n| dealt.iter().filter(|c| **c == n).count() == 4));
        // Each deal names all of them.
        let mut window = dealt[3..8].to_vec();
        window.sort_unstable();
        assert_eq!(window, [0, 1, 2, 3, 4]);
        let drawn = Popularity::Zipf.choices(100, 10_000, 1);
        let count = |n| drawn.iter().filter(|c| **c == n).count() as f64;
        // 1/1 against 1/10 of the same harmonic sum.
        assert!((5.0..20.0).contains(&(count(0) / count(9))), "{} {}", count(0), count(9));
        assert_eq!(drawn, Popularity::Zipf.choices(100, 10_000, 1));
    }

    #[test]
    fn what_comes_before_the_window_or_after_it_is_not_counted(
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (from, until) = (Duration::from_millis(40), Duration::from_millis(80));
        let heard = runtime.block_on(async {
            let start = Instant::now();
            let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
            let waits = tokio::sync::mpsc::unbounded_channel();
            let token = || Event::Token { id: 1, text: String::new(), logprobs: None };
            tokio::spawn(async move {
                // One at once, two within the window, and never an end.
                for pause in [0, 50, 0] {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let _ = events.send(token());
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(events);
            });
            let (from, until) = (start + from, Some(start + until));
            let heard = listen(receiver, start, from, until).await?;
            Ok::<_, EngineError>((heard, listen(waits.1, start, from, until).await?))
        })?;
        let (heard, waited) = heard;
        assert_eq!((heard.tokens, heard.counted, heard.between.len()), (3, 2, 2));
        assert!(heard.first < 0.04, "{}", heard.first);
        assert_eq!((waited.tokens, waited.first), (0, until.as_secs_f64()));
        let traffic = Traffic { heard: vec![heard, waited], seconds: 0.04, ..Traffic::default() };
        assert_eq!((traffic.unanswered(), traffic.rate()), (1, 50.0));
        Ok(())
    }
}
