//! `tributary train`

use super::job::{describe, metrics_text};
use crate::{
    context::{amount, datanet, job, model, Context},
    error::CliError,
    output::{bar, open, spinner, Report},
    Result,
};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Duration;
use tributary_client::{
    calls::compute::{FinalizeJob, NewJob, SubmitJob},
    primitives::{
        jobs::{token_bound, token_fee, Targets, TrainSpec},
        views::{JobState, JobView, ModelKind, MAX_PAGE},
        AccountId, Balance, JobId, VersionRef, OPEN,
    },
    worker_api::WorkerApi,
    Chain, ChainError, Key,
};

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(1_500);
/// Blocks after which a job that can be finalised is finalised by its owner.
const PATIENCE_BLOCKS: u32 = 3;
/// Escrow when no worker names a price.
const FALLBACK_FEE: Balance = 10 * OPEN;

/// Train an adapter on one or more datanets, and wait until it is there.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Datanet, by name or number, with @VERSION for another version than the latest; repeat for
    /// several
    #[arg(required = true, value_name = "DATANET[@VERSION]")]
    datanets: Vec<String>,
    /// Base model, by name or number
    #[arg(long)]
    base: String,
    /// Name that the adapter gets [default: made from the first datanet's]
    #[arg(long)]
    name: Option<String>,
    /// Rank of the adapter
    #[arg(long, default_value_t = 16)]
    rank: u16,
    /// LoRA's alpha [default: twice the rank]
    #[arg(long)]
    alpha: Option<u16>,
    /// Projections to adapt: of q, k, v, o, gate, up, down
    #[arg(long, value_delimiter = ',', default_value = "q,k,v,o,gate,up,down")]
    targets: Vec<String>,
    /// Passes over the data
    #[arg(long, default_value_t = 40)]
    epochs: u16,
    /// Records in a step
    #[arg(long, default_value_t = 30)]
    batch: u16,
    /// Peak learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Share of the steps in which the learning rate warms up
    #[arg(long, default_value_t = 0.05)]
    warmup: f64,
    /// Longest record, in tokens
    #[arg(long, default_value_t = 256)]
    seq_len: u32,
    /// Seed of initialisation and shuffling
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most that may be paid, in OPEN; what the training does not cost comes back
    /// [default: the most that it can cost at the cheapest worker's price]
    #[arg(long, value_parser = amount)]
    max_fee: Option<Balance>,
    /// Blocks within which a worker must take the job
    #[arg(long, default_value_t = 1_000)]
    deadline: u32,
    /// Do not wait for the adapter
    #[arg(long)]
    detach: bool,
}

fn targets(names: &[String]) -> Result<Targets> {
    let mut targets =
        Targets { q: false, k: false, v: false, o: false, gate: false, up: false, down: false };
    for name in names {
        let target = match name.trim().trim_end_matches("_proj") {
            "q" => &mut targets.q,
            "k" => &mut targets.k,
            "v" => &mut targets.v,
            "o" => &mut targets.o,
            "gate" => &mut targets.gate,
            "up" => &mut targets.up,
            "down" => &mut targets.down,
            other => {
                return Err(CliError::Usage(format!(
                    "`{other}` is no projection; choose of q, k, v, o, gate, up, down"
                )))
            }
        };
        *target = true;
    }
    Ok(targets)
}

fn scaled(value: f64, factor: f64, name: &str) -> Result<u32> {
    let scaled = (value * factor).round();
    if !(0.0..=f64::from(u32::MAX)).contains(&scaled) {
        return Err(CliError::Usage(format!("{name} must be 0 to 1")));
    }
    // In range, as was just checked.
    Ok(scaled as u32)
}

impl TrainArgs {
    fn spec(&self) -> Result<TrainSpec> {
        let spec = TrainSpec {
            rank: self.rank,
            alpha: self.alpha.unwrap_or_else(|| self.rank.saturating_mul(2)),
            targets: targets(&self.targets)?,
            epochs: self.epochs,
            batch: self.batch,
            lr_nano: scaled(self.lr, 1e9, "the learning rate")?,
            warmup_permille: u16::try_from(scaled(self.warmup, 1e3, "the warm-up")?)
                .unwrap_or(u16::MAX),
            seq_len: self.seq_len,
            seed: self.seed,
        };
        spec.check().map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(spec)
    }
}

/// The version that `NAME[@NUMBER]` means.
async fn version(chain: &Chain, text: &str) -> Result<(VersionRef, String)> {
    let (name, number) = match text.rsplit_once('@') {
        None => (text, None),
        Some((name, number)) => {
            let number: u32 = number.parse().map_err(|_| {
                CliError::Usage(format!("`{number}` is no version; write {name}@1"))
            })?;
            (name, Some(number))
        }
    };
    let view = datanet(chain, name).await?;
    let number = number.unwrap_or(view.versions);
    if number == 0 || number > view.versions {
        return Err(CliError::NotFound(format!(
            "`{0}` has {1} versions and none of number {number}; its owner can cut one with \
             `tributary datanet version {0}`",
            view.name, view.versions
        )));
    }
    Ok((VersionRef { datanet: view.id, number }, view.name.to_string()))
}

/// A name that no model has.
async fn free_name(chain: &Chain, wish: &str) -> Result<String> {
    let wish: String = wish.chars().take(56).collect();
    for number in 1..1_000_u32 {
        let name = if number == 1 { wish.clone() } else { format!("{wish}-{number}") };
        if chain.attribution().model_by_name(&name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(CliError::Usage("every name like this is taken; choose one with --name".into()))
}

/// The most that the job can cost: a record has at most one token for each byte, and a few more
/// for the template around it.
async fn most(chain: &Chain, versions: &[VersionRef], spec: &TrainSpec) -> Result<Balance> {
    let workers = chain.compute().workers(MAX_PAGE).await?;
    let Some(price) = workers
        .iter()
        .filter(|worker| worker.max_rank >= spec.rank)
        .map(|worker| worker.train_price)
        .min()
    else {
        return Ok(FALLBACK_FEE);
    };
    let (mut records, mut bytes) = (0u64, 0u64);
    for version in versions {
        if let Some(view) = chain.datanets().version(*version).await? {
            records = records.saturating_add(view.records);
            bytes = bytes.saturating_add(view.bytes);
        }
    }
    Ok(token_fee(token_bound(records, bytes, spec.epochs), price))
}

/// Runs `tributary train`.
pub async fn run(args: TrainArgs, context: &Context) -> Result<Report> {
    let spec = args.spec()?;
    let key = context.key()?;
    let chain = context.chain().await?;
    let base = model(&chain, &args.base).await?;
    if base.kind != ModelKind::Base {
        return Err(CliError::Usage(format!(
            "`{}` is an adapter; train on a base model (`tributary model list`)",
            base.name
        )));
    }
    let mut versions = Vec::new();
    let mut names = Vec::new();
    for text in &args.datanets {
        let (version, name) = version(&chain, text).await?;
        versions.push(version);
        names.push(format!("{name}-v{}", version.number));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => free_name(&chain, names.first().map_or("adapter", String::as_str)).await?,
    };
    let max_fee = match args.max_fee {
        Some(fee) => fee,
        None => most(&chain, &versions, &spec).await?,
    };
    let waiting = spinner(format!("submitting the job; {} go into escrow", open(max_fee)));
    let deadline = chain.best().await?.number.saturating_add(args.deadline);
    let new =
        NewJob { name: name.as_str().into(), base: base.id, versions, spec, max_fee, deadline };
    let included = chain.submit_wait(&SubmitJob { job: new }, &key, context.wait()).await?;
    let id: JobId = included.require("Compute", "JobSubmitted")?;
    waiting.finish_and_clear();
    if !context.options.json {
        eprintln!("Job {id} is in block {}: `{name}` on {}.", included.number, base.name);
    }
    let view =
        if args.detach { job(&chain, id.0).await? } else { follow(&chain, id, &key).await? };
    let mut text = describe(&view);
    match &view.state {
        JobState::Completed { .. } => {
            text.push_str(&format!(
                "\n`{name}` is there. Offer it with `tributary model list-for-sale {name}`, then \
                 ask it with `tributary chat {name} \"…\"`.\n"
            ));
        }
        JobState::Cancelled => {
            return Err(CliError::Refused(format!("job {id} was cancelled; the escrow came back")));
        }
        _ => {}
    }
    let json = json!({
        "job": view, "name": name, "tx": included.tx, "number": included.number,
        "base": base.name,
    });
    Report::new(&json, text)
}

/// Follows a job until its model is registered, or it is cancelled.
async fn follow(chain: &Chain, id: JobId, key: &Key) -> Result<JobView> {
    let mut progress = Progress::new();
    let mut asked_to_finalize = false;
    loop {
        let view = job(chain, id.0).await?;
        let best = chain.best().await?.number;
        match &view.state {
            JobState::Open if best > view.deadline => {
                progress.end();
                return Err(CliError::Waiting(format!(
                    "no worker took job {id} by block {}; cancel it with `tributary job cancel \
                     {id}`, then offer more with --max-fee",
                    view.deadline
                )));
            }
            JobState::Open => progress.say(format!("waiting for a worker (block {best})")),
            JobState::Leased { worker, .. } => progress.training(chain, id, worker).await,
            JobState::Submitted { final_at, result, .. } => {
                progress.say(format!(
                    "{}; may be challenged until block {final_at}, now {best}",
                    metrics_text(&result.metrics)
                ));
                // The worker finalises; if it does not, the owner may.
                if best >= final_at.saturating_add(PATIENCE_BLOCKS) && !asked_to_finalize {
                    asked_to_finalize = true;
                    match chain.submit(&FinalizeJob { job: id }, key).await {
                        Ok(_) | Err(ChainError::Module { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            JobState::Completed { .. } | JobState::Cancelled => {
                progress.end();
                return Ok(view);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Progress {
    bar: ProgressBar,
    steps: Option<u64>,
    api: Option<(AccountId, WorkerApi)>,
}

impl Progress {
    fn new() -> Self {
        Self { bar: spinner("waiting for a worker"), steps: None, api: None }
    }

    fn say(&mut self, message: String) {
        if self.steps.take().is_some() {
            self.bar.finish_and_clear();
            self.bar = spinner("");
        }
        self.bar.set_message(message);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows how far the worker is. A worker that does not answer only costs the bar.
    async fn training(&mut self, chain: &Chain, id: JobId, worker: &AccountId) {
        if self.api.as_ref().is_none_or(|(known, _)| known != worker) {
            if let Ok(Some(view)) = chain.compute().worker(worker).await {
                self.api = WorkerApi::new(&view.endpoint.to_string())
                    .ok()
                    .map(|api| (worker.clone(), api));
            }
        }
        let Some((_, api)) = &self.api else {
            return self.say("a worker is training".into());
        };
        match api.job(id).await {
            Ok(job) if job.steps > 0 => {
                if self.steps != Some(job.steps) {
                    self.bar.finish_and_clear();
                    self.bar = bar(job.steps, job.state.clone());
                    self.steps = Some(job.steps);
                }
                self.bar.set_position(job.step.min(job.steps));
                self.bar.set_message(job.state.clone());
                if let Some(loss) = job.loss {
                    self.bar.set_prefix(format!("loss {loss:.3}"));
                }
            }
            Ok(job) if job.note.is_empty() => self.say(job.state),
            Ok(job) => self.say(format!("{}: {}", job.state, job.note)),
            Err(_) => self.say("a worker is training (it does not say how far it is)".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_are_read_by_name() {
        let names = |text: &str| text.split(',').map(str::to_string).collect::<Vec<_>>();
        assert_eq!(targets(&names("q,k,v,o,gate,up,down")).unwrap(), Targets::ALL);
        let some = targets(&names("q_proj, v")).unwrap();
        assert!(some.q && some.v && !some.k && !some.down);
        assert!(matches!(targets(&names("q,x")), Err(CliError::Usage(_))));
    }

    #[test]
    fn rates_become_whole_numbers() {
        assert_eq!(scaled(4e-3, 1e9, "rate").unwrap(), 4_000_000);
        assert_eq!(scaled(0.05, 1e3, "warm-up").unwrap(), 50);
        for bad in [-0.1, 5.0, f64::NAN, f64::INFINITY] {
            assert!(scaled(bad, 1e9, "rate").is_err(), "{bad}");
        }
    }
}
