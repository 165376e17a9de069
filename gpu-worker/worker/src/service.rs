//! The worker as a whole, in the order in which it starts: folders, key, chain, journal, API,
//! engines, registration, loops.

use crate::{
    config::{Config, Device},
    engine::Engines,
    error::{Result, WorkerError},
    http::{answer::now_ms, Api, Parts},
    jobs::Runner,
    journal::Journal,
    live::{store_fault, Blobs, Live},
    metrics::{Label, Metrics},
    progress::JobBoard,
    settle::Settler,
};
use std::{
    fs::File,
    future::Future,
    io::Write,
    path::{Path, PathBuf},
    sync::{atomic::Ordering, Arc},
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use tributary_client::{calls::compute::WorkerInfo, chain::Chain, keys::Key, store::Store};
use tributary_engine::{cuda::Cuda, EngineOptions};
use tributary_primitives::views::Text;

/// Pause between two rounds that found nothing to do: a third of a block.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs the worker until `shutdown` resolves; then answers under way end, and nothing new begins.
///
/// Errors that keep it from starting are returned; later ones are logged, counted, and tried
/// again.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let folder = config.data_dir()?;
    let _lock = open_folder(&folder)?;
    let key = Arc::new(config.load_key()?);
    let chain = Chain::connect(&config.node)
        .await
        .map_err(|e| WorkerError::NodeUnreachable(e.to_string()))?;
    let genesis = chain.genesis();
    let live = Live::new(chain, key.clone());
    let store = open_store(&config, &folder)?;
    let journal = Journal::open(&folder.join("journal.db"), &genesis, &key.account())?;
    let metrics = Metrics::default();
    let board = JobBoard::default();
    let engines =
        Arc::new(Engines::new(store.clone(), folder.join("adapters"), config.max_adapters));

    let stop = CancellationToken::new();
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(WorkerError::io(format!("listening on {}", config.listen)))?;
    let bound = listener.local_addr().map_err(WorkerError::io("reading the bound address"))?;
    let url = format!("http://{bound}");
    let api = Api::new(Parts {
        key: key.clone(),
        genesis,
        chain: Arc::new(live.clone()),
        backend: engines.clone(),
        journal: journal.clone(),
        jobs: board.clone(),
        metrics: metrics.clone(),
        limits: config.limits(),
    });
    let serving = {
        let (router, stop) = (api.clone().router(), stop.clone());
        let server = axum::serve(listener, router);
        tokio::spawn(async move {
            server.with_graceful_shutdown(async move { stop.cancelled().await }).await
        })
    };
    announce(&url, config.url_file.as_deref())?;

    tokio::pin!(shutdown);
    let started = start(&config, &engines, &live, &key, &url);
    tokio::select! {
        outcome = started => outcome?,
        () = &mut shutdown => return Ok(()),
    }
    let loops = TaskTracker::new();
    let runner = Arc::new(Runner {
        chain: Arc::new(live.clone()),
        store: store.clone(),
        trainer: engines.clone(),
        journal: journal.clone(),
        board,
        metrics: metrics.clone(),
        worker: key.account(),
        folder: folder.join("jobs"),
        max_bytes: config.max_job_mib.saturating_mul(1 << 20),
        attempts: Default::default(),
        readable: Default::default(),
    });
    let settler = Arc::new(Settler::new(
        journal,
        Arc::new(live.clone()),
        Arc::new(Blobs(store)),
        key.account(),
        config.policy(),
    ));
    if config.serve_only {
        info!("serving only, no jobs are taken");
    } else {
        let runner = runner.clone();
        repeat(&loops, &stop, &metrics, "jobs", move || {
            let runner = runner.clone();
            async move { runner.work().await }
        });
    }
    repeat(&loops, &stop, &metrics, "payments", move || {
        let runner = runner.clone();
        async move { Ok(runner.finalize().await? > 0) }
    });
    {
        let metrics = metrics.clone();
        repeat(&loops, &stop, &metrics.clone(), "settlement", move || {
            let (settler, metrics) = (settler.clone(), metrics.clone());
            async move {
                let progress = settler.round(now_ms()).await?;
                let count = |kind, n: usize| {
                    metrics.batches.get_or_create(&Label { kind }).inc_by(n as u64);
                };
                count("submitted", progress.submitted.len());
                count("final", progress.finalized.len());
                metrics.lost_answers.inc_by(progress.lost);
                Ok(false)
            }
        });
    }
    repeat(&loops, &stop, &metrics, "bases", move || {
        let (engines, live) = (engines.clone(), live.clone());
        async move {
            if engines.find_bases(&live).await? > 0 {
                tracing::debug!("some base models are not on chain yet");
            }
            Ok(false)
        }
    });
    loops.close();

    shutdown.await;
    info!("stopping: answers under way end, nothing new begins");
    api.draining.store(true, Ordering::Relaxed);
    stop.cancel();
    api.tasks.close();
    let drained = async {
        api.tasks.wait().await;
        loops.wait().await;
        let _ = serving.await;
    };
    if tokio::time::timeout(Duration::from_secs(config.drain_s), drained).await.is_err() {
        warn!("something did not end in time; the journal goes on from here at the next start");
    }
    Ok(())
}

/// Makes the data folder and locks it: two workers on one journal would settle it twice.
fn open_folder(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder)
        .map_err(WorkerError::io(format!("making {}", folder.display())))?;
    let path = folder.join("lock");
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(WorkerError::io(format!("opening {}", path.display())))?;
    lock.try_lock().map_err(|_| {
        WorkerError::Config(format!(
            "another worker runs on {}; give each its own --data-dir",
            folder.display()
        ))
    })?;
    Ok(lock)
}

fn open_store(config: &Config, folder: &Path) -> Result<Store> {
    let url = match &config.store {
        Some(url) => url.clone(),
        None => folder.join("store").display().to_string(),
    };
    Store::open(&url).map_err(store_fault)
}

/// Says where the API is: one line on standard output, and a file if one is asked for.
fn announce(url: &str, file: Option<&Path>) -> Result<()> {
    let failed = WorkerError::io("writing the URL");
    let mut out = std::io::stdout();
    writeln!(out, "{url}").and_then(|()| out.flush()).map_err(failed)?;
    if let Some(path) = file {
        // Renamed into place, so that who waits for the file never reads half of it.
        let next: PathBuf = path.with_extension("next");
        std::fs::write(&next, url)
            .and_then(|()| std::fs::rename(&next, path))
            .map_err(WorkerError::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}

/// Loads the base models and registers the worker.
async fn start(
    config: &Config,
    engines: &Engines,
    live: &Live,
    key: &Key,
    url: &str,
) -> Result<()> {
    let device = device(config.device)?;
    for folder in &config.bases {
        let options = EngineOptions {
            device,
            threads: config.threads,
            slots: config.slots,
            capacity: config.context,
            waiting: config.slots,
            device_adapters: config.device_adapters.max(1),
            device_bytes: config.device_adapter_mib.saturating_mul(1 << 20),
            host_bytes: config.host_adapter_mib.saturating_mul(1 << 20),
            ..EngineOptions::new(folder)
        };
        let content = engines.add_base(folder, options).await?;
        info!(folder = %folder.display(), content = ?content, "base model loaded");
    }
    let info = WorkerInfo {
        endpoint: Text::from(config.endpoint.as_deref().unwrap_or(url)),
        signing_key: key.account(),
        max_rank: config.max_rank,
        gpu: device.is_cuda(),
        train_price: config.train_price,
    };
    live.register(info, config.stake).await?;
    let missing = engines.find_bases(live).await?;
    if missing > 0 && config.register_bases {
        for (content, folder) in engines.unnamed_folders() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            live.register_base(&name, content, config.royalty_ppm).await?;
        }
        engines.find_bases(live).await?;
    } else if missing > 0 {
        for (content, folder) in engines.unnamed_folders() {
            warn!(
                folder = %folder.display(),
                content = ?content,
                "the base model is not on chain; register it, or start with --register-bases"
            );
        }
    }
    Ok(())
}

fn device(wanted: Device) -> Result<tch::Device> {
    if wanted == Device::Cpu {
        return Ok(tch::Device::Cpu);
    }
    match (tributary_engine::cuda::start(), wanted) {
        (Cuda::Ready { .. }, _) => Ok(tch::Device::Cuda(0)),
        (Cuda::Missing(_), Device::Auto) => Ok(tch::Device::Cpu),
        (Cuda::Missing(reason), _) => Err(WorkerError::Config(format!(
            "no GPU is usable here: {reason}; start with --device cpu, or put that right"
        ))),
    }
}

/// Repeats `round` until `stop`: at once while it finds something to do, after a pause otherwise,
/// after longer ones while it fails.
fn repeat<F, R>(
    loops: &TaskTracker,
    stop: &CancellationToken,
    metrics: &Metrics,
    name: &'static str,
    mut round: F,
) where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<bool>> + Send,
{
    let (stop, metrics) = (stop.clone(), metrics.clone());
    loops.spawn(async move {
        let mut pause = PAUSE;
        loop {
            let outcome = tokio::select! {
                // A round is dropped where it stands: the journal is made for that.
                () = stop.cancelled() => return,
                outcome = round() => outcome,
            };
            pause = match outcome {
                Ok(true) => Duration::ZERO,
                Ok(false) => PAUSE,
                Err(error) => {
                    warn!(round = name, code = error.code(), %error, "will be tried again");
                    metrics.error(error.code());
                    pause.max(PAUSE).saturating_mul(2).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {},
            }
        }
    });
}
