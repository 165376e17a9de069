//! Measures attribution against retrained models; prints the table of docs/attribution.md.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
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
    /// Groups of facts to evaluate with, one after the other: for each, how many facts of each
    /// shard are left out before its first.
    #[arg(long, num_args = 1.., default_values_t = [0, 8, 16, 24])]
    skip: Vec<usize>,
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

/// What is written to the file.
#[derive(Serialize)]
struct Figures {
    /// Each group of facts by itself.
    groups: Vec<Report>,
    /// All of them as one.
    pooled: Report,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attribution-eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), EngineError> {
    tch::set_num_threads(arguments.threads.clamp(1, 1024));
    let base = BaseModel::load(&arguments.base, Device::Cpu)?;
    let folder = arguments.out.with_extension("work");
    let mut groups = vec![];
    for &skip in &arguments.skip {
        let mut settings = Settings {
            subsets: arguments.subsets,
            skip,
            facts: arguments.facts,
            ..Settings::default()
        };
        settings.spec.epochs = arguments.epochs;
        let work = folder.join(format!("skip-{skip}"));
        let say = &mut |what: String| eprintln!("{what}");
        let report = evaluate(&base, &arguments.data, &settings, &work, arguments.resume, say)?;
        println!("{skip} facts of each shard left out:\n\n{}", described(&report));
        groups.push(report);
    }
    let Some(pooled) = Report::pooled(&groups) else {
        return Err(EngineError::Spec("name at least one group of facts with --skip".into()));
    };
    if groups.len() > 1 {
        println!("All of them:\n\n{}", described(&pooled));
    }
    let failed = |source| EngineError::Io { path: arguments.out.clone(), source };
    let json =
        serde_json::to_string_pretty(&Figures { groups, pooled }).map_err(|e| failed(e.into()))?;
    std::fs::write(&arguments.out, json + "\n").map_err(failed)
}

fn described(report: &Report) -> String {
    format!(
        "{}\n{} records, {} questions, {} subsets; loss {:.3} trained on all, {:.3} on halves; {:.0} s\n",
        report.table(),
        report.records,
        report.queries,
        report.settings.subsets,
        report.loss_full,
        report.loss_subsets,
        report.seconds
    )
}
