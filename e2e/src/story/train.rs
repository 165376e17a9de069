//! Act three: a researcher's job becomes a model.

use super::{Story, DATANET, MODEL};
use anyhow::{bail, Context, Result};
use std::time::{Duration, Instant};
use tributary_client::{
    calls::{compute::NewJob, compute::SubmitJob, marketplace::ListModel},
    primitives::{
        jobs::{JobResult, Targets, TrainSpec},
        views::{JobState, Text},
        JobId, VersionRef, OPEN,
    },
    store::digest_hex,
    worker_api::WorkerApi,
};

/// Longest time that a training may take.
const LIMIT: Duration = Duration::from_secs(1_200);

impl Story {
    /// Submits the job, follows it, and lists the model.
    pub(super) async fn train(&mut self) -> Result<()> {
        self.act("A researcher has a model trained")?;
        let best = self.stack.chain.best().await?.number;
        let job = NewJob {
            name: Text::from(MODEL),
            base: self.facts.base,
            versions: vec![VersionRef { datanet: self.facts.datanet, number: 1 }],
            spec: TrainSpec {
                rank: self.plan.rank,
                alpha: self.plan.alpha,
                targets: Targets::ALL,
                epochs: self.plan.epochs,
                batch: self.plan.batch,
                lr_nano: self.plan.lr_nano,
                warmup_permille: 50,
                seq_len: 256,
                seed: 1,
            },
            max_fee: 50 * OPEN,
            deadline: best + 100,
        };
        let included = self.stack.chain.submit(&SubmitJob { job }, &self.people.researcher).await?;
        let (job,): (JobId,) = included.require("Compute", "JobSubmitted")?;
        self.sent("submit the training job", &included);
        self.facts.job = job;
        self.say(format!("job {job} on `{DATANET}` version 1, with 50 OPEN in escrow"))?;
        let (model, result, fee) = self.follow(job).await?;
        self.facts.model = model;
        self.report.loss_before = f64::from(result.metrics.loss_before_micro) / 1e6;
        self.report.loss_after = f64::from(result.metrics.loss_after_micro) / 1e6;
        for (what, digest) in [
            ("adapter", result.adapter),
            ("attribution index", result.index),
            ("transcript", result.transcript),
        ] {
            self.report.digests.insert(what.into(), digest_hex(&digest));
        }
        self.say(format!(
            "model {model} `{MODEL}`: {} steps, {} tokens, loss {:.3} → {:.3}; the worker got {} OPEN",
            result.metrics.steps,
            result.metrics.tokens,
            self.report.loss_before,
            self.report.loss_after,
            super::short_open(fee)
        ))?;
        let lineage = self.stack.chain.attribution().lineage(model).await?;
        let names: Vec<String> = lineage.iter().map(|model| model.name.to_string()).collect();
        self.say(format!("lineage: {} ← {DATANET} version 1", names.join(" ← ")))?;
        let list = ListModel { model, price_in: OPEN / 100, price_out: OPEN / 50 };
        let included = self.stack.chain.submit(&list, &self.people.researcher).await?;
        self.sent("list the model", &included);
        self.say("listed at 0.01 OPEN per 1,000 prompt tokens and 0.02 per 1,000 answer tokens")
    }

    async fn follow(
        &mut self,
        job: JobId,
    ) -> Result<(tributary_client::primitives::ModelId, JobResult, u128)> {
        let api = WorkerApi::new(&self.stack.worker()?.url)?;
        let bar = self.teller()?.bar("training", 1);
        let start = Instant::now();
        loop {
            let view = self.stack.chain.compute().job(job).await?.context("the job is gone")?;
            match view.state {
                JobState::Completed { model, result, fee, .. } => {
                    bar.finish_and_clear();
                    return Ok((model, result, fee));
                }
                JobState::Cancelled => bail!("the job was cancelled"),
                JobState::Submitted { .. } => bar.set_message("result submitted"),
                JobState::Open | JobState::Leased { .. } => {
                    if let Ok(progress) = api.job(job).await {
                        bar.set_length(progress.steps.max(1));
                        bar.set_position(progress.step);
                        bar.set_message(match progress.loss {
                            Some(loss) => format!("{} loss {loss:.3}", progress.state),
                            None => progress.state,
                        });
                    }
                }
            }
            if let Some(worker) = &mut self.stack.worker {
                worker.process.check()?;
            }
            if start.elapsed() > LIMIT {
                let log = self.stack.worker()?.process.tail(25);
                bail!("the job was not done within {LIMIT:?}; the worker's log:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
