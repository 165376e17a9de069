//! Measures attribution against retrained models; prints the table of docs/attribution.md.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tch::Device;
use tributary_engine::evaluation::{evaluate, Report, Settings};
use tributary_engine::{BaseModel, EngineError};

/// Linear datamodeling score, mislabelled-data AUC and tail patch of every attribution method.
#[derive(Parser)]
struct Arguments {
    /// Base model's folder.
    #[arg(long, default_value = "gpu-worker/base-model/tiny")]
    base: PathBuf,
    /// Folder with shard-N.jsonl and held-out.jsonl.
    #[arg(long, default_value = "examples/defi-exploits")]
    data: PathBuf,
    /// Where the figures go, as JSON. Intermediate files lie in a folder beside it.
    #[arg(long, default_value = "target/bench/attribution.json")]
    out: PathBuf,
    /// Models retrained on random halves of the records.
    #[arg(long, default_value_t = Settings::default().subsets)]
    subsets: usize,
    /// Facts taken from each shard.
    #[arg(long, default_value_t = Settings::default().facts)]
    facts: usize,
    /// Facts of each shard that are left out before them.
    #[arg(long, default_value_t = Settings::default().skip)]
    skip: usize,
    /// Passes over the records in every training.
    #[arg(long, default_value_t = Settings::default().spec.epochs)]
    epochs: usize,
    /// Threads of the tensor library. The models are small: more than one seldom helps.
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Takes retrained models' losses from an earlier run with the same settings.
    #[arg(long)]
    resume: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{}", report.table());
            println!(
                "{} records, {} questions, {} subsets; loss {:.3} trained on all, {:.3} on halves; {:.0} s",
                report.records,
                report.queries,
                report.settings.subsets,
                report.loss_full,
                report.loss_subsets,
                report.seconds
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("attribution-eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report, EngineError> {
    tch::set_num_threads(arguments.threads.clamp(1, 1024));
    let base = BaseModel::load(&arguments.base, Device::Cpu)?;
    let mut settings = Settings {
        subsets: arguments.subsets,
        skip: arguments.skip,
        facts: arguments.facts,
        ..Settings::default()
    };
    settings.spec.epochs = arguments.epochs;
    let work = arguments.out.with_extension("work");
    let say = &mut |what: String| eprintln!("{what}");
    let report = evaluate(&base, &arguments.data, &settings, &work, arguments.resume, say)?;
    let failed = |source| EngineError::Io { path: arguments.out.clone(), source };
    let json = serde_json::to_string_pretty(&report).map_err(|e| failed(e.into()))?;
    std::fs::write(&arguments.out, json + "\n").map_err(failed)?;
    Ok(report)
}
