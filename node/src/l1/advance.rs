//! What an author's next block is to say of Ethereum.

use alloy_primitives::Address;
use polkadot_sdk::sp_core::H256;
use tributary_primitives::bridge::{
    deposit::roll,
    origin::{L1Ref, MAX_BODIES, MAX_BODY_BYTES, MAX_HASHES},
    Advance, Deposit, L1Config, OriginProof,
};

use super::{
    deposits::{Deposits, Found},
    header::Block,
    proof::{self, Recorded},
    quorum::Quorum,
    Bridge, Error, LOG_TARGET,
};

/// The part of the chain's state on which the next step depends, and nothing else: two blocks with
/// the same one can be given the same [`Advance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub config: L1Config,
    pub origin: L1Ref,
    /// Deposits whose hashes the chain has.
    pub known: u64,
    /// The rolling hash over them.
    pub rolling: H256,
    /// Deposits that it executed.
    pub executed: u64,
    /// How many more hashes it can take.
    pub room: usize,
    /// The hashes of the deposits that it executes next.
    pub next: Vec<H256>,
    pub paused: bool,
}

impl Standing {
    /// `None` as long as the chain is joined to no portal.
    pub fn of(bridge: Bridge) -> Option<Self> {
        let Bridge { view, room, next } = bridge;
        let (config, origin) = (view.config?, view.origin?);
        Some(Self {
            config,
            origin: L1Ref { number: origin.number, hash: origin.hash },
            known: view.known,
            rolling: view.deposits_hash,
            executed: view.executed,
            room: usize::try_from(room).unwrap_or(MAX_HASHES).min(MAX_HASHES),
            next,
            paused: view.paused_until.is_some(),
        })
    }

    fn pending(&self) -> usize {
        usize::try_from(self.known.saturating_sub(self.executed)).unwrap_or(usize::MAX)
    }
}

/// A next step that lies ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub advance: Advance,
    /// The origin in it, if it brings one: a finalised block on which the endpoints agreed.
    pub origin: Option<L1Ref>,
}

/// A new origin, and the first of the deposits that are new in it.
struct Step {
    origin: L1Ref,
    proof: OriginProof,
    bodies: Vec<Deposit>,
}

/// Makes [`Advance`]s. Keeps the deposits that it has read, and the endpoint that it trusts with
/// them until that one is caught.
pub struct Preparer {
    deposits: Option<Deposits>,
    source: usize,
}

impl Preparer {
    pub fn new() -> Self {
        Self { deposits: None, source: 0 }
    }

    /// The next step from `standing`, with `target` as the new origin at the most: a block that is
    /// finalised and agreed on. `None` if there is nothing to say.
    ///
    /// After an error the next endpoint gets its turn.
    pub async fn prepare(
        &mut self,
        quorum: &Quorum,
        standing: &Standing,
        target: Option<L1Ref>,
    ) -> Result<Option<Prepared>, Error> {
        let made = self.make(quorum, standing, target).await;
        if made.is_err() {
            self.deposits = None;
            self.source = self.source.wrapping_add(1);
        }
        made
    }

    async fn make(
        &mut self,
        quorum: &Quorum,
        standing: &Standing,
        target: Option<L1Ref>,
    ) -> Result<Option<Prepared>, Error> {
        let target = target.filter(|target| target.number > standing.origin.number);
        let mut bodies =
            if standing.paused { Vec::new() } else { self.pending(quorum, standing).await? };
        let step = match target {
            Some(target) if standing.room > 0 => {
                match self.step(quorum, standing, target).await {
                    Ok(mut step) => {
                        // Only if all earlier ones are there too, since the order counts.
                        if !standing.paused && bodies.len() == standing.pending() {
                            bodies.append(&mut step.bodies);
                        }
                        Some(step)
                    }
                    // Deposits that wait already need no new origin.
                    Err(e) if !bodies.is_empty() => {
                        log::warn!(target: LOG_TARGET, "⚠️ The L1 origin stands still: {e}");
                        None
                    }
                    Err(e) => return Err(e),
                }
            }
            _ => None,
        };
        let bodies = within_bounds(bodies);
        self.tidy(standing);
        let (origin, proof) = step.map(|step| (step.origin, step.proof)).unzip();
        let advance = Advance { origin: proof, bodies };
        let something = advance.origin.is_some() || !advance.bodies.is_empty();
        Ok(something.then_some(Prepared { advance, origin }))
    }

    /// The deposits whose hashes the chain has already, as many as one block can execute.
    async fn pending(
        &mut self,
        quorum: &Quorum,
        standing: &Standing,
    ) -> Result<Vec<Deposit>, Error> {
        let pending = standing.pending();
        if pending == 0 {
            return Ok(Vec::new());
        }
        let origin = standing.origin.number;
        let Some(endpoint) = quorum.endpoint(self.source) else { return Ok(Vec::new()) };
        let deposits = reader(&mut self.deposits, standing);
        deposits.read_on(endpoint, u64::MAX, origin, usize::MAX).await?;
        let floor = standing.config.start.number.saturating_add(1);
        deposits.read_back(endpoint, origin, pending, floor).await?;

        let bad = |reason: String| Error::BadDeposits {
            endpoint: endpoint.label().to_string(),
            number: origin,
            reason,
        };
        let found: Vec<&Found> = deposits.last(origin, pending).collect();
        if found.len() < pending {
            return Err(bad(format!("{} deposits of {pending} that wait", found.len())));
        }
        for (found, expected) in found.iter().zip(&standing.next) {
            if found.hash != *expected {
                return Err(bad(format!("deposit {:?} instead of {expected:?}", found.hash)));
            }
        }
        Ok(found.into_iter().take(MAX_BODIES).map(|found| found.deposit.clone()).collect())
    }

    /// A new origin, `target` or an earlier block, with the deposits that are new in it.
    async fn step(
        &mut self,
        quorum: &Quorum,
        standing: &Standing,
        target: L1Ref,
    ) -> Result<Step, Error> {
        let origin = standing.origin.number;
        let Some(endpoint) = quorum.endpoint(self.source) else {
            return Err(Error::NoEndpoint);
        };
        let deposits = reader(&mut self.deposits, standing);
        deposits.read_back_to(endpoint, origin.saturating_add(1)).await?;
        deposits.read_on(endpoint, origin, target.number, standing.room).await?;

        let number = fitting(deposits, origin, target.number, standing.room)?;
        let agreed = quorum.finalized_at(number, Some(standing.config.chain_id)).await?;
        if number == target.number && agreed.block.hash.0 != target.hash.0 {
            return Err(Error::FinalityChanged {
                number,
                before: target.hash.0.into(),
                now: agreed.block.hash,
            });
        }
        let recorded = self.recorded(quorum, standing, &agreed.block, &agreed.by).await?;

        let deposits = reader(&mut self.deposits, standing);
        let new: Vec<&Found> =
            deposits.after(origin).take_while(|found| found.block <= number).collect();
        let count = standing.known.saturating_add(new.len() as u64);
        let rolling = new.iter().fold(standing.rolling, |before, found| roll(&before, &found.hash));
        let bad = |reason: String| Error::BadDeposits {
            endpoint: endpoint.label().to_string(),
            number,
            reason,
        };
        if count != recorded.count {
            return Err(bad(format!("{count} deposits instead of {}", recorded.count)));
        }
        if rolling != recorded.rolling {
            return Err(bad(format!("rolling hash {rolling:?} instead of {:?}", recorded.rolling)));
        }
        let bodies = new.iter().take(MAX_BODIES).map(|found| found.deposit.clone()).collect();
        let deposit_hashes = new.iter().map(|found| found.hash).collect();
        let Recorded { account_proof, count_proof, hash_proof, .. } = recorded;
        let origin = L1Ref { number, hash: H256(agreed.block.hash.0) };
        let header = agreed.block.rlp;
        let proof = OriginProof { header, account_proof, count_proof, hash_proof, deposit_hashes };
        Ok(Step { origin, proof, bodies })
    }

    /// The portal's slots, from the first of the endpoints that can prove them.
    async fn recorded(
        &self,
        quorum: &Quorum,
        standing: &Standing,
        block: &Block,
        by: &[usize],
    ) -> Result<Recorded, Error> {
        let portal = Address::from(standing.config.portal.0);
        let mut first = None;
        for place in by {
            let Some(endpoint) = quorum.endpoint(*place) else { continue };
            match proof::recorded(endpoint, portal, block).await {
                Ok(recorded) => return Ok(recorded),
                Err(e) => {
                    log::debug!(target: LOG_TARGET, "{e}");
                    first.get_or_insert(e);
                }
            }
        }
        Err(first.unwrap_or(Error::NoEndpoint))
    }

    /// Forgets deposits that the chain has executed, unless a fork may still ask for them: reading
    /// them again costs a request and no more.
    fn tidy(&mut self, standing: &Standing) {
        let Some(deposits) = &mut self.deposits else { return };
        let origin = standing.origin.number;
        let oldest = deposits.last(origin, standing.pending()).next().map(|found| found.block);
        deposits.forget_below(oldest.unwrap_or(origin.saturating_add(1)));
    }
}

impl Default for Preparer {
    fn default() -> Self {
        Self::new()
    }
}

/// What has been read of the standing's portal.
fn reader<'a>(deposits: &'a mut Option<Deposits>, standing: &Standing) -> &'a mut Deposits {
    let portal = Address::from(standing.config.portal.0);
    if deposits.as_ref().is_some_and(|deposits| deposits.portal() != portal) {
        *deposits = None;
    }
    deposits.get_or_insert_with(|| Deposits::new(portal, standing.origin.number.saturating_add(1)))
}

/// The highest block up to `target` with at most `room` deposits above `origin`.
fn fitting(deposits: &Deposits, origin: u64, target: u64, room: usize) -> Result<u64, Error> {
    let mut above = deposits.after(origin).filter(|found| found.block <= target);
    let Some(first_too_many) = above.nth(room) else { return Ok(target) };
    let number = first_too_many.block.saturating_sub(1);
    if number > origin {
        return Ok(number);
    }
    let alone = deposits.after(origin).filter(|found| found.block == first_too_many.block).count();
    Err(Error::NoRoom { number: first_too_many.block, deposits: alone, room })
}

/// As many of the first deposits as one block executes.
fn within_bounds(mut bodies: Vec<Deposit>) -> Vec<Deposit> {
    let mut bytes = 0usize;
    let fit = bodies
        .iter()
        .take(MAX_BODIES)
        .take_while(|body| {
            bytes = bytes.saturating_add(body.opaque_data.len());
            bytes <= MAX_BODY_BYTES
        })
        .count();
    bodies.truncate(fit);
    bodies
}
