//! From records to a span index.

use libsais::suffix_array::AlphabetSize;
use libsais::SuffixArrayConstruction;

use super::format::{write_bytes, SpanIndex};
use super::{MAX_TEXT, SEPARATOR};
use crate::format::{ContributionId, MAX_CONTRIBUTIONS, MAX_ROWS};
use crate::{IndexError, Result};

/// Takes records one by one, then builds the index.
pub struct SpanBuilder {
    contributions: Vec<ContributionId>,
    /// Place of each record's first token.
    starts: Vec<u32>,
    record_contribution: Vec<u32>,
    text: Vec<u32>,
}

impl SpanBuilder {
    /// A builder for records of the given contributions.
    pub fn new(contributions: Vec<ContributionId>) -> Result<Self> {
        let found = contributions.len() as u64;
        if found == 0 || found > u64::from(MAX_CONTRIBUTIONS) {
            let max = MAX_CONTRIBUTIONS.into();
            return Err(IndexError::Size { what: "the number of contributions", found, max });
        }
        Ok(Self { contributions, starts: vec![], record_contribution: vec![], text: vec![] })
    }

    /// Adds the next record, which belongs to contribution number `contribution`; records are
    /// numbered from 0 in this order.
    pub fn push(&mut self, contribution: u32, tokens: &[u32]) -> Result<()> {
        let row = self.starts.len() as u32;
        if contribution as usize >= self.contributions.len() {
            return Err(IndexError::UnknownContribution { row, contribution });
        }
        if row >= MAX_ROWS {
            let (found, max) = (u64::from(row) + 1, MAX_ROWS.into());
            return Err(IndexError::Size { what: "the number of records", found, max });
        }
        if tokens.contains(&SEPARATOR) {
            return Err(IndexError::Separator(row));
        }
        let found = self.text.len() as u64 + tokens.len() as u64 + 1;
        if found > MAX_TEXT {
            return Err(IndexError::Size { what: "the number of tokens", found, max: MAX_TEXT });
        }
        self.starts.push(self.text.len() as u32);
        self.record_contribution.push(contribution);
        self.text.extend(tokens);
        self.text.push(SEPARATOR);
        Ok(())
    }

    /// Sorts all places of the text. Takes about 12 bytes a token beside the index itself.
    pub fn build(self) -> Result<SpanIndex> {
        if self.starts.is_empty() {
            let max = MAX_ROWS.into();
            return Err(IndexError::Size { what: "the number of records", found: 0, max });
        }
        // Token numbers are made dense first: the sort's memory grows with the largest number.
        let mut alphabet = self.text.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        let mut dense: Vec<i32> =
            self.text.iter().map(|t| alphabet.partition_point(|a| a < t) as i32).collect();
        let size = AlphabetSize::new(alphabet.len() as i32);
        let construction =
            SuffixArrayConstruction::for_text_mut(&mut dense).in_owned_buffer32().single_threaded();
        // SAFETY: every number of `dense` is the place of a token in `alphabet`, so it lies within
        // 0..alphabet.len(), which is the size given and fits (MAX_TEXT).
        let construction = unsafe { construction.with_alphabet_size(size) };
        let sorted = construction.run().map_err(|e| IndexError::Sort(e.to_string()))?.into_vec();
        let bytes = write_bytes(
            &self.contributions,
            &self.starts,
            &self.record_contribution,
            &self.text,
            &sorted,
        );
        SpanIndex::from_bytes(bytes)
    }
}
