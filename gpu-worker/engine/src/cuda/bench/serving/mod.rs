//! Serving through the engine itself, many adapters at once: saturated, at random arrivals, around
//! the number of its places, and with adapters that are not on the device.

mod clock;
mod crowd;
mod folders;
mod tiers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;
use tokio::task::JoinSet;

use super::setup::Bench;
use super::training::word_count;
use super::{caught, within, Figure, Options, Report, Shape};
use crate::cuda::{DeviceFacts, Memory};
use crate::engine::{Engine, EngineOptions, GenerateRequest, Prompt};
use crate::error::{EngineError, Result};
use crate::serve::stats::EngineStats;
use crate::traffic::{self, Window};
use folders::Folders;

/// Adapters that are read from disk at the same time while they are registered.
const READERS: usize = 8;
/// Longest wait for adapters on their way before another one is registered.
const HOLD: Duration = Duration::from_millis(500);
/// Kept free on the device beside weights, cache and adapters, for a step's activations.
const SPARE: f64 = 4e9;
/// Part of a saturated run that warms up and is not measured.
const LEAD: f64 = 0.25;
/// Longest wait for a stopped engine's threads to let their memory go.
const SETTLE: Duration = Duration::from_secs(15);

/// Sizes of what is served.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Numbers of adapters that are asked.
    adapters: &'static [usize],
    /// Adapters with files of their own; all others link to these.
    files: usize,
    /// Tokens of a prompt, and of its answer.
    prompt: usize,
    answer: usize,
    /// Places on the device at most.
    device: usize,
    /// Adapters in the host's memory at most.
    host: usize,
    /// Places of the engine whose limit is looked at, at most.
    places: usize,
    /// Adapters that are asked cold.
    cold: usize,
    /// Times of one run at most and at least; a row has up to two runs.
    most: Duration,
    least: Duration,
}

impl Sizes {
    fn of(shape: Shape) -> Self {
        match shape {
            Shape::Tiny => Self {
                adapters: &[1, 3, 12],
                files: 2,
                prompt: 6,
                answer: 4,
                device: 5,
                host: 6,
                places: 3,
                cold: 2,
                most: Duration::from_millis(240),
                least: Duration::from_millis(10),
            },
            Shape::Llama3_8b => Self {
                adapters: &[1, 8, 64, 256, 1000, 2000],
                files: 4,
                prompt: 128,
                answer: 64,
                device: 2048,
                // 168 MB each as the host holds them, f32; pinned memory is given out in powers of
                // two, so 200 take 54 GB.
                host: 200,
                places: 96,
                cold: 6,
                most: Duration::from_secs(8),
                least: Duration::from_secs(1),
            },
        }
    }
}

/// What all engines of this section are started over.
struct Stand<'a> {
    bench: &'a Bench,
    sizes: Sizes,
    folders: Folders,
    /// Memory for adapters on the host.
    host_bytes: usize,
}

/// Runs the three parts within what is left until `end`.
pub(super) fn measure(
    options: &Options,
    start: Instant,
    end: Instant,
    bench: &Bench,
    report: &mut Report,
) {
    type Part = fn(&Stand, Instant, &mut Vec<Figure>) -> Result<Vec<String>>;
    // Each with its part of what is left when it begins.
    let parts: [(&str, f64, Part); 3] = [
        ("serving", 0.75, crowd::measure),
        ("places", 0.65, tiers::measure_places),
        ("cold", 1.0, tiers::measure_cold),
    ];
    let mut stand: Option<Stand> = None;
    for (name, share, part) in parts {
        let (mut figures, mut left_out) = (vec![], vec![]);
        let outcome = within(start, options, || {
            caught(|| {
                let stand = match &mut stand {
                    Some(stand) => stand,
                    none => none.insert(Stand::new(options.shape, bench)?),
                };
                let left = end.saturating_duration_since(Instant::now());
                left_out = part(stand, Instant::now() + left.mul_f64(share), &mut figures)?;
                Ok(())
            })
        });
        report.extend(figures);
        let short =
            (!left_out.is_empty()).then(|| format!("not measured: {}", left_out.join("; ")));
        report.outcome(name, outcome.or(short));
    }
}

impl<'a> Stand<'a> {
    fn new(shape: Shape, bench: &'a Bench) -> Result<Self> {
        let sizes = Sizes::of(shape);
        let wanted = sizes.host * host_bytes_of(bench);
        let host_bytes = folders::host_memory().map_or(wanted, |all| wanted.min(all / 4));
        Ok(Self { bench, sizes, folders: Folders::make(bench, sizes.files)?, host_bytes })
    }

    /// Tokens of one sequence at most.
    fn capacity(&self) -> usize {
        (self.sizes.prompt + self.sizes.answer).next_multiple_of(8)
    }

    /// An engine over the bench's own weights with so many places for adapters.
    fn engine(&self, rows: usize, device_adapters: usize, host_bytes: usize) -> Result<Engine> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = EngineOptions {
            device: self.bench.device,
            threads: (cores / 4).clamp(1, 4),
            slots: rows,
            capacity: self.capacity(),
            // An open loop refuses nobody; what has to wait shows in the time to the first token.
            waiting: 100_000,
            device_adapters,
            device_bytes: self.device_room(rows)?,
            host_bytes,
            ..EngineOptions::new(PathBuf::new())
        };
        Engine::start_with(self.bench.base.share(), options)
    }

    /// Memory that adapters may take on the device.
    fn device_room(&self, rows: usize) -> Result<usize> {
        let Device::Cuda(index) = self.bench.device else { return Ok(usize::MAX) };
        Memory::empty_cache()?;
        let free = DeviceFacts::of(index)?.memory.0 as f64;
        let config = self.bench.base.config();
        let per_token = 4 * config.layers * config.kv_heads * config.head_dim;
        let cache = per_token as f64 * (rows * self.capacity()) as f64;
        // An adapter that was let go stays in the kernel's table until the next step.
        let leaving = rows as f64 * self.bench.adapter_bytes();
        Ok((free - cache - leaving - SPARE).max(0.0) as usize)
    }

    /// Runs `work` over an engine as [`Self::engine`] starts it, and stops it whatever came of it.
    fn over<T>(
        &self,
        rows: usize,
        device_adapters: usize,
        host_bytes: usize,
        work: impl AsyncFnOnce(&Engine) -> Result<T>,
    ) -> Result<T> {
        let held = self.held()?;
        let engine = self.engine(rows, device_adapters, host_bytes)?;
        let result = runtime()?.block_on(work(&engine));
        self.stop(engine, held)?;
        result
    }

    /// Drops an engine and waits until its threads have ended and its memory is free again.
    fn stop(&self, engine: Engine, held: Option<i64>) -> Result<()> {
        drop(engine);
        let (Device::Cuda(index), Some(held)) = (self.bench.device, held) else { return Ok(()) };
        let start = Instant::now();
        // Small tensors of other threads may come and go.
        while Memory::of(index)?.allocated > held + (64 << 20) && start.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(20));
        }
        Memory::empty_cache()
    }

    /// Memory in tensors on the device now.
    fn held(&self) -> Result<Option<i64>> {
        match self.bench.device {
            Device::Cuda(index) => Ok(Some(Memory::of(index)?.allocated)),
            _ => Ok(None),
        }
    }

    /// Random words for a prompt of the usual length; another one for every number.
    fn request(&self, engine: &Engine, adapter: Option<String>, number: usize) -> GenerateRequest {
        let words = word_count(self.bench.base.config());
        let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
        let text: Vec<String> =
            (0..self.sizes.prompt).map(|_| format!("w{}", rng.gen_range(0..words))).collect();
        traffic::request(engine, adapter, Prompt::Text(text.join(" ")), self.sizes.answer)
    }

    /// Registers adapters up to `count`, each from a folder of its own. Says whether all of them
    /// were before `until`.
    async fn register(
        &self,
        engine: &Engine,
        there: &mut usize,
        count: usize,
        until: Instant,
    ) -> Result<bool> {
        let mut running = JoinSet::new();
        while *there < count && Instant::now() < until {
            if running.len() >= READERS {
                finished(running.join_next().await)?;
            }
            let (handle, name) = (engine.clone(), there.to_string());
            let folder = self.folders.of(*there)?;
            running.spawn(async move { handle.load_adapter(name, folder).await });
            *there += 1;
            hold_back(engine).await?;
        }
        while !running.is_empty() {
            finished(running.join_next().await)?;
        }
        Ok(*there >= count)
    }
}

/// Adapters on their way to the device.
fn under_way(stats: &EngineStats) -> u64 {
    let arrived = stats.device.adapters as u64 + stats.device.evictions;
    (stats.host.hits + stats.disk.hits).saturating_sub(arrived)
}

/// Waits a little while many adapters are on their way to the device: each of them is held in the
/// host's memory besides those that the host's tier counts.
async fn hold_back(engine: &Engine) -> Result<()> {
    let start = Instant::now();
    while under_way(&engine.stats()) > READERS as u64 && start.elapsed() < HOLD {
        tokio::time::sleep(Duration::from_millis(2)).await;
        // An idle engine looks at what arrived when it is asked something.
        engine.adapters().await?;
    }
    Ok(())
}

/// Memory of one adapter on the host, where its numbers are f32.
fn host_bytes_of(bench: &Bench) -> usize {
    2 * bench.adapter_bytes() as usize
}

fn finished(loaded: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    loaded.unwrap_or(Ok(Ok(()))).unwrap_or(Err(EngineError::Stopped))
}

/// The window of a saturated run that takes `time` in all.
fn window(time: Duration) -> Window {
    Window { lead: time.mul_f64(LEAD), time: time.mul_f64(1.0 - LEAD) }
}

/// Somewhere to run what asks the engine.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .map_err(EngineError::io(std::path::Path::new("bench-traffic")))
}

fn no_token(time: Duration) -> EngineError {
    let reason = format!("no token came within {:.2} s", time.as_secs_f64());
    EngineError::Cuda { doing: "measuring serving", reason }
}
