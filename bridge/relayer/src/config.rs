//! What the relayer is told when it starts. Every flag has an environment variable.

use crate::{
    duties::{withdraw::Serve, Policy, ReporterKey},
    error::{RelayerError, Result},
    l1::{Address, FeePolicy, KeySource, L1Key, U256},
};
use clap::{Args, Parser, Subcommand};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tributary_client::Key;

const GWEI: f64 = 1e9;

/// Anchors the chain's finality on Ethereum, and carries withdrawals there.
#[derive(Clone, Debug, Parser)]
#[command(name = "tributary-relayer", version)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// All duties
    Run(ServiceArgs),
    /// Bring what the validators signed to Ethereum
    Anchor(ServiceArgs),
    /// Make games about anchored blocks, and prove their claims
    Propose(ServiceArgs),
    /// Decide games, and take back bonds
    Resolve(ServiceArgs),
    /// Prove withdrawals, and carry them out
    Withdraw(ServiceArgs),
    /// Look for contradictions and false claims
    Watch(ServiceArgs),
    /// Put the contracts on Ethereum, and write where they are
    Deploy(DeployArgs),
    /// Read the contracts back, and check that they belong together
    Verify(VerifyArgs),
    /// Join the chain to the contracts, or print the call that does
    Configure(ConfigureArgs),
    /// Make a new encrypted key file
    Key(KeyArgs),
}

/// Where both chains are.
#[derive(Args, Clone, Debug)]
pub struct Chains {
    /// The chain's node
    #[arg(long, env = "TRIBUTARY_NODE", default_value = "ws://127.0.0.1:9944", value_name = "URL")]
    pub node: String,
    /// The Ethereum node
    #[arg(
        long,
        env = "TRIBUTARY_L1_RPC",
        default_value = "http://127.0.0.1:8545",
        value_name = "URL",
        hide_env_values = true
    )]
    pub l1_rpc: String,
    /// File of the contracts' addresses
    #[arg(long, env = "TRIBUTARY_L1_ADDRESSES", default_value = "l1.json", value_name = "FILE")]
    pub addresses: PathBuf,
}

/// Who pays, and how much.
#[derive(Args, Clone, Debug)]
pub struct Payment {
    /// Key file of the account that pays, encrypted as Ethereum's wallets do
    #[arg(long, env = "TRIBUTARY_L1_KEY_FILE", value_name = "FILE")]
    pub l1_key_file: PathBuf,
    /// File whose first line is the key file's password [default: TRIBUTARY_L1_PASSWORD, or asked]
    #[arg(long, env = "TRIBUTARY_L1_PASSWORD_FILE", value_name = "FILE")]
    pub l1_password_file: Option<PathBuf>,
    /// Most that a unit of gas may cost, in gwei
    #[arg(long, env = "TRIBUTARY_MAX_FEE_GWEI", default_value_t = 200.0)]
    pub max_fee_gwei: f64,
    /// Most of it that may be a tip, in gwei
    #[arg(long, env = "TRIBUTARY_MAX_TIP_GWEI", default_value_t = 5.0)]
    pub max_tip_gwei: f64,
    /// Ethereum blocks after which a transaction that is in none is offered dearer
    #[arg(long, env = "TRIBUTARY_BUMP_AFTER", default_value_t = 4)]
    pub bump_after: u64,
    /// Ethereum blocks, its own included, that make a transaction count
    #[arg(long, env = "TRIBUTARY_CONFIRMATIONS", default_value_t = 2)]
    pub confirmations: u64,
    /// Milliseconds between two looks at Ethereum
    #[arg(long, env = "TRIBUTARY_L1_POLL_MS", default_value_t = 4_000)]
    pub l1_poll_ms: u64,
}

/// How duties are run.
#[derive(Args, Clone, Debug)]
pub struct ServiceArgs {
    #[command(flatten)]
    pub chains: Chains,
    #[command(flatten)]
    pub payment: Payment,
    /// Folder of the journal [default: ~/.tributary/relayer]
    #[arg(long, env = "TRIBUTARY_RELAYER_DATA", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where metrics and health are served: an address on loopback; port 0 takes a free one
    #[arg(long, env = "TRIBUTARY_RELAYER_LISTEN", default_value = "127.0.0.1:8710")]
    pub listen: SocketAddr,
    /// Seconds between two rounds of a duty that found nothing to do
    #[arg(long, env = "TRIBUTARY_RELAYER_PAUSE_S", default_value_t = 6)]
    pub pause_s: u64,
    /// Seconds after which a block is anchored whatever gas costs
    #[arg(long, env = "TRIBUTARY_ANCHOR_MAX_AGE_S", default_value_t = 14_400)]
    pub anchor_max_age_s: u64,
    /// Seconds before which none is, except when somebody waits for it
    #[arg(long, env = "TRIBUTARY_ANCHOR_MIN_AGE_S", default_value_t = 1_800)]
    pub anchor_min_age_s: u64,
    /// Base fee, in gwei, up to which gas is cheap enough to anchor early
    #[arg(long, env = "TRIBUTARY_CHEAP_GAS_GWEI", default_value_t = 2.0)]
    pub cheap_gas_gwei: f64,
    /// Least seconds between two proposals while withdrawals wait
    #[arg(long, env = "TRIBUTARY_PROPOSE_MIN_INTERVAL_S", default_value_t = 600)]
    pub propose_min_interval_s: u64,
    /// Most seconds between two proposals, withdrawals or not [default: only for withdrawals]
    #[arg(long, env = "TRIBUTARY_PROPOSE_MAX_INTERVAL_S")]
    pub propose_max_interval_s: Option<u64>,
    /// Serve the withdrawals whose OPEN or message goes to this address; may be given several times
    #[arg(long = "for", env = "TRIBUTARY_WITHDRAW_FOR", value_delimiter = ',', value_name = "0x…")]
    pub for_: Vec<Address>,
    /// Serve everybody's withdrawals
    #[arg(long, env = "TRIBUTARY_WITHDRAW_ALL", conflicts_with = "for_")]
    pub all: bool,
    /// A further node of the chain to listen to, in search of contradictions; may be given several
    /// times
    #[arg(long, env = "TRIBUTARY_WATCH_NODES", value_delimiter = ',', value_name = "URL")]
    pub also_listen: Vec<String>,
    /// Secret of the account on the chain that reports validators there. Others on the machine can
    /// read flags: use the variable
    #[arg(long, env = "TRIBUTARY_REPORTER_KEY", hide_env_values = true, value_name = "SECRET")]
    pub reporter_key: Option<String>,
    /// Do not challenge false claims, only say that they are there
    #[arg(long, env = "TRIBUTARY_NO_CHALLENGE")]
    pub no_challenge: bool,
}

/// How the contracts are put on Ethereum.
#[derive(Args, Clone, Debug)]
pub struct DeployArgs {
    #[command(flatten)]
    pub chains: Chains,
    #[command(flatten)]
    pub payment: Payment,
    /// File of the settings
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The compiled deployer
    #[arg(
        long,
        default_value = "bridge/contracts/out/Deployer.sol/Deployer.json",
        value_name = "FILE"
    )]
    pub artefact: PathBuf,
    /// Replace an existing file of addresses
    #[arg(long)]
    pub force: bool,
}

/// What is checked.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub chains: Chains,
}

/// How the chain is joined to the contracts.
#[derive(Args, Clone, Debug)]
pub struct ConfigureArgs {
    #[command(flatten)]
    pub chains: Chains,
    /// Secret of the chain's sudo key, to join it at once; without it the call is printed, for
    /// governance
    #[arg(long, env = "TRIBUTARY_SUDO_KEY", hide_env_values = true, value_name = "SECRET")]
    pub sudo: Option<String>,
}

/// Where the new key goes.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    /// The file to make
    pub file: PathBuf,
    /// File whose first line is to be its password [default: TRIBUTARY_L1_PASSWORD, or asked]
    #[arg(long, env = "TRIBUTARY_L1_PASSWORD_FILE", value_name = "FILE")]
    pub l1_password_file: Option<PathBuf>,
}

fn wei(gwei: f64, flag: &str) -> Result<u64> {
    let wei = gwei * GWEI;
    // Above this nothing is exact, nor makes sense.
    if !(0.0..=9e15).contains(&wei) {
        return Err(RelayerError::Config(format!("{flag} {gwei} is no price of gas")));
    }
    Ok(wei.round() as u64)
}

impl Payment {
    /// What may be paid.
    pub fn policy(&self) -> Result<FeePolicy> {
        let max_tip = U256::from(wei(self.max_tip_gwei, "--max-tip-gwei")?);
        let default = FeePolicy::default();
        Ok(FeePolicy {
            max_fee: wei(self.max_fee_gwei, "--max-fee-gwei")?.into(),
            min_tip: default.min_tip.min(max_tip),
            max_tip,
            bump_after: self.bump_after.max(1),
        })
    }

    /// The account's key.
    pub fn key(&self) -> Result<L1Key> {
        let source = KeySource {
            file: self.l1_key_file.clone(),
            password_file: self.l1_password_file.clone(),
        };
        Ok(L1Key::open(&source)?)
    }

    /// Time between two looks at Ethereum.
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.l1_poll_ms.max(10))
    }
}

impl ServiceArgs {
    /// Folder of the journal.
    pub fn data_dir(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let home = std::env::var_os("HOME").ok_or_else(|| {
            RelayerError::Config("HOME is not set; name a folder with --data-dir".into())
        })?;
        Ok(PathBuf::from(home).join(".tributary").join("relayer"))
    }

    /// When to do what is not urgent.
    pub fn policy(&self) -> Result<Policy> {
        let reporter = match &self.reporter_key {
            Some(secret) => {
                let key = Key::from_uri(secret)
                    .map_err(|error| RelayerError::Config(format!("--reporter-key: {error}")))?;
                Some(ReporterKey(Arc::new(key)))
            }
            None => None,
        };
        let serve = match (self.all, self.for_.is_empty()) {
            (true, _) => Serve::All,
            (false, true) => Serve::None,
            (false, false) => Serve::For(BTreeSet::from_iter(self.for_.iter().copied())),
        };
        Ok(Policy {
            anchor_max_age: Duration::from_secs(self.anchor_max_age_s),
            anchor_min_age: Duration::from_secs(self.anchor_min_age_s),
            cheap_gas: wei(self.cheap_gas_gwei, "--cheap-gas-gwei")?,
            propose_min_interval: Duration::from_secs(self.propose_min_interval_s),
            propose_max_interval: self.propose_max_interval_s.map(Duration::from_secs),
            serve,
            reporter,
            challenge: !self.no_challenge,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> std::result::Result<ServiceArgs, String> {
        let all = ["tributary-relayer", "run", "--l1-key-file", "k"].iter().chain(arguments);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Run(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn prices_are_gwei_and_people_are_addresses() {
        let args = run(&["--max-fee-gwei", "30.5", "--cheap-gas-gwei", "0"]).unwrap();
        let fees = args.payment.policy().unwrap();
        assert_eq!(fees.max_fee, U256::from(30_500_000_000u64));
        let policy = args.policy().unwrap();
        assert_eq!((policy.cheap_gas, policy.serve), (0, Serve::None));
        let mad = run(&["--max-fee-gwei=-1"]).unwrap();
        assert!(matches!(mad.payment.policy(), Err(RelayerError::Config(_))));

        let whom = format!("0x{}", "ab".repeat(20));
        let args = run(&["--for", &whom]).unwrap();
        assert!(matches!(args.policy().unwrap().serve, Serve::For(all) if all.len() == 1));
        assert!(run(&["--for", &whom, "--all"]).is_err());
        assert!(run(&["--for", "0x12"]).is_err());
        assert!(matches!(
            run(&["--reporter-key", "no words"]).unwrap().policy(),
            Err(RelayerError::Config(_))
        ));
    }
}
