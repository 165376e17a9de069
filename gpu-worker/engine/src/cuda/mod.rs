//! What a CUDA device adds: loading, streams, recorded steps, the multi-adapter kernel.
//!
//! What serving needs of the kernel is [`Table`] (slots for adapters), [`Plan`] (which rows use
//! which slot) and [`MultiLoraKernel::apply`]; [`Stream`] and [`Event`] let copies go beside the
//! computation, and [`Graph`] replays a step of fixed shapes without the host's part in it.
//!
//! One binary serves machines with and without a GPU. CUDA's libraries are looked for when
//! [`start`] is called, and everything here gives a typed error where they are missing.

mod adapters;
pub mod bench;
mod compile;
mod driver;
mod graph;
mod multi_lora;
mod shim;
pub mod stock;

use std::sync::OnceLock;

pub(crate) use adapters::KernelDeltas;
pub use adapters::{load_adapter, model_table, pair_of};
pub use compile::{compile, Compiled};
pub use graph::Graph;
pub use multi_lora::{pad_rank, Job, MultiLoraKernel, Pair, Plan, Segment, Table, FEW, MAX_RANK};
pub use shim::{device_count, synchronize, use_device, Event, Memory, Stream, Switches};

/// What [`start`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuda {
    /// So many devices are ready.
    Ready {
        /// At least 1.
        devices: usize,
    },
    /// There is none to use; the sentence says why and what would help.
    Missing(String),
}

/// Makes CUDA available to the tensor library, if this machine has it. To be called before the
/// library is used for anything else: it looks for its CUDA part once, and remembers that there
/// was none. Later calls give the first one's answer.
///
/// The linker leaves PyTorch's CUDA part out of a program that names none of its symbols; this
/// loads it, so that `tch::Cuda::is_available()` says what is so. Where there is no driver it
/// loads nothing: a machine without a GPU pays nothing for it.
pub fn start() -> Cuda {
    static FOUND: OnceLock<Cuda> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Cuda {
    if !driver::is_present() {
        let reason = "no NVIDIA driver (libcuda) is on this machine";
        return Cuda::Missing(reason.into());
    }
    if let Err(error) = load_torch_cuda() {
        return Cuda::Missing(format!("PyTorch's CUDA part cannot be loaded ({error})"));
    }
    match device_count() {
        Ok(devices) if devices > 0 && tch::Cuda::is_available() => Cuda::Ready { devices },
        Ok(_) => Cuda::Missing(
            "the driver shows no device that PyTorch can use; `nvidia-smi` says more".into(),
        ),
        Err(error) => Cuda::Missing(error.to_string()),
    }
}

/// Loads PyTorch's CUDA part from beside its core, whether or not there is a driver.
pub fn load_torch_cuda() -> crate::Result<()> {
    if shim::has_cuda() {
        return Ok(());
    }
    let path = shim::torch_folder()?.join("libtorch_cuda.so");
    shim::load_library(&path.to_string_lossy())
}

/// A device's name, memory and bandwidth, for reports and computed bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFacts {
    /// As in "NVIDIA H200".
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes that are free, and all.
    pub memory: (usize, usize),
    /// Peak of the memory's bandwidth, bytes per second.
    pub bandwidth: f64,
    /// Multiprocessors, and their highest clock in Hz.
    pub processors: (i32, f64),
}

impl DeviceFacts {
    /// What the driver says of device `index`.
    pub fn of(index: usize) -> crate::Result<Self> {
        let context = driver::Context::new(index)?;
        Ok(Self {
            name: context.name()?,
            capability: context.capability()?,
            memory: context.memory()?,
            bandwidth: context.bandwidth()?,
            processors: context.processors()?,
        })
    }
}
