//! `tributary`: contribute data, train adapters, ask models, and be paid for it.

mod commands;
mod context;
mod error;
mod output;

use clap::{CommandFactory, Parser, Subcommand};
use context::{Context, Options};
use error::{CliError, Result};
use output::Report;
use std::{io::Write, process::ExitCode};

/// Contribute data, train adapters, ask models, and be paid for it.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, after_help = error::EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make and keep keys
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Make datanets and contribute to them
    #[command(subcommand)]
    Datanet(commands::datanet::DatanetCommand),
    /// Look at, prove and retire contributions
    #[command(subcommand)]
    Contribution(commands::contribution::ContributionCommand),
    /// Train an adapter on one or more datanets, and wait until it is there
    Train(commands::train::TrainArgs),
    /// Look at training jobs
    #[command(subcommand)]
    Job(commands::job::JobCommand),
    /// Ask a model; the answer comes with whose records shaped it, and what it cost
    Chat(commands::chat::ChatArgs),
    /// Payment channels
    #[command(subcommand)]
    Channel(commands::channel::ChannelCommand),
    /// What the keys of this machine earned
    Earnings,
    /// Take what the keys of this machine earned; costs nothing
    Claim(commands::earnings::ClaimArgs),
    /// Look at, list and add models
    #[command(subcommand)]
    Model(commands::model::ModelCommand),
    /// Look at workers
    #[command(subcommand)]
    Worker(commands::worker::WorkerCommand),
    /// What an account has
    Balance(commands::account::BalanceArgs),
    /// Send OPEN
    Transfer(commands::account::TransferArgs),
    /// How much OPEN there is and may be
    Supply,
    /// Move OPEN between the chain and Ethereum
    #[command(subcommand)]
    Bridge(commands::bridge::BridgeCommand),
    /// Submit encoded calls, find transactions
    #[command(subcommand)]
    Tx(commands::tx::TxCommand),
    /// Check a receipt, or a record's proof
    #[command(subcommand)]
    Verify(commands::verify::VerifyCommand),
    /// Write completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

async fn run(command: Command, context: &Context) -> Result<Report> {
    use commands::{
        account, bridge, channel, chat, contribution, datanet, earnings, job, key, model, train,
        tx, verify, worker,
    };
    match command {
        Command::Key(command) => key::run(command, context),
        Command::Datanet(command) => datanet::run(command, context).await,
        Command::Contribution(command) => contribution::run(command, context).await,
        Command::Train(args) => train::run(args, context).await,
        Command::Job(command) => job::run(command, context).await,
        Command::Chat(args) => chat::run(args, context).await,
        Command::Channel(command) => channel::run(command, context).await,
        Command::Earnings => earnings::earnings(context).await,
        Command::Claim(args) => earnings::claim(args, context).await,
        Command::Model(command) => model::run(command, context).await,
        Command::Worker(command) => worker::run(command, context).await,
        Command::Balance(args) => account::balance(args, context).await,
        Command::Transfer(args) => account::transfer(args, context).await,
        Command::Supply => account::supply(context).await,
        Command::Bridge(command) => bridge::run(command, context).await,
        Command::Tx(command) => tx::run(command, context).await,
        Command::Verify(command) => verify::run(command, context).await,
        // Written before anything is opened.
        Command::Completions { .. } => Err(CliError::Usage("completions take no context".into())),
    }
}

fn start(cli: Cli) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let context = Context::new(cli.options)?;
    runtime.block_on(async {
        tokio::select! {
            outcome = run(cli.command, &context) => outcome,
            _ = tokio::signal::ctrl_c() => Err(CliError::Failed("interrupted".into())),
        }
    })
}

fn log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "warn,tributary=debug,tributary_client=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TRIBUTARY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Prints, and does not mind a reader that has gone.
fn print(mut to: impl Write, text: &str) {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(to, "{text}{newline}");
    let _ = to.flush();
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "tributary", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    log(cli.options.verbose);
    let json = cli.options.json;
    match start(cli) {
        Ok(report) if json => {
            print(std::io::stderr(), &report.text);
            print(std::io::stdout(), &report.json.to_string());
            ExitCode::SUCCESS
        }
        Ok(report) => {
            print(std::io::stdout(), &report.text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            if json {
                print(std::io::stdout(), &error.json().to_string());
            }
            print(std::io::stderr(), &format!("tributary: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
