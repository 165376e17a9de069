//! What `make bench-gpu` measures: decoding with many adapters, the kernel against stock
//! operations, residency, loading, training and serving, on weights drawn at random on the device.
//!
//! Speed does not depend on what the weights are, only on their shapes, so no model is needed.

mod decode;
mod kernels;
mod peer;
mod report;
mod residency;
mod serving;
mod setup;
mod training;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tch::Device;

pub use report::{Figure, Report, Target};

use super::DeviceFacts;
use crate::error::{EngineError, Result};
use setup::Bench;

/// Which model's shape is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Llama-3-8B: 32 blocks, 4,096 wide, MLP 14,336, 32 query and 8 key heads, vocabulary 128,256.
    Llama3_8b,
    /// A toy for trying the program out. Its figures say nothing.
    Tiny,
}

impl Shape {
    /// The shape of this name: `llama3-8b` or `tiny`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "llama3-8b" => Some(Self::Llama3_8b),
            "tiny" => Some(Self::Tiny),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama3_8b => "llama3-8b",
            Self::Tiny => "tiny",
        }
    }
}

/// What to measure, and within what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where. On the CPU the kernel is emulated: use [`Shape::Tiny`] there.
    pub device: Device,
    /// Which shape.
    pub shape: Shape,
    /// Sections that would begin after this are left out, and said to be.
    pub limit: Duration,
    /// The Python that may have PEFT and transformers, or none to leave the comparison out.
    pub python: Option<PathBuf>,
}

/// Part of the limit that is kept for the comparison with PEFT, where there is PEFT: it takes about
/// two minutes for the large shape.
const PEER: f64 = 0.28;

/// Measures everything. An error only if nothing could be set up; a section that fails is a line
/// in the report.
pub fn run(options: &Options) -> Result<Report> {
    let start = Instant::now();
    let facts = match options.device {
        Device::Cuda(index) => {
            super::use_device(index)?;
            Some(DeviceFacts::of(index)?)
        }
        _ => None,
    };
    let mut report = Report::new(options, facts.as_ref());
    let bench = tch::no_grad(|| Bench::new(options, facts))?;
    report.push(Figure::new("set-up", "weights", bench.weight_bytes() as f64 / 1e9, "GB"));
    let mut bench = Some(bench);

    type Section = fn(&mut Bench, &mut Vec<Figure>) -> Result<()>;
    let sections: [(&str, Section); 4] = [
        ("decoding", decode::measure),
        ("kernel", kernels::measure),
        ("loading", residency::measure_loading),
        ("residency", residency::measure_residency),
    ];
    for (name, section) in sections {
        let Some(bench) = bench.as_mut() else { break };
        let mut figures = vec![];
        let outcome =
            within(start, options, || caught(|| tch::no_grad(|| section(bench, &mut figures))));
        report.extend(figures);
        report.outcome(name, outcome);
    }
    // Training, serving and the comparison need the adapters' memory.
    if let Some(bench) = bench.as_mut() {
        bench.drop_adapters();
        let mut figures = vec![];
        let outcome = within(start, options, || caught(|| training::measure(bench, &mut figures)));
        report.extend(figures);
        report.outcome("training", outcome);
        let python = options.python.as_deref().filter(|python| peer::is_there(python));
        let reserve = python.map_or(Duration::ZERO, |_| options.limit.mul_f64(PEER));
        serving::measure(options, start, start + (options.limit - reserve), bench, &mut report);
    }
    bench = None;
    drop(bench);
    if let Device::Cuda(_) = options.device {
        super::Memory::empty_cache()?;
    }
    if let Some(python) = &options.python {
        let left = options.limit.saturating_sub(start.elapsed());
        let mut figures = vec![];
        let outcome = within(start, options, || peer::measure(options, python, left, &mut figures));
        figures.extend(peer::compare(options.shape, &report.figures, &figures));
        report.extend(figures);
        report.outcome("peer", outcome);
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Runs a section if its time has not run out. Gives why it did not end well, if so.
fn within(
    start: Instant,
    options: &Options,
    section: impl FnOnce() -> Result<()>,
) -> Option<String> {
    if start.elapsed() >= options.limit {
        return Some(format!("left out: the {} s are over", options.limit.as_secs()));
    }
    section().err().map(|error| format!("failed: {error}"))
}

/// The engine's passes panic where the tensor library fails (out of memory, above all). Here that
/// must cost one section, not what was measured before.
fn caught(section: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(section)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        let reason = text.lines().next().unwrap_or(text).to_string();
        Err(EngineError::Cuda { doing: "measuring", reason })
    })
}
