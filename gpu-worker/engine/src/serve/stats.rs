//! What an engine is doing, in numbers.

use serde::{Deserialize, Serialize};

/// Adapters in one tier of the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierStats {
    /// Adapters that are there.
    pub adapters: usize,
    /// Their memory, in bytes.
    pub bytes: usize,
    /// Times that an adapter was wanted and was there.
    pub hits: u64,
    /// Times that it was not.
    pub misses: u64,
    /// Adapters that had to leave for others.
    pub evictions: u64,
}

/// A serving engine at one moment; counts are since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Requests that wait for a place.
    pub waiting: usize,
    /// Sequences that run.
    pub running: usize,
    /// Running sequences whose prompt is not read to its end.
    pub prefilling: usize,
    /// Sequences that may run at once now: fewer than configured after memory ran out.
    pub slots: usize,
    /// Tokens that a step holds at most now, one for each running answer apart.
    pub step_limit: usize,
    /// Steps made.
    pub steps: u64,
    /// Tokens of the last step.
    pub step_tokens: usize,
    /// Different adapters in the last step.
    pub step_adapters: usize,
    /// Different adapters, summed over all steps.
    pub adapters_in_steps: u64,
    /// Prompt tokens read.
    pub prompt_tokens: u64,
    /// Answer tokens made.
    pub answer_tokens: u64,
    /// Requests that came to their end.
    pub finished: u64,
    /// Requests whose caller went away first.
    pub cancelled: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests refused because too many waited.
    pub refused: u64,
    /// Tokens that the cache of keys and values holds room for, and how many are taken.
    pub kv_total: usize,
    /// See `kv_total`.
    pub kv_used: usize,
    /// Adapters ready to be computed with; a hit is a request that found its adapter here.
    pub device: TierStats,
    /// Adapters in the host's memory; looked at when an adapter is not on the device.
    pub host: TierStats,
    /// Adapters known by their folder; a hit is one read from there.
    pub disk: TierStats,
}
