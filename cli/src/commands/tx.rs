//! `tributary tx`

use crate::{
    context::Context,
    error::CliError,
    output::{facts, spinner, table, Report},
    Result,
};
use clap::Subcommand;
use tributary_client::{primitives::H256, store::parse_digest, Chain, ChainError, Included};

/// Submit encoded calls, find transactions.
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// Sign and submit an encoded call (pallet index, call index, arguments)
    Submit {
        /// The call, as 0x and digits
        call: String,
        /// Submit it as root, where the chain has a sudo key and the signing key is it
        #[arg(long)]
        sudo: bool,
    },
    /// Find a transaction in the last blocks, or wait for it
    Watch {
        /// Its hash
        hash: String,
        /// How many blocks to look back
        #[arg(long, default_value_t = 100)]
        back: u32,
        /// How many further blocks to wait for
        #[arg(long, default_value_t = 10)]
        ahead: u32,
    },
}

fn describe(included: &Included) -> String {
    let mut text = facts(&[
        ("transaction", format!("{:?}", included.tx)),
        ("block", format!("{} ({:?})", included.number, included.block)),
        ("final", if included.finalized { "yes" } else { "not yet" }.into()),
    ]);
    let rows: Vec<[String; 2]> = included
        .events
        .iter()
        .map(|event| [format!("{}::{}", event.pallet, event.name), event.text.clone()])
        .collect();
    text.push('\n');
    text.push_str(&table(["event", "fields"], &rows));
    text
}

/// Runs the command.
pub async fn run(command: TxCommand, context: &Context) -> Result<Report> {
    match command {
        TxCommand::Submit { call, sudo } => {
            let digits = call.trim().strip_prefix("0x").unwrap_or(call.trim());
            let bytes = hex::decode(digits).map_err(|_| {
                CliError::Usage("the call is not hexadecimal; write it as 0x and digits".into())
            })?;
            let key = context.key()?;
            let chain = context.chain().await?;
            let data = chain.call_from_bytes(bytes).await.map_err(usage)?;
            let waiting = spinner(format!("submitting {}::{}", data.pallet(), data.call()));
            let included = if sudo {
                chain.sudo(&data, &key, context.wait()).await?
            } else {
                chain.submit_data(&data, &key, context.wait()).await?
            };
            waiting.finish_and_clear();
            Report::new(&included, describe(&included))
        }
        TxCommand::Watch { hash, back, ahead } => {
            let tx = parse_digest(&hash)
                .map_err(|_| CliError::Usage(format!("`{hash}` is no transaction's hash")))?;
            let chain = context.chain().await?;
            let included = watch(&chain, tx, back, ahead).await?;
            Report::new(&included, describe(&included))
        }
    }
}

/// Bytes that are no call are the caller's mistake, not a difference of versions.
fn usage(error: ChainError) -> CliError {
    match error {
        ChainError::Args { .. } | ChainError::NoSuchCall { .. } => {
            CliError::Usage(error.to_string())
        }
        other => other.into(),
    }
}

async fn watch(chain: &Chain, tx: H256, back: u32, ahead: u32) -> Result<Included> {
    let start = chain.best().await?.number;
    let last = start.saturating_add(ahead);
    let mut from = start.saturating_sub(back);
    let waiting = spinner("looking for the transaction");
    loop {
        let best = chain.best().await?.number;
        if let Some(mut included) = chain.find_transaction(tx, from).await? {
            waiting.finish_and_clear();
            included.finalized = chain.finalized().await?.number >= included.number;
            return Ok(included);
        }
        if best >= last {
            return Err(CliError::NotFound(format!(
                "transaction {tx:?} is in none of the blocks {} to {best}",
                start.saturating_sub(back)
            )));
        }
        waiting.set_message(format!("waiting for the transaction (block {best} of {last})"));
        // The best block may still be replaced, so it is looked at again.
        from = best.saturating_sub(2);
        chain.next_block(best).await?;
    }
}
