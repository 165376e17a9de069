//! How fast attribution's indices are built and searched; prints JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tch::Device;
use tributary_engine::evaluation::{speed, SpeedSettings};
use tributary_engine::BaseModel;

/// Index build rate, query latency and spans, on synthetic rows and texts.
#[derive(Parser)]
struct Arguments {
    /// Base model's folder.
    #[arg(long, default_value = "gpu-worker/base-model/tiny")]
    base: PathBuf,
    /// Folder with shard-N.jsonl and held-out.jsonl.
    #[arg(long, default_value = "examples/defi-exploits")]
    data: PathBuf,
    /// Folder for the synthetic indices; 2 GB free are needed.
    #[arg(long, default_value = "target/bench/attribution.work")]
    work: PathBuf,
    /// Largest number of records asked.
    #[arg(long, default_value_t = 1_000_000)]
    records: u32,
    /// Calls of each kind.
    #[arg(long, default_value_t = SpeedSettings::default().rounds)]
    rounds: usize,
    /// Threads of the tensor library.
    #[arg(long, default_value_t = 1)]
    threads: i32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tch::set_num_threads(arguments.threads.clamp(1, 1024));
    let mut settings = SpeedSettings { rounds: arguments.rounds, ..SpeedSettings::default() };
    settings.queried.retain(|(rows, _)| *rows <= arguments.records);
    let say = &mut |what: String| eprintln!("{what}");
    let found = BaseModel::load(&arguments.base, Device::Cpu)
        .and_then(|base| speed(&base, &arguments.data, &arguments.work, &settings, say));
    match found {
        Ok(figures) => {
            println!("{figures:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("attribution-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
