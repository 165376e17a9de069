//! Jobs against a chain and a trainer that do what the test says.

mod common;

use async_trait::async_trait;
use common::{open_journal, worker};
use std::{
    path::Path,
    sync::{
        atomic::{AtomicU32, AtomicU64, Ordering},
        Arc, Mutex,
    },
};
use tributary_client::store::{FolderKind, Store};
use tributary_primitives::{
    jobs::{JobResult, Metrics as TrainMetrics, Progress, Targets, TrainSpec},
    views::{JobState, JobView, Text, WorkerView},
    AccountId, BlockNumber, ContributionId, DatanetId, Digest, JobId, ModelId, VersionRef, H256,
};
use tributary_worker::{
    jobs::{JobChain, Runner, Task, Trained, Trainer},
    journal::{JobStep, Journal},
    metrics::Metrics,
    progress::{JobBoard, Step},
    Result, WorkerError,
};

const LEASE: BlockNumber = 100;
/// Records and bytes of the version, as the chain has them: it lets nobody charge for more than
/// 100 + 2 · 64 tokens in an epoch.
const SIZE: (u64, u64) = (2, 100);

struct Chain {
    height: AtomicU32,
    job: Mutex<JobView>,
    members: Vec<(ContributionId, Digest)>,
    /// The next call that changes something is carried out, but its caller hears of a failure.
    deaf: Mutex<bool>,
    /// Leases are refused.
    refuses: Mutex<bool>,
    calls: Mutex<Vec<&'static str>>,
}

impl Chain {
    fn new(members: Vec<(ContributionId, Digest)>) -> Self {
        let job = JobView {
            id: JobId(4),
            owner: AccountId::new([5; 32]),
            name: Text::from("fables"),
            base: ModelId(0),
            versions: vec![VersionRef { datanet: DatanetId(1), number: 1 }],
            spec: TrainSpec {
                rank: 8,
                alpha: 16,
                targets: Targets::ALL,
                epochs: 1,
                batch: 2,
                lr_nano: 1_000_000,
                warmup_permille: 0,
                seq_len: 64,
                seed: 1,
            },
            max_fee: 1_000,
            deadline: 50,
            state: JobState::Open,
        };
        Self {
            height: AtomicU32::new(10),
            job: Mutex::new(job),
            members,
            deaf: Mutex::new(false),
            refuses: Mutex::new(false),
            calls: Mutex::default(),
        }
    }

    fn change(&self, call: &'static str, state: JobState) -> Result<()> {
        self.calls.lock().unwrap().push(call);
        self.job.lock().unwrap().state = state;
        if std::mem::take(&mut *self.deaf.lock().unwrap()) {
            return Err(WorkerError::NodeUnreachable("the connection broke".into()));
        }
        Ok(())
    }

    fn state(&self) -> JobState {
        self.job.lock().unwrap().state.clone()
    }
}

#[async_trait]
impl JobChain for Chain {
    async fn height(&self) -> Result<BlockNumber> {
        Ok(self.height.load(Ordering::Relaxed))
    }

    async fn worker(&self, account: &AccountId) -> Result<Option<WorkerView>> {
        Ok(Some(WorkerView {
            account: account.clone(),
            endpoint: Text::from("http://x"),
            signing_key: account.clone(),
            max_rank: 16,
            gpu: false,
            train_price: 1,
            stake: 1,
            active_jobs: 0,
            completed: 0,
        }))
    }

    async fn open_jobs(&self) -> Result<Vec<JobView>> {
        let job = self.job.lock().unwrap().clone();
        Ok(if job.state == JobState::Open { vec![job] } else { vec![] })
    }

    async fn job(&self, id: JobId) -> Result<Option<JobView>> {
        Ok(Some(self.job.lock().unwrap().clone()).filter(|job| job.id == id))
    }

    async fn members(&self, _: VersionRef) -> Result<Option<Vec<(ContributionId, Digest)>>> {
        Ok(Some(self.members.clone()))
    }

    async fn size(&self, _: VersionRef) -> Result<Option<(u64, u64)>> {
        Ok(Some(SIZE))
    }

    async fn claim(&self, _: JobId) -> Result<()> {
        if *self.refuses.lock().unwrap() {
            return Err(WorkerError::Refused { call: "claim", reason: "TooManyJobs".into() });
        }
        let until = self.height.load(Ordering::Relaxed) + LEASE;
        self.change("claim", JobState::Leased { worker: worker().account(), until, progress: None })
    }

    async fn submit_result(&self, _: JobId, result: &JobResult) -> Result<()> {
        let JobState::Leased { .. } = self.state() else {
            return Err(WorkerError::Refused { call: "submit", reason: "NotLeased".into() });
        };
        let final_at = self.height.load(Ordering::Relaxed) + 4;
        let result = result.clone();
        let state = JobState::Submitted { worker: worker().account(), final_at, result, fee: 7 };
        self.change("submit", state)
    }

    async fn report(&self, _: JobId, progress: Progress) -> Result<()> {
        let JobState::Leased { worker, until, .. } = self.state() else {
            return Err(WorkerError::Refused { call: "report", reason: "NotLeased".into() });
        };
        self.change("report", JobState::Leased { worker, until, progress: Some(progress) })
    }

    async fn finalize(&self, _: JobId) -> Result<()> {
        let JobState::Submitted { worker, result, fee, .. } = self.state() else {
            return Err(WorkerError::Refused { call: "finalize", reason: "NotSubmitted".into() });
        };
        self.change("finalize", JobState::Completed { worker, model: ModelId(9), result, fee })
    }
}

/// Writes the prompts of what it was given into an "adapter"; fails as often as it is told.
struct Copyist {
    failures: AtomicU32,
    runs: AtomicU32,
    seen: Mutex<Vec<(u64, usize)>>,
    /// Tokens that it trained on, as it says.
    tokens: AtomicU64,
    /// Trains until the board's first step was reported to this chain.
    reported_to: Mutex<Option<Arc<Chain>>>,
}

#[async_trait]
impl Trainer for Copyist {
    fn bases(&self) -> Vec<ModelId> {
        vec![ModelId(0)]
    }

    async fn train(&self, task: Task, board: &JobBoard) -> Result<Trained> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.fetch_sub(1, Ordering::Relaxed);
            return Err(WorkerError::Engine("out of memory".into()));
        }
        board.step(task.job.id, Step { step: 1, steps: 2, loss: 3.0, ..Step::default() });
        let reported_to = self.reported_to.lock().unwrap().clone();
        if let Some(chain) = reported_to {
            let told = || matches!(chain.state(), JobState::Leased { progress: Some(_), .. });
            while !told() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        *self.seen.lock().unwrap() =
            task.contributions.iter().map(|(id, records)| (id.0, records.len())).collect();
        let adapter = task.folder.join("adapter");
        std::fs::create_dir_all(&adapter).unwrap();
        std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
        std::fs::write(task.folder.join("index"), "index").unwrap();
        Ok(Trained {
            adapter,
            index: task.folder.join("index"),
            index_root: H256::repeat_byte(4),
            metrics: TrainMetrics {
                loss_before_micro: 4_000_000,
                loss_after_micro: 1_000_000,
                steps: 2,
                tokens: self.tokens.load(Ordering::Relaxed),
            },
            transcript: b"{}".to_vec(),
        })
    }
}

struct World {
    folder: tempfile::TempDir,
    store: Store,
    chain: Arc<Chain>,
    trainer: Arc<Copyist>,
    journal: Journal,
    board: JobBoard,
}

const PREFERENCES: &[u8] =
    b"{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n{\"prompt\":\"a\",\"chosen\":\"d\",\"rejected\":\"b\"}\n";
const SHARD: &[u8] = b"{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"text\":\"c\"}\n";

async fn world(shards: &[&[u8]]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
    let mut members = Vec::new();
    for (id, shard) in shards.iter().enumerate() {
        members.push((ContributionId(id as u64), store.put(shard.to_vec()).await.unwrap()));
    }
    World {
        store,
        chain: Arc::new(Chain::new(members)),
        trainer: Arc::new(Copyist {
            failures: AtomicU32::new(0),
            runs: AtomicU32::new(0),
            seen: Mutex::default(),
            tokens: AtomicU64::new(99),
            reported_to: Mutex::default(),
        }),
        journal: open_journal(folder.path()),
        board: JobBoard::default(),
        folder,
    }
}

impl World {
    fn runner(&self) -> Runner {
        Runner {
            chain: self.chain.clone(),
            store: self.store.clone(),
            trainer: self.trainer.clone(),
            journal: self.journal.clone(),
            board: self.board.clone(),
            metrics: Metrics::default(),
            worker: worker().account(),
            folder: self.folder.path().join("jobs"),
            max_bytes: 1_000,
            attempts: Mutex::default(),
            readable: Mutex::default(),
        }
    }

    fn step(&self) -> Option<JobStep> {
        self.journal.job(JobId(4)).unwrap().map(|row| row.step)
    }

    fn calls(&self) -> Vec<&'static str> {
        self.chain.calls.lock().unwrap().clone()
    }

    /// Where the store keeps a blob.
    fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        let hex = tributary_client::store::digest_hex(digest);
        self.folder.path().join("store/sha256").join(hex.trim_start_matches("0x"))
    }

    fn pass_window(&self) {
        self.chain.height.fetch_add(4, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_job_is_claimed_trained_submitted_and_paid() {
    let world = world(&[SHARD, b"{\"text\":\"d\"}\n"]).await;
    let runner = world.runner();
    assert!(runner.work().await.unwrap());
    assert_eq!(*world.trainer.seen.lock().unwrap(), vec![(0, 2), (1, 1)]);
    assert_eq!(world.step(), Some(JobStep::Submitted));
    assert_eq!(runner.finalize().await.unwrap(), 0);
    let JobState::Submitted { result, .. } = world.chain.state() else { panic!() };
    let manifest = world.store.manifest(&result.adapter).await.unwrap();
    assert_eq!(manifest.kind, FolderKind::Adapter);
    assert_eq!(manifest.files.len(), 1);
    assert_eq!(world.store.get(&result.index).await.unwrap(), b"index");
    world.pass_window();
    assert_eq!(runner.finalize().await.unwrap(), 1);
    assert_eq!(world.step(), Some(JobStep::Done));
    assert!(!Path::new(&runner.folder.join("4")).exists());
    assert!(!runner.work().await.unwrap());
    assert_eq!(world.calls(), ["claim", "submit", "finalize"]);
}

#[tokio::test]
async fn the_chain_is_told_now_and_then_how_far_a_training_is() {
    for deaf in [false, true] {
        let world = world(&[SHARD]).await;
        *world.trainer.reported_to.lock().unwrap() = Some(world.chain.clone());
        // GIVEN a lease, and a chain that hears the report but whose answer may get lost
        world.chain.claim(JobId(4)).await.unwrap();
        world.journal.set_job(JobId(4), JobStep::Claiming, None, "").unwrap();
        *world.chain.deaf.lock().unwrap() = deaf;
        assert!(world.runner().work().await.unwrap());
        // THEN the training is not disturbed by it
        assert_eq!(world.step(), Some(JobStep::Submitted));
        assert_eq!(world.calls(), ["claim", "report", "submit"]);
    }
}

#[tokio::test]
async fn a_call_whose_outcome_was_lost_is_not_made_twice() {
    let world = world(&[SHARD]).await;
    *world.chain.deaf.lock().unwrap() = true;
    assert!(world.runner().work().await.unwrap());
    assert_eq!(world.calls(), ["claim", "submit"]);

    let world = self::world(&[SHARD]).await;
    let runner = world.runner();
    // The claim is heard, the submission is not.
    *world.chain.deaf.lock().unwrap() = false;
    world.chain.claim(JobId(4)).await.unwrap();
    world.journal.set_job(JobId(4), JobStep::Claiming, None, "").unwrap();
    *world.chain.deaf.lock().unwrap() = true;
    runner.work().await.unwrap();
    assert_eq!(world.step(), Some(JobStep::Submitted));
    world.pass_window();
    *world.chain.deaf.lock().unwrap() = true;
    assert_eq!(runner.finalize().await.unwrap(), 1);
    assert_eq!(world.calls(), ["claim", "submit", "finalize"]);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_journal_ends() {
    let world = world(&[SHARD]).await;
    // GIVEN a worker that died after its claim was included
    world.chain.claim(JobId(4)).await.unwrap();
    world.journal.set_job(JobId(4), JobStep::Claiming, None, "").unwrap();
    assert!(world.runner().work().await.unwrap());
    assert_eq!(world.step(), Some(JobStep::Submitted));

    // GIVEN a worker that died between storing and submitting: it does not train again
    let world = self::world(&[SHARD]).await;
    world.chain.claim(JobId(4)).await.unwrap();
    let result = JobResult {
        adapter: H256::repeat_byte(1),
        index: H256::repeat_byte(2),
        index_root: H256::repeat_byte(3),
        transcript: H256::repeat_byte(4),
        metrics: TrainMetrics { loss_before_micro: 2, loss_after_micro: 1, steps: 1, tokens: 1 },
    };
    world.journal.set_job(JobId(4), JobStep::Trained, Some(&result), "").unwrap();
    assert!(world.runner().work().await.unwrap());
    assert_eq!(world.trainer.runs.load(Ordering::Relaxed), 0);
    assert!(matches!(world.chain.state(), JobState::Submitted { result: r, .. } if r == result));

    // GIVEN a worker that died before its claim left
    let world = self::world(&[SHARD]).await;
    world.journal.set_job(JobId(4), JobStep::Claiming, None, "").unwrap();
    let runner = world.runner();
    assert!(runner.work().await.unwrap());
    assert_eq!(world.step(), None);
    // THEN it claims it anew
    assert!(runner.work().await.unwrap());
    assert_eq!(world.step(), Some(JobStep::Submitted));
}

#[tokio::test]
async fn a_lost_lease_ends_the_job() {
    let world = world(&[SHARD]).await;
    world.chain.claim(JobId(4)).await.unwrap();
    world.journal.set_job(JobId(4), JobStep::Training, None, "").unwrap();
    world.chain.height.fetch_add(LEASE + 1, Ordering::Relaxed);
    assert!(world.runner().work().await.unwrap());
    assert_eq!(world.step(), Some(JobStep::GivenUp));
    assert_eq!(world.trainer.runs.load(Ordering::Relaxed), 0);
    // Open again, it is left to others.
    world.chain.job.lock().unwrap().state = JobState::Open;
    world.chain.job.lock().unwrap().deadline = 1_000;
    assert!(!world.runner().work().await.unwrap());
}

#[tokio::test]
async fn bad_shards_end_the_job_and_are_named() {
    for (shards, expected) in [
        (vec![&b"{\"prompt\":\"a\"}\n"[..]], "line 1"),
        (vec![SHARD, b"{\"text\":\"x\"}\nnonsense\n"], "line 2"),
        (vec![], "no contribution"),
    ] {
        let world = world(&shards).await;
        assert!(!world.runner().work().await.unwrap());
        assert!(world.calls().is_empty(), "a lease was taken that cannot be kept");
        let row = world.journal.job(JobId(4)).unwrap().unwrap();
        assert_eq!(row.step, JobStep::GivenUp);
        assert!(row.note.contains(expected), "{}", row.note);
        assert_eq!(world.trainer.runs.load(Ordering::Relaxed), 0);
    }
    let large = format!("{{\"text\":\"{}\"}}\n", "x".repeat(2_000));
    let world = world(&[large.as_bytes()]).await;
    assert!(!world.runner().work().await.unwrap());
    assert!(world.journal.job(JobId(4)).unwrap().unwrap().note.contains("1000 bytes"));
}

#[tokio::test]
async fn preferences_and_answers_are_not_trained_together() {
    for (shards, expected) in [
        (
            [SHARD, PREFERENCES],
            "contribution 0 holds answers to learn and contribution 1 preferences",
        ),
        (
            [PREFERENCES, SHARD],
            "contribution 0 holds preferences and contribution 1 answers to learn",
        ),
    ] {
        let world = world(&shards).await;
        let runner = world.runner();
        assert!(!runner.work().await.unwrap());
        // THEN no stake was put at risk, and whoever asks is told why
        assert!(world.calls().is_empty());
        let progress = world.board.get(JobId(4), &world.journal).unwrap().unwrap();
        assert_eq!(progress.state, "given_up");
        assert!(progress.note.contains(expected), "{}", progress.note);
        assert!(progress.note.contains("submit a job for each kind"), "{}", progress.note);
        assert_eq!(world.journal.job(JobId(4)).unwrap().unwrap().note, progress.note);
        assert_eq!(world.trainer.runs.load(Ordering::Relaxed), 0);
        assert!(!runner.work().await.unwrap());
    }
    // A shard that has both is no shard, and a job of one kind is a job like any other.
    let world = world(&[&[SHARD, PREFERENCES].concat()]).await;
    assert!(!world.runner().work().await.unwrap());
    let note = world.journal.job(JobId(4)).unwrap().unwrap().note;
    assert!(note.contains("contribution 0: line 3 is not one of the answers"), "{note}");
    let world = self::world(&[PREFERENCES, PREFERENCES.trim_ascii_end()]).await;
    assert!(world.runner().work().await.unwrap());
    assert_eq!(*world.trainer.seen.lock().unwrap(), vec![(0, 2), (1, 2)]);
    assert_eq!(world.step(), Some(JobStep::Submitted));
}

#[tokio::test]
async fn no_more_is_charged_than_the_chain_lets_a_result_charge() {
    let bound = SIZE.1 + 64 * SIZE.0;
    for (trained, charged) in [(bound - 1, bound - 1), (bound, bound), (bound + 1, bound)] {
        let world = world(&[PREFERENCES]).await;
        world.trainer.tokens.store(trained, Ordering::Relaxed);
        assert!(world.runner().work().await.unwrap());
        let JobState::Submitted { result, .. } = world.chain.state() else { panic!() };
        assert_eq!(result.metrics.tokens, charged);
    }
}

#[tokio::test]
async fn the_records_of_a_job_that_others_were_given_are_read_once() {
    let world = world(&[SHARD]).await;
    let runner = world.runner();
    // GIVEN a chain that does not give the lease
    *world.chain.refuses.lock().unwrap() = true;
    assert!(!runner.work().await.unwrap());
    // WHEN the shard is gone and the lease is given, THEN it was not looked for in between
    let content = tributary_client::store::digest_of(SHARD);
    std::fs::remove_file(world.blob(&content)).unwrap();
    assert!(!runner.work().await.unwrap());
    *world.chain.refuses.lock().unwrap() = false;
    assert!(matches!(runner.work().await, Err(WorkerError::BlobMissing(d)) if d == content));
    world.store.put(SHARD.to_vec()).await.unwrap();
    assert!(runner.work().await.unwrap());
    assert_eq!(world.calls(), ["claim", "submit"]);
}

#[tokio::test]
async fn a_missing_shard_is_waited_for() {
    let mut world = world(&[]).await;
    let content = tributary_client::store::digest_of(SHARD);
    world.chain = Arc::new(Chain::new(vec![(ContributionId(0), content)]));
    let runner = world.runner();
    for _ in 0..5 {
        assert!(matches!(runner.work().await, Err(WorkerError::BlobMissing(d)) if d == content));
    }
    world.store.put(SHARD.to_vec()).await.unwrap();
    assert!(runner.work().await.unwrap());
    assert_eq!(world.step(), Some(JobStep::Submitted));
}

#[tokio::test]
async fn a_damaged_shard_in_the_store_is_noticed() {
    let world = world(&[SHARD]).await;
    let path = world.blob(&tributary_client::store::digest_of(SHARD));
    std::fs::write(&path, b"{\"text\":\"forged\"}\n").unwrap();
    let runner = world.runner();
    assert!(matches!(runner.work().await, Err(WorkerError::BadBlob { .. })));
    assert!(world.calls().is_empty());
    assert_eq!(world.trainer.runs.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_failing_engine_is_tried_three_times() {
    let world = world(&[SHARD]).await;
    world.trainer.failures.store(2, Ordering::Relaxed);
    let runner = world.runner();
    assert!(matches!(runner.work().await, Err(WorkerError::Engine(_))));
    assert!(matches!(runner.work().await, Err(WorkerError::Engine(_))));
    assert!(runner.work().await.unwrap());
    assert_eq!(world.step(), Some(JobStep::Submitted));

    let world = self::world(&[SHARD]).await;
    world.trainer.failures.store(9, Ordering::Relaxed);
    let runner = world.runner();
    for _ in 0..2 {
        assert!(runner.work().await.is_err());
    }
    assert!(runner.work().await.unwrap());
    let row = world.journal.job(JobId(4)).unwrap().unwrap();
    assert_eq!((row.step, row.note.contains("out of memory")), (JobStep::GivenUp, true));
}

#[tokio::test]
async fn jobs_that_do_not_fit_are_left_alone() {
    let changes: [fn(&mut JobView); 4] = [
        |job| job.base = ModelId(5),
        |job| job.spec.rank = 17,
        |job| job.spec.rank = 0,
        |job| job.deadline = 10,
    ];
    for change in changes {
        let world = world(&[SHARD]).await;
        change(&mut world.chain.job.lock().unwrap());
        assert!(!world.runner().work().await.unwrap());
        assert!(world.calls().is_empty());
    }
}
