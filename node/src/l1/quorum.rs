//! Several endpoints, and on what enough of them agree.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use futures::{future::join_all, stream::FuturesUnordered, StreamExt};

use super::{endpoint::Endpoint, header::Block, Error, Metrics, Settings, LOG_TARGET};

/// The configured endpoints. A block counts when `agree` of them call it finalised by one hash.
pub struct Quorum {
    endpoints: Vec<Endpoint>,
    agree: usize,
    metrics: Metrics,
}

/// A block on which enough endpoints agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub block: Block,
    /// The places of the endpoints that named it.
    pub by: Vec<usize>,
}

/// What one endpoint says of a number.
enum Vote {
    Is(Block),
    /// It does not call that number finalised yet.
    NotYet,
    Failed(Error),
}

impl Quorum {
    pub fn new(settings: &Settings, metrics: Metrics) -> Self {
        let endpoints = settings.endpoints.iter().enumerate();
        let endpoints = endpoints
            .map(|(index, url)| Endpoint::new(index + 1, url.clone(), metrics.clone()))
            .collect();
        Self { endpoints, agree: settings.agree, metrics }
    }

    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoint at a place, counted from 0 and around.
    pub fn endpoint(&self, place: usize) -> Option<&Endpoint> {
        self.endpoints.get(place.checked_rem(self.endpoints.len())?)
    }

    /// The highest block that `agree` endpoints called finalised so far: a lone endpoint that runs
    /// ahead, or says that it does, moves nothing.
    pub fn known_finalized(&self) -> u64 {
        let mut heads: Vec<u64> = self.endpoints.iter().map(Endpoint::known_finalized).collect();
        heads.sort_unstable_by(|a, b| b.cmp(a));
        heads.get(self.agree.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The newest finalised block on which enough endpoints agree. `chain` is the id that they must
    /// serve, if it is known.
    pub async fn finalized(&self, chain: Option<u64>) -> Result<Agreed, Error> {
        let heads = join_all(self.endpoints.iter().map(|endpoint| async move {
            endpoint.check_chain(chain).await?;
            endpoint.finalized().await
        }))
        .await;

        // `agree` endpoints know the block at place `agree - 1`. Should they not agree on it, the
        // next lower head may still do, since a liar need not lag.
        let mut numbers: Vec<u64> = Vec::with_capacity(heads.len());
        let mut reasons = Vec::new();
        for head in &heads {
            match head {
                Ok(block) => numbers.push(block.number),
                Err(e) => reasons.push(e.to_string()),
            }
        }
        if numbers.len() < self.agree {
            return Err(Error::TooFew {
                what: "the finalised block".into(),
                answered: numbers.len(),
                agree: self.agree,
                reasons: reasons.join("; "),
            });
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let candidates: BTreeSet<u64> =
            numbers.into_iter().skip(self.agree.saturating_sub(1)).collect();
        let mut first = None;
        for number in candidates.into_iter().rev() {
            match self.finalized_at(number, chain).await {
                Ok(agreed) => return Ok(agreed),
                Err(e) => {
                    first.get_or_insert(e);
                }
            }
        }
        Err(first.unwrap_or_else(|| self.too_few("the finalised block", 0, Vec::new())))
    }

    /// The finalised block of this number, as soon as enough endpoints named it; those that are
    /// still silent then are not waited for.
    pub async fn finalized_at(&self, number: u64, chain: Option<u64>) -> Result<Agreed, Error> {
        let mut votes: FuturesUnordered<_> =
            self.endpoints
                .iter()
                .enumerate()
                .map(|(place, endpoint)| async move {
                    (place, Self::vote(endpoint, number, chain).await)
                })
                .collect();

        // (block, places), at most one entry for each endpoint.
        let mut tally: Vec<(Block, Vec<usize>)> = Vec::new();
        let mut behind = false;
        let mut reasons = Vec::new();
        while let Some((place, vote)) = votes.next().await {
            let block = match vote {
                Vote::Is(block) => block,
                Vote::NotYet => {
                    behind = true;
                    continue;
                }
                Vote::Failed(e) => {
                    reasons.push(e.to_string());
                    continue;
                }
            };
            let entry = match tally.iter_mut().position(|(known, _)| known.hash == block.hash) {
                Some(index) => index,
                None => {
                    tally.push((block, Vec::new()));
                    self.report_if_split(&tally, place);
                    tally.len() - 1
                }
            };
            tally[entry].1.push(place);
            if tally[entry].1.len() >= self.agree {
                let (block, by) = tally.swap_remove(entry);
                return Ok(Agreed { block, by });
            }
        }

        match tally.as_slice() {
            [(one, by_one), (other, by_other), ..] => Err(Error::Disagreement {
                number,
                one: self.labels(by_one),
                hash: one.hash,
                other: self.labels(by_other),
                other_hash: other.hash,
            }),
            _ if behind => Err(Error::BeyondFinality { number, finalized: self.known_finalized() }),
            rest => {
                let answered = rest.iter().map(|(_, by)| by.len()).sum();
                Err(self.too_few(&format!("block {number}"), answered, reasons))
            }
        }
    }

    async fn vote(endpoint: &Endpoint, number: u64, chain: Option<u64>) -> Vote {
        if let Err(e) = endpoint.check_chain(chain).await {
            return Vote::Failed(e);
        }
        if endpoint.known_finalized() < number {
            match endpoint.finalized().await {
                Ok(head) if head.number == number => return Vote::Is(head),
                Ok(head) if head.number < number => return Vote::NotYet,
                Ok(_) => {}
                Err(e) => return Vote::Failed(e),
            }
        }
        match endpoint.block(number).await {
            Ok(block) => Vote::Is(block),
            Err(e) => Vote::Failed(e),
        }
    }

    /// Called when a hash has been named that nobody named before, by the endpoint at `place`.
    fn report_if_split(&self, tally: &[(Block, Vec<usize>)], place: usize) {
        let [(first, by), .., (last, _)] = tally else { return };
        self.metrics.disagreement();
        log::warn!(
            target: LOG_TARGET,
            "⚠️ Ethereum endpoints disagree on finalised block {}: {} says {}, {} says {}",
            first.number,
            self.labels(by),
            first.hash,
            self.labels(&[place]),
            last.hash,
        );
    }

    fn too_few(&self, what: &str, answered: usize, reasons: Vec<String>) -> Error {
        let reasons =
            if reasons.is_empty() { "no reason given".into() } else { reasons.join("; ") };
        Error::TooFew { what: what.into(), answered, agree: self.agree, reasons }
    }

    fn labels(&self, places: &[usize]) -> String {
        let labels: Vec<&str> = places
            .iter()
            .filter_map(|place| self.endpoints.get(*place))
            .map(Endpoint::label)
            .collect();
        labels.join(", ")
    }
}

/// The finalised blocks on which the endpoints agreed, by number. Bounded: the lowest go first.
#[derive(Default)]
pub struct Finalised {
    blocks: std::collections::BTreeMap<u64, (B256, std::time::Instant)>,
}

impl Finalised {
    /// Two weeks of Ethereum's epochs, at one finalised block an epoch.
    pub const CAPACITY: usize = 4_096;

    /// The hash of this number, if it is known.
    pub fn hash(&self, number: u64) -> Option<B256> {
        self.blocks.get(&number).map(|(hash, _)| *hash)
    }

    /// The newest number.
    pub fn newest(&self) -> Option<u64> {
        self.blocks.last_key_value().map(|(number, _)| *number)
    }

    /// The newest number that has been known for at least `age`.
    pub fn settled(&self, age: std::time::Duration) -> Option<(u64, B256)> {
        let mut newest_first = self.blocks.iter().rev();
        newest_first
            .find(|(_, (_, since))| since.elapsed() >= age)
            .map(|(number, (hash, _))| (*number, *hash))
    }

    /// Notes a block. A number keeps the hash that it had first.
    pub fn insert(&mut self, number: u64, hash: B256) -> Result<(), Error> {
        let now = std::time::Instant::now();
        let (before, _) = *self.blocks.entry(number).or_insert((hash, now));
        if before != hash {
            return Err(Error::FinalityChanged { number, before, now: hash });
        }
        while self.blocks.len() > Self::CAPACITY {
            self.blocks.pop_first();
        }
        Ok(())
    }
}
