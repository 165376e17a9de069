//! Ethereum, as far as the node has to know it.
//!
//! A *follower* asks the configured endpoints for Ethereum's finalised blocks, and keeps the hashes
//! of those on which enough endpoints agree ([`quorum`]). From them it prepares what the next block
//! that this node authors is to say ([`advance`]): the new origin with a proof of what the portal
//! recorded, and the deposits. An author takes what lies prepared, and never waits.
//!
//! For blocks of others the runtime checks everything but one thing: that the header is Ethereum's.
//! It answers `check_inherents` with an error that carries number and hash, and [`Inherent`] settles
//! it by the node's own endpoints.
//!
//! Only finalised blocks are ever asked for, so that a reorganisation of Ethereum's head goes by
//! unnoticed. Nothing here can stop the node: without endpoints, or without answers, its own blocks
//! leave the origin where it is.

pub mod advance;
pub mod config;
pub mod deposits;
pub mod endpoint;
mod error;
mod follower;
pub mod header;
mod inherent;
mod metrics;
pub mod proof;
pub mod quorum;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use polkadot_sdk::{sp_core::H256, substrate_prometheus_endpoint::Registry};
use tributary_primitives::bridge::{origin::L1Ref, Advance, SettlementView};
use tributary_runtime::Hash;

use advance::Standing;
use quorum::{Finalised, Quorum};

pub use config::{L1Params, Settings};
pub use error::Error;
pub use inherent::Inherent;
pub use metrics::Metrics;

/// The target of the log's lines.
pub const LOG_TARGET: &str = "l1";

/// How long an importer may look for a block's origin. A slot takes three seconds, and blocks are
/// imported one after another.
const CHECK_LIMIT: Duration = Duration::from_secs(3);
/// How long it waits before it asks again.
const CHECK_PAUSE: Duration = Duration::from_millis(300);
/// How far ahead of the node's own view of finality an origin may be for it to wait at all: two
/// epochs. Endpoints lag by one epoch at the most, in the moment when it becomes final.
const CHECK_AHEAD: u64 = 64;
/// How many states of the chain have their next step lie prepared: forks are few.
const PREPARED: usize = 4;

/// The bridge's state at the end of a block.
#[derive(Debug, Clone)]
pub struct Bridge {
    pub view: SettlementView,
    /// How many more deposits the queue can take.
    pub room: u64,
    /// The hashes of the deposits that come next, as many as a block executes.
    pub next: Vec<H256>,
}

impl Bridge {
    /// The id that Ethereum must have, once the chain is joined to a portal.
    fn chain_id(&self) -> Option<u64> {
        Some(self.view.config?.chain_id)
    }
}

/// What the follower must know of the chain.
pub trait Chain: Send + Sync {
    /// The best block.
    fn best(&self) -> Hash;
    /// The bridge's state at the end of a block; `None` if the state or the runtime's API is missing.
    fn settlement(&self, at: Hash) -> Option<Bridge>;
}

/// The node's knowledge of Ethereum, shared by follower, authoring and import.
pub struct L1 {
    chain: Arc<dyn Chain>,
    quorum: Quorum,
    settings: Settings,
    metrics: Metrics,
    finalised: Mutex<Finalised>,
    prepared: Mutex<VecDeque<(Standing, Advance)>>,
}

impl L1 {
    /// Asks nobody yet.
    pub fn new(
        settings: Settings,
        chain: Arc<dyn Chain>,
        registry: Option<&Registry>,
    ) -> Result<Arc<Self>, Error> {
        let metrics = Metrics::new(registry)?;
        Ok(Arc::new(Self {
            chain,
            quorum: Quorum::new(&settings, metrics.clone()),
            settings,
            metrics,
            finalised: Mutex::default(),
            prepared: Mutex::default(),
        }))
    }

    /// Whether any endpoint is configured.
    pub fn has_endpoints(&self) -> bool {
        !self.quorum.is_empty()
    }

    /// The newest finalised block that is known.
    pub fn finalized_number(&self) -> Option<u64> {
        self.finalised().newest()
    }

    /// The hash of a finalised block, if the node has come across it.
    pub fn known_hash(&self, number: u64) -> Option<B256> {
        self.finalised().hash(number)
    }

    /// What a block on top of `parent` is to say of Ethereum, if it lies prepared.
    pub fn prepared_for(&self, parent: Hash) -> Option<Advance> {
        let standing = Standing::of(self.chain.settlement(parent)?)?;
        let prepared = self.prepared();
        let entry = prepared.iter().find(|(known, _)| *known == standing);
        entry.map(|(_, advance)| advance.clone())
    }

    /// Whether `origin` is one of Ethereum's finalised blocks, for a block on top of `parent`.
    ///
    /// Without endpoints everything is: such a node takes the word of those who have some. With
    /// endpoints it is asked for up to three seconds.
    pub async fn check(&self, parent: Hash, origin: L1Ref) -> Result<(), Error> {
        if self.quorum.is_empty() {
            log::debug!(
                target: LOG_TARGET,
                "L1 origin {} {:?} taken on trust: no `--l1-rpc` is given",
                origin.number,
                origin.hash,
            );
            return Ok(());
        }
        let theirs = B256::from(origin.hash.0);
        let ours = match self.known_hash(origin.number) {
            Some(known) => known,
            None => self.look_up(parent, origin.number).await.map_err(|e| match e {
                Error::BeyondFinality { .. } => e,
                source => Error::CannotCheck {
                    number: origin.number,
                    hash: theirs,
                    source: Box::new(source),
                },
            })?,
        };
        if ours != theirs {
            return Err(Error::FakeOrigin { number: origin.number, theirs, ours });
        }
        Ok(())
    }

    /// The hash of a finalised block, asked for until the time is up.
    async fn look_up(&self, parent: Hash, number: u64) -> Result<B256, Error> {
        let chain = self.chain.settlement(parent).and_then(|bridge| bridge.chain_id());
        let deadline = Instant::now() + CHECK_LIMIT;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.quorum.finalized_at(number, chain))
                .await
            {
                Ok(Ok(agreed)) => {
                    self.note(number, agreed.block.hash)?;
                    return Ok(agreed.block.hash);
                }
                Ok(Err(e)) => e,
                Err(_) => return Err(last.unwrap_or(Error::Silent { number, limit: CHECK_LIMIT })),
            };
            let hopeless = match &error {
                Error::BeyondFinality { finalized, .. } => {
                    number > finalized.saturating_add(CHECK_AHEAD)
                }
                _ => false,
            };
            if hopeless || Instant::now() + CHECK_PAUSE >= deadline {
                return Err(error);
            }
            last = Some(error);
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    }

    /// Notes a finalised block on which the endpoints agreed.
    fn note(&self, number: u64, hash: B256) -> Result<(), Error> {
        self.finalised().insert(number, hash)
    }

    fn finalised(&self) -> MutexGuard<'_, Finalised> {
        self.finalised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, VecDeque<(Standing, Advance)>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
