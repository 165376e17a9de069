//! `tributary bridge`

use super::bridge_status::{self, Watched};
use crate::{
    context::{amount, Context},
    error::CliError,
    output::{facts, open, spinner, Report},
    Result,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use tributary_client::{
    calls::settlement::Withdraw,
    keys::address,
    primitives::{
        bridge::{FailedDepositView, L2_OPEN},
        AccountId, Balance,
    },
    Chain,
};
use tributary_relayer::{
    addresses::Addresses,
    config::Payment,
    journal::Journal,
    l1::{
        from_address, to_address, Address, Call, Contracts, L1Error, Mined, Outcome, Sender,
        TransportError, L1, U256,
    },
    l2::L2,
    RelayerError,
};

/// How often Ethereum is asked while something is waited for.
const POLL: Duration = Duration::from_secs(2);

/// Move OPEN between the chain and Ethereum.
#[derive(Debug, Subcommand)]
pub enum BridgeCommand {
    /// Send OPEN from Ethereum to an account of the chain
    Deposit(DepositArgs),
    /// Send OPEN from the chain to an address of Ethereum
    Withdraw(WithdrawArgs),
    /// How far withdrawals are
    Status(StatusArgs),
}

/// Where Ethereum and the contracts are.
#[derive(Args, Clone, Debug)]
pub struct L1Options {
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
    #[arg(
        long = "l1-addresses",
        env = "TRIBUTARY_L1_ADDRESSES",
        default_value = "l1.json",
        value_name = "FILE"
    )]
    pub addresses: PathBuf,
}

/// Send OPEN from Ethereum to an account of the chain.
#[derive(Args, Debug)]
pub struct DepositArgs {
    /// How much, in OPEN
    #[arg(long, value_parser = amount)]
    amount: Balance,
    /// Address or key on the chain that gets it [default: the key to sign with]
    #[arg(long)]
    to: Option<String>,
    /// Wait until the chain has credited it
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    l1: L1Options,
    #[command(flatten)]
    payment: Payment,
}

/// Send OPEN from the chain to an address of Ethereum.
#[derive(Args, Debug)]
pub struct WithdrawArgs {
    /// How much, in OPEN
    #[arg(long, value_parser = amount)]
    amount: Balance,
    /// Address on Ethereum that gets it
    #[arg(long, value_name = "0x…")]
    to: Address,
    /// Wait until it has arrived, showing every stage
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    l1: L1Options,
}

/// How far withdrawals are.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Number of a withdrawal [default: those of the key to sign with]
    index: Option<u32>,
    /// Everybody's
    #[arg(long, conflicts_with = "index")]
    all: bool,
    /// Wait until the withdrawal has arrived
    #[arg(long, requires = "index")]
    wait: bool,
    #[command(flatten)]
    l1: L1Options,
}

/// Runs `tributary bridge`.
pub async fn run(command: BridgeCommand, context: &Context) -> Result<Report> {
    match command {
        BridgeCommand::Deposit(args) => deposit(args, context).await,
        BridgeCommand::Withdraw(args) => withdraw(args, context).await,
        BridgeCommand::Status(args) => status(args, context).await,
    }
}

impl From<RelayerError> for CliError {
    fn from(error: RelayerError) -> Self {
        match error {
            RelayerError::L2(error) => error.into(),
            RelayerError::L1(error) => error.into(),
            RelayerError::Addresses(error) => Self::NotFound(error.to_string()),
            RelayerError::Config(text) => Self::Usage(text),
            RelayerError::Refused { .. } | RelayerError::AnchorStopped { .. } => {
                Self::Refused(error.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<L1Error> for CliError {
    fn from(error: L1Error) -> Self {
        let text = error.to_string();
        match error {
            L1Error::Transport(TransportError::Unreachable { .. }) | L1Error::NotMined { .. } => {
                Self::Waiting(text)
            }
            L1Error::Transport(TransportError::BadUrl { .. })
            | L1Error::BadKey(_)
            | L1Error::PasswordNeeded { .. }
            | L1Error::WrongChain { .. } => Self::Usage(text),
            L1Error::NoContract { .. } => Self::NotFound(text),
            L1Error::Reverted(_)
            | L1Error::FeeAboveLimit { .. }
            | L1Error::Poor { .. }
            | L1Error::GaveUp { .. } => Self::Refused(text),
            _ => Self::Failed(text),
        }
    }
}

/// Connects to Ethereum and finds the contracts of this chain there.
async fn contracts(options: &L1Options, chain: &Chain) -> Result<Contracts> {
    let addresses = Addresses::load(&options.addresses).map_err(RelayerError::from)?;
    if addresses.l2_genesis.0 != chain.genesis().0 {
        return Err(CliError::Usage(format!(
            "{} is of another chain than the node at {}",
            options.addresses.display(),
            chain.url()
        )));
    }
    let l1 = L1::connect(&options.l1_rpc).await?;
    Ok(Contracts::open(l1, addresses).await?)
}

fn mined(outcome: Outcome, what: &str) -> Result<Mined> {
    match outcome {
        Outcome::Mined(mined) => Ok(mined),
        Outcome::Refused(revert) => {
            Err(CliError::Refused(format!("the contract refused {what}: {revert}")))
        }
        Outcome::Otherwise(note) => Err(CliError::Failed(format!("{what}: {note}"))),
    }
}

async fn send(sender: &Sender, what: &str, call: &Call) -> Result<Mined> {
    mined(sender.execute(what, call, || async { Ok(true) }).await?, what)
}

async fn deposit(args: DepositArgs, context: &Context) -> Result<Report> {
    let to = match &args.to {
        Some(text) => context.account(text)?,
        None => context.key()?.account(),
    };
    let chain = context.chain().await?;
    let contracts = contracts(&args.l1, &chain).await?;
    let key = args.payment.key()?;
    let from = key.address();
    let wanted = U256::from(args.amount);
    let there = contracts.open_balance(from).await?;
    if there < wanted {
        return Err(CliError::Refused(format!(
            "{from:?} has {} on Ethereum, less than {}",
            open(there.as_u128()),
            open(args.amount)
        )));
    }
    let journal = Journal::in_memory(&contracts.l1().chain_id().to_string(), from)
        .map_err(RelayerError::from)?;
    let payment = &args.payment;
    let sender = Sender::new(
        contracts.l1().clone(),
        key,
        journal,
        payment.policy()?,
        payment.confirmations,
        payment.poll().min(POLL),
    );
    let waiting = spinner(format!("sending {} to the bridge", open(args.amount)));
    if contracts.allowance(from).await? < wanted {
        send(&sender, "the allowance", &contracts.approve(wanted)).await?;
    }
    let account: &[u8] = to.as_ref();
    let call = contracts.deposit(to_address(L2_OPEN), from, wanted, account.to_vec());
    let sent = send(&sender, "the deposit", &call).await?;
    let place = contracts.deposit_index(sent.hash).await?;
    let (index, block) = place
        .ok_or_else(|| CliError::Failed(format!("transaction {:?} made no deposit", sent.hash)))?;
    let mut json = json!({
        "deposit": index, "from": from, "to": address(&to), "amount": args.amount.to_string(),
        "l1_tx": sent.hash, "l1_block": block, "gas_used": sent.gas_used, "credited": false,
    });
    let mut text = format!(
        "Sent {} as deposit {index}, in Ethereum's block {block}. The chain takes it in when that \
         block is final.",
        open(args.amount)
    );
    if args.wait {
        credited(&chain, index, |step| waiting.set_message(step)).await?;
        json["credited"] = json!(true);
        text = format!("{} are on the chain, at {}.", open(args.amount), address(&to));
    }
    waiting.finish_and_clear();
    Ok(Report { json, text })
}

/// Waits until the chain has executed a deposit.
async fn credited(chain: &Chain, index: u64, say: impl Fn(String)) -> Result<()> {
    loop {
        let state = chain.settlement().state().await?;
        if state.executed > index {
            break;
        }
        let origin = state.origin.map_or(0, |origin| origin.number);
        say(format!("the chain knows Ethereum up to block {origin}; waiting for deposit {index}"));
        tokio::time::sleep(POLL).await;
    }
    let failed: Option<FailedDepositView> = chain.settlement().failed_deposit(index).await?;
    match failed {
        None => Ok(()),
        Some(failed) => Err(CliError::Refused(format!(
            "the chain could not credit deposit {index}: {}; anybody can send it back with \
             settlement.refund_deposit",
            failed.reason.text()
        ))),
    }
}

async fn withdraw(args: WithdrawArgs, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let waiting = spinner(format!("sending {} to Ethereum", open(args.amount)));
    let call = Withdraw { to: from_address(args.to), amount: args.amount };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let (_, _, _, index): (AccountId, [u8; 20], Balance, u32) =
        included.require("Settlement", "Withdrawn")?;
    let mut json = json!({
        "withdrawal": index, "from": key.address(), "to": args.to,
        "amount": args.amount.to_string(), "tx": included.tx, "block": included.block,
        "number": included.number, "finalized": included.finalized,
    });
    let mut text = facts(&[
        ("withdrawal", index.to_string()),
        ("amount", open(args.amount)),
        ("to", format!("{:?}", args.to)),
        ("block", included.number.to_string()),
        ("follow it with", format!("tributary bridge status {index} --wait")),
    ]);
    if args.wait {
        let l2 = L2::new(chain.clone());
        let contracts = contracts(&args.l1, &chain).await?;
        let end = bridge_status::follow(&contracts, &l2, index, |step| waiting.set_message(step));
        json["progress"] = end.await?.json;
        text = format!("{} have arrived at {:?}.", open(args.amount), args.to);
    }
    waiting.finish_and_clear();
    Ok(Report { json, text })
}

async fn status(args: StatusArgs, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let contracts = contracts(&args.l1, &chain).await?;
    let l2 = L2::new(chain.clone());
    match args.index {
        Some(index) if args.wait => {
            let waiting = spinner(format!("withdrawal {index}"));
            let end =
                bridge_status::follow(&contracts, &l2, index, |step| waiting.set_message(step));
            let report = end.await?;
            waiting.finish_and_clear();
            Ok(report)
        }
        Some(index) => bridge_status::one(&contracts, &l2, index).await,
        None => {
            let whose = match args.all {
                true => Watched::Everybody,
                false => Watched::One(context.key()?.account()),
            };
            bridge_status::list(&contracts, &l2, &whose).await
        }
    }
}
