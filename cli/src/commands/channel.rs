//! `tributary channel`

use crate::{
    context::{amount, worker, Context},
    error::CliError,
    output::{facts, open, spinner, table, Report},
    Result,
};
use clap::Subcommand;
use serde_json::json;
use tributary_client::{
    calls::marketplace::{CloseChannel, OpenChannel, SettleChannel, TopUp},
    channels::{ChannelError, ChannelState},
    keys::address,
    primitives::{
        views::{ChannelView, WorkerView},
        Balance, ChannelId,
    },
    Chain, Included, Key,
};

/// Payment channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Open a channel to a worker
    Open {
        /// The worker's address
        worker: String,
        /// What is put in, in OPEN
        #[arg(value_parser = amount)]
        deposit: Balance,
    },
    /// List the channels of the signing key
    List,
    /// Show a channel
    Show {
        /// Its number
        channel: u64,
    },
    /// Put more into a channel
    TopUp {
        /// Its number
        channel: u64,
        /// How much, in OPEN
        #[arg(value_parser = amount)]
        amount: Balance,
    },
    /// Close a channel: what is left can be taken back after a delay
    Close {
        /// Its number
        channel: u64,
    },
    /// Take back what is left in a closed channel, after the delay
    Settle {
        /// Its number
        channel: u64,
    },
}

/// Opens a channel and writes it into the book.
pub async fn open_channel(
    chain: &Chain,
    key: &Key,
    worker: &WorkerView,
    deposit: Balance,
    context: &Context,
) -> Result<(ChannelState, Included)> {
    let call = OpenChannel { worker: worker.account.clone(), deposit };
    let included = chain.submit_wait(&call, key, context.wait()).await?;
    let channel: ChannelId = included.require("Marketplace", "ChannelOpened")?;
    let state = ChannelState {
        genesis: chain.genesis(),
        channel,
        key: context.key_name().into(),
        worker: worker.account.clone(),
        endpoint: worker.endpoint.to_string(),
        deposit,
        promised: 0,
        spent: 0,
    };
    context.home.channels().put(&state)?;
    Ok((state, included))
}

/// Writes a channel into the book that was opened elsewhere. What was promised there is not known;
/// it is at least what was redeemed.
pub fn adopt(
    chain: &Chain,
    view: &ChannelView,
    worker: &WorkerView,
    context: &Context,
) -> Result<()> {
    context.home.channels().put(&ChannelState {
        genesis: chain.genesis(),
        channel: view.id,
        key: context.key_name().into(),
        worker: view.worker.clone(),
        endpoint: worker.endpoint.to_string(),
        deposit: view.deposit,
        promised: view.redeemed,
        spent: view.redeemed,
    })?;
    Ok(())
}

async fn on_chain(chain: &Chain, id: u64) -> Result<ChannelView> {
    chain.marketplace().channel(ChannelId(id)).await?.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no channel {id}; `tributary channel list` shows yours"
        ))
    })
}

fn describe(view: &ChannelView, state: Option<&ChannelState>) -> String {
    let mut rows = vec![
        ("channel", view.id.to_string()),
        ("from", address(&view.consumer)),
        ("to worker", address(&view.worker)),
        ("deposit", open(view.deposit)),
        ("redeemed", open(view.redeemed)),
        (
            "state",
            view.closes_at.map_or_else(
                || "open".into(),
                |at| format!("closing, can be settled from block {at}"),
            ),
        ),
    ];
    if let Some(state) = state {
        rows.push(("spent", open(state.spent)));
        rows.push(("promised", open(state.promised)));
    }
    facts(&rows)
}

/// What the book knows of a channel.
fn in_book(chain: &Chain, id: ChannelId, context: &Context) -> Result<Option<ChannelState>> {
    let book = context.home.channels().list(&chain.genesis())?;
    Ok(book.into_iter().find(|state| state.channel == id))
}

/// Runs the command.
pub async fn run(command: ChannelCommand, context: &Context) -> Result<Report> {
    match command {
        ChannelCommand::Open { worker: text, deposit } => {
            let account = context.account(&text)?;
            let key = context.key()?;
            let chain = context.chain().await?;
            let to = worker(&chain, &account).await?;
            let waiting = spinner(format!("opening a channel with {}", open(deposit)));
            let (state, included) = open_channel(&chain, &key, &to, deposit, context).await?;
            waiting.finish_and_clear();
            let text = format!(
                "Channel {} holds {} for {}.",
                state.channel,
                open(deposit),
                address(&to.account)
            );
            Report::new(
                &json!({ "channel": state, "tx": included.tx, "number": included.number }),
                text,
            )
        }
        ChannelCommand::List => list(context).await,
        ChannelCommand::Show { channel } => {
            let chain = context.chain().await?;
            let view = on_chain(&chain, channel).await?;
            let state = in_book(&chain, view.id, context)?;
            let text = describe(&view, state.as_ref());
            Report::new(&json!({ "channel": view, "book": state }), text)
        }
        ChannelCommand::TopUp { channel, amount } => top_up(channel, amount, context).await,
        ChannelCommand::Close { channel } => close(channel, context).await,
        ChannelCommand::Settle { channel } => settle(channel, context).await,
    }
}

async fn list(context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let views = chain.marketplace().channels_of(&key.account()).await?;
    let book = context.home.channels().list(&chain.genesis())?;
    let spent = |id| book.iter().find(|s| s.channel == id).map(|s| open(s.spent));
    let rows: Vec<[String; 6]> = views
        .iter()
        .map(|view| {
            [
                view.id.to_string(),
                address(&view.worker),
                open(view.deposit),
                open(view.redeemed),
                spent(view.id).unwrap_or_default(),
                view.closes_at.map_or_else(|| "open".into(), |at| format!("closing at {at}")),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        "This key has no channels; `tributary chat` opens one when it needs it.".to_string()
    } else {
        table(["channel", "worker", "deposit", "redeemed", "spent", "state"], &rows)
    };
    Report::new(&json!({ "channels": views, "book": book }), text)
}

async fn top_up(id: u64, amount: Balance, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = on_chain(&chain, id).await?;
    let waiting = spinner("waiting for a block");
    let call = TopUp { channel: view.id, amount };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let view = on_chain(&chain, id).await?;
    match context.home.channels().open(&chain.genesis(), view.id) {
        Ok(mut channel) => channel.set_deposit(view.deposit)?,
        // Opened elsewhere: `chat` takes it into the book when it uses it.
        Err(ChannelError::Unknown(_)) => {}
        Err(error) => return Err(error.into()),
    }
    waiting.finish_and_clear();
    let text = format!("Channel {id} holds {} now.", open(view.deposit));
    Report::new(&json!({ "channel": view, "tx": included.tx, "number": included.number }), text)
}

async fn close(id: u64, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = on_chain(&chain, id).await?;
    let waiting = spinner("waiting for a block");
    let call = CloseChannel { channel: view.id };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let after = chain.marketplace().channel(view.id).await?;
    waiting.finish_and_clear();
    let text = match after.as_ref().and_then(|view| view.closes_at) {
        Some(at) => format!(
            "Channel {id} is closing; from block {at} on, `tributary channel settle {id}` brings \
             back what the worker has not redeemed."
        ),
        None => format!("Channel {id} is settled."),
    };
    Report::new(&json!({ "channel": after, "tx": included.tx, "number": included.number }), text)
}

async fn settle(id: u64, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = on_chain(&chain, id).await?;
    let waiting = spinner("waiting for a block");
    let call = SettleChannel { channel: view.id };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    context.home.channels().remove(&chain.genesis(), view.id)?;
    waiting.finish_and_clear();
    let (_, redeemed, released): (ChannelId, Balance, Balance) =
        included.require("Marketplace", "ChannelSettled")?;
    let text = format!(
        "Channel {id} is settled: {} went to the worker, {} came back.",
        open(redeemed),
        open(released)
    );
    Report::new(
        &json!({
            "channel": id, "redeemed": redeemed.to_string(), "released": released.to_string(),
            "tx": included.tx, "number": included.number,
        }),
        text,
    )
}
