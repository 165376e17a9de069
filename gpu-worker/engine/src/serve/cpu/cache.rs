//! Keys and values of past tokens in pages, so that memory is used by tokens and not by slots.

use super::simd::LANES;
use crate::config::ModelConfig;

/// Positions in a page.
pub(crate) const PAGE: usize = 64;

/// A pool of pages. A page holds [`PAGE`] positions of all layers of one sequence.
///
/// Within a layer's part of a page and a key head, keys stand as panels of sixteen positions
/// (`[PAGE / 16][head_dim][16]`) and values as panels of sixteen numbers
/// (`[head_dim / 16][PAGE][16]`): both products of attention are products with panels.
pub(crate) struct Pages {
    data: Vec<[f32; LANES]>,
    free: Vec<u32>,
    pages: usize,
    /// Rows of sixteen in a page, a layer and a head, and in a head's keys alone.
    page_rows: usize,
    layer_rows: usize,
    head_rows: usize,
    key_rows: usize,
}

/// Panels of one key head in one page.
pub(crate) struct HeadPage<'a> {
    pub keys: &'a [[f32; LANES]],
    pub values: &'a [[f32; LANES]],
}

impl Pages {
    /// Rows of sixteen floats that a page takes.
    fn rows(config: &ModelConfig) -> (usize, usize, usize) {
        let d = config.head_dim as usize;
        let key_rows = PAGE / LANES * d;
        let head_rows = key_rows + d.div_ceil(LANES) * PAGE;
        (key_rows, head_rows, head_rows * config.kv_heads as usize)
    }

    /// Bytes of one page.
    pub(crate) fn page_bytes(config: &ModelConfig) -> usize {
        Self::rows(config).2 * config.layers as usize * LANES * size_of::<f32>()
    }

    /// `pages` pages, at least one. Memory is taken from the system as pages are first used.
    pub(crate) fn new(config: &ModelConfig, pages: usize) -> Self {
        let (key_rows, head_rows, layer_rows) = Self::rows(config);
        let page_rows = layer_rows * config.layers as usize;
        let pages = pages.max(1);
        Self {
            data: vec![[0.0; LANES]; page_rows * pages],
            free: (0..pages as u32).rev().collect(),
            pages,
            page_rows,
            layer_rows,
            head_rows,
            key_rows,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.pages
    }

    pub(crate) fn used(&self) -> usize {
        self.pages - self.free.len()
    }

    /// Pages for `tokens` positions, or `None` when there are not enough.
    pub(crate) fn take(&mut self, tokens: usize) -> Option<Vec<u32>> {
        let wanted = tokens.div_ceil(PAGE).max(1);
        let from = self.free.len().checked_sub(wanted)?;
        Some(self.free.split_off(from))
    }

    pub(crate) fn give_back(&mut self, pages: Vec<u32>) {
        self.free.extend(pages);
    }

    /// A view through which threads write and read different sequences at once.
    pub(crate) fn view(&mut self) -> PagesView {
        PagesView {
            data: self.data.as_mut_ptr(),
            len: self.data.len(),
            page_rows: self.page_rows,
            layer_rows: self.layer_rows,
            head_rows: self.head_rows,
            key_rows: self.key_rows,
        }
    }
}

/// See [`Pages::view`].
#[derive(Clone, Copy)]
pub(crate) struct PagesView {
    data: *mut [f32; LANES],
    len: usize,
    page_rows: usize,
    layer_rows: usize,
    head_rows: usize,
    key_rows: usize,
}

// SAFETY: whoever reads or writes promises that nobody else writes the same head of the same
// page meanwhile.
unsafe impl Send for PagesView {}
// SAFETY: as above.
unsafe impl Sync for PagesView {}

impl PagesView {
    fn at(&self, page: u32, layer: usize, head: usize) -> usize {
        let at = page as usize * self.page_rows + layer * self.layer_rows + head * self.head_rows;
        assert!(at + self.head_rows <= self.len, "a page lies inside its pool");
        at
    }

    /// Panels of one key head.
    ///
    /// # Safety
    /// The pool is borrowed by the caller's caller, and nobody writes this head of this page
    /// while the result lives.
    pub(crate) unsafe fn head(&self, page: u32, layer: usize, head: usize) -> HeadPage<'_> {
        // SAFETY: inside the pool by `at`, not written by the caller's promise.
        let rows = unsafe {
            std::slice::from_raw_parts(self.data.add(self.at(page, layer, head)), self.head_rows)
        };
        let (keys, values) = rows.split_at(self.key_rows);
        HeadPage { keys, values }
    }

    /// Writes one position's key and value of one head.
    ///
    /// # Safety
    /// As for [`Self::head`], and nobody reads this head of this page meanwhile.
    pub(crate) unsafe fn write(
        &self,
        page: u32,
        layer: usize,
        head: usize,
        at: usize,
        key: &[f32],
        value: &[f32],
    ) {
        // SAFETY: inside the pool by `at`, alone by the caller's promise.
        let rows = unsafe {
            std::slice::from_raw_parts_mut(
                self.data.add(self.at(page, layer, head)),
                self.head_rows,
            )
        };
        let (keys, values) = rows.split_at_mut(self.key_rows);
        let panel = &mut keys[at / LANES * key.len()..][..key.len()];
        for (row, number) in panel.iter_mut().zip(key) {
            row[at % LANES] = *number;
        }
        for (block, numbers) in value.chunks(LANES).enumerate() {
            values[block * PAGE + at][..numbers.len()].copy_from_slice(numbers);
        }
    }
}
