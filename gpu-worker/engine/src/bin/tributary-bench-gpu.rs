//! Measures the engine on a CUDA device, on random weights of a large model's shape.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tch::Device;
use tributary_engine::cuda::bench::{run, Options, Report, Shape};
use tributary_engine::cuda::{start, Cuda};

/// What the process ends with when there is no device to measure on.
const NO_DEVICE: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// The first CUDA device.
    Cuda,
    /// The CPU, the kernel emulated: for trying the program out with `--shape tiny`.
    Cpu,
}

/// Measures decoding with many adapters, the kernel against stock operations, residency, loading,
/// training and serving, and prints one table. Ends with 3 when there is no CUDA device.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to measure.
    #[arg(long, value_enum, default_value = "cuda")]
    device: Where,
    /// The model's shape: `llama3-8b` or `tiny`.
    #[arg(long, default_value = "llama3-8b", value_parser = shape)]
    shape: Shape,
    /// No section begins after so many seconds.
    #[arg(long, default_value_t = 470)]
    seconds: u64,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/gpu.json")]
    out: PathBuf,
    /// The Python for the comparison with PEFT; `none` leaves it out.
    #[arg(long, env = "TRIBUTARY_PYTHON", default_value = "python3")]
    python: PathBuf,
}

fn shape(name: &str) -> Result<Shape, String> {
    Shape::from_name(name).ok_or_else(|| format!("`{name}` is neither llama3-8b nor tiny"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let device = match arguments.device {
        Where::Cpu => Device::Cpu,
        Where::Cuda => match start() {
            Cuda::Ready { .. } => Device::Cuda(0),
            Cuda::Missing(reason) => {
                eprintln!("There is no CUDA device to measure on: {reason}.");
                return ExitCode::from(NO_DEVICE);
            }
        },
    };
    if device == Device::Cpu && arguments.shape != Shape::Tiny {
        eprintln!("On the CPU only `--shape tiny` can be tried.");
        return ExitCode::FAILURE;
    }
    let python = (arguments.python != Path::new("none")).then_some(arguments.python);
    let limit = Duration::from_secs(arguments.seconds);
    let options = Options { device, shape: arguments.shape, limit, python };
    let report = match run(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("Nothing could be measured: {error}.");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", report.table());
    match write(&report, &arguments.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} could not be written: {error}", arguments.out.display());
            ExitCode::FAILURE
        }
    }
}

fn write(report: &Report, path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    std::fs::write(path, text)
}
