//! `tributary datanet`

use super::contribution::{state_text, submitted};
use crate::{
    context::{amount, datanet, env_password, Context},
    error::CliError,
    output::{facts, open, spinner, table, Report},
    Result,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use tributary_client::{
    calls::datanets::{
        Contribute, ContributeSigned, CreateDatanet, CutVersion, FundPot, SetSponsorship,
        Sponsorship, SubmitFor,
    },
    keys::address,
    primitives::{
        views::{Consent, ContributionState, DatanetView, PolicyView, MAX_PAGE},
        Balance, ContributionId, DatanetId, VersionRef,
    },
    store::cid_of,
    Chain, Included, Key, Shard,
};

/// Blocks for which an offer stays valid: long enough for a busy chain, short enough that a lost
/// one does not turn up months later.
const OFFER_BLOCKS: u32 = 200;
/// Calls that a funded pot pays for in one period when nothing else is said.
const SPONSOR_LIMIT: u32 = 1_000;
/// Key that payouts go to when none is named.
const PAYOUT_KEY: &str = "payout";

/// Make datanets and contribute to them.
#[derive(Debug, Subcommand)]
pub enum DatanetCommand {
    /// Make a datanet
    Create(CreateArgs),
    /// Contribute a file of records: no account and no tokens needed, the datanet's pot pays
    Push(PushArgs),
    /// Show a datanet and its contributions
    Show {
        /// Its name or number
        name: String,
    },
    /// List datanets
    List,
    /// Cut a version of everything that is accepted now
    Version {
        /// Name or number of the datanet
        name: String,
    },
    /// List the versions of a datanet
    Versions {
        /// Its name or number
        name: String,
    },
    /// Change what the pot pays for
    Sponsor {
        /// Name or number of the datanet
        name: String,
        /// Most calls of others that the pot pays for in one period; 0 for none
        #[arg(long, default_value_t = SPONSOR_LIMIT)]
        limit: u32,
    },
    /// Put OPEN into the pot that pays for contributing and claiming
    Fund {
        /// Name or number of the datanet
        name: String,
        /// How much, in OPEN
        #[arg(value_parser = amount)]
        amount: Balance,
    },
}

/// How contributions are accepted.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyArg {
    /// After a review window, unless disputed
    Open,
    /// When enough curators have voted for it
    Curated,
}

/// A new datanet.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name: 1 to 64 of a-z, 0-9 and -
    name: String,
    /// How contributions are accepted
    #[arg(long, value_enum, default_value = "open")]
    policy: PolicyArg,
    /// Address or key of a curator; repeat for each
    #[arg(long = "curator", value_name = "ACCOUNT", required_if_eq("policy", "curated"))]
    curators: Vec<String>,
    /// Votes that a contribution needs [default: more than half of the curators]
    #[arg(long)]
    quorum: Option<u32>,
    /// Licence of the records, as an SPDX expression
    #[arg(long, default_value = "CC-BY-4.0")]
    licence: String,
    /// Forbid that adapters trained on the records are sold
    #[arg(long)]
    no_commercial: bool,
    /// Forbid that spans of records are quoted in attributions
    #[arg(long)]
    no_quote: bool,
    /// Stake that a contribution needs, in OPEN
    #[arg(long, value_parser = amount, default_value = "0")]
    min_stake: Balance,
    /// Put this much into its pot, in OPEN
    #[arg(long, value_parser = amount)]
    fund: Option<Balance>,
    /// Most calls of others that the pot pays for in one period; 0 for none [default: 1000 with
    /// --fund, else 0]
    #[arg(long)]
    sponsor_limit: Option<u32>,
}

/// A contribution.
#[derive(Args, Debug)]
pub struct PushArgs {
    /// Name or number of the datanet
    name: String,
    /// The records: one JSON object on each line, {"prompt", "completion"}, {"messages"} or {"text"};
    /// or, in a file of their own, preferences {"prompt", "chosen", "rejected"}
    file: PathBuf,
    /// Let the signing key (--key, --uri) pay, instead of the datanet's pot
    #[arg(long)]
    pay: bool,
    /// Key that payouts go to; made if it is not there [default: payout]
    #[arg(long, value_name = "NAME")]
    payout: Option<String>,
    /// Do not wait until the contribution is accepted or rejected
    #[arg(long)]
    detach: bool,
}

/// Runs the command.
pub async fn run(command: DatanetCommand, context: &Context) -> Result<Report> {
    match command {
        DatanetCommand::Create(args) => create(args, context).await,
        DatanetCommand::Push(args) => push(args, context).await,
        DatanetCommand::Show { name } => show(&name, context).await,
        DatanetCommand::List => list(context).await,
        DatanetCommand::Version { name } => version(&name, context).await,
        DatanetCommand::Versions { name } => versions(&name, context).await,
        DatanetCommand::Sponsor { name, limit } => sponsor(&name, limit, context).await,
        DatanetCommand::Fund { name, amount } => fund(&name, amount, context).await,
    }
}

async fn create(args: CreateArgs, context: &Context) -> Result<Report> {
    let policy = match args.policy {
        PolicyArg::Open => PolicyView::Open,
        PolicyArg::Curated => {
            let curators = args
                .curators
                .iter()
                .map(|text| context.account(text))
                .collect::<Result<Vec<_>>>()?;
            let half = u32::try_from(curators.len() / 2).unwrap_or(u32::MAX);
            PolicyView::Curated { quorum: args.quorum.unwrap_or(half.saturating_add(1)), curators }
        }
    };
    let key = context.key()?;
    let chain = context.chain().await?;
    let waiting = spinner(format!("making datanet `{}`", args.name));
    let call = CreateDatanet {
        name: args.name.as_str().into(),
        policy,
        licence: args.licence.as_str().into(),
        consent: Consent { train: true, commercial: !args.no_commercial, quote: !args.no_quote },
        min_stake: args.min_stake,
    };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let id: DatanetId = included.require("Datanets", "DatanetCreated")?;
    let limit = args.sponsor_limit.or(args.fund.map(|_| SPONSOR_LIMIT)).unwrap_or(0);
    if limit > 0 {
        let sponsorship = Sponsorship { enabled: true, max_per_period: limit };
        chain.submit(&SetSponsorship { datanet: id, sponsorship }, &key).await?;
    }
    if let Some(amount) = args.fund {
        chain.submit_wait(&FundPot { datanet: id, amount }, &key, context.wait()).await?;
    }
    waiting.finish_and_clear();
    let view = by_id(&chain, id).await?;
    let text = format!(
        "Made datanet `{}` in block {}.\n\n{}",
        view.name,
        included.number,
        describe(&view)
    );
    Report::new(&json!({ "datanet": view, "tx": included.tx, "number": included.number }), text)
}

async fn by_id(chain: &Chain, id: DatanetId) -> Result<DatanetView> {
    chain
        .datanets()
        .datanet(id)
        .await?
        .ok_or_else(|| CliError::NotFound(format!("datanet {id} is gone again")))
}

fn policy_text(policy: &PolicyView) -> String {
    match policy {
        PolicyView::Open => "open: accepted after a review window".into(),
        PolicyView::Curated { quorum, curators } => {
            format!("curated: {quorum} of {} curators must vote for it", curators.len())
        }
    }
}

fn describe(view: &DatanetView) -> String {
    let yes = |allowed: bool| if allowed { "yes" } else { "no" };
    facts(&[
        ("datanet", format!("{} (number {})", view.name, view.id)),
        ("owner", address(&view.owner)),
        ("policy", policy_text(&view.policy)),
        ("licence", view.licence.to_string()),
        (
            "consent",
            format!(
                "train {}, sell {}, quote {}",
                yes(view.consent.train),
                yes(view.consent.commercial),
                yes(view.consent.quote)
            ),
        ),
        ("stake needed", open(view.min_stake)),
        ("contributions", format!("{} accepted of {}", view.live, view.contributions)),
        ("versions", view.versions.to_string()),
        ("pot", open(view.pot_balance)),
    ])
}

/// The key that payouts go to, made on the spot if it is not there. Its words stay in the key file
/// and can be shown with `tributary key export`.
fn payout_key(name: &str, context: &Context) -> Result<(Key, bool)> {
    let keys = context.home.keys();
    if keys.exists(name)? {
        return Ok((context.load_key(name)?, false));
    }
    let (key, _) = keys.create(name, env_password().as_deref())?;
    Ok((key, true))
}

async fn push(args: PushArgs, context: &Context) -> Result<Report> {
    // Everything that can be wrong with the file is found before anything is sent.
    let shard = Shard::read(&args.file)?;
    let chain = context.chain().await?;
    let view = datanet(&chain, &args.name).await?;
    if let Some(there) = chain.datanets().contribution_by_content(shard.content()).await? {
        return Err(CliError::Refused(format!(
            "these records are contribution {} already; the same content is taken once only",
            there.id
        )));
    }
    let name = args.payout.as_deref().unwrap_or(PAYOUT_KEY);
    let (key, made) = payout_key(name, context)?;
    let book = context.home.shards();
    let seed = book.seed_for(&shard, &args.file, name, view.id)?;

    let waiting = spinner(format!("storing {} records", shard.len()));
    context.store()?.put(shard.bytes().to_vec()).await?;
    waiting.set_message("waiting for a block");
    let until = chain.best().await?.number.saturating_add(OFFER_BLOCKS);
    let offer = shard.offer(view.id, &seed, key.account(), until);
    let included: Included = if args.pay {
        let payer = context.key()?;
        if payer.account() == key.account() {
            chain.submit_wait(&Contribute { offer: offer.clone() }, &payer, context.wait()).await?
        } else {
            let signature = key.sign(&offer, &chain.genesis());
            let call = SubmitFor { offer: offer.clone(), signature };
            chain.submit_wait(&call, &payer, context.wait()).await?
        }
    } else {
        let signature = key.sign(&offer, &chain.genesis());
        let call = ContributeSigned { offer: offer.clone(), signature };
        chain.submit_general(&call, context.wait()).await?
    };
    let id: ContributionId = submitted(&included)?;
    if let Some(mut kept) = book.get(&shard.content())? {
        kept.contribution = Some(id);
        book.put(&kept)?;
    }
    let mut contribution = chain
        .datanets()
        .contribution(id)
        .await?
        .ok_or_else(|| CliError::NotFound(format!("contribution {id} is gone again")))?;
    if !args.detach {
        while let ContributionState::Pending { due: Some(due) } = contribution.state {
            let best = chain.best().await?.number;
            if best > due.saturating_add(5) {
                break;
            }
            waiting.set_message(format!(
                "in block {}; under review until block {due}, now {best}",
                included.number
            ));
            chain.next_block(best).await?;
            contribution =
                chain.datanets().contribution(id).await?.ok_or_else(|| {
                    CliError::NotFound(format!("contribution {id} is gone again"))
                })?;
        }
    }
    waiting.finish_and_clear();
    let mut text = facts(&[
        ("contribution", id.to_string()),
        ("datanet", view.name.to_string()),
        ("records", shard.len().to_string()),
        ("shard", cid_of(&shard.content())),
        ("block", included.number.to_string()),
        ("state", state_text(&contribution.state)),
        ("payouts to", format!("{} (key `{name}`)", key.address())),
        ("paid by", if args.pay { "your key".into() } else { "the datanet's pot".to_string() }),
    ]);
    if made {
        text.push_str(&format!(
            "\nThe key `{name}` was made for you. Keep its words: `tributary key export {name}`.\n"
        ));
    }
    Report::new(
        &json!({
            "contribution": contribution, "tx": included.tx, "block": included.block,
            "number": included.number, "finalized": included.finalized,
            "content": shard.content(), "cid": cid_of(&shard.content()),
            "key": { "name": name, "address": key.address(), "made": made },
        }),
        text,
    )
}

async fn show(name: &str, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let view = datanet(&chain, name).await?;
    let mut contributions = Vec::new();
    loop {
        let from = u32::try_from(contributions.len()).unwrap_or(u32::MAX);
        let page = chain.datanets().contributions(view.id, from, MAX_PAGE).await?;
        if page.is_empty() {
            break;
        }
        contributions.extend(page);
    }
    let rows: Vec<[String; 4]> = contributions
        .iter()
        .map(|c| {
            let payout = crate::output::short(&address(&c.payout));
            [c.id.to_string(), c.records.to_string(), payout, state_text(&c.state)]
        })
        .collect();
    let mut text = describe(&view);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(["contribution", "records", "payouts to", "state"], &rows));
    }
    Report::new(&json!({ "datanet": view, "contributions": contributions }), text)
}

async fn list(context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let mut all: Vec<DatanetView> = Vec::new();
    let mut from = DatanetId(0);
    loop {
        let page = chain.datanets().datanets(from, MAX_PAGE).await?;
        let Some(next) = page.last().and_then(|view| view.id.next()) else { break };
        all.extend(page);
        from = next;
    }
    let rows: Vec<[String; 5]> = all
        .iter()
        .map(|view| {
            [
                view.id.to_string(),
                view.name.to_string(),
                view.live.to_string(),
                view.versions.to_string(),
                open(view.pot_balance),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        "There are no datanets yet; make one with `tributary datanet create`.".to_string()
    } else {
        table(["number", "name", "contributions", "versions", "pot"], &rows)
    };
    Report::new(&json!({ "datanets": all }), text)
}

async fn version(name: &str, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = datanet(&chain, name).await?;
    let waiting = spinner("cutting a version");
    let call = CutVersion { datanet: view.id };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let (datanet, number): (DatanetId, u32) = included.require("Datanets", "VersionCut")?;
    let version = chain
        .datanets()
        .version(VersionRef { datanet, number })
        .await?
        .ok_or_else(|| CliError::NotFound(format!("version {number} is gone again")))?;
    waiting.finish_and_clear();
    let text = format!(
        "Cut version {number} of `{}` with {} contributions and {} records, in block {}.",
        view.name, version.contributions, version.records, included.number
    );
    Report::new(&json!({ "version": version, "tx": included.tx, "number": included.number }), text)
}

async fn versions(name: &str, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let view = datanet(&chain, name).await?;
    let mut all = Vec::new();
    let mut from = 1;
    while from <= view.versions {
        let page = chain.datanets().versions(view.id, from, MAX_PAGE).await?;
        let Some(last) = page.last() else { break };
        from = last.version.number.saturating_add(1);
        all.extend(page);
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|v| {
            [
                v.version.number.to_string(),
                v.contributions.to_string(),
                v.records.to_string(),
                v.cut.to_string(),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        format!(
            "`{0}` has no version yet; cut one with `tributary datanet version {0}`.",
            view.name
        )
    } else {
        table(["version", "contributions", "records", "block"], &rows)
    };
    Report::new(&json!({ "datanet": view.id, "versions": all }), text)
}

async fn fund(name: &str, amount: Balance, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = datanet(&chain, name).await?;
    let waiting = spinner("filling the pot");
    let call = FundPot { datanet: view.id, amount };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let view = by_id(&chain, view.id).await?;
    waiting.finish_and_clear();
    let text = format!(
        "Put {} into the pot of `{}`; it holds {} now.",
        open(amount),
        view.name,
        open(view.pot_balance)
    );
    Report::new(&json!({ "datanet": view, "tx": included.tx, "number": included.number }), text)
}

async fn sponsor(name: &str, limit: u32, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = datanet(&chain, name).await?;
    let waiting = spinner("waiting for a block");
    let sponsorship = Sponsorship { enabled: limit > 0, max_per_period: limit };
    let call = SetSponsorship { datanet: view.id, sponsorship };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    waiting.finish_and_clear();
    let text = if limit > 0 {
        format!("The pot of `{}` pays for up to {limit} calls in a period.", view.name)
    } else {
        format!("The pot of `{}` pays for nobody now.", view.name)
    };
    Report::new(
        &json!({
            "datanet": view.id, "limit": limit, "tx": included.tx, "number": included.number,
        }),
        text,
    )
}
