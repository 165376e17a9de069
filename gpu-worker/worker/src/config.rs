//! What the worker is told when it starts. Every flag has an environment variable.

use crate::{
    error::{Result, WorkerError},
    http::Limits,
    settle::Policy,
};
use clap::{Parser, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tributary_client::{home::Home, keys::Key};
use tributary_primitives::{money::parse_open, Balance};

/// Where tensors are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// On a GPU if there is one.
    Auto,
    /// On the processor.
    Cpu,
    /// On the first GPU.
    Cuda,
}

/// Takes training jobs, serves adapters over HTTP for vouchers, and settles what it earned.
#[derive(Clone, Debug, Parser)]
#[command(name = "tributary-worker", version)]
pub struct Config {
    /// The node's web socket.
    #[arg(long, env = "TRIBUTARY_NODE", default_value = "ws://127.0.0.1:9944")]
    pub node: String,

    /// The object store: a folder, file:///path or s3://bucket/prefix [default: store in the data
    /// folder]
    #[arg(long, env = "TRIBUTARY_STORE")]
    pub store: Option<String>,

    /// Folder for the journal, checkpoints and fetched adapters [default: ~/.tributary/worker]
    #[arg(long, env = "TRIBUTARY_WORKER_DATA")]
    pub data_dir: Option<PathBuf>,

    /// Folder of a base model in the hub's layout; may be given several times.
    #[arg(long = "base", env = "TRIBUTARY_WORKER_BASES", value_delimiter = ',', required = true)]
    pub bases: Vec<PathBuf>,

    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "TRIBUTARY_WORKER_LISTEN", default_value = "127.0.0.1:8700")]
    pub listen: SocketAddr,

    /// File to write the bound URL to, once the API answers.
    #[arg(long, env = "TRIBUTARY_WORKER_URL_FILE")]
    pub url_file: Option<PathBuf>,

    /// URL to publish on chain [default: the bound address]
    #[arg(long, env = "TRIBUTARY_WORKER_ENDPOINT")]
    pub endpoint: Option<String>,

    /// The account's secret: words, 0x seed or a development name such as //Alice. Others on the
    /// machine can read flags; use the variable or --key-name.
    #[arg(long, env = "TRIBUTARY_WORKER_KEY", hide_env_values = true, conflicts_with = "key_name")]
    pub key: Option<String>,

    /// Name of a key that `tributary key` keeps; its password is read from TRIBUTARY_PASSWORD.
    #[arg(long, env = "TRIBUTARY_WORKER_KEY_NAME")]
    pub key_name: Option<String>,

    /// Folder in which `tributary` keeps its keys [default: the one that `tributary` uses]
    #[arg(long, env = "TRIBUTARY_HOME")]
    pub home: Option<PathBuf>,

    /// Stake to register with, in OPEN.
    #[arg(long, env = "TRIBUTARY_WORKER_STAKE", default_value = "1000", value_parser = open)]
    pub stake: Balance,

    /// Price of training per 1,000 tokens, in OPEN.
    #[arg(long, env = "TRIBUTARY_WORKER_TRAIN_PRICE", default_value = "0.001", value_parser = open)]
    pub train_price: Balance,

    /// Largest LoRA rank to train.
    #[arg(long, env = "TRIBUTARY_WORKER_MAX_RANK", default_value_t = 64)]
    pub max_rank: u16,

    /// Take no training jobs.
    #[arg(long, env = "TRIBUTARY_WORKER_SERVE_ONLY")]
    pub serve_only: bool,

    /// Register base models that are not on chain, under the names of their folders.
    #[arg(long, env = "TRIBUTARY_WORKER_REGISTER_BASES")]
    pub register_bases: bool,

    /// Royalty weight of base models that are registered, in parts per million.
    #[arg(long, env = "TRIBUTARY_WORKER_ROYALTY_PPM", default_value_t = 1_000_000)]
    pub royalty_ppm: u32,

    /// Where to compute.
    #[arg(long, env = "TRIBUTARY_WORKER_DEVICE", value_enum, default_value_t = Device::Auto)]
    pub device: Device,

    /// Threads of one tensor operation.
    #[arg(long, env = "TRIBUTARY_WORKER_THREADS", default_value_t = 2)]
    pub threads: usize,

    /// Answers given at the same time; more are refused at once.
    #[arg(long, env = "TRIBUTARY_WORKER_SLOTS", default_value_t = 16)]
    pub slots: usize,

    /// Longest prompt and answer together, in tokens.
    #[arg(long, env = "TRIBUTARY_WORKER_CONTEXT", default_value_t = 1_024)]
    pub context: usize,

    /// Tokens of an answer for which no length is asked.
    #[arg(long, env = "TRIBUTARY_WORKER_DEFAULT_TOKENS", default_value_t = 128)]
    pub default_tokens: u32,

    /// Adapters on this machine's disk at most, for each base model; the one asked longest ago makes
    /// room and is fetched from the object store when it is asked again.
    #[arg(long, env = "TRIBUTARY_WORKER_MAX_ADAPTERS", default_value_t = 4_096)]
    pub max_adapters: usize,

    /// Of them, those that are ready to be computed with, for each base model. Others come from the
    /// host's memory or from disk when they are asked.
    #[arg(long, env = "TRIBUTARY_WORKER_DEVICE_ADAPTERS", default_value_t = 1_024)]
    pub device_adapters: usize,

    /// Memory for those, in MiB of the device.
    #[arg(long, env = "TRIBUTARY_WORKER_DEVICE_ADAPTER_MIB", default_value_t = 4_096)]
    pub device_adapter_mib: usize,

    /// Memory for adapters that are not on the device, in MiB of the host.
    #[arg(long, env = "TRIBUTARY_WORKER_HOST_ADAPTER_MIB", default_value_t = 4_096)]
    pub host_adapter_mib: usize,

    /// Largest job to take, in MiB of shards.
    #[arg(long, env = "TRIBUTARY_WORKER_MAX_JOB_MIB", default_value_t = 1_024)]
    pub max_job_mib: u64,

    /// Settle when no answer was given for this many seconds.
    #[arg(long, env = "TRIBUTARY_WORKER_SETTLE_IDLE_S", default_value_t = 10)]
    pub settle_idle_s: u64,

    /// Settle when an answer is this many seconds old.
    #[arg(long, env = "TRIBUTARY_WORKER_SETTLE_AGE_S", default_value_t = 600)]
    pub settle_age_s: u64,

    /// Settle when there are this many answers.
    #[arg(long, env = "TRIBUTARY_WORKER_SETTLE_ANSWERS", default_value_t = 1_000)]
    pub settle_answers: u64,

    /// Seconds that answers under way have to end when the worker is stopped.
    #[arg(long, env = "TRIBUTARY_WORKER_DRAIN_S", default_value_t = 30)]
    pub drain_s: u64,
}

fn open(text: &str) -> std::result::Result<Balance, String> {
    parse_open(text).map_err(|e| e.to_string())
}

impl Config {
    /// Folder for everything that the worker keeps.
    pub fn data_dir(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let home = std::env::var_os("HOME").ok_or_else(|| {
            WorkerError::Config("HOME is not set; name a folder with --data-dir".into())
        })?;
        Ok(PathBuf::from(home).join(".tributary").join("worker"))
    }

    /// The worker's key.
    pub fn load_key(&self) -> Result<Key> {
        let bad = |e: &dyn std::fmt::Display| WorkerError::Config(e.to_string());
        if let Some(secret) = &self.key {
            return Key::from_uri(secret).map_err(|e| bad(&e));
        }
        let Some(name) = &self.key_name else {
            return Err(WorkerError::Config(
                "the worker needs a key: set TRIBUTARY_WORKER_KEY, or make one with \
                 `tributary key create worker` and give --key-name worker"
                    .into(),
            ));
        };
        let home = Home::open(self.home.clone()).map_err(|e| bad(&e))?;
        let password = std::env::var("TRIBUTARY_PASSWORD").ok();
        home.keys().load(name, password.as_deref()).map_err(|e| bad(&e))
    }

    /// What the API keeps within.
    pub fn limits(&self) -> Limits {
        let max_tokens = u32::try_from(self.context).unwrap_or(u32::MAX);
        Limits {
            slots: self.slots,
            default_tokens: self.default_tokens.min(max_tokens),
            max_tokens,
            ..Limits::default()
        }
    }

    /// When to settle.
    pub fn policy(&self) -> Policy {
        Policy {
            idle: Duration::from_secs(self.settle_idle_s),
            max_age: Duration::from_secs(self.settle_age_s),
            max_answers: self.settle_answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> std::result::Result<Config, String> {
        let all = ["tributary-worker"].iter().chain(arguments);
        Config::try_parse_from(all).map_err(|e| e.to_string())
    }

    #[test]
    fn amounts_are_read_as_open() {
        let config = read(&["--base", "/b", "--stake", "2.5", "--key", "//Bob"]).unwrap();
        assert_eq!(config.stake, 2_500_000_000_000_000_000);
        assert_eq!(config.load_key().unwrap().account(), Key::from_uri("//Bob").unwrap().account());
        assert!(read(&["--base", "/b", "--stake", "much"]).is_err());
    }

    #[test]
    fn a_base_model_and_a_key_are_needed() {
        assert!(read(&[]).unwrap_err().contains("--base"));
        let config = read(&["--base", "/a,/b"]).unwrap();
        assert_eq!(config.bases.len(), 2);
        assert!(matches!(config.load_key(), Err(WorkerError::Config(_))));
    }
}
