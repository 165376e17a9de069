//! The kernel against stock operations, on the seven projections of one block.

use tch::{Kind, Tensor};

use super::setup::Bench;
use super::Figure;
use crate::config::Projection;
use crate::cuda::{pair_of, stock, Job, Plan, Segment};
use crate::error::Result;

const SECTION: &str = "kernel";

/// Projections that read the same input, as a step asks for them.
const GROUPS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// Inputs and outputs of one block's projections for a number of rows.
struct Block {
    x: Vec<Tensor>,
    y: Vec<Tensor>,
}

impl Block {
    fn new(bench: &Bench, rows: i64) -> Result<Self> {
        let (mut x, mut y) = (vec![], vec![]);
        for p in Projection::ALL {
            let (input, output) = p.size(bench.net().config());
            let options = (Kind::BFloat16, bench.device);
            x.push(Tensor::f_empty([rows, input], options)?.f_normal_(0.0, 1.0)?);
            y.push(Tensor::f_zeros([rows, output], options)?);
        }
        Ok(Self { x, y })
    }

    fn by_kernel(&self, bench: &Bench, plan: &Plan) -> Result<()> {
        for group in GROUPS {
            let jobs: Vec<_> = group
                .iter()
                .map(|p| Job {
                    pair: pair_of(0, *p),
                    x: &self.x[*p as usize],
                    y: &self.y[*p as usize],
                })
                .collect();
            bench.kernel.apply(&bench.table, plan, &jobs)?;
        }
        Ok(())
    }
}

/// `count` random pairs for each projection: A `[count, rank, in]`, B `[count, out, rank]`.
fn stacks(bench: &Bench, count: i64) -> Result<Vec<(Tensor, Tensor)>> {
    let rank = bench.load.rank;
    let draw = |shape: [i64; 3]| -> Result<Tensor> {
        Ok(Tensor::f_empty(shape, (Kind::BFloat16, bench.device))?.f_normal_(0.0, 0.01)?)
    };
    Projection::ALL
        .iter()
        .map(|p| {
            let (input, output) = p.size(bench.net().config());
            Ok((draw([count, rank, input])?, draw([count, output, rank])?))
        })
        .collect()
}

/// Adapter after adapter, as a loop over them would do it.
fn one_by_one(block: &Block, stacks: &[(Tensor, Tensor)], rows: &[(i64, i64)]) -> Result<()> {
    for ((x, y), (a, b)) in block.x.iter().zip(&block.y).zip(stacks) {
        for (adapter, (row, count)) in rows.iter().enumerate() {
            let adapter = adapter as i64;
            let low =
                x.f_narrow(0, *row, *count)?.f_matmul(&a.f_get(adapter)?.f_transpose(0, 1)?)?;
            let high = low.f_matmul(&b.f_get(adapter)?.f_transpose(0, 1)?)?;
            let _ = y.f_narrow(0, *row, *count)?.f_add_(&high)?;
        }
    }
    Ok(())
}

pub(super) fn measure(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    decoding(bench, figures)?;
    prefill(bench, figures)
}

fn decoding(bench: &Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let batch = bench.load.batch;
    let layers = bench.net().config().layers as f64;
    let block = Block::new(bench, batch as i64)?;
    let plan = Plan::new(&bench.distinct(), batch, bench.device)?;
    let bytes = batch as f64 * bench.adapter_bytes() / layers;
    let roof = bench.bandwidth().map(|b| bytes / b * 1e6);
    let basis = "A and B read once";
    let micro = |time: std::time::Duration| time.as_secs_f64() * 1e6;

    let ours = bench.time(|| block.by_kernel(bench, &plan))?;
    let name = format!("{batch} rows, {batch} adapters: kernel");
    figures.push(Figure::new(SECTION, name, micro(ours), "µs/block").roof(roof, basis));
    let rate = bytes / ours.as_secs_f64() / 1e9;
    figures.push(
        Figure::new(SECTION, "its bandwidth on A and B", rate, "GB/s")
            .roof(bench.bandwidth().map(|b| b / 1e9), "the memory's bandwidth"),
    );
    let stacks = stacks(bench, batch as i64)?;
    let batched = bench.time(|| {
        for ((x, y), (a, b)) in block.x.iter().zip(&block.y).zip(&stacks) {
            drop(stock::by_row(x, y, a, b)?);
        }
        Ok(())
    })?;
    let name = format!("{batch} rows, {batch} adapters: bmm");
    figures.push(Figure::new(SECTION, name, micro(batched), "µs/block").roof(roof, basis));
    let rows: Vec<_> = (0..batch as i64).map(|row| (row, 1)).collect();
    let looped = bench.time(|| one_by_one(&block, &stacks, &rows))?;
    let name = format!("{batch} rows, {batch} adapters: one by one");
    figures.push(Figure::new(SECTION, name, micro(looped), "µs/block").roof(roof, basis));
    Ok(())
}

fn prefill(bench: &Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let (rows, adapters) = bench.load.prefill;
    let block = Block::new(bench, rows as i64)?;
    // Uneven parts, all of them long.
    let mut segments = vec![];
    let mut row = 0;
    for slot in 0..adapters {
        let left = rows - row;
        let share = left / (adapters - slot);
        let count = if slot + 1 == adapters { left } else { share - share / 5 * (slot % 2) };
        segments.push(Segment { row, rows: count, slot: Some(slot) });
        row += count;
    }
    let plan = Plan::new(&segments, rows, bench.device)?;
    let layers = bench.net().config().layers as f64;
    // Reads x, reads and writes y, reads each A and B once.
    let moved: f64 = block.x.iter().map(|x| 2 * x.numel()).sum::<usize>() as f64
        + block.y.iter().map(|y| 4 * y.numel()).sum::<usize>() as f64
        + adapters as f64 * bench.adapter_bytes() / layers;
    let roof = bench.bandwidth().map(|b| moved / b * 1e6);
    let basis = "x, y, A, B moved once";
    let mut push = |how: &str, time: std::time::Duration| {
        let name = format!("{rows} rows, {adapters} adapters: {how}");
        let micro = time.as_secs_f64() * 1e6;
        figures.push(Figure::new(SECTION, name, micro, "µs/block").roof(roof, basis));
    };
    push("kernel", bench.time(|| block.by_kernel(bench, &plan))?);
    let stacks = stacks(bench, adapters as i64)?;
    let sizes: Vec<_> = segments.iter().map(|s| s.rows as i64).collect();
    let ends = stock::ends(&sizes, bench.device)?;
    push(
        "grouped_mm",
        bench.time(|| {
            for ((x, y), (a, b)) in block.x.iter().zip(&block.y).zip(&stacks) {
                drop(stock::grouped(x, y, &ends, a, b)?);
            }
            Ok(())
        })?,
    );
    let parts: Vec<_> = segments.iter().map(|s| (s.row as i64, s.rows as i64)).collect();
    push("one by one", bench.time(|| one_by_one(&block, &stacks, &parts))?);
    Ok(())
}
