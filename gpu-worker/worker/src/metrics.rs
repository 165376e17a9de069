//! What the worker counts, in the text format that Prometheus reads. Units stand in the names.

use crate::backend::Load;
use prometheus_client::{
    encoding::{text::encode, EncodeLabelSet},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{exponential_buckets, Histogram},
    },
    registry::Registry,
};
use std::{
    collections::VecDeque,
    sync::{atomic::AtomicU64, Arc, Mutex, PoisonError},
    time::Instant,
};
use tributary_primitives::Balance;

/// Units in a millionth of an OPEN, in which fees are counted: 64 bits do not hold units.
const MICRO_OPEN: Balance = 1_000_000_000_000;

/// Labels of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern.
    pub route: String,
    /// The status.
    pub status: u32,
}

/// A label of one word out of a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// The word.
    pub kind: &'static str,
}

/// Handles on everything that is counted; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Requests by route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Errors by their code.
    pub errors: Family<Label, Counter>,
    /// Tokens of prompts and answers.
    pub tokens: Family<Label, Counter>,
    /// Answers under way.
    pub answering: Gauge,
    /// From admission to the first token.
    pub first_token_seconds: Histogram,
    /// From a token to the next one.
    pub inter_token_seconds: Histogram,
    /// From admission to the last token.
    pub answer_seconds: Histogram,
    /// Time that attribution took.
    pub attribution_seconds: Histogram,
    /// Fees of answers.
    pub fees_micro_open: Counter,
    /// Steps that batches took.
    pub batches: Family<Label, Counter>,
    /// Answers whose fee was lost.
    pub lost_answers: Counter,
    /// Jobs by what became of them.
    pub jobs: Family<Label, Counter>,
    /// Adapters in memory.
    pub adapters: Gauge,
    /// How fast answers come.
    pub pace: Pace,
    waiting: Gauge,
    running: Gauge,
    residency: Family<Label, Gauge>,
    tokens_per_second: Gauge<f64, AtomicU64>,
}

/// Seconds that a pace is measured over.
const PACE_SECONDS: u64 = 10;

/// Tokens of answers over the last seconds.
#[derive(Clone)]
pub struct Pace {
    began: Instant,
    /// Per second since `began`, the newest last.
    seconds: Arc<Mutex<VecDeque<(u64, u64)>>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), seconds: Arc::default() }
    }
}

impl Pace {
    /// Counts a token that came at `now`.
    pub fn count(&self, now: Instant) {
        let second = now.saturating_duration_since(self.began).as_secs();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        match seconds.back_mut() {
            Some((last, count)) if *last >= second => *count = count.saturating_add(1),
            _ => seconds.push_back((second, 1)),
        }
        seconds.retain(|(then, _)| then.saturating_add(PACE_SECONDS) >= second);
    }

    /// Tokens per second over the last ten whole seconds, or since the start if that is nearer.
    pub fn per_second(&self, now: Instant) -> f64 {
        let second = now.saturating_duration_since(self.began).as_secs();
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = seconds
            .iter()
            .filter(|(then, _)| *then < second && then.saturating_add(PACE_SECONDS) >= second);
        let tokens: u64 = recent.map(|(_, count)| count).sum();
        tokens as f64 / second.clamp(1, PACE_SECONDS) as f64
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // From 5 ms to 160 s.
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 16));
        let mut registry = Registry::with_prefix("tributary_worker");
        let mut metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            errors: Family::default(),
            tokens: Family::default(),
            answering: Gauge::default(),
            first_token_seconds: seconds(),
            answer_seconds: seconds(),
            attribution_seconds: seconds(),
            fees_micro_open: Counter::default(),
            batches: Family::default(),
            lost_answers: Counter::default(),
            jobs: Family::default(),
            adapters: Gauge::default(),
            inter_token_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            pace: Pace::default(),
            waiting: Gauge::default(),
            running: Gauge::default(),
            residency: Family::default(),
            tokens_per_second: Gauge::default(),
        };
        let m = &metrics;
        registry.register("http_requests", "HTTP requests by route and status", m.requests.clone());
        registry.register("errors", "Errors by code", m.errors.clone());
        registry.register("tokens", "Tokens by kind", m.tokens.clone());
        registry.register("answers_under_way", "Answers under way", m.answering.clone());
        registry.register(
            "first_token_seconds",
            "Seconds from admission to the first token",
            m.first_token_seconds.clone(),
        );
        registry.register(
            "answer_seconds",
            "Seconds from admission to the last token",
            m.answer_seconds.clone(),
        );
        registry.register(
            "attribution_seconds",
            "Seconds that attribution took",
            m.attribution_seconds.clone(),
        );
        registry.register(
            "fees_micro_open",
            "Fees of answers in millionths of an OPEN",
            m.fees_micro_open.clone(),
        );
        registry.register("batches", "Batches by the step that they reached", m.batches.clone());
        registry.register("lost_answers", "Answers whose fee was lost", m.lost_answers.clone());
        registry.register("jobs", "Training jobs by outcome", m.jobs.clone());
        registry.register("adapters_loaded", "Adapters in memory", m.adapters.clone());
        registry.register(
            "inter_token_seconds",
            "Seconds from a token of an answer to the next",
            m.inter_token_seconds.clone(),
        );
        registry.register("queue_length", "Answers that wait for the engine", m.waiting.clone());
        registry.register("running", "Answers that the engine works on", m.running.clone());
        registry.register("adapters_resident", "Adapters by where they are", m.residency.clone());
        registry.register(
            "answer_tokens_per_second",
            "Tokens of answers per second, over the last ten",
            m.tokens_per_second.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Counts an error by its code.
    pub fn error(&self, kind: &'static str) {
        self.errors.get_or_create(&Label { kind }).inc();
    }

    /// Notes how busy the engine is.
    pub fn load(&self, load: &Load) {
        let set = |gauge: &Gauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.waiting, load.waiting);
        set(&self.running, load.running);
        for (kind, count) in [
            ("device", load.adapters_device),
            ("host", load.adapters_host),
            ("disk", load.adapters_disk),
        ] {
            set(&self.residency.get_or_create(&Label { kind }), count);
        }
        self.tokens_per_second.set(self.pace.per_second(Instant::now()));
    }

    /// Counts a fee.
    pub fn fee(&self, fee: Balance) {
        let micro = fee.checked_div(MICRO_OPEN).unwrap_or(0);
        self.fees_micro_open.inc_by(u64::try_from(micro).unwrap_or(u64::MAX));
    }

    /// The text that `GET /metrics` answers.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pace_is_that_of_the_last_seconds() {
        let pace = Pace::default();
        let at = |ms: u64| pace.began + Duration::from_millis(ms);
        assert_eq!(pace.per_second(at(500)), 0.0);
        for ms in (0..4_000).step_by(100) {
            pace.count(at(ms));
        }
        assert_eq!(pace.per_second(at(4_000)), 10.0);
        // Nothing for a while: the pace falls, and is nothing in the end.
        assert_eq!(pace.per_second(at(12_000)), 2.0);
        assert_eq!(pace.per_second(at(60_000)), 0.0);
        pace.count(at(60_000));
        assert_eq!(pace.per_second(at(61_000)), 0.1);
    }
}
