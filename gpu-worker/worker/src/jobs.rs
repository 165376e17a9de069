//! Training jobs: find one, take its lease, train, hand the result in, get paid.
//!
//! Its records are read before the lease is asked for: malformed shards, or kinds
//! that do not go together, cost no stake.
//!
//! A job goes `claiming → training → trained → submitted → done`; each step is in the journal
//! before the next begins. After a restart the chain says who holds the lease and whether a result
//! is there, the journal says what the result is, and the trainer's checkpoints say how far the
//! training came.

mod claim;
mod records;

use crate::{
    error::{Result, WorkerError},
    journal::{JobRow, JobStep, Journal},
    live::store_fault,
    metrics::{Label, Metrics},
    progress::JobBoard,
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::{error, info, warn};
use tributary_client::{
    shards::Record,
    store::{FolderKind, Store},
};
use tributary_primitives::{
    jobs::{JobResult, Metrics as TrainMetrics, Progress},
    views::{JobState, JobView, WorkerView},
    AccountId, BlockNumber, ContributionId, Digest, JobId, ModelId, VersionRef, H256,
};

/// Attempts at a job that fails for a reason that may or may not go away.
const ATTEMPTS: u32 = 3;
/// How often a running training looks whether its lease still holds.
const LEASE_POLL: Duration = Duration::from_secs(5);
/// How often a running training is looked at for a report to the chain.
const REPORT_POLL: Duration = Duration::from_secs(1);
/// Reports to the chain in one training: one as each of so many parts is done, but for the last.
const REPORTS: u64 = 4;

/// What jobs need of the chain. Calls return when they are in a block.
#[async_trait]
pub trait JobChain: Send + Sync {
    /// Number of the best block.
    async fn height(&self) -> Result<BlockNumber>;
    /// A worker.
    async fn worker(&self, account: &AccountId) -> Result<Option<WorkerView>>;
    /// Jobs that wait for a worker.
    async fn open_jobs(&self) -> Result<Vec<JobView>>;
    /// A job.
    async fn job(&self, id: JobId) -> Result<Option<JobView>>;
    /// Contributions of a version with the digests of their shards.
    async fn members(&self, version: VersionRef) -> Result<Option<Vec<(ContributionId, Digest)>>>;
    /// Records and bytes of a version, as the chain counts them.
    async fn size(&self, version: VersionRef) -> Result<Option<(u64, u64)>>;
    /// Takes the lease of a job.
    async fn claim(&self, job: JobId) -> Result<()>;
    /// Hands a result in.
    async fn submit_result(&self, job: JobId, result: &JobResult) -> Result<()>;
    /// Says how far the training of a leased job is.
    async fn report(&self, job: JobId, progress: Progress) -> Result<()>;
    /// Finalises a job whose window is over.
    async fn finalize(&self, job: JobId) -> Result<()>;
}

/// The records of each contribution, in the order of their ids.
pub type Contributions = Vec<(ContributionId, Vec<Record>)>;

/// What is to be trained.
pub struct Task {
    /// The job.
    pub job: JobView,
    /// What it is trained on.
    pub contributions: Contributions,
    /// Where checkpoints and results go; a training that broke off left its own there.
    pub folder: PathBuf,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Folder with the adapter's files and nothing else.
    pub adapter: PathBuf,
    /// The attribution index.
    pub index: PathBuf,
    /// Root that the index commits to.
    pub index_root: H256,
    /// What was measured.
    pub metrics: TrainMetrics,
    /// Specification, order and losses, as JSON.
    pub transcript: Vec<u8>,
}

/// An engine that trains.
#[async_trait]
pub trait Trainer: Send + Sync {
    /// Base models that it can train on.
    fn bases(&self) -> Vec<ModelId>;
    /// Trains, and tells `board` how far it is. Dropping the future ends the training.
    async fn train(&self, task: Task, board: &JobBoard) -> Result<Trained>;
}

/// Works through jobs, one at a time.
pub struct Runner {
    /// The chain.
    pub chain: Arc<dyn JobChain>,
    /// The object store.
    pub store: Store,
    /// The engine.
    pub trainer: Arc<dyn Trainer>,
    /// The journal.
    pub journal: Journal,
    /// How far jobs are.
    pub board: JobBoard,
    /// What is counted.
    pub metrics: Metrics,
    /// This worker.
    pub worker: AccountId,
    /// Where jobs have their folders.
    pub folder: PathBuf,
    /// Shards of one job in all, in bytes.
    pub max_bytes: u64,
    /// Attempts at each job since the start.
    pub attempts: Mutex<HashMap<JobId, u32>>,
    /// Jobs whose records were read and are fit to be trained on, but whose lease was not given.
    pub readable: Mutex<HashSet<JobId>>,
}

impl Runner {
    /// Goes on with the job that was begun, or takes one that is open. Returns whether there was
    /// something to do.
    pub async fn work(&self) -> Result<bool> {
        let begun = self.journal.unfinished_jobs()?.into_iter().find(|row| {
            matches!(row.step, JobStep::Claiming | JobStep::Training | JobStep::Trained)
        });
        let (row, records) = match begun {
            Some(row) => (row, None),
            None => match self.claim().await? {
                Some(claimed) => claimed,
                None => return Ok(false),
            },
        };
        match self.advance(&row, records).await {
            Ok(()) => Ok(true),
            Err(error) => self.failed(row.id, error).map(|()| true),
        }
    }

    /// Sees submitted jobs through to their payment. Returns how many were paid.
    pub async fn finalize(&self) -> Result<usize> {
        let mut done = 0;
        for row in self.journal.unfinished_jobs()? {
            if row.step == JobStep::Submitted {
                match self.advance(&row, None).await {
                    Err(error @ WorkerError::LeaseLost { .. }) => self.failed(row.id, error)?,
                    other => other?,
                }
                let over = self.journal.job(row.id)?.is_some_and(|row| row.step == JobStep::Done);
                done += usize::from(over);
            }
        }
        Ok(done)
    }

    /// Last block of the lease if this worker holds it.
    fn holds(&self, job: &JobView) -> Option<BlockNumber> {
        match &job.state {
            JobState::Leased { worker, until, .. } if *worker == self.worker => Some(*until),
            _ => None,
        }
    }

    /// Takes a job as far as it goes, by what the chain says of it. `records` are its own, where
    /// they are at hand.
    async fn advance(&self, row: &JobRow, records: Option<Contributions>) -> Result<()> {
        let lost = || WorkerError::LeaseLost { job: row.id };
        let Some(job) = self.chain.job(row.id).await? else { return Err(lost()) };
        match &job.state {
            JobState::Open if row.step == JobStep::Claiming => self.journal.forget_job(row.id),
            JobState::Leased { worker, until, .. } if *worker == self.worker => {
                let until = *until;
                if self.chain.height().await? > until {
                    return Err(lost());
                }
                let result = match &row.result {
                    Some(result) => result.clone(),
                    None => self.train(job, until, records).await?,
                };
                self.submit(row.id, &result).await
            }
            JobState::Submitted { worker, final_at, .. } if *worker == self.worker => {
                if row.step != JobStep::Submitted {
                    self.step(row.id, JobStep::Submitted, None, "")?;
                }
                if self.chain.height().await? < *final_at {
                    return Ok(());
                }
                // Anybody may finalise it, and somebody may have been faster.
                let outcome = self.chain.finalize(row.id).await;
                match self.chain.job(row.id).await?.map(|job| job.state) {
                    Some(JobState::Completed { model, fee, .. }) => self.done(row.id, model, fee),
                    _ => outcome,
                }
            }
            JobState::Completed { worker, model, fee, .. } if *worker == self.worker => {
                self.done(row.id, *model, *fee)
            }
            _ => Err(lost()),
        }
    }

    fn done(&self, id: JobId, model: ModelId, fee: u128) -> Result<()> {
        info!(job = id.0, model = model.0, fee = %fee, "job completed and paid");
        self.metrics.jobs.get_or_create(&Label { kind: "done" }).inc();
        self.remove_folder(id);
        self.step(id, JobStep::Done, None, "")
    }

    async fn train(
        &self,
        job: JobView,
        until: BlockNumber,
        records: Option<Contributions>,
    ) -> Result<JobResult> {
        let id = job.id;
        self.step(id, JobStep::Training, None, "")?;
        self.board.state(id, "fetching", "");
        let contributions = match records {
            Some(records) => records,
            None => self.fetch(&job).await?,
        };
        let most_tokens = self.most_tokens(&job).await?;
        let folder = self.job_folder(id);
        std::fs::create_dir_all(&folder)
            .map_err(WorkerError::io(format!("making {}", folder.display())))?;
        self.board.state(id, "training", "");
        let task = Task { job, contributions, folder };
        let trained = tokio::select! {
            trained = self.trainer.train(task, &self.board) => trained?,
            lost = self.lease_ends(id, until) => return Err(lost),
            never = self.report(id) => match never {},
        };
        self.board.state(id, "storing", "");
        let failed = store_fault;
        let adapter =
            self.store.put_folder(FolderKind::Adapter, &trained.adapter).await.map_err(failed)?;
        let (index, _) = self.store.put_file(&trained.index).await.map_err(failed)?;
        let transcript = self.store.put(trained.transcript).await.map_err(failed)?;
        let result = JobResult {
            adapter,
            index,
            index_root: trained.index_root,
            transcript,
            metrics: TrainMetrics {
                tokens: trained.metrics.tokens.min(most_tokens),
                ..trained.metrics
            },
        };
        self.step(id, JobStep::Trained, Some(&result), "")?;
        Ok(result)
    }

    /// Resolves when the lease is over or somebody else's.
    async fn lease_ends(&self, id: JobId, until: BlockNumber) -> WorkerError {
        loop {
            tokio::time::sleep(LEASE_POLL).await;
            // A node that does not answer for a while does not end the lease.
            if self.chain.height().await.is_ok_and(|height| height > until) {
                return WorkerError::LeaseLost { job: id };
            }
        }
    }

    /// Tells the chain now and then how far the training is. What the chain does not take is left
    /// out: the training does not depend on it.
    async fn report(&self, id: JobId) -> Infallible {
        let mut told = 0;
        loop {
            tokio::time::sleep(REPORT_POLL).await;
            let Ok(Some(now)) = self.board.get(id, &self.journal) else { continue };
            let part = part_done(now.step, now.steps);
            if part <= told || part >= REPORTS {
                continue;
            }
            told = part;
            let loss_micro = (f64::from(now.loss.unwrap_or(0.0)) * 1e6).round() as u32;
            let progress = Progress { step: now.step, steps: now.steps, loss_micro };
            if let Err(error) = self.chain.report(id, progress).await {
                info!(job = id.0, %error, "the chain did not take the report of progress");
            }
        }
    }

    async fn submit(&self, id: JobId, result: &JobResult) -> Result<()> {
        if let Err(error) = self.chain.submit_result(id, result).await {
            // It may have been included although its caller was told otherwise.
            let now = self.chain.job(id).await?.map(|job| job.state);
            let there = matches!(
                now,
                Some(JobState::Submitted { ref worker, .. } | JobState::Completed { ref worker, .. })
                    if *worker == self.worker
            );
            if !there {
                return Err(error);
            }
        }
        info!(
            job = id.0,
            loss_before = result.metrics.loss_before_micro,
            loss_after = result.metrics.loss_after_micro,
            "result submitted"
        );
        self.step(id, JobStep::Submitted, None, "")
    }

    /// Gives a job up, or leaves it for another attempt.
    fn failed(&self, id: JobId, error: WorkerError) -> Result<()> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(id).or_default();
        let hopeless = matches!(
            error,
            WorkerError::LeaseLost { .. }
                | WorkerError::JobImpossible { .. }
                | WorkerError::MixedRecords { .. }
        );
        if !error.is_passing() {
            *attempt += 1;
        }
        self.metrics.error(error.code());
        let note = error.to_string();
        if !hopeless && *attempt < ATTEMPTS {
            warn!(job = id.0, attempt = *attempt, %error, "the job failed, it will be tried again");
            self.board.state(id, "waiting", &note);
            return Err(error);
        }
        error!(
            job = id.0,
            code = error.code(),
            %error,
            "the job is given up; its lease, if it still runs, lapses by itself"
        );
        attempts.remove(&id);
        self.metrics.jobs.get_or_create(&Label { kind: "given_up" }).inc();
        self.remove_folder(id);
        self.step(id, JobStep::GivenUp, None, &note)
    }

    fn step(&self, id: JobId, step: JobStep, result: Option<&JobResult>, note: &str) -> Result<()> {
        self.journal.set_job(id, step, result, note)?;
        self.board.state(id, step.name(), note);
        Ok(())
    }

    fn job_folder(&self, id: JobId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn remove_folder(&self, id: JobId) {
        let folder = self.job_folder(id);
        if folder.exists() {
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                warn!(job = id.0, folder = %folder.display(), %error, "the folder stays");
            }
        }
    }
}

/// How many of [`REPORTS`] equal parts are done.
fn part_done(step: u32, steps: u32) -> u64 {
    (u64::from(step) * REPORTS).checked_div(u64::from(steps)).unwrap_or(0)
}
