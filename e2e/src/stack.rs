//! A whole Tributary on this machine: one node, one worker, a folder as object store.

use crate::{
    cli::Cli,
    l1::Anvil,
    process::{checkout, free_port, program, Process},
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tributary_client::Chain;

/// A node of the development chain.
pub struct Node {
    /// The program; `None` for a node that somebody else runs.
    pub process: Option<Process>,
    /// URL of its RPC over WebSocket.
    pub ws: String,
    /// URL of its RPC over HTTP.
    pub http: String,
}

impl Node {
    /// Starts `tributary-node --dev` with temporary state, and waits until its RPC answers.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, &[]).await
    }

    /// The same, with further arguments.
    pub async fn start_with(dir: &Path, arguments: &[String]) -> Result<Self> {
        let (rpc, p2p) = (free_port()?, free_port()?);
        let mut process = Process::start(
            "the node",
            Command::new(program("tributary-node")?)
                .args(["--dev", "--tmp", "--no-mdns", "--no-prometheus", "--no-telemetry"])
                .arg(format!("--rpc-port={rpc}"))
                .arg(format!("--listen-addr=/ip4/127.0.0.1/tcp/{p2p}"))
                .arg("--rpc-max-connections=256")
                .args(arguments),
            dir.join("node.log"),
        )?;
        let address = format!("127.0.0.1:{rpc}");
        process
            .wait_until("RPC", Duration::from_secs(90), async || {
                tokio::net::TcpStream::connect(&address).await.ok()
            })
            .await?;
        Ok(Self { process: Some(process), ..Self::at(&format!("ws://{address}")) })
    }

    /// A node that somebody else runs, by its WebSocket URL.
    pub fn at(ws: &str) -> Self {
        Self { process: None, ws: ws.into(), http: ws.replacen("ws://", "http://", 1) }
    }

    /// The end of its log, where it is ours.
    pub fn tail(&self, lines: usize) -> String {
        self.process.as_ref().map(|process| process.tail(lines)).unwrap_or_default()
    }
}

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerSetup {
    /// URL of its node.
    pub node: String,
    /// URL of the object store.
    pub store: String,
    /// Folder of its journal and caches.
    pub data: PathBuf,
    /// Base model that it holds.
    pub base: PathBuf,
    /// Its key, as a development URI.
    pub key: String,
    /// Port of its API; the same after a restart, since it is published on chain.
    pub port: u16,
    /// Seconds without a request after which it settles.
    pub settle_after_s: u32,
}

/// A running worker.
pub struct Worker {
    /// The program.
    pub process: Process,
    /// URL of its API.
    pub url: String,
    setup: WorkerSetup,
}

impl Worker {
    /// Starts `tributary-worker` and waits until it says that it is ready.
    pub async fn start(dir: &Path, setup: WorkerSetup) -> Result<Self> {
        let process = Process::start(
            "the worker",
            Command::new(program("tributary-worker")?)
                .args(["--node", &setup.node, "--store", &setup.store])
                .args(["--key", &setup.key])
                .arg("--data-dir")
                .arg(&setup.data)
                .arg("--base")
                .arg(&setup.base)
                .arg(format!("--listen=127.0.0.1:{}", setup.port))
                .arg(format!("--settle-idle-s={}", setup.settle_after_s)),
            dir.join("worker.log"),
        )?;
        let url = format!("http://127.0.0.1:{}", setup.port);
        let mut worker = Self { process, url, setup };
        let ready = format!("{}/ready", worker.url);
        let client = reqwest::Client::new();
        worker
            .process
            .wait_until("readiness", Duration::from_secs(120), async || {
                let answer = client.get(&ready).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await?;
        Ok(worker)
    }

    /// Kills it without warning and starts it again on the same journal.
    pub async fn kill_and_restart(mut self, dir: &Path) -> Result<Self> {
        self.process.kill()?;
        Self::start(dir, self.setup.clone()).await
    }
}

/// Everything that runs, and where it lies.
pub struct Stack {
    /// Folder of logs, homes and the object store.
    pub dir: PathBuf,
    /// The node.
    pub node: Node,
    /// URL of the node that the worker uses: another one in networks of several.
    pub worker_node: String,
    /// The worker, once it is started.
    pub worker: Option<Worker>,
    /// A connection to the node.
    pub chain: Chain,
    /// URL of the object store.
    pub store: String,
}

impl Stack {
    /// Starts a node in `dir`, which is emptied first.
    pub async fn start(dir: &Path) -> Result<Self> {
        let dir = empty(dir)?;
        let node = Node::start(&dir).await?;
        let worker_node = node.ws.clone();
        Self::on(dir, node, worker_node).await
    }

    /// The same, with a local Ethereum that the node follows.
    pub async fn start_beside_ethereum(dir: &Path) -> Result<(Self, Anvil)> {
        let dir = empty(dir)?;
        let anvil = Anvil::start(&dir, 1).await?;
        let follow = [format!("--l1-rpc={}", anvil.http), "--l1-poll-ms=500".into()];
        let node = Node::start_with(&dir, &follow).await?;
        let worker_node = node.ws.clone();
        Ok((Self::on(dir, node, worker_node).await?, anvil))
    }

    /// Uses nodes that somebody else runs: people talk to one, the worker to another.
    pub async fn attach(dir: &Path, people: &str, worker: &str) -> Result<Self> {
        Self::on(empty(dir)?, Node::at(people), worker.into()).await
    }

    async fn on(dir: PathBuf, node: Node, worker_node: String) -> Result<Self> {
        let chain = Chain::connect(&node.ws).await?;
        let store = format!("file://{}", dir.join("store").display());
        Ok(Self { dir, node, worker_node, worker: None, chain, store })
    }

    /// The tool of one person, with a home of its own.
    pub fn cli(&self, person: &str) -> Cli {
        Cli {
            home: self.dir.join("homes").join(person),
            node: self.node.ws.clone(),
            store: self.store.clone(),
        }
    }

    /// Starts the worker.
    pub async fn start_worker(&mut self, key: &str, settle_after_s: u32) -> Result<&Worker> {
        let setup = WorkerSetup {
            node: self.worker_node.clone(),
            store: self.store.clone(),
            data: self.dir.join("worker"),
            base: base_model(),
            key: key.into(),
            port: free_port()?,
            settle_after_s,
        };
        Ok(self.worker.insert(Worker::start(&self.dir, setup).await?))
    }

    /// The worker, which must have been started.
    pub fn worker(&self) -> Result<&Worker> {
        self.worker.as_ref().context("no worker was started")
    }
}

/// Makes a folder anew, with a store in it.
fn empty(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("{} is in use", dir.display()))?;
    }
    std::fs::create_dir_all(dir.join("store"))?;
    Ok(dir.canonicalize()?)
}

/// Folder of the small base model that ships with the project.
pub fn base_model() -> PathBuf {
    checkout().join("gpu-worker/base-model/tiny")
}

/// Folder of the example data.
pub fn examples() -> PathBuf {
    checkout().join("examples/defi-exploits")
}
