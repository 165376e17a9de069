//! `tributary contribution`

use crate::{
    context::{contribution, Context},
    error::CliError,
    output::{facts, spinner, Report},
    Result,
};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;
use tributary_client::{
    calls::datanets::{RetireContribution, RetireSigned, Vote},
    keys::address,
    primitives::{
        signing::Retirement,
        views::{ContributionState, ContributionView},
        ContributionId,
    },
    store::cid_of,
    ChainError, Included, Shard,
};

/// Blocks for which a wish to retire stays valid.
const RETIREMENT_BLOCKS: u32 = 200;

/// Look at, prove and retire contributions.
#[derive(Debug, Subcommand)]
pub enum ContributionCommand {
    /// Show a contribution
    Show {
        /// Its number, or the digest or CID of its shard
        contribution: String,
    },
    /// Take a contribution of yours out of later versions; costs nothing
    Retire {
        /// Its number, or the digest or CID of its shard
        contribution: String,
        /// Let the signing key (--key, --uri) pay, instead of the datanet's pot; needed for
        /// retiring as the datanet's owner
        #[arg(long)]
        pay: bool,
    },
    /// Vote for a contribution to a curated datanet, as one of its curators
    Vote {
        /// Its number, or the digest or CID of its shard
        contribution: String,
        /// Vote against it
        #[arg(long)]
        against: bool,
    },
    /// Prove that one record is in a contribution of yours, without showing any other
    Prove {
        /// Number of the contribution, or the digest or CID of its shard
        contribution: String,
        /// Position of the record, from 0
        record: u64,
        /// The shard, if it is neither where it was nor in the store
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// The contribution that a transaction made.
pub fn submitted(included: &Included) -> Result<ContributionId> {
    Ok(included.require("Datanets", "Contributed")?)
}

/// Where a contribution stands, for people.
pub fn state_text(state: &ContributionState) -> String {
    match state {
        ContributionState::Pending { due: Some(due) } => {
            format!("under review, accepted in block {due}")
        }
        ContributionState::Pending { due: None } => "waiting for the curators".into(),
        ContributionState::Accepted { at } => format!("accepted in block {at}"),
        ContributionState::Rejected => "rejected by the curators".into(),
        ContributionState::Retired { at } => format!("retired in block {at}"),
    }
}

fn describe(view: &ContributionView) -> String {
    facts(&[
        ("contribution", view.id.to_string()),
        ("datanet", format!("number {}", view.datanet)),
        ("state", state_text(&view.state)),
        ("records", view.records.to_string()),
        ("bytes", view.bytes.to_string()),
        ("shard", cid_of(&view.content)),
        ("records' root", format!("{:?}", view.records_root)),
        ("payouts to", address(&view.payout)),
        ("submitted", format!("in block {}", view.submitted)),
    ])
}

/// Runs the command.
pub async fn run(command: ContributionCommand, context: &Context) -> Result<Report> {
    match command {
        ContributionCommand::Show { contribution: text } => {
            let view = contribution(&context.chain().await?, &text).await?;
            Report::new(&view, describe(&view))
        }
        ContributionCommand::Retire { contribution: text, pay } => {
            retire(&text, pay, context).await
        }
        ContributionCommand::Vote { contribution: text, against } => {
            vote(&text, !against, context).await
        }
        ContributionCommand::Prove { contribution: text, record, file } => {
            prove(&text, record, file, context).await
        }
    }
}

async fn retire(text: &str, pay: bool, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let view = contribution(&chain, text).await?;
    let waiting = spinner("waiting for a block");
    let included = if pay {
        let call = RetireContribution { contribution: view.id };
        chain.submit_wait(&call, &context.key()?, context.wait()).await?
    } else {
        let owner = context.all_keys()?.into_iter().find(|key| key.account == view.payout);
        let key = match owner {
            Some(info) => context.load_key(&info.name)?,
            None if context.options.uri.is_some() => context.key()?,
            None => {
                return Err(CliError::NotFound(format!(
                    "the payout key {} is not on this machine; import it, or retire as the \
                     datanet's owner with --pay",
                    address(&view.payout)
                )))
            }
        };
        let until = chain.best().await?.number.saturating_add(RETIREMENT_BLOCKS);
        let retirement = Retirement { contribution: view.id, valid_until: until };
        let signature = key.sign(&retirement, &chain.genesis());
        chain.submit_general(&RetireSigned { retirement, signature }, context.wait()).await?
    };
    waiting.finish_and_clear();
    let text = format!(
        "Contribution {} is left out of every version cut after block {}.",
        view.id, included.number
    );
    Report::new(
        &json!({ "contribution": view.id, "tx": included.tx, "number": included.number }),
        text,
    )
}

async fn vote(text: &str, aye: bool, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = contribution(&chain, text).await?;
    let waiting = spinner("waiting for a block");
    let call = Vote { contribution: view.id, aye };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let view = contribution(&chain, &view.id.to_string()).await?;
    waiting.finish_and_clear();
    let text = format!(
        "Voted {} contribution {}; it is {}.",
        if aye { "for" } else { "against" },
        view.id,
        state_text(&view.state)
    );
    Report::new(
        &json!({ "contribution": view, "tx": included.tx, "number": included.number }),
        text,
    )
}

async fn prove(
    text: &str,
    record: u64,
    file: Option<PathBuf>,
    context: &Context,
) -> Result<Report> {
    let book = context.home.shards();
    // A number that this machine knows needs no node.
    let local = match text.parse().map(ContributionId) {
        Ok(id) => book.by_contribution(id)?,
        Err(_) => book.get(&tributary_client::store::parse_digest(text)?)?,
    };
    let Some(kept) = local else {
        return Err(CliError::NotFound(format!(
            "the seed of {text} is not on this machine; only where it was pushed from can its \
             records be proven"
        )));
    };
    let path = file.unwrap_or_else(|| kept.file.clone());
    let shard = match Shard::read(&path) {
        Ok(shard) if shard.content() == kept.content => shard,
        // The file has moved or changed; the store still has what was pushed.
        _ => Shard::parse(context.store()?.get(&kept.content).await?)?,
    };
    let seed = kept
        .seed()
        .ok_or_else(|| CliError::Failed("the seed that was kept of the shard is damaged".into()))?;
    let proof = shard.prove(&seed, record)?;
    if !proof.holds(&kept.records_root) {
        return Err(CliError::Failed(
            ChainError::Decode {
                what: "the proof".into(),
                reason: "it does not lead to the root that was pushed".into(),
            }
            .to_string(),
        ));
    }
    let json = json!({
        "contribution": kept.contribution, "records_root": kept.records_root, "proof": proof,
    });
    let text = format!(
        "Record {record} of contribution {} is:\n\n  {}\n\nIt is proven under {:?}; pass on the \
         JSON (--json), and anyone can check it with `tributary verify record`.",
        kept.contribution.map_or_else(|| "(not yet in a block)".into(), |id| id.to_string()),
        proof.record,
        kept.records_root
    );
    Report::new(&json, text)
}
