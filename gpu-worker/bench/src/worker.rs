//! The whole run: every table, the targets, and the JSON.

use crate::{
    adapters, attribution, cold, load::QUESTIONS, machine::Machine, peer, serving, table, training,
    Place,
};
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;
use tributary_engine::{traffic::Popularity, BaseModel, Engine};

/// What is measured, and how long.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// Folder of the example data.
    #[arg(long)]
    data: PathBuf,
    /// File for the figures.
    #[arg(long, default_value = "target/bench/worker.json")]
    out: PathBuf,
    /// A run of seconds, to see that all of it works; its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Leave the peer out.
    #[arg(long)]
    no_peer: bool,
}

/// A figure that was aimed at.
#[derive(Clone, Debug, Serialize)]
struct Target {
    what: &'static str,
    at_least: f64,
    found: f64,
    met: bool,
}

#[derive(Default, Serialize)]
struct Peers {
    serving: Vec<peer::Served>,
    training_one: Option<training::Row>,
    training_eight: Option<training::Row>,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    base_tokens_per_second: f64,
    serving: Vec<serving::Row>,
    around_the_limit: Vec<serving::Row>,
    mixed_ranks: Vec<serving::Row>,
    cold: Vec<cold::Row>,
    training: Vec<training::Row>,
    attribution: attribution::Report,
    peer: Peers,
    targets: Vec<Target>,
}

struct Sizes {
    adapters: Vec<usize>,
    folders: usize,
    amount: serving::Amount,
    cold: usize,
    peer_batches: usize,
    steps: usize,
}

impl Sizes {
    fn of(quick: bool) -> Self {
        match quick {
            false => Self {
                adapters: vec![1, 8, 64, 256, 1_000, 2_000],
                folders: 64,
                amount: serving::Amount { requests: 512, tokens: 32, seconds: 5.0 },
                cold: 16,
                peer_batches: 2,
                steps: training::STEPS,
            },
            true => Self {
                adapters: vec![1, 8],
                folders: 8,
                amount: serving::Amount { requests: 16, tokens: 4, seconds: 0.2 },
                cold: 3,
                peer_batches: 1,
                steps: 3,
            },
        }
    }
}

/// Measures everything.
pub fn run(options: &Options, runtime: &Runtime) -> Result<()> {
    let Place { base, threads } = &options.place;
    let machine = Machine::here(*threads);
    println!("{}", machine.line());
    let sizes = Sizes::of(options.quick);
    let folder = tempfile::tempdir()?;
    tch::set_num_threads(*threads as i32);
    let model = BaseModel::load(base, tch::Device::Cpu)?;
    // First, while nothing but the base is in memory.
    let records = training::records(&options.data, sizes.steps * training::BATCH)?;
    let trained = vec![training::one(&model, &records)?, training::many(&model, &records, 8)?];
    let made = adapters::make(folder.path(), sizes.folders, adapters::RANK, model.config())?;

    let (base_rate, rows) = runtime.block_on(many(base, *threads, &made, &sizes))?;
    println!("\nbase without adapters: {base_rate:.0} tok/s");
    serving::show("Serving, rank 16, 64 places for prepared adapters", &rows);
    let around = runtime.block_on(around(base, *threads, &made, base_rate, &sizes))?;
    serving::show("Around the limit of prepared adapters", &around);
    let mut mixed = Vec::new();
    for (at, rank) in [8, 16, 32, 64].into_iter().enumerate() {
        let part = adapters::make(folder.path(), sizes.folders / 4, rank, model.config())?;
        mixed.extend(part.into_iter().enumerate().map(|(n, path)| (4 * n + at, path)));
    }
    mixed.sort();
    let mixed: Vec<PathBuf> = mixed.into_iter().map(|(_, path)| path).collect();
    let ranks = runtime.block_on(ranks(base, *threads, &mixed, base_rate, &sizes))?;
    serving::show("Ranks 8, 16, 32 and 64 in one batch", &ranks);

    let few = &made[..sizes.cold];
    let cold = runtime.block_on(cold::run(base, *threads, few, folder.path()))?;
    cold::show(&cold);

    let attribution = attribution::run(&model, &options.data, options.quick)?;
    drop(model);

    let peer = match options.no_peer {
        true => Peers::default(),
        false => peers(options, &made, &sizes)?,
    };
    show_training(&trained, &peer);
    attribution::show(&attribution);
    let targets = targets(base_rate, &rows, &trained, &peer);
    show_targets(base_rate, &rows, &peer, &targets);
    let report = Report {
        machine,
        base_tokens_per_second: base_rate,
        serving: rows,
        around_the_limit: around,
        mixed_ranks: ranks,
        cold,
        training: trained,
        attribution,
        peer,
        targets,
    };
    write(&options.out, &report)
}

fn write(path: &Path, report: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, serde_json::to_string_pretty(report)?)
        .with_context(|| path.display().to_string())?;
    println!("\nwritten: {}", path.display());
    Ok(())
}

async fn many(
    base: &Path,
    threads: usize,
    made: &[PathBuf],
    sizes: &Sizes,
) -> Result<(f64, Vec<serving::Row>)> {
    let engine = serving::engine(base, threads, serving::RESIDENT)?;
    let rate = serving::base(&engine, sizes.amount).await?;
    let mut rows = Vec::new();
    let mut there = 0;
    for &count in &sizes.adapters {
        add(&engine, made, &mut there, count).await?;
        for popularity in [Popularity::Uniform, Popularity::Zipf] {
            if count == 1 && popularity == Popularity::Zipf {
                continue;
            }
            let resident = serving::RESIDENT;
            rows.push(
                serving::row(&engine, count, resident, popularity, rate, sizes.amount).await?,
            );
        }
    }
    Ok((rate, rows))
}

async fn add(engine: &Engine, made: &[PathBuf], there: &mut usize, count: usize) -> Result<()> {
    for number in *there..count {
        engine.load_adapter(number.to_string(), &made[number % made.len()]).await?;
    }
    *there = count.max(*there);
    Ok(())
}

async fn around(
    base: &Path,
    threads: usize,
    made: &[PathBuf],
    rate: f64,
    sizes: &Sizes,
) -> Result<Vec<serving::Row>> {
    let places = made.len() / 2;
    let engine = serving::engine(base, threads, places)?;
    let mut rows = Vec::new();
    let mut there = 0;
    for count in [places - 1, places, places + 1, 2 * places] {
        add(&engine, made, &mut there, count).await?;
        let row =
            serving::row(&engine, count, places, Popularity::Uniform, rate, sizes.amount).await?;
        rows.push(row);
    }
    Ok(rows)
}

async fn ranks(
    base: &Path,
    threads: usize,
    made: &[PathBuf],
    rate: f64,
    sizes: &Sizes,
) -> Result<Vec<serving::Row>> {
    let engine = serving::engine(base, threads, made.len())?;
    serving::register(&engine, made, made.len()).await?;
    let (count, all) = (made.len(), Popularity::Uniform);
    Ok(vec![serving::row(&engine, count, count, all, rate, sizes.amount).await?])
}

fn peers(options: &Options, made: &[PathBuf], sizes: &Sizes) -> Result<Peers> {
    let Place { base, threads } = &options.place;
    let mixes: Vec<usize> = [0, 1, 8, 64].into_iter().filter(|n| *n <= made.len()).collect();
    let serving = peer::ask(
        "serve",
        &peer::Serve {
            base,
            threads: *threads,
            adapters: made,
            questions: &QUESTIONS,
            batch: serving::SLOTS,
            batches: sizes.peer_batches,
            tokens: sizes.amount.tokens,
            mixes: &mixes,
        },
    )?;
    let train = |jobs: usize| {
        peer::ask(
            "train",
            &peer::Train {
                base,
                threads: *threads,
                data: &options.data.join("shard-0.jsonl"),
                batch: training::BATCH,
                steps: if jobs == 1 { sizes.steps } else { sizes.steps.div_ceil(4).max(2) },
                rank: adapters::RANK,
                jobs,
            },
        )
    };
    Ok(Peers { serving, training_one: Some(train(1)?), training_eight: Some(train(8)?) })
}

fn show_training(ours: &[training::Row], peer: &Peers) {
    let theirs = [&peer.training_one, &peer.training_eight];
    let cells: Vec<Vec<String>> = ours
        .iter()
        .zip(theirs)
        .map(|(row, peer)| {
            let of =
                |f: &dyn Fn(&training::Row) -> String| peer.as_ref().map_or_else(|| "-".into(), f);
            vec![
                row.jobs.to_string(),
                format!("{:.0}", row.tokens_per_second),
                of(&|peer| format!("{:.0}", peer.tokens_per_second)),
                of(&|peer| format!("{:.2}", row.tokens_per_second / peer.tokens_per_second)),
                format!("{:.0}", row.extra_mib),
                of(&|peer| format!("{:.0}", peer.extra_mib)),
            ]
        })
        .collect();
    table::print(
        "Training, rank 16, batch 32 (PEFT trains eight one after the other)",
        &["jobs", "tok/s", "PEFT tok/s", "ratio", "extra MiB", "PEFT extra MiB"],
        &cells,
    );
}

fn rate_of(rows: &[serving::Row], adapters: usize) -> Option<f64> {
    rows.iter().find(|row| row.adapters == adapters).map(|row| row.tokens_per_second)
}

fn targets(
    base: f64,
    rows: &[serving::Row],
    trained: &[training::Row],
    peer: &Peers,
) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut aim = |what, at_least: f64, found: Option<f64>| {
        if let Some(found) = found {
            targets.push(Target { what, at_least, found, met: found >= at_least });
        }
    };
    let theirs = |n: usize| peer.serving.iter().find(|row| row.adapters == n);
    let over = |n: usize| Some(rate_of(rows, n)? / theirs(n)?.tokens_per_second);
    aim("64 adapters in a batch of 64, times PEFT", 5.0, over(64));
    let train = peer.training_one.as_ref();
    aim(
        "training one job, times PEFT",
        1.0,
        train.map(|peer| trained[0].tokens_per_second / peer.tokens_per_second),
    );
    let cliff = rate_of(rows, 2_000).zip(rate_of(rows, 64)).map(|(many, few)| many / few);
    aim("2,000 adapters, of the rate with 64", 0.5, cliff);
    aim("base alone, times transformers", 1.0, theirs(0).map(|peer| base / peer.tokens_per_second));
    targets
}

fn show_targets(base: f64, rows: &[serving::Row], peer: &Peers, targets: &[Target]) {
    let cells: Vec<Vec<String>> = peer
        .serving
        .iter()
        .filter_map(|peer| {
            let ours = if peer.adapters == 0 { base } else { rate_of(rows, peer.adapters)? };
            Some(vec![
                peer.adapters.to_string(),
                format!("{ours:.0}"),
                format!("{:.0}", peer.tokens_per_second),
                format!("{:.1}", ours / peer.tokens_per_second),
            ])
        })
        .collect();
    table::print(
        "Beside PEFT on transformers: 64 sequences at once",
        &["adapters", "tok/s", "PEFT tok/s", "ratio"],
        &cells,
    );
    let cells: Vec<Vec<String>> = targets
        .iter()
        .map(|target| {
            let verdict = if target.met { "met" } else { "MISSED" };
            let (least, found) =
                (format!("{:.2}", target.at_least), format!("{:.2}", target.found));
            vec![target.what.into(), least, found, verdict.into()]
        })
        .collect();
    table::print("Targets", &["", "at least", "found", ""], &cells);
}
