//! What the worker counts, in the text format that Prometheus reads. Units stand in the names.

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
use std::sync::Arc;
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
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Counts an error by its code.
    pub fn error(&self, kind: &'static str) {
        self.errors.get_or_create(&Label { kind }).inc();
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
