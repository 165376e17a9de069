//! Attention of a ragged step over pages of keys and values.

use super::cache::{PagesView, PAGE};
use super::simd::{multiply, softmax, Grid, Target, LANES};
use super::Cpu;
use crate::error::{EngineError, Result};
use crate::serve::Chunk;

/// Tokens of a prompt in one task.
const TOKENS: usize = 16;

/// One sequence's piece.
struct Piece<'a> {
    pages: &'a [u32],
    /// First row in the step, first position in the sequence, tokens.
    row: usize,
    start: usize,
    tokens: usize,
}

/// Some tokens of a piece at one key head.
struct Task {
    piece: usize,
    head: usize,
    from: usize,
    count: usize,
}

/// The attention of one step.
pub(super) struct Attention<'a> {
    cpu: &'a Cpu,
    view: PagesView,
    pieces: Vec<Piece<'a>>,
    /// Pieces of several tokens, at each key head: all keys are written before one is read.
    writes: Vec<(usize, usize)>,
    tasks: Vec<Task>,
}

impl<'a> Attention<'a> {
    /// Checks that every piece has room in its place.
    pub(super) fn new(cpu: &'a Cpu, view: PagesView, chunks: &[Chunk<'_>]) -> Result<Self> {
        let config = &cpu.weights.config;
        let (mut pieces, mut writes, mut tasks) = (vec![], vec![], vec![]);
        let mut row = 0;
        for (piece, chunk) in chunks.iter().enumerate() {
            let pages = cpu.places.get(chunk.place).and_then(Option::as_ref);
            let pages = pages.map(Vec::as_slice).unwrap_or_default();
            let tokens = chunk.tokens.len();
            let end = chunk.start + tokens;
            if tokens == 0 || end > pages.len() * PAGE || end > config.max_position as usize {
                return Err(EngineError::PromptTooLong {
                    tokens: end,
                    max: (pages.len() * PAGE).min(config.max_position as usize),
                });
            }
            for head in 0..config.kv_heads as usize {
                if tokens > 1 {
                    writes.push((piece, head));
                }
                for from in (0..tokens).step_by(TOKENS) {
                    tasks.push(Task { piece, head, from, count: TOKENS.min(tokens - from) });
                }
            }
            pieces.push(Piece { pages, row, start: chunk.start, tokens });
            row += tokens;
        }
        Ok(Self { cpu, view, pieces, writes, tasks })
    }

    /// From `qkv` `[rows, (heads + 2 kv_heads) · head_dim]` to `mixed` `[rows, heads · head_dim]`,
    /// writing the step's keys and values of `layer` into the pages. Rotates in place.
    pub(super) fn run(&self, layer: usize, qkv: &mut [f32], mixed: &mut [f32]) {
        let config = &self.cpu.weights.config;
        let d = config.head_dim as usize;
        let heads = config.heads as usize;
        let qkv = Grid::new(qkv, (heads + 2 * config.kv_heads as usize) * d);
        let mixed = Grid::new(mixed, heads * d);
        self.cpu.threads.run(self.writes.len(), true, &|task| {
            let (piece, head) = self.writes[task];
            let piece = &self.pieces[piece];
            self.write(layer, piece, head, 0..piece.tokens, qkv);
        });
        self.cpu.threads.run(self.tasks.len(), self.tasks.len() > 1, &|task| {
            let task = &self.tasks[task];
            let piece = &self.pieces[task.piece];
            if piece.tokens == 1 {
                self.write(layer, piece, task.head, 0..1, qkv);
            }
            self.attend(layer, piece, task, qkv, mixed);
        });
    }

    /// Rotates and stores keys, and stores values, of some tokens at one key head.
    fn write(
        &self,
        layer: usize,
        piece: &Piece<'_>,
        head: usize,
        tokens: std::ops::Range<usize>,
        qkv: Grid,
    ) {
        let config = &self.cpu.weights.config;
        let d = config.head_dim as usize;
        let key_column = (config.heads as usize + head) * d;
        let value_column = key_column + config.kv_heads as usize * d;
        for token in tokens {
            let at = piece.start + token;
            // SAFETY: this head of this row belongs to this task, and so does this head of the
            // sequence's pages: readers come after.
            unsafe {
                let key = qkv.part(piece.row + token, key_column, d);
                let value = qkv.part(piece.row + token, value_column, d);
                self.rotate(key, at, 1.0);
                let page = piece.pages[at / PAGE];
                self.view.write(page, layer, head, at % PAGE, key, value);
            }
        }
    }

    /// Rotary embedding of one head at a position, first half against second, times `scale`.
    fn rotate(&self, x: &mut [f32], position: usize, scale: f32) {
        let d = x.len();
        let cos = &self.cpu.weights.cos[position * d..][..d];
        let sin = &self.cpu.weights.sin[position * d..][..d];
        let (low, high) = x.split_at_mut(d / 2);
        for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
            let (l, h) = (*a, *b);
            *a = (l * cos[i] - h * sin[i]) * scale;
            *b = (h * cos[d / 2 + i] + l * sin[d / 2 + i]) * scale;
        }
    }

    fn attend(&self, layer: usize, piece: &Piece<'_>, task: &Task, qkv: Grid, mixed: Grid) {
        let config = &self.cpu.weights.config;
        let isa = self.cpu.isa;
        let d = config.head_dim as usize;
        let group = (config.heads / config.kv_heads) as usize;
        let rows = task.count * group;
        let scale = 1.0 / (d as f32).sqrt();
        // Query heads that share the key head are rows of one product: `[tokens · group, d]`.
        let mut queries = vec![0f32; rows * d];
        for (row, query) in queries.chunks_exact_mut(d).enumerate() {
            let (token, head) = (task.from + row / group, task.head * group + row % group);
            // SAFETY: these query heads belong to this task.
            query.copy_from_slice(unsafe { qkv.part(piece.row + token, head * d, d) });
            self.rotate(query, piece.start + token, scale);
        }
        let longest = piece.start + task.from + task.count;
        let pages = &piece.pages[..longest.div_ceil(PAGE)];
        let stride = pages.len() * PAGE;
        let mut scores = vec![0f32; rows * stride];
        let width = d.div_ceil(LANES) * LANES;
        let mut sums = vec![0f32; rows * width];
        // SAFETY: nobody writes this head of the sequence's pages any more in this layer.
        let head = |page: &u32| unsafe { self.view.head(*page, layer, task.head) };
        for (number, page) in pages.iter().enumerate() {
            let used = PAGE.min(longest - number * PAGE);
            let columns = used.div_ceil(LANES) * LANES;
            let grid = Grid::new(&mut scores, stride);
            let column = number * PAGE;
            let to = Target { grid, row: 0, column, step: LANES, columns, add: false };
            multiply(isa, &queries, d, rows, head(page).keys, d, d, to);
        }
        let mut inverse = vec![0f32; rows];
        for (row, (scores, inverse)) in
            scores.chunks_exact_mut(stride).zip(&mut inverse).enumerate()
        {
            softmax(isa, scores, piece.start + task.from + row / group + 1, inverse);
        }
        for (number, page) in pages.iter().enumerate() {
            let used = PAGE.min(longest - number * PAGE);
            let grid = Grid::new(&mut sums, width);
            let to = Target { grid, row: 0, column: 0, step: LANES, columns: width, add: true };
            let weights = &scores[number * PAGE..];
            multiply(isa, weights, stride, rows, head(page).values, PAGE, used, to);
        }
        for (row, (sum, inverse)) in sums.chunks_exact(width).zip(&inverse).enumerate() {
            let (token, head) = (task.from + row / group, task.head * group + row % group);
            // SAFETY: these heads of the result belong to this task.
            let into = unsafe { mixed.part(piece.row + token, head * d, d) };
            for (into, sum) in into.iter_mut().zip(sum) {
                *into = sum * inverse;
            }
        }
    }
}
