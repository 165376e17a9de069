//! `tributary chat`

use super::channel::{adopt, open_channel};
use crate::{
    context::{amount, model, worker, Context},
    error::CliError,
    output::{open, percent, short, spinner, table, Report},
    Result,
};
use clap::Args;
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};
use tributary_client::{
    channels::OpenChannel,
    keys::address,
    primitives::{
        jobs::token_fee,
        money::PPM,
        signing::Share,
        views::{ListingView, ModelView, WorkerView, MAX_PAGE},
        Balance, ChannelId, OPEN,
    },
    store::digest_of,
    worker_api::{Answer, Influence, Question, WorkerApi, WorkerError},
    Chain, Key,
};

/// Tokens that a chat template may add around a prompt.
const TEMPLATE_TOKENS: u64 = 256;
/// Questions of this size that a channel opened on the fly is to pay for.
const QUESTIONS: u128 = 50;

/// Ask a model.
#[derive(Args, Debug)]
pub struct ChatArgs {
    /// Name or number of the model
    model: String,
    /// What is asked
    prompt: String,
    /// What the model is told beforehand
    #[arg(long)]
    system: Option<String>,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: u32,
    /// 0 for the likeliest answer, more for variety
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Seed of the sampling
    #[arg(long)]
    seed: Option<u64>,
    /// File with a JSON schema that the answer has to follow
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Worker to ask [default: one that serves the model]
    #[arg(long, value_name = "ACCOUNT")]
    worker: Option<String>,
    /// Channel to pay through [default: an open one to the worker, or a new one]
    #[arg(long)]
    channel: Option<u64>,
    /// What is put into a new channel, in OPEN [default: enough for some fifty questions]
    #[arg(long, value_parser = amount)]
    deposit: Option<Balance>,
}

/// A schema that an answer has to follow.
fn read_schema(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            CliError::NotFound(format!("there is no file {}", path.display()))
        }
        _ => CliError::Failed(format!("cannot read {}: {error}", path.display())),
    })?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(schema)) => Ok(Value::Object(schema)),
        Ok(_) => Err(CliError::Usage(format!("{} is no JSON schema", path.display()))),
        Err(error) => Err(CliError::Usage(format!("{} is not JSON: {error}", path.display()))),
    }
}

/// The most that a question can cost: a token has at least one byte.
fn most(args: &ChatArgs, listing: &ListingView) -> Balance {
    let system = args.system.as_ref().map_or(0, String::len);
    let bytes = args.prompt.len().saturating_add(system) as u64;
    token_fee(bytes.saturating_add(TEMPLATE_TOKENS), listing.price_in)
        .saturating_add(token_fee(u64::from(args.max_tokens), listing.price_out))
}

/// A worker that serves the model.
async fn find_worker(
    chain: &Chain,
    view: &ModelView,
    args: &ChatArgs,
    context: &Context,
) -> Result<WorkerView> {
    if let Some(text) = &args.worker {
        return worker(chain, &context.account(text)?).await;
    }
    if let Some(id) = args.channel {
        let channel = chain
            .marketplace()
            .channel(ChannelId(id))
            .await?
            .ok_or_else(|| CliError::NotFound(format!("there is no channel {id}")))?;
        return worker(chain, &channel.worker).await;
    }
    let workers = chain.compute().workers(MAX_PAGE).await?;
    let name = view.name.to_string();
    let mut silent = 0_usize;
    for candidate in &workers {
        match WorkerApi::new(&candidate.endpoint.to_string())?.models().await {
            Ok(list) => {
                let serves = list.get("data").and_then(Value::as_array).is_some_and(|models| {
                    models.iter().any(|m| m.get("id").and_then(Value::as_str) == Some(&name))
                });
                if serves {
                    return Ok(candidate.clone());
                }
            }
            Err(_) => silent = silent.saturating_add(1),
        }
    }
    if silent > 0 {
        return Err(CliError::Waiting(format!(
            "no worker that answers serves `{name}`, and {silent} of {} do not answer; try again",
            workers.len()
        )));
    }
    Err(CliError::NotFound(format!(
        "none of {} workers serves `{name}`; a worker takes it up when its owner lists it",
        workers.len()
    )))
}

/// An open channel of the key to the worker, locked for this process; a new one if there is none.
async fn find_channel(
    chain: &Chain,
    key: &Key,
    to: &WorkerView,
    cost: Balance,
    args: &ChatArgs,
    context: &Context,
) -> Result<OpenChannel> {
    let genesis = chain.genesis();
    let book = context.home.channels();
    let views = chain.marketplace().channels_of(&key.account()).await?;
    let known = book.list(&genesis)?;
    let promised = |id| known.iter().find(|s| s.channel == id).map_or(0, |s| s.promised);
    let usable = views.into_iter().filter(|view| {
        view.worker == to.account
            && view.closes_at.is_none()
            && args.channel.is_none_or(|id| view.id.0 == id)
    });
    // The fullest first.
    let mut usable: Vec<_> = usable.collect();
    usable.sort_by_key(|view| {
        std::cmp::Reverse(view.deposit.saturating_sub(promised(view.id).max(view.redeemed)))
    });
    if let Some(view) = usable.first() {
        if !known.iter().any(|state| state.channel == view.id) {
            adopt(chain, view, to, context)?;
        }
        let mut channel = book.open(&genesis, view.id)?;
        if channel.state().deposit != view.deposit {
            channel.set_deposit(view.deposit)?;
        }
        let spent = channel.state().spent.max(view.redeemed);
        if view.deposit.saturating_sub(spent) >= cost || args.channel.is_some() {
            return Ok(channel);
        }
    } else if let Some(id) = args.channel {
        return Err(CliError::NotFound(format!(
            "channel {id} is not an open channel of your key to this worker"
        )));
    }
    let least: Balance = chain.constant("Marketplace", "MinDeposit").await.unwrap_or(OPEN);
    let deposit = args.deposit.unwrap_or_else(|| cost.saturating_mul(QUESTIONS).max(least));
    let waiting = spinner(format!("opening a channel with {}", open(deposit)));
    let (state, _) = open_channel(chain, key, to, deposit, context).await?;
    waiting.finish_and_clear();
    if !context.options.json {
        eprintln!("Opened channel {} with {}.", state.channel, open(deposit));
    }
    Ok(book.open(&genesis, state.channel)?)
}

/// Asks, paying what is due. A worker that knows of more spending than the book is believed once,
/// within what the question can cost above what is on its own books.
async fn ask(
    api: &WorkerApi,
    question: &Question,
    channel: &mut OpenChannel,
    key: &Key,
    cost: Balance,
    context: &Context,
) -> Result<Answer> {
    let json = context.options.json;
    let mut show = |text: &str| {
        if json {
            eprint!("{text}");
        } else {
            print!("{text}");
            // A reader that has gone does not matter.
            let _ = std::io::stdout().flush();
        }
    };
    let voucher = channel.promise(key, channel.state().spent.saturating_add(cost))?;
    let terms = match api.ask(question, Some(&voucher), &mut show).await {
        Err(WorkerError::Payment(terms)) => terms,
        other => return Ok(other?),
    };
    // Answers that were cut off before their receipt are spent but not in the book; each was
    // promised, so that the promises bound what the worker may say.
    let bound = channel.state().promised.saturating_add(cost);
    if terms.min_cumulative > bound || terms.min_cumulative <= voucher.voucher.cumulative {
        return Err(WorkerError::Payment(terms).into());
    }
    let voucher = channel.promise(key, terms.min_cumulative)?;
    Ok(api.ask(question, Some(&voucher), &mut show).await?)
}

/// Runs `tributary chat`.
pub async fn run(args: ChatArgs, context: &Context) -> Result<Report> {
    let schema = args.schema.as_deref().map(read_schema).transpose()?;
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = model(&chain, &args.model).await?;
    let listing = chain.marketplace().listing(view.id).await?.ok_or_else(|| {
        CliError::Refused(format!(
            "`{0}` is not for sale; its owner can offer it with `tributary model list-for-sale {0}`",
            view.name
        ))
    })?;
    let to = find_worker(&chain, &view, &args, context).await?;
    let cost = most(&args, &listing);
    let mut channel = find_channel(&chain, &key, &to, cost, &args, context).await?;
    let api = WorkerApi::new(&to.endpoint.to_string())?;
    let question = Question {
        model: view.name.to_string(),
        prompt: args.prompt.clone(),
        system: args.system.clone(),
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        seed: args.seed,
        schema,
    };
    let answer = ask(&api, &question, &mut channel, &key, cost, context).await?;
    channel.set_spent(answer.payment.spent)?;
    if context.options.json {
        eprintln!();
    } else {
        println!("\n");
    }
    let verified = check(&chain, &answer, &to, &view, channel.state().channel)?;
    let receipt = keep(&answer, context)?;

    let names = datanet_names(&chain, &answer.attribution.shares).await?;
    let mut rows: Vec<[String; 5]> = answer
        .attribution
        .shares
        .iter()
        .map(|share| {
            let (datanet, payout) = names.get(&share.contribution.0).cloned().unwrap_or_default();
            let near = answer.attribution.influence_of(share.contribution);
            let near = near.map(nearest).unwrap_or_default();
            [percent(share.ppm), share.contribution.to_string(), near, datanet, payout]
        })
        .collect();
    rows.push([
        percent(answer.attribution.unattributed_ppm),
        "—".into(),
        String::new(),
        "no record explains this part; it goes to the commons".into(),
        String::new(),
    ]);
    let text = format!(
        "{}\nIt cost {}; {} of channel {} are spent. The receipt is {} and in {}.",
        table(["share", "contribution", "nearest record", "datanet", "paid to"], &rows),
        open(answer.payment.fee),
        open(answer.payment.spent),
        channel.state().channel,
        verified,
        receipt.display()
    );
    Report::new(
        &json!({
            "answer": answer.text, "finish_reason": answer.finish_reason,
            "model": view.id, "worker": address(&to.account),
            "channel": channel.state().channel, "attribution": answer.attribution,
            "payment": answer.payment, "receipt": answer.receipt,
            "receipt_file": receipt,
        }),
        text,
    )
}

/// The record of a contribution that the answer lies nearest to, and the cosine.
fn nearest(influence: &Influence) -> String {
    format!("{} ({:.2})", influence.record, f64::from(influence.ppm) / f64::from(PPM))
}

/// Whether the receipt speaks of this answer and is the worker's.
fn check(
    chain: &Chain,
    answer: &Answer,
    to: &WorkerView,
    view: &ModelView,
    channel: ChannelId,
) -> Result<&'static str> {
    let receipt = &answer.receipt.receipt;
    let speaks = receipt.worker == to.account
        && receipt.channel == channel
        && receipt.model == view.id
        && receipt.request == answer.request
        && receipt.response == digest_of(answer.text.as_bytes())
        && answer.attribution.commitment.as_ref().is_none_or(|c| c.digest == receipt.commitment)
        && receipt.fee == answer.payment.fee;
    if speaks && answer.receipt.verify(&chain.genesis(), &to.signing_key) {
        return Ok("signed by the worker");
    }
    Err(CliError::Refused(format!(
        "the receipt does not fit the answer, or is not signed by {}; do not pay this worker any \
         more",
        address(&to.signing_key)
    )))
}

/// Keeps the receipt; it is what a dispute would rest on.
fn keep(answer: &Answer, context: &Context) -> Result<std::path::PathBuf> {
    let receipt = &answer.receipt.receipt;
    let name = format!("{}-{}.json", receipt.channel, receipt.sequence);
    let path = context.home.receipts_path().join(name);
    std::fs::write(&path, serde_json::to_vec_pretty(&answer.receipt)?)?;
    Ok(path)
}

/// Datanet and payout account of each contribution, for people.
async fn datanet_names(chain: &Chain, shares: &[Share]) -> Result<BTreeMap<u64, (String, String)>> {
    let mut names = BTreeMap::new();
    for share in shares {
        let Some(view) = chain.datanets().contribution(share.contribution).await? else {
            continue;
        };
        let datanet = chain.datanets().datanet(view.datanet).await?;
        let name = datanet.map_or_else(|| view.datanet.to_string(), |d| d.name.to_string());
        names.insert(share.contribution.0, (name, short(&address(&view.payout))));
    }
    Ok(names)
}
