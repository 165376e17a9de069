//! What the relayer counts, in the text format that Prometheus reads. Units stand in the names.

use prometheus_client::{
    encoding::{text::encode, EncodeLabelSet},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::sync::Arc;

/// A label of one word out of a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// The word.
    pub kind: &'static str,
}

/// Handles on everything that is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Transactions that were mined, by what they are for.
    pub transactions: Family<Label, Counter>,
    /// Gas that they took, by what they are for.
    pub gas: Family<Label, Counter>,
    /// Purposes that somebody else served first.
    pub lost_races: Family<Label, Counter>,
    /// Errors by their label.
    pub errors: Family<Label, Counter>,
    /// Last block that the validators signed.
    pub signed_block: Gauge,
    /// Last block that is anchored.
    pub anchored_block: Gauge,
    /// Seconds since the last block was anchored.
    pub anchor_age_seconds: Gauge,
    /// Sessions whose first block is not anchored yet.
    pub sessions_behind: Gauge,
    /// Games that are not decided.
    pub open_games: Gauge,
    /// Withdrawals that this relayer serves and that are not carried out.
    pub open_withdrawals: Gauge,
    /// What the account has, in millionths of an ether.
    pub balance_micro_ether: Gauge,
    /// Contradictions and false claims seen.
    pub alarms: Family<Label, Counter>,
    /// Reports of validators that the chain took, by the call.
    pub reports: Family<Label, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tributary_relayer");
        let mut metrics = Self {
            registry: Arc::default(),
            transactions: Family::default(),
            gas: Family::default(),
            lost_races: Family::default(),
            errors: Family::default(),
            signed_block: Gauge::default(),
            anchored_block: Gauge::default(),
            anchor_age_seconds: Gauge::default(),
            sessions_behind: Gauge::default(),
            open_games: Gauge::default(),
            open_withdrawals: Gauge::default(),
            balance_micro_ether: Gauge::default(),
            alarms: Family::default(),
            reports: Family::default(),
        };
        let m = &metrics;
        registry.register("transactions", "Transactions mined, by purpose", m.transactions.clone());
        registry.register("gas_used", "Gas of mined transactions, by purpose", m.gas.clone());
        registry.register("lost_races", "Purposes that others served first", m.lost_races.clone());
        registry.register("errors", "Errors by label", m.errors.clone());
        registry.register("signed_block", "Last signed block", m.signed_block.clone());
        registry.register("anchored_block", "Last anchored block", m.anchored_block.clone());
        registry.register(
            "anchor_age_seconds",
            "Seconds since a block was anchored",
            m.anchor_age_seconds.clone(),
        );
        registry.register(
            "sessions_behind",
            "Sessions that are not anchored yet",
            m.sessions_behind.clone(),
        );
        registry.register("open_games", "Games that are not decided", m.open_games.clone());
        registry.register(
            "open_withdrawals",
            "Withdrawals served here that are not carried out",
            m.open_withdrawals.clone(),
        );
        registry.register(
            "balance_micro_ether",
            "What the account has, in millionths of an ether",
            m.balance_micro_ether.clone(),
        );
        registry.register("alarms", "Contradictions and false claims seen", m.alarms.clone());
        registry.register("reports", "Validators reported on the chain", m.reports.clone());
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Counts an error by its label.
    pub fn error(&self, kind: &'static str) {
        self.errors.get_or_create(&Label { kind }).inc();
    }

    /// Counts an alarm.
    pub fn alarm(&self, kind: &'static str) {
        self.alarms.get_or_create(&Label { kind }).inc();
    }

    /// Counts a report that the chain took.
    pub fn report(&self, kind: &'static str) {
        self.reports.get_or_create(&Label { kind }).inc();
    }

    /// The text that `GET /metrics` answers.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
