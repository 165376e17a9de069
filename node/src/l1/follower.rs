//! The task in the background: it asks for finalised blocks, and prepares what authors say.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use tokio::time::Instant;
use tributary_primitives::bridge::origin::L1Ref;

use super::{
    advance::{Prepared, Preparer, Standing},
    Error, L1, LOG_TARGET, PREPARED,
};

/// The longest pause after failures. An outage of hours costs a request a minute.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Something that is tried again and again: when next, and whether to complain.
struct Attempts {
    pace: Duration,
    failures: u32,
    next: Instant,
}

impl Attempts {
    fn new(pace: Duration) -> Self {
        Self { pace, failures: 0, next: Instant::now() }
    }

    fn due(&self) -> bool {
        Instant::now() >= self.next
    }

    fn succeeded(&mut self, what: &str) {
        if self.failures > 0 {
            log::info!(target: LOG_TARGET, "{what} works again after {} failures", self.failures);
        }
        self.failures = 0;
        self.next = Instant::now() + self.pace;
    }

    /// Each pause is twice as long as the one before. Of many failures in a row only the first, the
    /// second, the fourth and so on are warned of.
    fn failed(&mut self, what: &str, error: &Error) {
        let factor = 1u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX);
        let longest = PAUSE_MAX.max(self.pace);
        let pause = self.pace.saturating_mul(factor).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.next = Instant::now() + pause;
        let level =
            if self.failures.is_power_of_two() { log::Level::Warn } else { log::Level::Debug };
        log::log!(
            target: LOG_TARGET,
            level,
            "⚠️ {what} failed ({} in a row, next in {pause:?}): {error}",
            self.failures,
        );
    }
}

impl L1 {
    /// Follows Ethereum for ever. `author` says whether this node makes blocks; `new_best` wakes the
    /// follower when the chain has a new best block.
    pub async fn follow(
        self: Arc<Self>,
        author: bool,
        mut new_best: impl Stream<Item = ()> + Unpin,
    ) {
        if self.quorum.is_empty() {
            if author {
                log::info!(
                    target: LOG_TARGET,
                    "No `--l1-rpc` is given: this node's blocks leave the L1 origin where it is"
                );
            }
            return;
        }
        let mut polls = Attempts::new(self.settings.poll);
        let mut preparations = Attempts::new(Duration::ZERO);
        preparations.pace = self.settings.poll;
        let mut preparer = Preparer::new();
        let mut done: Option<(Standing, Option<L1Ref>)> = None;
        loop {
            if polls.due() {
                match self.poll().await {
                    Ok(()) => polls.succeeded("Following Ethereum"),
                    Err(e) => polls.failed("Following Ethereum", &e),
                }
            }
            if let Some(standing) = self.standing() {
                let target = self.target(&standing);
                let wanted = Some((standing.clone(), target));
                let may = preparations.failures == 0 || preparations.due();
                if author && may && wanted != done {
                    match self.prepare(&mut preparer, standing, target).await {
                        Ok(()) => {
                            preparations.succeeded("Preparing the next L1 origin");
                            done = wanted;
                        }
                        Err(e) => preparations.failed("Preparing the next L1 origin", &e),
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(polls.next) => {}
                woken = new_best.next() => if woken.is_none() {
                    // Nobody wakes any more: the chain is shutting down, or was never running.
                    tokio::time::sleep_until(polls.next).await;
                }
            }
        }
    }

    /// Asks for the finalised block and notes it.
    pub async fn poll(&self) -> Result<(), Error> {
        let chain = self.chain.settlement(self.chain.best()).and_then(|bridge| bridge.chain_id());
        let agreed = self.quorum.finalized(chain).await?;
        let newest = self.finalized_number();
        self.note(agreed.block.number, agreed.block.hash).inspect_err(|e| {
            self.metrics.disagreement();
            log::error!(target: LOG_TARGET, "{e}");
        })?;
        if newest.is_none_or(|newest| agreed.block.number > newest) {
            self.metrics.finalized(agreed.block.number);
            log::debug!(
                target: LOG_TARGET,
                "Ethereum finalised block {} {}",
                agreed.block.number,
                agreed.block.hash,
            );
        }
        Ok(())
    }

    fn standing(&self) -> Option<Standing> {
        let standing = Standing::of(self.chain.settlement(self.chain.best())?)?;
        self.metrics.origin(standing.origin.number);
        Some(standing)
    }

    /// The newest block that importers can be expected to know too.
    fn target(&self, standing: &Standing) -> Option<L1Ref> {
        let (number, hash) = self.finalised().settled(self.settings.settling())?;
        (number > standing.origin.number).then(|| L1Ref { number, hash: hash.0.into() })
    }

    async fn prepare(
        &self,
        preparer: &mut Preparer,
        standing: Standing,
        target: Option<L1Ref>,
    ) -> Result<(), Error> {
        let made = preparer.prepare(&self.quorum, &standing, target).await?;
        let Some(Prepared { advance, origin }) = made else { return Ok(()) };
        if let Some(origin) = origin {
            // The block's import must not have to ask for it.
            self.note(origin.number, origin.hash.0.into())?;
        }
        log::debug!(
            target: LOG_TARGET,
            "Prepared on L1 origin {}: next origin {:?}, {} deposits to be executed",
            standing.origin.number,
            origin.map(|origin| origin.number),
            advance.bodies.len(),
        );
        let mut prepared = self.prepared();
        prepared.retain(|(known, _)| *known != standing);
        prepared.push_front((standing, advance));
        prepared.truncate(PREPARED);
        Ok(())
    }
}
