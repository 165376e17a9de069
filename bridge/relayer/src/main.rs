//! `tributary-relayer`: runs duties until it is told to stop, or does one thing and ends.

use clap::Parser;
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;
use tributary_client::{Chain, Key, Wait};
use tributary_relayer::{
    addresses::Addresses,
    config::{Cli, Command, ConfigureArgs, DeployArgs, KeyArgs, VerifyArgs},
    deploy::{self, DeployConfig},
    journal::Journal,
    l1::{Contracts, L1Key, Sender, L1, PASSWORD_VARIABLE},
    l2::L2,
    service::{self, Duty},
    RelayerError, Result,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,subxt=warn,jsonrpsee=warn"));
    // Standard output carries results alone.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match cli.command {
        Command::Run(args) => service::run(args, &Duty::ALL, told_to_stop()).await,
        Command::Anchor(args) => service::run(args, &[Duty::Anchor], told_to_stop()).await,
        Command::Propose(args) => service::run(args, &[Duty::Propose], told_to_stop()).await,
        Command::Resolve(args) => service::run(args, &[Duty::Resolve], told_to_stop()).await,
        Command::Withdraw(args) => service::run(args, &[Duty::Withdraw], told_to_stop()).await,
        Command::Watch(args) => service::run(args, &[Duty::Watch], told_to_stop()).await,
        Command::Deploy(args) => run_deploy(args).await,
        Command::Verify(args) => run_verify(args).await,
        Command::Configure(args) => run_configure(args).await,
        Command::Key(args) => run_key(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(label = error.label(), "{error}");
            eprintln!("tributary-relayer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Resolves on SIGTERM or SIGINT.
async fn told_to_stop() {
    use tokio::signal::unix::{signal, SignalKind};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminated => {},
        _ = tokio::signal::ctrl_c() => {},
    }
}

async fn run_deploy(args: DeployArgs) -> Result<()> {
    let out = &args.chains.addresses;
    if out.exists() && !args.force {
        return Err(RelayerError::Config(format!(
            "{} is there already; --force replaces it, --addresses names another",
            out.display()
        )));
    }
    let config = DeployConfig::load(&args.config)?;
    let key = args.payment.key()?;
    if key.address() == config.guardian {
        tracing::warn!("the guardian is the key that deploys; give the bridge another guardian");
    }
    let l1 = L1::connect(&args.chains.l1_rpc).await?;
    let l2 = L2::new(Chain::connect(&args.chains.node).await?);
    let journal = Journal::in_memory(&l1.chain_id().to_string(), key.address())?;
    let payment = &args.payment;
    let sender =
        Sender::new(l1, key, journal, payment.policy()?, payment.confirmations, payment.poll());
    let done = deploy::deploy(&sender, &l2, &config, &args.artefact).await?;
    done.addresses.save(out)?;
    eprintln!(
        "deployed in block {} with {} gas, checked, written to {}",
        done.addresses.deploy_block,
        done.gas_used,
        out.display()
    );
    print(&serde_json::json!({
        "addresses": done.addresses,
        "transaction": done.transaction,
        "gasUsed": done.gas_used,
        "locked": done.locked.to_string(),
    }))
}

async fn run_verify(args: VerifyArgs) -> Result<()> {
    let addresses = Addresses::load(&args.chains.addresses)?;
    let l1 = L1::connect(&args.chains.l1_rpc).await?;
    let contracts = Contracts::open(l1, addresses).await?;
    deploy::verify(&contracts).await?;
    eprintln!("every reference is as it should be");
    print(&serde_json::json!({ "verified": true }))
}

async fn run_configure(args: ConfigureArgs) -> Result<()> {
    let addresses = Addresses::load(&args.chains.addresses)?;
    let l1 = L1::connect(&args.chains.l1_rpc).await?;
    let l2 = L2::new(Chain::connect(&args.chains.node).await?);
    let contracts = Contracts::open(l1, addresses).await?;
    let (config, data) = deploy::configure(&l2, &contracts).await?;
    let call = format!("0x{}", hex::encode(data.bytes()));
    let Some(secret) = &args.sudo else {
        eprintln!("the call for governance, to be made as root:");
        return print(&serde_json::json!({ "config": config, "call": call }));
    };
    let key =
        Key::from_uri(secret).map_err(|error| RelayerError::Config(format!("--sudo: {error}")))?;
    let included = l2.chain().sudo(&data, &key, Wait::Final).await?;
    eprintln!("joined in block {}", included.number);
    print(&serde_json::json!({ "config": config, "call": call, "block": included.number }))
}

fn run_key(args: &KeyArgs) -> Result<()> {
    let password = match (&args.l1_password_file, std::env::var(PASSWORD_VARIABLE)) {
        (Some(path), _) => std::fs::read_to_string(path)
            .map(|text| text.lines().next().unwrap_or_default().to_string())
            .map_err(|error| RelayerError::Config(format!("{}: {error}", path.display())))?,
        (None, Ok(password)) => password,
        (None, Err(_)) => rpassword::prompt_password("New password: ")
            .map_err(|error| RelayerError::Config(format!("no password: {error}")))?,
    };
    if password.is_empty() {
        return Err(RelayerError::Config("the password is empty".into()));
    }
    let key = L1Key::generate();
    key.save(&args.file, &password)?;
    eprintln!("{:?} in {}", key.address(), args.file.display());
    print(&serde_json::json!({ "address": key.address(), "file": args.file }))
}

fn print(json: &serde_json::Value) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{json}")
        .map_err(|error| RelayerError::Config(format!("standard output: {error}")))
}
