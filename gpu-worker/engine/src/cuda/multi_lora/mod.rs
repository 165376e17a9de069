//! The multi-adapter kernel: `y[t] += scale_a · B_a (A_a x[t])` for rows of many adapters at once.
//!
//! Three things make a call:
//! - a [`Table`] says, for each slot (a place for one adapter) and each matrix pair of the model,
//!   where A and B stand on the device. An adapter is put into a slot by one small copy.
//! - a [`Plan`] says which rows of this step's batch use which slot. It is made once per step and
//!   serves all layers; a plan of fixed room can be changed under a recorded [`super::Graph`].
//! - a list of [`Job`]s: matrix pair, input, output. Projections that share a step (queries, keys
//!   and values; gate and up) go in one call.
//!
//! On a CUDA device the kernels run on the tensor library's current stream. On the CPU the same
//! source runs in an emulation: exact in logic, slow, meant for tests and small trials.
//!
//! The result for a row depends only on the row, its adapter and whether its segment is short
//! (at most [`FEW`] rows) or long: not on what else is in the batch.

mod plan;
mod table;

use tch::{Device, Kind, Tensor};

use plan::RawTile;
use table::RawEntry;

pub use plan::{Plan, Segment};
pub use table::{pad_rank, Pair, Table};

use super::driver::{self, Context, Function, Module};
use super::shim::Stream;
use crate::error::{EngineError, Result};

/// Segments of at most so many rows take the path that is bound by bandwidth; longer ones go
/// through tensor cores.
pub const FEW: usize = 8;
/// The largest rank that a slot takes.
pub const MAX_RANK: usize = 64;

// The constants of multi_lora.cu.
const FEW_ROWS: usize = 4;
const FEW_THREADS: u32 = 256;
const MANY_ROWS: usize = 32;
const MANY_THREADS: u32 = 128;
const MANY_COLUMNS: usize = 512;
const PIECE: usize = 1024;
const MAX_JOBS: usize = 4;
const EXPAND_VECTORS: usize = 2048;
/// The most blocks that a grid has in its second dimension.
const MAX_TILES: usize = 65_535;

/// `Job` of the source.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawJob {
    x: u64,
    y: u64,
    table: u64,
    low: u64,
    input: i32,
    output: i32,
    x_stride: i32,
    y_stride: i32,
    pieces: i32,
    out_tiles: i32,
}

/// `Launch` of the source.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawLaunch {
    jobs: [RawJob; MAX_JOBS],
    tiles: u64,
    job_count: i32,
    rank_stride: i32,
    out_tile: i32,
    slot_stride: i32,
}

extern "C" {
    fn tributary_emulate(
        kernel: i32,
        launch: *const std::ffi::c_void,
        grid_x: u32,
        grid_y: u32,
    ) -> i32;
}

fn refuse(reason: String) -> EngineError {
    EngineError::Cuda { doing: "applying adapters", reason }
}

/// The bytes of plain numbers.
fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: only called with the raw structures above, which are made of numbers without gaps.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// Writes `values` at element `at` (64-bit elements) of an int64 tensor, in the current stream's
/// order.
fn write<T: Copy>(target: &Tensor, at: usize, values: &[T]) -> Result<()> {
    let bytes = bytes_of(values);
    if at * 8 + bytes.len() > target.numel() * 8 {
        return Err(refuse("a table is too small for what is written into it".into()));
    }
    let to = target.data_ptr() as u64 + at as u64 * 8;
    match target.device() {
        Device::Cuda(index) => {
            let stream = Stream::current(index)?;
            // SAFETY: the range lies inside the tensor, as checked; `values` is not pinned.
            unsafe { driver::copy_to_device(to, bytes, stream.native()) }
        }
        // SAFETY: the range lies inside the tensor; nobody else writes to it meanwhile, because
        // both owners of such tensors are borrowed for writing here.
        _ => unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len());
            Ok(())
        },
    }
}

fn check_operand(tensor: &Tensor, device: Device, what: &str) -> Result<()> {
    if tensor.kind() != Kind::BFloat16 {
        return Err(refuse(format!("{what} is {:?}, not bf16", tensor.kind())));
    }
    if tensor.device() != device {
        return Err(refuse(format!("{what} is on {:?}, not on {device:?}", tensor.device())));
    }
    if !(tensor.data_ptr() as usize).is_multiple_of(16) {
        return Err(refuse(format!("{what} does not begin at a multiple of 16 bytes")));
    }
    Ok(())
}

/// One projection of a call.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Which of the table's pairs.
    pub pair: usize,
    /// Input `[rows, in]`, bf16, rows contiguous in themselves.
    pub x: &'a Tensor,
    /// Output `[rows, out]`, bf16, rows contiguous in themselves; added to in place.
    pub y: &'a Tensor,
}

enum Backend {
    Cuda { context: Context, index: usize, functions: [Function; 4] },
    Emulated,
}

/// The compiled kernels of one device.
pub struct MultiLoraKernel {
    backend: Backend,
    device: Device,
}

impl MultiLoraKernel {
    /// Compiles the kernels for `device`, or takes them from the cache on disk. On the CPU they
    /// are emulated.
    pub fn new(device: Device) -> Result<Self> {
        let backend = match device {
            Device::Cuda(index) => {
                super::shim::use_device(index)?;
                let context = Context::new(index)?;
                context.enter()?;
                let module = Module::load(&super::compile::for_device(context.capability()?)?)?;
                let functions = [
                    module.function(c"lora_shrink_few")?,
                    module.function(c"lora_expand_few")?,
                    module.function(c"lora_shrink_many")?,
                    module.function(c"lora_expand_many")?,
                ];
                Backend::Cuda { context, index, functions }
            }
            Device::Cpu => Backend::Emulated,
            other => return Err(refuse(format!("there are no kernels for {other:?}"))),
        };
        Ok(Self { backend, device })
    }

    /// Adds to each job's `y`, in place, what the plan's adapters make of its `x`.
    ///
    /// Nothing is read or written outside the plan's rows. The call returns when the work is
    /// queued on the current stream.
    pub fn apply(&self, table: &Table, plan: &Plan, jobs: &[Job]) -> Result<()> {
        if table.entries.device() != self.device || plan.tiles.device() != self.device {
            return Err(refuse(format!("table and plan must be on {:?}", self.device)));
        }
        if plan.slots > table.slots() {
            let (named, slots) = (plan.slots - 1, table.slots());
            return Err(refuse(format!("the plan names slot {named}, the table has {slots}")));
        }
        if plan.few + plan.many == 0 || plan.rows == 0 {
            return Ok(());
        }
        for group in jobs.chunks(MAX_JOBS) {
            self.apply_group(table, plan, group)?;
        }
        Ok(())
    }

    fn apply_group(&self, table: &Table, plan: &Plan, jobs: &[Job]) -> Result<()> {
        let pieces = |pair: usize| table.shapes[pair].0.div_ceil(PIECE);
        if let Some(job) = jobs.iter().find(|job| job.pair >= table.shapes.len()) {
            return Err(refuse(format!("there is no pair {}", job.pair)));
        }
        let all_pieces: usize = jobs.iter().map(|job| pieces(job.pair)).sum();
        let numbers = plan.rows * all_pieces * table.max_rank;
        // Let go at the end of this call: what is allocated next on this stream runs after it.
        let low = Tensor::f_empty([numbers as i64], (Kind::Float, self.device))?;
        let mut launch = RawLaunch {
            job_count: jobs.len() as i32,
            rank_stride: table.max_rank as i32,
            slot_stride: table.shapes.len() as i32,
            ..RawLaunch::default()
        };
        let mut before = 0;
        for (raw, job) in launch.jobs.iter_mut().zip(jobs) {
            *raw = self.raw_job(table, plan, job)?;
            raw.low = low.data_ptr() as u64 + (before * plan.rows * table.max_rank * 4) as u64;
            before += pieces(job.pair);
        }
        let tiles = plan.tiles.data_ptr() as u64;
        let per_row = table.max_rank / 8;
        let few = (EXPAND_VECTORS / per_row, FEW_THREADS, plan.few, 0);
        let many = (MANY_COLUMNS, MANY_THREADS, plan.many, plan.few);
        for (kind, (out_tile, threads, count, skipped)) in [few, many].into_iter().enumerate() {
            if count == 0 {
                continue;
            }
            launch.tiles = tiles + (skipped * std::mem::size_of::<RawTile>()) as u64;
            launch.out_tile = out_tile as i32;
            let mut out_tiles = 0;
            for (raw, job) in launch.jobs.iter_mut().zip(jobs) {
                let n = table.shapes[job.pair].1.div_ceil(out_tile);
                raw.out_tiles = n as i32;
                out_tiles += n;
            }
            self.launch(2 * kind, (all_pieces as u32, count as u32), threads, &launch)?;
            self.launch(2 * kind + 1, (out_tiles as u32, count as u32), threads, &launch)?;
        }
        Ok(())
    }

    fn raw_job(&self, table: &Table, plan: &Plan, job: &Job) -> Result<RawJob> {
        let (input, output) = table.shapes[job.pair];
        let mut strides = [0; 2];
        for (stride, (tensor, width, what)) in
            strides.iter_mut().zip([(job.x, input, "the input"), (job.y, output, "the output")])
        {
            check_operand(tensor, self.device, what)?;
            let wanted = [plan.rows as i64, width as i64];
            let (size, steps) = (tensor.size(), tensor.stride());
            if size != wanted {
                return Err(refuse(format!("{what} is {size:?}, not {wanted:?}")));
            }
            let row = if plan.rows == 1 { width as i64 } else { steps[0] };
            if steps[1] != 1 || row % 8 != 0 || row < width as i64 {
                return Err(refuse(format!(
                    "{what} has strides {steps:?}; rows must be contiguous and begin at \
                     multiples of 16 bytes"
                )));
            }
            *stride = i32::try_from(row).map_err(|_| refuse(format!("{what} is too large")))?;
        }
        Ok(RawJob {
            x: job.x.data_ptr() as u64,
            y: job.y.data_ptr() as u64,
            table: table.entries.data_ptr() as u64
                + (job.pair * std::mem::size_of::<RawEntry>()) as u64,
            low: 0,
            input: input as i32,
            output: output as i32,
            x_stride: strides[0],
            y_stride: strides[1],
            pieces: input.div_ceil(PIECE) as i32,
            out_tiles: 0,
        })
    }

    fn launch(
        &self,
        kernel: usize,
        grid: (u32, u32),
        threads: u32,
        launch: &RawLaunch,
    ) -> Result<()> {
        match &self.backend {
            Backend::Cuda { context, index, functions } => {
                context.enter()?;
                let stream = Stream::current(*index)?;
                // SAFETY: the argument is laid out as in the source; the addresses are of tensors
                // that were checked to be on this device and to have the sizes in the argument.
                // Those that may be let go before the kernel runs belong to the stream's own
                // order of reuse.
                unsafe { functions[kernel].launch(grid, threads, stream.native(), launch) }
            }
            Backend::Emulated => {
                let argument = std::ptr::from_ref(launch).cast();
                // SAFETY: as above; the emulation has finished when this returns.
                match unsafe { tributary_emulate(kernel as i32, argument, grid.0, grid.1) } {
                    0 => Ok(()),
                    code => Err(refuse(format!("the emulation of kernel {kernel} gave {code}"))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_those_of_the_source() {
        let source = include_str!("../kernel/multi_lora.cu");
        for (name, value) in [
            ("FEW_ROWS", FEW_ROWS),
            ("FEW_THREADS", FEW_THREADS as usize),
            ("MANY_ROWS", MANY_ROWS),
            ("MANY_THREADS", MANY_THREADS as usize),
            ("MANY_COLUMNS", MANY_COLUMNS),
            ("PIECE", PIECE),
            ("MAX_RANK", MAX_RANK),
            ("MAX_JOBS", MAX_JOBS),
            ("EXPAND_VECTORS", EXPAND_VECTORS),
        ] {
            let line = format!("#define {name} {value}\n");
            assert!(source.contains(&line), "{line}");
        }
    }

    #[test]
    fn layouts_are_those_of_the_source() {
        extern "C" {
            fn tributary_emulate_launch_size() -> usize;
        }
        // SAFETY: no arguments.
        assert_eq!(std::mem::size_of::<RawLaunch>(), unsafe { tributary_emulate_launch_size() });
        assert_eq!(std::mem::size_of::<RawTile>(), 16);
        assert_eq!(std::mem::size_of::<RawEntry>(), 32);
    }
}
