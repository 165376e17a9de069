//! What the relayer does. Each duty is a round that looks at both chains, does what there is to do,
//! and says whether it is worth looking again at once. Nothing is kept between rounds that a new
//! process could not find out again.

pub mod anchor;
pub mod propose;
pub mod resolve;
pub mod watch;
pub mod withdraw;

use crate::{
    error::Result,
    l1::{At, Call, Contracts, L1Error, Outcome, Sender},
    l2::L2,
    metrics::{Label, Metrics},
};
use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tributary_client::Key;

/// When to do what is not urgent.
#[derive(Clone, Debug)]
pub struct Policy {
    /// A block is anchored when the last one is this old, whatever gas costs (within the limit).
    pub anchor_max_age: Duration,
    /// It may be anchored from this age on, if gas is cheap or somebody waits for it.
    pub anchor_min_age: Duration,
    /// Gas counts as cheap up to this base fee, in wei.
    pub cheap_gas: u64,
    /// Least time between two proposals while withdrawals wait.
    pub propose_min_interval: Duration,
    /// Longest time between two proposals; `None`: only when withdrawals wait.
    pub propose_max_interval: Option<Duration>,
    /// Whose withdrawals are served.
    pub serve: withdraw::Serve,
    /// Who signs reports on the chain; without it nothing is reported there.
    pub reporter: Option<ReporterKey>,
    /// Whether false claims are challenged, which costs a bond until the game is decided.
    pub challenge: bool,
}

/// A key that does not show itself.
#[derive(Clone)]
pub struct ReporterKey(pub std::sync::Arc<Key>);

impl std::fmt::Debug for ReporterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReporterKey").field(&self.0.address()).finish()
    }
}

/// Everything that duties work with.
pub struct Relay {
    /// The chain.
    pub l2: L2,
    /// The contracts on Ethereum.
    pub contracts: Contracts,
    /// Sends transactions there.
    pub sender: Sender,
    /// What is counted.
    pub metrics: Metrics,
    /// When to do what.
    pub policy: Policy,
    /// Somebody waits for a newer anchor.
    anchor_wanted: AtomicBool,
}

impl Relay {
    /// Puts the parts together.
    pub fn new(
        l2: L2,
        contracts: Contracts,
        sender: Sender,
        metrics: Metrics,
        policy: Policy,
    ) -> Self {
        let anchor_wanted = AtomicBool::new(false);
        Self { l2, contracts, sender, metrics, policy, anchor_wanted }
    }

    /// Asks the anchoring duty for a block newer than the last.
    pub fn want_anchor(&self) {
        self.anchor_wanted.store(true, Ordering::Relaxed);
    }

    fn anchor_is_wanted(&self) -> bool {
        self.anchor_wanted.load(Ordering::Relaxed)
    }

    fn anchor_came(&self) {
        self.anchor_wanted.store(false, Ordering::Relaxed);
    }

    /// Ethereum's time, in seconds since 1970: delays run by it.
    pub async fn l1_time(&self) -> Result<u64> {
        Ok(self.contracts.l1().head(At::Latest).await?.time)
    }

    /// Gets a call mined, once, and counts it.
    pub async fn pay<F, R>(
        &self,
        kind: &'static str,
        what: impl std::fmt::Display,
        call: &Call,
        needed: F,
    ) -> Result<Outcome>
    where
        F: Fn() -> R,
        R: Future<Output = std::result::Result<bool, L1Error>>,
    {
        let purpose = format!("{kind}/{what}");
        let outcome = self.sender.execute(&purpose, call, needed).await?;
        let label = Label { kind };
        match &outcome {
            Outcome::Mined(mined) => {
                self.metrics.transactions.get_or_create(&label).inc();
                self.metrics.gas.get_or_create(&label).inc_by(mined.gas_used);
            }
            Outcome::Otherwise(_) => {
                self.metrics.lost_races.get_or_create(&label).inc();
            }
            Outcome::Refused(revert) => {
                tracing::info!(purpose, %revert, "refused for now");
            }
        }
        Ok(outcome)
    }
}
