//! The pass on a CPU: loops of our own over packed weights, straight on the adapters' memory.
//!
//! Nothing is gathered, padded to a common rank or copied for a batch: each block of rows reads
//! its own adapter's panels. A row's result does not depend on the rows beside it, on how its
//! prompt was cut, or on the number of threads (see [`simd`]).

mod attend;
mod cache;
pub(crate) mod pack;
mod simd;
mod threads;

use std::sync::Arc;

use tch::{Kind, Tensor};

use self::attend::Attention;
use self::cache::{Pages, PAGE};
use self::pack::{Packed, PackedLora, Weights};
use self::simd::{gated, multiply, rms_norm, Grid, Isa, Target, LANES};
use self::threads::Threads;
use super::{segments, CacheUse, Chunk, Executor, Passed, Prepared, Setup, Want};
use crate::error::{EngineError, Result};
use crate::model::Transformer;

/// Rows that share one task of adapter work.
const BLOCK: usize = 12;
/// Multiply-adds that make a task worth handing out, and an operation worth sharing.
const TASK_WORK: usize = 200_000;
const SHARED_WORK: usize = 100_000;

/// The executor on a CPU.
pub(crate) struct Cpu {
    weights: Weights,
    threads: Threads,
    isa: Isa,
    pages: Pages,
    places: Vec<Option<Vec<u32>>>,
    slots: usize,
    scratch: Scratch,
}

/// Rows of all the intermediate results of a step.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    pairs: Vec<f32>,
    gates: Vec<f32>,
}

/// Rows with the same adapter, few enough for one task.
struct Block {
    lora: Arc<PackedLora>,
    row: usize,
    rows: usize,
}

impl Cpu {
    /// Lays the weights out; the cache takes no more than `setup.kv_bytes`, nor more than all
    /// slots can fill.
    pub(crate) fn new(net: &Transformer, setup: Setup) -> Result<Self> {
        let weights = Weights::new(net)?;
        let most = setup.slots * setup.capacity.div_ceil(PAGE);
        let pages = most.min(setup.kv_bytes / Pages::page_bytes(&weights.config).max(1));
        if pages < setup.capacity.div_ceil(PAGE).min(most) {
            return Err(EngineError::Request(format!(
                "kv_bytes {} holds fewer than the {} tokens of one sequence; raise it or lower \
                 the capacity",
                setup.kv_bytes, setup.capacity
            )));
        }
        Ok(Self {
            pages: Pages::new(&weights.config, pages),
            weights,
            threads: Threads::new(setup.threads),
            isa: Isa::best(),
            places: vec![],
            slots: setup.slots,
            scratch: Scratch::default(),
        })
    }

    /// `x · matrix` for all rows into `grid` from column 0, or added to it; `after(first, count)`
    /// runs behind each group of panels.
    fn project(
        &self,
        x: &[f32],
        stride: usize,
        matrix: &Packed,
        grid: Grid,
        add: bool,
        after: &(dyn Fn(usize, usize) + Sync),
    ) {
        let rows = x.len() / stride;
        let per_panel = (rows * matrix.k * LANES).max(1);
        // An even number keeps a panel of gates with its panel of ups.
        let together = (TASK_WORK / per_panel).clamp(1, matrix.count()).next_multiple_of(2);
        let shared = per_panel * matrix.count() > SHARED_WORK;
        self.threads.run(matrix.count().div_ceil(together), shared, &|task| {
            let first = task * together;
            let count = together.min(matrix.count() - first);
            let column = first * LANES;
            let columns = (count * LANES).min(matrix.columns - column);
            let to = Target { grid, row: 0, column, step: LANES, columns, add };
            let panels = &matrix.panels[first * matrix.k..];
            multiply(self.isa, x, stride, rows, panels, matrix.k, matrix.k, to);
            after(first, count);
        });
    }

    /// Adds each block's adapter to `grid` for the projections of `group`.
    fn adapt(
        &self,
        blocks: &[Block],
        layer: usize,
        group: usize,
        x: &[f32],
        stride: usize,
        grid: Grid,
    ) {
        self.threads.run(blocks.len(), blocks.len() > 1, &|task| {
            let block = &blocks[task];
            let Some(group) = block.lora.layers.get(layer).and_then(|l| l[group].as_ref()) else {
                return;
            };
            let (a, rows) = (&group.a, block.rows);
            let width = a.count() * LANES;
            let mut low = vec![0f32; rows * width];
            let x = &x[block.row * stride..];
            let into = Grid::new(&mut low, width);
            let to =
                Target { grid: into, row: 0, column: 0, step: LANES, columns: width, add: false };
            multiply(self.isa, x, stride, rows, &a.panels, a.k, a.k, to);
            for part in &group.parts {
                let b = &part.b;
                let to = Target {
                    grid,
                    row: block.row,
                    column: part.column,
                    step: part.step,
                    columns: b.columns,
                    add: true,
                };
                multiply(self.isa, &low[part.from..], width, rows, &b.panels, b.k, b.k, to);
            }
        });
    }

    fn norm(&self, x: &[f32], weight: &[f32], out: &mut [f32]) {
        let width = weight.len();
        let eps = self.weights.config.rms_norm_eps as f32;
        let rows = x.len() / width;
        let grid = Grid::new(out, width);
        // Rows in groups that are worth a task.
        let together = (TASK_WORK / 4 / width.max(1)).max(1);
        self.threads.run(rows.div_ceil(together), true, &|task| {
            for row in task * together..((task + 1) * together).min(rows) {
                // SAFETY: each row belongs to one task.
                let out = unsafe { grid.part(row, 0, width) };
                rms_norm(self.isa, &x[row * width..][..width], weight, eps, out);
            }
        });
    }

    fn pass(&mut self, chunks: &[Chunk<'_>], scratch: &mut Scratch) -> Result<Passed> {
        let view = self.pages.view();
        let this = &*self;
        let config = &this.weights.config;
        let (h, d) = (config.hidden_size as usize, config.head_dim as usize);
        let rows: usize = chunks.iter().map(|c| c.tokens.len()).sum();
        let attention = Attention::new(this, view, chunks)?;
        let blocks = blocks(chunks);
        let adapted = !blocks.is_empty();

        let Scratch { x, normed, qkv, mixed, pairs, gates } = scratch;
        let all_heads = ((config.heads + 2 * config.kv_heads) as usize) * d;
        let inner = (config.intermediate_size as usize).div_ceil(LANES) * LANES;
        x.resize(rows * h, 0.0);
        normed.resize(rows * h, 0.0);
        qkv.resize(rows * all_heads, 0.0);
        mixed.resize(rows * config.heads as usize * d, 0.0);
        pairs.resize(rows * 2 * inner, 0.0);
        gates.resize(rows * inner, 0.0);

        let ids = chunks.iter().flat_map(|c| c.tokens);
        for (row, id) in x.chunks_exact_mut(h).zip(ids) {
            let found =
                usize::try_from(*id).ok().and_then(|id| this.weights.embed.chunks_exact(h).nth(id));
            row.copy_from_slice(found.ok_or_else(|| {
                EngineError::Request(format!("token {id} is not in the vocabulary"))
            })?);
        }
        for (index, layer) in this.weights.layers.iter().enumerate() {
            this.norm(x, &layer.input_norm, normed);
            let grid = Grid::new(qkv, all_heads);
            if adapted {
                qkv.fill(0.0);
                this.adapt(&blocks, index, 0, normed, h, grid);
            }
            this.project(normed, h, &layer.qkv, grid, adapted, &|_, _| {});
            attention.run(index, qkv, mixed);
            let width = config.heads as usize * d;
            let grid = Grid::new(x, h);
            this.adapt(&blocks, index, 1, mixed, width, grid);
            this.project(mixed, width, &layer.o, grid, true, &|_, _| {});

            this.norm(x, &layer.post_norm, normed);
            let (grid, into) = (Grid::new(pairs, 2 * inner), Grid::new(gates, inner));
            if adapted {
                pairs.fill(0.0);
                this.adapt(&blocks, index, 2, normed, h, grid);
            }
            this.project(normed, h, &layer.gate_up, grid, adapted, &|first, count| {
                for row in 0..rows {
                    // SAFETY: these panels, and their half as many columns of gates, belong to
                    // this task.
                    let (pairs, gates) = unsafe {
                        (
                            grid.part(row, first * LANES, count * LANES),
                            into.part(row, first * LANES / 2, count * LANES / 2),
                        )
                    };
                    gated(this.isa, pairs, gates);
                }
            });
            let grid = Grid::new(x, h);
            this.adapt(&blocks, index, 3, gates, inner, grid);
            this.project(gates, inner, &layer.down, grid, true, &|_, _| {});
        }
        this.finish(chunks, x, normed)
    }

    /// Final norm and, for the rows that want them, logits.
    fn finish(&self, chunks: &[Chunk<'_>], x: &[f32], normed: &mut Vec<f32>) -> Result<Passed> {
        let (h, vocab) =
            (self.weights.config.hidden_size as usize, self.weights.config.vocab_size as usize);
        let (mut wanted, mut states) = (vec![], vec![]);
        let mut row = 0;
        for chunk in chunks {
            let n = chunk.tokens.len();
            match chunk.want {
                Want::Nothing => {}
                Want::Last => wanted.push(row + n - 1),
                Want::All => wanted.extend(row..row + n),
                Want::Hidden => states.extend(row..row + n),
            }
            row += n;
        }
        let take = |rows: &[usize], normed: &mut Vec<f32>| {
            let mut picked = Vec::with_capacity(rows.len() * h);
            for row in rows {
                picked.extend_from_slice(&x[row * h..][..h]);
            }
            normed.resize(picked.len(), 0.0);
            self.norm(&picked, &self.weights.norm, normed);
        };
        let hidden = if states.is_empty() {
            None
        } else {
            take(&states, normed);
            Some(Tensor::f_from_slice(normed)?.f_view([states.len() as i64, h as i64])?)
        };
        let logits = if wanted.is_empty() {
            None
        } else {
            take(&wanted, normed);
            let shape = [wanted.len() as i64, vocab as i64];
            let logits = Tensor::f_empty(shape, (Kind::Float, tch::Device::Cpu))?;
            // SAFETY: a fresh, contiguous f32 tensor of this many numbers, which nobody else has.
            let numbers = unsafe {
                std::slice::from_raw_parts_mut(
                    logits.data_ptr().cast::<f32>(),
                    wanted.len() * vocab,
                )
            };
            let grid = Grid::new(numbers, vocab);
            self.project(normed, h, &self.weights.head, grid, false, &|_, _| {});
            Some(logits)
        };
        Ok(Passed { logits, hidden })
    }
}

fn blocks(chunks: &[Chunk<'_>]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for segment in segments(chunks) {
        let Some(Prepared::Cpu(lora)) = segment.lora.as_deref() else { continue };
        let mut done = 0;
        while done < segment.rows {
            let rows = BLOCK.min(segment.rows - done);
            blocks.push(Block { lora: lora.clone(), row: segment.row + done, rows });
            done += rows;
        }
    }
    blocks
}

impl Executor for Cpu {
    fn open(&mut self, tokens: usize) -> Option<usize> {
        let empty = self.places.iter().position(Option::is_none);
        if empty.is_none() && self.places.len() >= self.slots {
            return None;
        }
        let pages = Some(self.pages.take(tokens)?);
        match empty {
            Some(place) => {
                self.places[place] = pages;
                Some(place)
            }
            None => {
                self.places.push(pages);
                Some(self.places.len() - 1)
            }
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(pages) = self.places.get_mut(place).and_then(Option::take) {
            self.pages.give_back(pages);
        }
    }

    fn step(&mut self, chunks: &[Chunk<'_>]) -> Result<Passed> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let passed = self.pass(chunks, &mut scratch);
        self.scratch = scratch;
        passed
    }

    fn cache(&self) -> CacheUse {
        CacheUse { used: self.pages.used() * PAGE, total: self.pages.total() * PAGE }
    }
}
