//! Passages of an answer that stand word for word in training records.
//!
//! The index for them holds the tokens of every record, so it is not published with the adapter: the
//! worker that trained it keeps it, and can only then say where a passage comes from. What it says
//! of the records is no more than what stands in the answer anyway.

use super::{contribution_id, lock, Engines};
use crate::{
    backend::Span,
    error::{Result, WorkerError},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};
use tributary_attribution::{SpanIndex, SpanOptions};
use tributary_engine::Engine;
use tributary_primitives::H256;

/// Indices that stay mapped; beyond that all are opened anew.
const MAPPED: usize = 256;

impl Engines {
    fn spans_path(&self, index_root: &H256) -> PathBuf {
        self.cache.join("spans").join(hex::encode(index_root))
    }

    /// Keeps the span index of an adapter that was trained here, under the root of its influence
    /// index, by which the chain knows the adapter.
    pub(crate) fn keep_spans(&self, written: &Path, index_root: &H256) -> Result<()> {
        let path = self.spans_path(index_root);
        let failed = || WorkerError::io(format!("keeping {}", path.display()));
        let folder = path.parent().unwrap_or(&self.cache);
        std::fs::create_dir_all(folder).map_err(failed())?;
        // Renamed into place, so that a crash leaves no half of it.
        let part = path.with_extension("part");
        std::fs::copy(written, &part).map_err(failed())?;
        std::fs::rename(&part, &path).map_err(failed())
    }

    fn spans_of(&self, index_root: &H256) -> Result<Option<Arc<SpanIndex>>> {
        if let Some(index) = lock(&self.spans).get(index_root) {
            return Ok(Some(index.clone()));
        }
        let path = self.spans_path(index_root);
        if !path.is_file() {
            return Ok(None);
        }
        let index = SpanIndex::open(&path)
            .map_err(|e| WorkerError::Engine(format!("{}: {e}", path.display())))?;
        let index = Arc::new(index);
        let mut mapped = lock(&self.spans);
        if mapped.len() >= MAPPED {
            mapped.clear();
        }
        mapped.insert(*index_root, index.clone());
        Ok(Some(index))
    }

    /// The passages of an answer, those that say most first; `None` where this worker has no index
    /// for them.
    pub(super) fn passages(
        &self,
        engine: &Engine,
        index_root: &H256,
        answer: &[i64],
    ) -> Result<Option<Vec<Span>>> {
        let Some(index) = self.spans_of(index_root)? else { return Ok(None) };
        let tokens: Vec<u32> =
            answer.iter().map(|token| u32::try_from(*token).unwrap_or(u32::MAX - 1)).collect();
        let found = index
            .spans(&tokens, &SpanOptions::default())
            .map_err(|e| WorkerError::Engine(e.to_string()))?;
        let texts: Vec<Vec<u8>> = answer.iter().map(|token| engine.token_text(*token)).collect();
        let characters = |tokens: usize| {
            let bytes: Vec<u8> = texts.iter().take(tokens).flatten().copied().collect();
            u32::try_from(String::from_utf8_lossy(&bytes).chars().count()).unwrap_or(u32::MAX)
        };
        let named = index.contributions();
        found
            .into_iter()
            .map(|span| {
                let (first, end) = (span.start, span.start.saturating_add(span.length));
                let numbers: BTreeSet<u32> =
                    span.occurrences.iter().map(|place| place.contribution).collect();
                let contributions = numbers
                    .into_iter()
                    .filter_map(|number| named.get(number as usize))
                    .map(|id| contribution_id(id).map_err(WorkerError::Engine))
                    .collect::<Result<_>>()?;
                Ok(Span {
                    tokens: [first, end],
                    characters: [characters(first as usize), characters(end as usize)],
                    occurrences: span.count.into(),
                    contributions,
                })
            })
            .collect::<Result<_>>()
            .map(Some)
    }
}
