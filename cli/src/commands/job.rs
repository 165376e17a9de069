//! `tributary job`

use crate::{
    context::{job, Context},
    output::{facts, open, spinner, table, Report},
    Result,
};
use clap::Subcommand;
use serde_json::json;
use tributary_client::{
    calls::compute::CancelJob,
    keys::address,
    primitives::{
        jobs::{Metrics, Progress},
        views::{JobState, JobView, MAX_PAGE},
        JobId,
    },
    store::cid_of,
    worker_api::WorkerApi,
};

/// Look at training jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs
    List,
    /// Show a job, and how far it is
    Show {
        /// Its number
        job: u64,
    },
    /// Withdraw a job of yours that no worker holds; the escrow comes back
    Cancel {
        /// Its number
        job: u64,
    },
}

/// A job's state in a word.
pub fn state_word(state: &JobState) -> &'static str {
    match state {
        JobState::Open => "open",
        JobState::Leased { .. } => "being trained",
        JobState::Submitted { .. } => "result may be challenged",
        JobState::Completed { .. } => "completed",
        JobState::Cancelled => "cancelled",
    }
}

/// What a worker measured, for people.
pub fn metrics_text(metrics: &Metrics) -> String {
    format!(
        "loss {:.3} → {:.3} in {} steps over {} tokens",
        f64::from(metrics.loss_before_micro) / 1e6,
        f64::from(metrics.loss_after_micro) / 1e6,
        metrics.steps,
        metrics.tokens
    )
}

/// A job, for people.
pub fn describe(view: &JobView) -> String {
    let versions: Vec<String> =
        view.versions.iter().map(|v| format!("{}@{}", v.datanet, v.number)).collect();
    let spec = &view.spec;
    let mut rows = vec![
        ("job", view.id.to_string()),
        ("model to be", view.name.to_string()),
        ("state", state_word(&view.state).into()),
        ("owner", address(&view.owner)),
        ("base", format!("model {}", view.base)),
        ("datanets", versions.join(", ")),
        (
            "training",
            format!(
                "rank {}, alpha {}, {} epochs, batch {}, learning rate {}, seed {}",
                spec.rank,
                spec.alpha,
                spec.epochs,
                spec.batch,
                f64::from(spec.lr_nano) / 1e9,
                spec.seed
            ),
        ),
        ("at most", open(view.max_fee)),
    ];
    match &view.state {
        JobState::Open => rows.push(("claimable until", format!("block {}", view.deadline))),
        JobState::Leased { worker, until, progress } => {
            rows.push(("worker", address(worker)));
            rows.push(("lease until", format!("block {until}")));
            if let Some(Progress { step, steps, loss_micro }) = progress {
                let loss = f64::from(*loss_micro) / 1e6;
                rows.push(("reported", format!("step {step} of {steps}, loss {loss:.3} nats")));
            }
        }
        JobState::Submitted { worker, final_at, result, fee } => {
            rows.push(("worker", address(worker)));
            rows.push(("final from", format!("block {final_at}")));
            rows.push(("result", metrics_text(&result.metrics)));
            rows.push(("adapter", cid_of(&result.adapter)));
            rows.push(("fee", open(*fee)));
        }
        JobState::Completed { worker, model, result, fee } => {
            rows.push(("worker", address(worker)));
            rows.push(("model", model.to_string()));
            rows.push(("result", metrics_text(&result.metrics)));
            rows.push(("adapter", cid_of(&result.adapter)));
            rows.push(("fee", open(*fee)));
        }
        JobState::Cancelled => {}
    }
    facts(&rows)
}

/// Runs the command.
pub async fn run(command: JobCommand, context: &Context) -> Result<Report> {
    match command {
        JobCommand::List => list(context).await,
        JobCommand::Show { job: id } => show(id, context).await,
        JobCommand::Cancel { job: id } => cancel(id, context).await,
    }
}

async fn list(context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let mut all: Vec<JobView> = Vec::new();
    let mut from = JobId(0);
    loop {
        let page = chain.compute().jobs(from, MAX_PAGE).await?;
        let Some(next) = page.last().and_then(|view| view.id.next()) else { break };
        all.extend(page);
        from = next;
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|view| {
            let state = state_word(&view.state).to_string();
            [view.id.to_string(), view.name.to_string(), state, open(view.max_fee)]
        })
        .collect();
    let text = if rows.is_empty() {
        "There are no jobs yet; submit one with `tributary train`.".to_string()
    } else {
        table(["job", "model", "state", "at most"], &rows)
    };
    Report::new(&json!({ "jobs": all }), text)
}

async fn show(id: u64, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let view = job(&chain, id).await?;
    let mut text = describe(&view);
    let mut progress = None;
    if let JobState::Leased { worker, .. } = &view.state {
        if let Some(worker) = chain.compute().worker(worker).await? {
            // The chain's word stands without the worker's, which may be away.
            let api = WorkerApi::new(&worker.endpoint.to_string())?;
            progress = api.job(view.id).await.ok();
        }
    }
    if let Some(progress) = &progress {
        text.push_str(&format!("step      {} of {}\n", progress.step, progress.steps));
    }
    Report::new(&json!({ "job": view, "progress": progress }), text)
}

async fn cancel(id: u64, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = job(&chain, id).await?;
    let waiting = spinner("waiting for a block");
    let included = chain.submit_wait(&CancelJob { job: view.id }, &key, context.wait()).await?;
    waiting.finish_and_clear();
    let text = format!(
        "Cancelled job {id} in block {}; {} came back.",
        included.number,
        open(view.max_fee)
    );
    Report::new(&json!({ "job": id, "tx": included.tx, "number": included.number }), text)
}
