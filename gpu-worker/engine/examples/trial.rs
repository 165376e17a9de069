//! Trains on a data set of shards, then measures what matters: right answers on held-out
//! wordings, attribution to the right contributor, and how well the explained part tells
//! questions on the subject from others.
//!
//!     cargo run --profile testnet --example trial -- --base BASE --data examples/defi-exploits

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use serde::Deserialize;
use tch::Device;
use tributary_attribution::Attribution;
use tributary_engine::indexing::{
    build_influence, queries as index_queries, Corpus, Form, GradientSpace,
};
use tributary_engine::{
    encode_records, generate, train, Adapter, Answer, BaseModel, Guidance, IndexSpec, Message,
    Record, Request, Sample, Sampling, TrainSpec,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Arguments {
    /// Base model's folder.
    #[arg(long)]
    base: PathBuf,
    /// Folder with shard-N.jsonl, held-out.jsonl and off-topic.jsonl.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value_t = 12)]
    epochs: usize,
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    #[arg(long, default_value_t = 16)]
    rank: i64,
    #[arg(long, default_value_t = 32.0)]
    alpha: f64,
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    #[arg(long, default_value_t = 2)]
    threads: i32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder to keep the adapter in; taken from there when it is already there.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Dimensions of the projection.
    #[arg(long, default_value_t = 4096)]
    dims: u32,
    /// λ in millionths.
    #[arg(long, default_values_t = [10_000, 100_000, 300_000])]
    lambda: Vec<u32>,
    /// Print every wrong answer.
    #[arg(long)]
    wrong: bool,
}

#[derive(Deserialize)]
struct HeldOut {
    prompt: String,
    completion: String,
    contributor: u32,
    key_facts: Vec<String>,
}

#[derive(Deserialize)]
struct OffTopic {
    prompt: String,
}

fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Fallible<Vec<T>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The data set, and which shard each record is from.
struct Data {
    records: Vec<Record>,
    owners: Vec<u32>,
    held_out: Vec<HeldOut>,
    off_topic: Vec<OffTopic>,
}

impl Data {
    fn read(folder: &Path) -> Fallible<Self> {
        let (mut records, mut owners) = (Vec::new(), Vec::new());
        for shard in 0u32.. {
            let path = folder.join(format!("shard-{shard}.jsonl"));
            if !path.is_file() {
                break;
            }
            let mut part: Vec<Record> = lines(&path)?;
            owners.extend(part.iter().map(|_| shard));
            records.append(&mut part);
        }
        let held_out = lines(&folder.join("held-out.jsonl"))?;
        let off_topic = lines(&folder.join("off-topic.jsonl"))?;
        Ok(Self { records, owners, held_out, off_topic })
    }
}

fn main() -> Fallible<()> {
    let arguments = Arguments::parse();
    tch::set_num_threads(arguments.threads);
    let base = BaseModel::load(&arguments.base, Device::Cpu)?;
    let data = Data::read(&arguments.data)?;
    let spec = TrainSpec {
        rank: arguments.rank,
        alpha: arguments.alpha,
        epochs: arguments.epochs,
        batch: arguments.batch,
        lr: arguments.lr,
        seed: arguments.seed,
        weight_decay: arguments.weight_decay,
        ..TrainSpec::default()
    };
    let adapter = trained(&base, &data.records, &spec, arguments.adapter.as_deref())?;
    let prompts = data.held_out.iter().map(|h| &h.prompt);
    let prompts = prompts.chain(data.off_topic.iter().map(|o| &o.prompt));
    let prompts: Vec<Vec<i64>> = prompts
        .map(|prompt| base.tokenizer().encode_chat(&[Message::user(prompt)]))
        .collect::<Result<_, _>>()?;
    let answers = answered(&base, &adapter, &prompts)?;
    let right = judged(&data, &answers, arguments.wrong);
    let queries: Vec<Sample> = prompts
        .iter()
        .zip(&answers)
        .map(|(prompt, answer)| Sample::from_parts(prompt, &answer.tokens))
        .collect();
    let samples = encode_records(&base, &data.records, spec.seq_len)?;
    attributed(&base, &adapter, &data, &samples, &queries, &right, &arguments)
}

/// The adapter in `folder`, or a new one, which is then kept there.
fn trained(
    base: &BaseModel,
    records: &[Record],
    spec: &TrainSpec,
    folder: Option<&Path>,
) -> Fallible<Adapter> {
    if let Some(folder) = folder.filter(|f| f.join("adapter_config.json").is_file()) {
        return Ok(Adapter::load(folder, base.config(), Device::Cpu)?);
    }
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let trained = train(base, records, spec, None, &mut |p| {
        if p.step % 50 == 0 {
            println!("step {}/{} loss {:.3}", p.step, p.steps, p.loss);
        }
        ControlFlow::Continue(())
    })?;
    let m = &trained.metrics;
    println!(
        "trained: {} steps, {} tokens, loss {:.3} -> {:.4}, {:.0} s, {:.0} CPU s",
        m.steps,
        m.tokens,
        m.loss_before,
        m.loss_after,
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu
    );
    if let Some(folder) = folder {
        trained.adapter.save(folder, base.config(), "base")?;
    }
    Ok(trained.adapter)
}

fn answered(base: &BaseModel, adapter: &Adapter, prompts: &[Vec<i64>]) -> Fallible<Vec<Answer>> {
    let start = Instant::now();
    let request = |prompt: &Vec<i64>| Request {
        prompt: prompt.clone(),
        max_tokens: 80,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Guidance::default(),
    };
    let requests = prompts.iter().map(|prompt| (request(prompt), Some(adapter))).collect();
    let answers = generate(base, requests, 16)?;
    println!("{} answers in {:.1} s", answers.len(), start.elapsed().as_secs_f64());
    Ok(answers)
}

/// Which of the answers to held-out questions are right.
fn judged(data: &Data, answers: &[Answer], print_wrong: bool) -> Vec<bool> {
    let squeeze = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
    let right: Vec<bool> = data
        .held_out
        .iter()
        .zip(answers)
        .map(|(h, a)| {
            squeeze(&a.text) == squeeze(&h.completion)
                || h.key_facts.iter().all(|fact| a.text.contains(fact))
        })
        .collect();
    let correct = right.iter().filter(|r| **r).count();
    let split = |odd: usize| right.iter().skip(odd).step_by(2).filter(|r| **r).count();
    println!(
        "right: {correct} of {} = {:.3} (known templates {}, reserved {})",
        right.len(),
        correct as f64 / right.len() as f64,
        split(0),
        split(1)
    );
    if print_wrong {
        for ((h, a), _) in data.held_out.iter().zip(answers).zip(&right).filter(|(_, r)| !**r) {
            println!("  {}\n    -> {}\n    != {}", h.prompt, a.text, h.completion);
        }
        for (o, a) in data.off_topic.iter().zip(&answers[data.held_out.len()..]).take(8) {
            println!("  {}\n    -> {}", o.prompt, a.text);
        }
    }
    right
}

/// Builds indices of several forms and dampings, and prints what they say of the answers.
fn attributed(
    base: &BaseModel,
    adapter: &Adapter,
    data: &Data,
    samples: &[Sample],
    queries: &[Sample],
    right: &[bool],
    arguments: &Arguments,
) -> Fallible<()> {
    let last = data.owners.last().copied().unwrap_or(0);
    let ids: Vec<[u8; 32]> = (0..=last).map(|i| [i as u8; 32]).collect();
    let corpus = Corpus { samples, owners: &data.owners, contributions: &ids };
    let correct = right.iter().filter(|r| **r).count();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("influence.idx");
    for balanced in [true, false] {
        let space = GradientSpace::choose(adapter, base.config(), IndexSpec::default().seed)?
            .with(Form { faded: true, balanced });
        for &lambda_millionths in &arguments.lambda {
            let spec =
                IndexSpec { dims: arguments.dims, lambda_millionths, ..IndexSpec::default() };
            let start = Instant::now();
            let index =
                build_influence(base, adapter, corpus, &spec, &space, &path, &mut |_| Ok(()))?;
            let built = start.elapsed().as_secs_f64();
            let scores = index.score_all(&index_queries(base, adapter, &index, queries)?, 5)?;
            let (about, other) = scores.split_at(data.held_out.len());
            let found = about
                .iter()
                .zip(&data.held_out)
                .zip(right)
                .filter(|((score, h), right)| {
                    **right && score.largest().is_some_and(|l| l.0[0] == h.contributor as u8)
                })
                .count();
            let (on, off) = (explained(about), explained(other));
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            println!(
                "  balanced {balanced} {:?}: contributor {:.3}, rho on {:.3} off {:.3}, AUC {:.3}, built in {built:.1} s",
                index.damping(),
                found as f64 / correct.max(1) as f64,
                mean(&on),
                mean(&off),
                above(&on, &off)
            );
        }
    }
    Ok(())
}

fn explained(of: &[Attribution]) -> Vec<f64> {
    of.iter().map(|found| f64::from(found.explained_ppm()) / 1e6).collect()
}

/// How often a number of the first list is above one of the second, ties half.
fn above(first: &[f64], second: &[f64]) -> f64 {
    let wins: f64 = first
        .iter()
        .flat_map(|x| {
            second.iter().map(move |y| f64::from(u8::from(x > y) + u8::from(x >= y)) / 2.0)
        })
        .sum();
    wins / (first.len() * second.len()) as f64
}

/// CPU time of this process so far, all threads.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
