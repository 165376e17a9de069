//! How many adapters the device holds, and how fast one gets there from host memory.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::setup::Bench;
use super::{decode, Figure, Target};
use crate::cuda::adapters::{load_flat, KernelDeltas};
use crate::cuda::{DeviceFacts, Memory, Plan};
use crate::error::Result;

/// Kept free beside the cache of a decoding batch, for workspaces and logits.
const SPARE: f64 = 2e9;
/// PCI Express 5.0 with 16 lanes, one direction, after its 128b/130b coding.
const PCIE5_X16: f64 = 63.0e9;

/// Loads one adapter again and again from (pinned) host memory into the same place.
pub(super) fn measure_loading(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let count = bench.lora.parameter_count(bench.net().config());
    let host = Tensor::f_empty([count], (Kind::BFloat16, Device::Cpu))?.f_normal_(0.0, 0.01)?;
    let sources = match bench.device {
        Device::Cuda(_) => {
            let pinned = host.f_pin_memory(bench.device)?;
            vec![("pinned host memory", pinned), ("pageable host memory", host)]
        }
        _ => vec![("host memory", host)],
    };
    let slot = bench.loaded;
    let mut place = Tensor::f_empty([count], (Kind::BFloat16, bench.device))?;
    for (name, source) in sources {
        let mut times = vec![];
        for _ in 0..bench.load.loads + 2 {
            bench.finish()?;
            let start = Instant::now();
            place.f_copy_(&source)?;
            let config = bench.base.config();
            load_flat(&mut bench.table, slot, &bench.lora, &place, config)?;
            bench.finish()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        // The first two warm up.
        let mut times = times.split_off(2);
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        let roof = bench.facts.as_ref().map(|_| bench.adapter_bytes() / PCIE5_X16 * 1e3);
        for (label, part) in [("median", 0.5), ("p99", 0.99)] {
            let figure =
                Figure::new("loading", format!("one adapter from {name}, {label}"), at(part), "ms")
                    .roof(roof, "63 GB/s, if the link is PCIe 5.0 x16");
            figures.push(match name.starts_with("pinned") {
                true => figure.target(Target::AtMost(10.0)),
                false => figure,
            });
        }
    }
    bench.table.clear(slot)
}

/// Fills the device with adapters, then decodes with some from all over it.
pub(super) fn measure_residency(bench: &mut Bench, figures: &mut Vec<Figure>) -> Result<()> {
    let config = bench.base.config();
    let load = bench.load;
    let positions = (load.context + 4 + 3 * load.steps + 8) as f64;
    let cache = 4.0
        * load.batch as f64
        * positions
        * (config.layers * config.kv_heads * config.head_dim) as f64;
    let vocabulary = config.vocab_size as f64;
    let keep = cache + SPARE + 4.0 * load.batch as f64 * vocabulary;
    if let Device::Cuda(_) = bench.device {
        Memory::empty_cache()?;
    }
    let total = match bench.device {
        Device::Cuda(index) => Some(DeviceFacts::of(index)?.memory.1 as f64),
        _ => None,
    };
    while bench.loaded < load.slots {
        if let Device::Cuda(index) = bench.device {
            let free = DeviceFacts::of(index)?.memory.0 as f64;
            if free < keep + bench.adapter_bytes() {
                break;
            }
        }
        // Memory may run out before the figures say so: then it is full.
        if bench.load_random().is_err() {
            break;
        }
    }
    bench.finish()?;
    let room =
        total.map(|t| ((t - bench.weight_bytes() as f64 - keep) / bench.adapter_bytes()).floor());
    figures.push(
        Figure::new("residency", "adapters on the device", bench.loaded as f64, "adapters")
            .target(Target::AtLeast(1000.0))
            .roof(room, "memory less weights, cache and 2 GB"),
    );
    if let Device::Cuda(index) = bench.device {
        let memory = Memory::of(index)?;
        let gigabytes = memory.allocated as f64 / 1e9;
        figures.push(Figure::new("residency", "memory in tensors", gigabytes, "GB"));
    }
    let plan = Plan::new(&bench.distinct(), load.batch, bench.device)?;
    let deltas = KernelDeltas { kernel: &bench.kernel, table: &bench.table, plan: &plan };
    let (rate, _) = decode::throughput(bench, Some(&deltas), true)?;
    let name = format!("decoding with {} of them", load.batch);
    figures.push(Figure::new("residency", name, rate, "tok/s"));
    Ok(())
}
