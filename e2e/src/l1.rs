//! Ethereum on this machine: anvil, the bridge's contracts, and relayers.

use crate::process::{checkout, free_port, program, Process};
use anyhow::{bail, Context, Result};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tributary_relayer::{
    addresses::Addresses,
    journal::Journal,
    l1::{Contracts, L1Key, L1},
};

/// Accounts of anvil's well-known mnemonic, each with ten thousand ether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Deploys the contracts, and pays for the first relayer.
    Relayer,
    /// May pause; see `bridge/deploy.dev.json`.
    Guardian,
    /// Has the OPEN that is not on the chain; see `bridge/deploy.dev.json`.
    Treasury,
    /// Pays for a second relayer.
    Rival,
}

impl Account {
    /// Its secret, which the whole world knows.
    pub const fn secret(self) -> &'static str {
        match self {
            Self::Relayer => "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            Self::Guardian => "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
            Self::Treasury => "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
            Self::Rival => "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
        }
    }

    /// Its key.
    pub fn key(self) -> Result<L1Key> {
        Ok(L1Key::from_hex(self.secret())?)
    }

    /// An encrypted key file with its password beside it, made when it is not there.
    pub fn files(self, dir: &Path) -> Result<(PathBuf, PathBuf)> {
        let name = format!("{self:?}").to_lowercase();
        let (key, password) = (dir.join(format!("{name}.json")), dir.join(format!("{name}.words")));
        if !key.exists() {
            std::fs::create_dir_all(dir)?;
            std::fs::write(&password, "for tests alone\n")?;
            self.key()?.save(&key, "for tests alone")?;
        }
        Ok((key, password))
    }
}

/// The program itself: npm's starter would pass no signal on when it is killed.
const ANVIL: &str = "bridge/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// A running anvil.
pub struct Anvil {
    /// The program.
    pub process: Process,
    /// URL over HTTP.
    pub http: String,
}

impl Anvil {
    /// Starts anvil with a block every `block_time_s` seconds, of which the last but two is final.
    pub async fn start(dir: &Path, block_time_s: u32) -> Result<Self> {
        let anvil = checkout().join(ANVIL);
        if !anvil.exists() {
            bail!("{} is not there; run `make setup`", anvil.display());
        }
        let port = free_port()?;
        let mut process = Process::start(
            "anvil",
            Command::new(anvil)
                .args(["--port", &port.to_string()])
                .args(["--block-time", &block_time_s.to_string()])
                .args(["--slots-in-an-epoch", "1"]),
            dir.join("anvil.log"),
        )?;
        let http = format!("http://127.0.0.1:{port}");
        process
            .wait_until("answer", Duration::from_secs(30), async || L1::connect(&http).await.ok())
            .await?;
        Ok(Self { process, http })
    }
}

/// Ethereum with the bridge on it.
pub struct Bridge {
    /// The Ethereum node.
    pub anvil: Anvil,
    /// File of the addresses.
    pub addresses: PathBuf,
    /// Folder of key files and relayers' journals.
    pub dir: PathBuf,
    /// URL of the chain's node.
    pub node: String,
}

impl Bridge {
    /// Deploys the contracts from `bridge/deploy.dev.json`, and joins the chain to them.
    pub async fn deploy(dir: &Path, anvil: Anvil, node: &str) -> Result<Self> {
        let addresses = dir.join("l1.json");
        let this = Self { anvil, addresses, dir: dir.into(), node: node.into() };
        this.deploy_beside("l1").await?;
        let mut command = this.command("configure", None)?;
        command.args(["--sudo", "//Alice"]);
        this.finish("configure", command).await?;
        Ok(this)
    }

    /// Deploys further contracts for the same chain, which is not joined to them, and gives the
    /// file of their addresses.
    pub async fn deploy_beside(&self, name: &str) -> Result<PathBuf> {
        let addresses = self.dir.join(name).with_extension("json");
        let mut command = self.command_at("deploy", Some(Account::Relayer), &addresses)?;
        command.arg("--config").arg(checkout().join("bridge/deploy.dev.json"));
        command
            .arg("--artefact")
            .arg(checkout().join("bridge/contracts/out/Deployer.sol/Deployer.json"));
        self.finish("deploy", command).await?;
        Ok(addresses)
    }

    /// A command of the relayer, with what all of them need.
    fn command(&self, name: &str, payer: Option<Account>) -> Result<Command> {
        self.command_at(name, payer, &self.addresses)
    }

    fn command_at(&self, name: &str, payer: Option<Account>, addresses: &Path) -> Result<Command> {
        let mut command = Command::new(program("tributary-relayer")?);
        command
            .arg(name)
            .args(["--node", &self.node, "--l1-rpc", &self.anvil.http])
            .arg("--addresses")
            .arg(addresses)
            .env("RUST_LOG", "info,tributary_relayer=debug,subxt=warn,jsonrpsee=warn");
        if let Some(payer) = payer {
            let (key, password) = payer.files(&self.dir.join("keys"))?;
            command.arg("--l1-key-file").arg(key).arg("--l1-password-file").arg(password).args([
                "--l1-poll-ms",
                "200",
                "--confirmations",
                "1",
                "--bump-after",
                "3",
            ]);
        }
        Ok(command)
    }

    /// Runs a command that must succeed.
    async fn finish(&self, name: &str, command: Command) -> Result<Value> {
        let output = tokio::process::Command::from(command).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            bail!(
                "tributary-relayer {name} ended with {}:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    /// Handles on the contracts.
    pub async fn contracts(&self) -> Result<Contracts> {
        self.contracts_at(&self.addresses).await
    }

    /// Handles on the contracts whose addresses are in a file.
    pub async fn contracts_at(&self, addresses: &Path) -> Result<Contracts> {
        let addresses = Addresses::load(addresses)?;
        Ok(Contracts::open(L1::connect(&self.anvil.http).await?, addresses).await?)
    }

    /// Starts a relayer with all duties, serving everybody, and eager.
    pub async fn relayer(&self, payer: Account) -> Result<Relayer> {
        self.relayer_for(payer, "run", &self.addresses, |_| {}).await
    }

    /// Starts a relayer with some duties for the contracts in a file; `more` may add to its command
    /// line and environment.
    pub async fn relayer_for(
        &self,
        payer: Account,
        duties: &str,
        addresses: &Path,
        more: impl FnOnce(&mut Command),
    ) -> Result<Relayer> {
        let data = self.dir.join(format!("{payer:?}").to_lowercase());
        std::fs::create_dir_all(&data)?;
        let port = free_port()?;
        let mut command = self.command_at(duties, Some(payer), addresses)?;
        command
            .arg("--data-dir")
            .arg(&data)
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(["--all", "--pause-s", "1"])
            .args(["--anchor-min-age-s", "1", "--cheap-gas-gwei", "1000"])
            .args(["--propose-min-interval-s", "1"]);
        more(&mut command);
        let mut process =
            Process::start("the relayer", &mut command, self.dir.join(format!("{payer:?}.log")))?;
        let url = format!("http://127.0.0.1:{port}");
        let (client, health) = (reqwest::Client::new(), format!("{url}/health"));
        process
            .wait_until("health", Duration::from_secs(60), async || {
                let answer = client.get(&health).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await?;
        let addresses = Addresses::load(addresses)?;
        Ok(Relayer {
            process,
            url,
            payer,
            journal: data.join("journal.db"),
            which: format!("{}/{:?}", addresses.chain_id, addresses.portal),
        })
    }
}

/// A running relayer.
pub struct Relayer {
    /// The program.
    pub process: Process,
    /// URL of its metrics.
    pub url: String,
    payer: Account,
    journal: PathBuf,
    which: String,
}

impl Relayer {
    /// Its journal, read beside it.
    pub fn journal(&self) -> Result<Journal> {
        let account = self.payer.key()?.address();
        Journal::open(&self.journal, &self.which, account).context("the relayer's journal")
    }

    /// Waits until it means to do something, kills it at once, and starts it again.
    pub async fn kill_at(
        mut self,
        bridge: &Bridge,
        purpose_begins: &str,
        limit: Duration,
    ) -> Result<Self> {
        let journal = self.journal()?;
        let start = std::time::Instant::now();
        while journal.entries(purpose_begins)?.is_empty() {
            self.process.check()?;
            if start.elapsed() > limit {
                bail!("no {purpose_begins} within {limit:?}:\n{}", self.process.tail(40));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.process.kill()?;
        drop(journal);
        bridge.relayer(self.payer).await
    }
}
