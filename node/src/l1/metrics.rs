//! The follower's figures.

use polkadot_sdk::substrate_prometheus_endpoint::{
    register, Counter, CounterVec, Gauge, Opts, PrometheusError, Registry, U64,
};

/// Without a registry the figures go nowhere.
#[derive(Clone, Default)]
pub struct Metrics(Option<Registered>);

#[derive(Clone)]
struct Registered {
    finalized_number: Gauge<U64>,
    origin_number: Gauge<U64>,
    endpoint_errors: CounterVec<U64>,
    disagreements: Counter<U64>,
}

impl Metrics {
    pub fn new(registry: Option<&Registry>) -> Result<Self, PrometheusError> {
        let Some(registry) = registry else { return Ok(Self(None)) };
        Ok(Self(Some(Registered {
            finalized_number: register(
                Gauge::new(
                    "l1_finalized_number",
                    "Number of the newest finalised Ethereum block that enough endpoints agree on",
                )?,
                registry,
            )?,
            origin_number: register(
                Gauge::new(
                    "l1_origin_number",
                    "Number of the Ethereum block up to which the best block took deposits in",
                )?,
                registry,
            )?,
            endpoint_errors: register(
                CounterVec::new(
                    Opts::new(
                        "l1_endpoint_errors_total",
                        "Requests that an Ethereum endpoint failed or answered wrongly",
                    ),
                    &["endpoint"],
                )?,
                registry,
            )?,
            disagreements: register(
                Counter::new(
                    "l1_disagreements_total",
                    "How often Ethereum endpoints named different hashes for a finalised block",
                )?,
                registry,
            )?,
        })))
    }

    pub fn finalized(&self, number: u64) {
        if let Some(metrics) = &self.0 {
            metrics.finalized_number.set(number);
        }
    }

    pub fn origin(&self, number: u64) {
        if let Some(metrics) = &self.0 {
            metrics.origin_number.set(number);
        }
    }

    pub fn endpoint_error(&self, endpoint: &str) {
        if let Some(metrics) = &self.0 {
            metrics.endpoint_errors.with_label_values(&[endpoint]).inc();
        }
    }

    pub fn disagreement(&self) {
        if let Some(metrics) = &self.0 {
            metrics.disagreements.inc();
        }
    }
}
