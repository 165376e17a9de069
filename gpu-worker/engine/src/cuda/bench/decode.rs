//! Decoding throughput: without adapters, with one, with a different one for every row.

use std::time::Instant;

use tch::Device;

use super::setup::Bench;
use super::{Figure, Target};
use crate::cuda::adapters::KernelDeltas;
use crate::cuda::{Graph, Plan, Segment};
use crate::error::Result;
use crate::model::Deltas;

const SECTION: &str = "decoding";
const ROUNDS: i64 = 3;

/// Tokens per second of greedy decoding, the median of three rounds, and the cache's bytes that
/// one step reads.
pub(super) fn throughput(
    bench: &Bench,
    deltas: Option<&dyn Deltas>,
    recorded: bool,
) -> Result<(f64, f64)> {
    let load = &bench.load;
    // Two steps to warm up, one that is recorded, one replay, three rounds.
    let capacity = (load.context + 4 + ROUNDS * load.steps + 7) / 8 * 8;
    let mut state = bench.net().fixed_state(load.batch as i64, capacity, load.context)?;
    let bytes = state.cache_bytes() as f64;
    let mut seconds = vec![];
    let mut round = |step: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        for _ in 0..ROUNDS {
            bench.finish()?;
            let start = Instant::now();
            for _ in 0..load.steps {
                step()?;
            }
            bench.finish()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(())
    };
    match (bench.device, recorded) {
        (Device::Cuda(index), true) => {
            let graph = Graph::record(index, || bench.net().fixed_step(&mut state, deltas))?;
            graph.replay()?;
            round(&mut || graph.replay())?;
        }
        _ => {
            for _ in 0..2 {
                let _ = bench.net().fixed_step(&mut state, deltas)?;
            }
            round(&mut || bench.net().fixed_step(&mut state, deltas).map(drop))?;
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(((load.batch as i64 * load.steps) as f64 / median, bytes))
}

pub(super) fn measure(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let batch = bench.load.batch;
    let one = [Segment { row: 0, rows: batch, slot: Some(0) }];
    let plans = [
        ("no adapter active", Plan::new(&[], batch, bench.device)?, 0.0),
        ("one adapter", Plan::new(&one, batch, bench.device)?, 1.0),
        ("all rows distinct", Plan::new(&bench.distinct(), batch, bench.device)?, batch as f64),
    ];
    let manners: &[(bool, &str)] = match bench.device {
        Device::Cuda(_) => &[(true, "recorded"), (false, "not recorded")],
        _ => &[(false, "not recorded")],
    };
    for (recorded, manner) in manners {
        let (base, cache) = throughput(bench, None, *recorded)?;
        let read = bench.step_bytes() + cache;
        let roof = |extra: f64| bench.bandwidth().map(|b| batch as f64 * b / (read + extra));
        let basis = "weights + cache + adapters, at the memory's bandwidth";
        figures.push(
            Figure::new(SECTION, format!("base alone, {manner}"), base, "tok/s")
                .roof(roof(0.0), basis),
        );
        for (name, plan, adapters) in &plans {
            let deltas = KernelDeltas { kernel: &bench.kernel, table: &bench.table, plan };
            let (rate, _) = throughput(bench, Some(&deltas), *recorded)?;
            let extra = adapters * bench.adapter_bytes();
            figures.push(
                Figure::new(SECTION, format!("{name}, {manner}"), rate, "tok/s")
                    .roof(roof(extra), basis),
            );
            let mut ratio =
                Figure::new(SECTION, format!("{name} to base, {manner}"), rate / base, "×")
                    .roof(Some(read / (read + extra)), "bytes that each step reads");
            // The targets are for how it is meant to be run.
            if *recorded {
                ratio = match *adapters as usize {
                    0 => ratio.target(Target::AtLeast(0.97)),
                    n if n == batch => ratio.target(Target::AtLeast(0.75)),
                    _ => ratio,
                };
            }
            figures.push(ratio);
        }
    }
    Ok(())
}
