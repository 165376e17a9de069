//! Deposits: read from the portal's events, kept until the chain has executed them.

use std::collections::VecDeque;

use alloy_primitives::{b256, Address, B256, U256};
use polkadot_sdk::sp_core::{H160, H256};
use tributary_primitives::bridge::Deposit;

use super::{
    endpoint::{Endpoint, Log},
    Error,
};

/// `keccak256("TransactionDeposited(address,address,uint256,bytes)")`, as in the OP Stack.
pub const TRANSACTION_DEPOSITED: B256 =
    b256!("b3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32");

/// How many blocks are asked for at once, to begin with and at most. Providers have limits of
/// their own; where one refuses, the range is halved.
const STEP: u64 = 2_000;
const STEP_MAX: u64 = 10_000;

/// A deposit and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub block: u64,
    pub hash: H256,
    pub deposit: Deposit,
}

/// The deposit that an event describes.
///
/// Topics: the signature, `from`, `to`, the version. Data: `abi.encode(bytes)`.
pub fn decode(endpoint: &str, log: &Log) -> Result<Found, Error> {
    let number = log.block_number.to::<u64>();
    let bad = |reason: &str| Error::BadEvent {
        endpoint: endpoint.to_string(),
        number,
        reason: reason.to_string(),
    };
    let [topic, from, to, version] = log.topics[..] else {
        return Err(bad("it has not four topics"));
    };
    if topic != TRANSACTION_DEPOSITED {
        return Err(bad("its first topic is another event's"));
    }
    let address = |word: B256| -> Result<H160, Error> {
        let (padding, address) = word.split_at(12);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(bad("an address has more than 20 bytes"));
        }
        Ok(H160::from_slice(address))
    };
    let deposit = Deposit {
        from: address(from)?,
        to: address(to)?,
        version: polkadot_sdk::sp_core::U256::from_big_endian(&version.0),
        opaque_data: bytes(&log.data).ok_or_else(|| bad("its data are not one byte string"))?,
    };
    Ok(Found { block: number, hash: deposit.hash(), deposit })
}

/// Reads `abi.encode(bytes)`: offset 32, length, the bytes, zeros up to a whole word.
fn bytes(data: &[u8]) -> Option<Vec<u8>> {
    let offset = U256::from_be_slice(data.get(..32)?);
    let length = usize::try_from(U256::from_be_slice(data.get(32..64)?)).ok()?;
    let end = length.checked_add(64)?;
    let content = data.get(64..end)?;
    let padding = data.get(end..)?;
    let whole = padding.len() < 32 && data.len().is_multiple_of(32);
    (offset == U256::from(32) && whole && padding.iter().all(|byte| *byte == 0))
        .then(|| content.to_vec())
}

/// The portal's deposits in a range of finalised blocks without a gap, in order.
///
/// All of it comes from one endpoint and is as good as that endpoint, until the portal's rolling
/// hash has been proven. It depends on Ethereum alone and not on which of our forks is the best.
pub struct Deposits {
    portal: Address,
    /// The blocks `from..until` have been read.
    from: u64,
    until: u64,
    found: VecDeque<Found>,
    step: u64,
}

impl Deposits {
    /// Nothing read yet, and reading begins at block `from`.
    pub fn new(portal: Address, from: u64) -> Self {
        Self { portal, from, until: from, found: VecDeque::new(), step: STEP }
    }

    pub fn portal(&self) -> Address {
        self.portal
    }

    /// The first block that has not been read.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The deposits in blocks above `origin`.
    pub fn after(&self, origin: u64) -> impl Iterator<Item = &Found> {
        let start = self.found.partition_point(|found| found.block <= origin);
        self.found.range(start..)
    }

    /// The last `count` deposits up to and including block `origin`; fewer if fewer were read.
    pub fn last(&self, origin: u64, count: usize) -> impl Iterator<Item = &Found> {
        let end = self.found.partition_point(|found| found.block <= origin);
        self.found.range(end.saturating_sub(count)..end)
    }

    /// Reads on up to block `to`, or until there are more than `enough` deposits above `origin`.
    pub async fn read_on(
        &mut self,
        endpoint: &Endpoint,
        origin: u64,
        to: u64,
        enough: usize,
    ) -> Result<(), Error> {
        while self.until <= to && self.after(origin).count() <= enough {
            let from = self.until;
            let last = to.min(from.saturating_add(self.step - 1));
            if let Some(found) = self.read(endpoint, from, last).await? {
                self.found.extend(found);
                self.until = last + 1;
            }
        }
        Ok(())
    }

    /// Reads back until there are `count` deposits up to block `origin`, but not below block
    /// `floor`.
    pub async fn read_back(
        &mut self,
        endpoint: &Endpoint,
        origin: u64,
        count: usize,
        floor: u64,
    ) -> Result<(), Error> {
        while self.from > floor && self.last(origin, count).count() < count {
            let last = self.from - 1;
            let from = floor.max(self.from.saturating_sub(self.step));
            if let Some(found) = self.read(endpoint, from, last).await? {
                for found in found.into_iter().rev() {
                    self.found.push_front(found);
                }
                self.from = from;
            }
        }
        Ok(())
    }

    /// Reads back to block `from`, all of it.
    pub async fn read_back_to(&mut self, endpoint: &Endpoint, from: u64) -> Result<(), Error> {
        self.read_back(endpoint, u64::MAX, usize::MAX, from).await
    }

    /// Forgets what lies below block `from`.
    pub fn forget_below(&mut self, from: u64) {
        if from <= self.from {
            return;
        }
        let from = from.min(self.until);
        let gone = self.found.partition_point(|found| found.block < from);
        self.found.drain(..gone);
        self.from = from;
    }

    /// One range; `None` if the endpoint refused and the step was halved.
    async fn read(
        &mut self,
        endpoint: &Endpoint,
        from: u64,
        to: u64,
    ) -> Result<Option<Vec<Found>>, Error> {
        let logs = match endpoint.logs(self.portal, TRANSACTION_DEPOSITED, from, to).await {
            Ok(logs) => logs,
            Err(e) if e.is_refusal() && to > from => {
                self.step = (to - from).div_ceil(2);
                log::debug!(target: super::LOG_TARGET, "{e}; asking for {} blocks", self.step);
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        self.step = self.step.saturating_mul(2).min(STEP_MAX);

        let mut logs = logs;
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let mut found = Vec::with_capacity(logs.len());
        for log in &logs {
            let number = log.block_number.to::<u64>();
            if log.removed || log.address != self.portal || !(from..=to).contains(&number) {
                return Err(Error::BadEvent {
                    endpoint: endpoint.label().to_string(),
                    number,
                    reason: "it was not asked for".into(),
                });
            }
            found.push(decode(endpoint.label(), log)?);
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn the_topic_is_the_events() {
        let signature = "TransactionDeposited(address,address,uint256,bytes)";
        assert_eq!(TRANSACTION_DEPOSITED, keccak256(signature));
    }

    #[test]
    fn only_canonical_byte_strings_are_read() {
        let encoded = |length: u8, content: &[u8]| {
            let mut data = vec![0; 64];
            data[31] = 32;
            data[63] = length;
            data.extend_from_slice(content);
            data
        };
        assert_eq!(bytes(&encoded(0, &[])), Some(vec![]));
        let mut word = [0; 32];
        word[..3].copy_from_slice(b"abc");
        assert_eq!(bytes(&encoded(3, &word)), Some(b"abc".to_vec()));
        assert_eq!(bytes(&encoded(32, &[7; 32])), Some(vec![7; 32]));
        // Too short, too long, not padded with zeros, another offset, nothing.
        assert_eq!(bytes(&encoded(33, &[7; 32])), None);
        assert_eq!(bytes(&encoded(3, &[word, [0; 32]].concat())), None);
        assert_eq!(bytes(&encoded(2, &word)), None);
        let mut other = encoded(0, &[]);
        other[31] = 64;
        assert_eq!(bytes(&other), None);
        assert_eq!(bytes(&[]), None);
        assert_eq!(bytes(&[0xff; 64]), None);
    }
}
