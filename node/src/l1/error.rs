//! What can go wrong between the node and Ethereum, and what to do about it.

use std::time::Duration;

use alloy_primitives::B256;

/// Why the node cannot say something of Ethereum, or does not accept what another said.
///
/// `endpoint` is always the endpoint's label: its place among the options and its host. The rest of
/// the URL may hold a provider's key and appears nowhere.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- options ---
    #[error("`--l1-rpc` number {place} is not a URL: {reason}")]
    NotAUrl { place: usize, reason: String },
    #[error(
        "`--l1-rpc` number {place} begins with `{scheme}://`: the node speaks http, https, ws and wss"
    )]
    Scheme { place: usize, scheme: String },
    #[error("`--l1-rpc` number {place} names no host")]
    NoHost { place: usize },
    #[error(
        "`--l1-rpc` number {place} is the same as number {earlier}: an endpoint that is asked twice \
         agrees with itself"
    )]
    Twice { place: usize, earlier: usize },
    #[error("`--l1-agree {agree}` does not fit: it must lie between 1 and the number of `--l1-rpc`, {endpoints}")]
    AgreeRange { agree: usize, endpoints: usize },
    #[error("`--l1-poll-ms {millis}` does not fit: it must lie between {min} and {max}")]
    PollRange { millis: u64, min: u64, max: u64 },
    #[error("the metrics of the L1 follower cannot be registered: {0}")]
    Metrics(#[from] polkadot_sdk::substrate_prometheus_endpoint::PrometheusError),

    // --- one endpoint ---
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("{endpoint} did not answer `{method}` within {limit:?}")]
    Slow { endpoint: String, method: &'static str, limit: Duration },
    #[error("{endpoint} refused `{method}`: {message} (code {code})")]
    Refused { endpoint: String, method: &'static str, code: i32, message: String },
    #[error("{endpoint} answered `{method}` with something unreadable: {reason}")]
    Unreadable { endpoint: String, method: &'static str, reason: String },
    #[error(
        "{endpoint} has no block {number}: it may still be syncing, or keep recent blocks alone"
    )]
    NoBlock { endpoint: String, number: String },
    #[error(
        "{endpoint} serves chain {theirs}, but the settlement is configured for chain {ours}: \
         check its `--l1-rpc`"
    )]
    WrongChain { endpoint: String, theirs: u64, ours: u64 },
    #[error(
        "{endpoint} announced block {number} as {announced}, but its fields hash to {computed}: it \
         lies, or the block has fields of a fork newer than this node"
    )]
    HeaderHash { endpoint: String, number: u64, announced: B256, computed: B256 },
    #[error("{endpoint} was asked for block {asked} and answered with block {number}")]
    OtherBlock { endpoint: String, asked: u64, number: u64 },
    #[error("the header of block {number} takes {length} bytes, more than the {max} that the runtime reads")]
    LongHeader { number: u64, length: usize, max: usize },
    #[error("{endpoint}'s proof of the portal at block {number} does not hold: {reason}")]
    BadProof { endpoint: String, number: u64, reason: String },
    #[error(
        "{endpoint}'s deposits up to block {number} do not fit what the portal recorded: {reason}"
    )]
    BadDeposits { endpoint: String, number: u64, reason: String },
    #[error("{endpoint} gave an event that is no deposit, in block {number}: {reason}")]
    BadEvent { endpoint: String, number: u64, reason: String },

    // --- several endpoints ---
    #[error("the endpoints gave no answer on block {number} within {limit:?}")]
    Silent { number: u64, limit: Duration },
    #[error(
        "only {answered} of the {agree} endpoints that must agree on {what} answered: {reasons}"
    )]
    TooFew { what: String, answered: usize, agree: usize, reasons: String },
    #[error("the endpoints do not agree on finalised block {number}: {one} says {hash}, {other} says {other_hash}")]
    Disagreement { number: u64, one: String, hash: B256, other: String, other_hash: B256 },
    #[error("block {number} lies beyond Ethereum's finality, which is at block {finalized}")]
    BeyondFinality { number: u64, finalized: u64 },
    #[error(
        "finalised block {number} was {before} and is said to be {now}: either an endpoint lied, or \
         Ethereum's finality broke. The node keeps the first; start it again if the second is true"
    )]
    FinalityChanged { number: u64, before: B256, now: B256 },

    #[error("no Ethereum endpoint is configured: `--l1-rpc` names one")]
    NoEndpoint,

    // --- deposits ---
    #[error("block {number} alone holds {deposits} deposits, more than the {room} that can be taken in: the queue must empty first")]
    NoRoom { number: u64, deposits: usize, room: usize },

    // --- blocks of others ---
    #[error("the author says that Ethereum's block {number} is {theirs}, but it is {ours}")]
    FakeOrigin { number: u64, theirs: B256, ours: B256 },
    #[error(
        "the author says that Ethereum's block {number} is {hash}, which cannot be checked now: \
         {source}. Sync asks for the block again"
    )]
    CannotCheck { number: u64, hash: B256, source: Box<Error> },
    #[error("the runtime refuses the block's L1 origin: {reason}")]
    Fatal { reason: String },
}

impl Error {
    /// Whether the endpoint's answer was an error of its own, as providers give when a range is too
    /// wide, and not silence.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
