//! Searching the spans of an answer.

use std::collections::BTreeMap;

use super::bits::information;
use super::{SpanIndex, MAX_ANSWER, SEPARATOR};
use crate::{IndexError, Result};

/// Ranks looked at for one span's occurrences, at most: a span that occurs more often is sampled
/// at even distances.
const OCCURRENCE_SCAN: usize = 1024;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanOptions {
    /// Tokens of a span, at least.
    pub min_length: usize,
    /// Spans to give, at most: those of the highest rank.
    pub max_spans: usize,
    /// Occurrences to name for each span, at most; no record is named twice.
    pub max_occurrences: usize,
}

impl Default for SpanOptions {
    /// 32 spans of four tokens or more, eight occurrences each.
    fn default() -> Self {
        Self { min_length: 4, max_spans: 32, max_occurrences: 8 }
    }
}

/// A passage of an answer that stands in the training records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// Place of its first token in the answer.
    pub start: u32,
    /// How many tokens it has.
    pub length: u32,
    /// How often it occurs in the training records.
    pub count: u32,
    /// Length × rarity: the sum of its tokens' information, in units of 2⁻¹⁶ bits.
    pub bits: u64,
    /// Where it occurs. Contributions take turns, so that each is named before one is named twice.
    pub occurrences: Vec<Occurrence>,
}

/// Where a span occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// Number of the record.
    pub record: u32,
    /// Number of its contribution.
    pub contribution: u32,
    /// Place of the span's first token within the record.
    pub position: u32,
}

/// Where a pattern would be put into the suffix array.
struct Bound {
    /// How many suffixes come before it.
    rank: usize,
    /// The longest prefix that it has in common with any suffix.
    common: usize,
}

impl SpanIndex {
    /// The maximal spans of an answer, those of the highest rank first; ties go to the longer, then
    /// to the earlier.
    pub fn spans(&self, answer: &[u32], options: &SpanOptions) -> Result<Vec<Span>> {
        let found = answer.len() as u64;
        if found > MAX_ANSWER {
            let what = "the number of the answer's tokens";
            return Err(IndexError::Size { what, found, max: MAX_ANSWER });
        }
        let mut token_bits: BTreeMap<u32, u64> = BTreeMap::new();
        let mut spans: Vec<Span> = Vec::new();
        let mut reached = 0; // end of the longest match from any earlier start
        for start in 0..answer.len() {
            let rest = &answer[start..];
            let rest = &rest[..rest.iter().position(|t| *t == SEPARATOR).unwrap_or(rest.len())];
            let length = self.bound(rest, false).common;
            // Ends never step back as starts move on; where they stand still, the match lies
            // within the one before.
            if length == 0 || start + length <= reached {
                continue;
            }
            reached = start + length;
            if length < options.min_length {
                continue;
            }
            let tokens = &rest[..length];
            let mut bits = 0u64;
            for token in tokens {
                bits += *token_bits.entry(*token).or_insert_with(|| self.token_bits(*token));
            }
            let (start, length) = (start as u32, length as u32);
            spans.push(Span { start, length, count: 0, bits, occurrences: vec![] });
        }
        spans.sort_by_key(|s| (std::cmp::Reverse((s.bits, s.length)), s.start));
        spans.truncate(options.max_spans);
        for span in &mut spans {
            let tokens = &answer[span.start as usize..(span.start + span.length) as usize];
            let range = self.range(tokens);
            span.count = range.len() as u32;
            span.occurrences = self.occurrences(range, options.max_occurrences);
        }
        Ok(spans)
    }

    /// Ranks of all suffixes that begin with `tokens`.
    fn range(&self, tokens: &[u32]) -> std::ops::Range<usize> {
        self.bound(tokens, false).rank..self.bound(tokens, true).rank
    }

    fn token_bits(&self, token: u32) -> u64 {
        information(self.range(&[token]).len() as u64, self.tokens() as u64)
    }

    /// How many suffixes are smaller than `pattern`, or smaller than or beginning with it if
    /// `after`.
    ///
    /// Bisection that remembers how many tokens of the pattern are shared with the nearest suffix
    /// on either side: everything between shares the lesser of the two, so no token of the pattern
    /// is compared from the start again (Manber and Myers 1993, section 3).
    fn bound(&self, pattern: &[u32], after: bool) -> Bound {
        let (mut low, mut high) = (0, self.places());
        let (mut low_common, mut high_common, mut best) = (0usize, 0usize, 0usize);
        while low < high {
            let middle = low + (high - low) / 2;
            let place = self.place(middle);
            let mut common = low_common.min(high_common);
            let mut suffix_is_smaller = after; // when the whole pattern is shared
            while let Some(token) = pattern.get(common) {
                if place + common >= self.places() {
                    suffix_is_smaller = true;
                    break;
                }
                let found = self.token(place + common);
                if found != *token {
                    suffix_is_smaller = found < *token;
                    break;
                }
                common += 1;
            }
            best = best.max(common);
            if suffix_is_smaller {
                (low, low_common) = (middle + 1, common);
            } else {
                (high, high_common) = (middle, common);
            }
        }
        Bound { rank: low, common: best }
    }

    fn occurrences(&self, range: std::ops::Range<usize>, max: usize) -> Vec<Occurrence> {
        let scan = range.len().min(OCCURRENCE_SCAN);
        let mut places: Vec<usize> =
            (0..scan).map(|i| self.place(range.start + i * range.len() / scan)).collect();
        places.sort_unstable();
        let mut turns: BTreeMap<u32, u32> = BTreeMap::new();
        let mut found: Vec<(u32, Occurrence)> = Vec::new();
        for place in places {
            let record = self.record_of(place);
            if found.last().is_some_and(|(_, last)| last.record as usize == record) {
                continue;
            }
            let contribution = self.owner(record);
            let turn = turns.entry(contribution).or_insert(0);
            let position = (place - self.start(record)) as u32;
            found.push((*turn, Occurrence { record: record as u32, contribution, position }));
            *turn += 1;
        }
        found.sort_by_key(|(turn, occurrence)| (*turn, occurrence.record));
        found.truncate(max);
        found.into_iter().map(|(_, occurrence)| occurrence).collect()
    }
}
