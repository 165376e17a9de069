//! `tributary-bench`: what the worker's engine does in a second, beside PEFT and transformers doing
//! the same work in the same run.
//!
//! `tributary-bench worker` measures serving, cold adapters, training and attribution, prints tables
//! and writes `target/bench/worker.json`. `tributary-bench crowd` asks many adapters at once and
//! compares with asking the base: the demo uses it.

mod adapters;
mod attribution;
mod cold;
mod crowd;
mod load;
mod machine;
mod peer;
mod serving;
mod table;
mod training;
mod worker;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Measures the worker's engine.
#[derive(Parser)]
#[command(name = "tributary-bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Everything, against PEFT and transformers.
    Worker(worker::Options),
    /// Many adapters asked at once, against the base asked as often.
    Crowd(crowd::Options),
}

/// Where the tensor library computes.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Folder of the base model.
    #[arg(long)]
    base: PathBuf,
    /// Threads of one tensor operation, for us and for the peer.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match arguments.what {
        What::Worker(options) => worker::run(&options, &runtime),
        What::Crowd(options) => runtime.block_on(crowd::run(&options)),
    }
}
