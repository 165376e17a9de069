//! `tributary earnings` and `tributary claim`

use crate::{
    context::Context,
    error::CliError,
    output::{bar, open, spinner, table, Report},
    Result,
};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use tributary_client::{
    calls::attribution::{Claim, ClaimSponsored, PayoutProof},
    keys::address,
    primitives::{
        payouts::{self, Payout},
        views::{BatchState, BatchView, MAX_PAGE},
        AccountId, Balance, BatchId, ContributionId,
    },
    Chain, ChainError, Store,
};

/// Largest list of payouts that is read.
const BLOB_MAX: u64 = 256 << 20;

/// Take what the keys of this machine earned.
#[derive(Args, Debug)]
pub struct ClaimArgs {
    /// Let the signing key (--key, --uri) pay the fees, instead of the datanets' pots
    #[arg(long)]
    pay: bool,
}

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// Its batch may still be challenged.
    Pending,
    /// It can be claimed.
    Claimable,
    /// It was claimed.
    Claimed,
}

/// One payout to a key of this machine.
#[derive(Clone, Debug, Serialize)]
struct Earning {
    key: String,
    address: String,
    contribution: ContributionId,
    batch: BatchId,
    #[serde(with = "tributary_client::primitives::money::as_string")]
    amount: Balance,
    standing: Standing,
    #[serde(skip)]
    payout: Payout,
    #[serde(skip)]
    proof: PayoutProof,
}

/// Everything earned, and the batches whose payouts could not be read.
struct Found {
    earnings: Vec<Earning>,
    unreadable: Vec<(BatchId, String)>,
}

/// Which key of this machine each contribution pays.
async fn contributions(
    chain: &Chain,
    context: &Context,
) -> Result<BTreeMap<ContributionId, (String, AccountId)>> {
    let mut accounts: Vec<(String, AccountId)> =
        context.all_keys()?.into_iter().map(|key| (key.name, key.account)).collect();
    if let Some(uri) = &context.options.uri {
        accounts.push((uri.clone(), context.key()?.account()));
    }
    if accounts.is_empty() {
        return Err(CliError::NotFound(
            "there are no keys on this machine; `tributary datanet push` makes one".into(),
        ));
    }
    let mut owned = BTreeMap::new();
    for (name, account) in accounts {
        for view in chain.datanets().contributions_of(&account, MAX_PAGE).await? {
            owned.insert(view.id, (name.clone(), account.clone()));
        }
    }
    // The chain lists a bounded number for each account; what was pushed from here is known anyway.
    for kept in context.home.shards().list()? {
        let Some(id) = kept.contribution.filter(|id| !owned.contains_key(id)) else { continue };
        if let (Some(view), Ok(info)) =
            (chain.datanets().contribution(id).await?, context.home.keys().info(&kept.key))
        {
            if view.payout == info.account {
                owned.insert(id, (kept.key, info.account));
            }
        }
    }
    Ok(owned)
}

async fn batches(chain: &Chain) -> Result<Vec<BatchView>> {
    let mut all: Vec<BatchView> = Vec::new();
    let mut from = BatchId(0);
    loop {
        let page = chain.attribution().batches(from, MAX_PAGE).await?;
        let Some(next) = page.last().and_then(|view| view.id.next()) else { return Ok(all) };
        all.extend(page);
        from = next;
    }
}

/// The payouts of a batch, checked against what the chain has of them.
async fn payouts_of(store: &Store, batch: &BatchView) -> std::result::Result<Vec<Payout>, String> {
    let bytes = store
        .get_limited(&batch.payouts_blob, BLOB_MAX)
        .await
        .map_err(|error| error.to_string())?;
    let list: Vec<Payout> =
        serde_json::from_slice(&bytes).map_err(|error| format!("it is no list: {error}"))?;
    if list.len() != batch.payouts_count as usize || payouts::root(&list) != batch.payouts_root {
        return Err("its payouts are not those that the chain has".into());
    }
    Ok(list)
}

async fn find(chain: &Chain, context: &Context) -> Result<Found> {
    let owned = contributions(chain, context).await?;
    let store = context.store()?;
    let (mut earnings, mut unreadable) = (Vec::new(), Vec::new());
    for batch in batches(chain).await?.into_iter().filter(|batch| batch.payouts_count > 0) {
        let list = match payouts_of(&store, &batch).await {
            Ok(list) => list,
            Err(reason) => {
                unreadable.push((batch.id, reason));
                continue;
            }
        };
        let mine: Vec<(u32, &Payout, &(String, AccountId))> = (0..)
            .zip(&list)
            .filter_map(|(index, payout)| Some((index, payout, owned.get(&payout.contribution)?)))
            .collect();
        let indices: Vec<u32> = mine.iter().map(|(index, ..)| *index).collect();
        let mut claimed = Vec::with_capacity(indices.len());
        for part in indices.chunks(MAX_PAGE as usize) {
            claimed.extend(chain.attribution().claimed(batch.id, part.to_vec()).await?);
        }
        for (position, (index, payout, (key, account))) in mine.into_iter().enumerate() {
            let standing = match (&batch.state, claimed.get(position)) {
                (BatchState::Pending { .. }, _) => Standing::Pending,
                (BatchState::Final, Some(true)) => Standing::Claimed,
                (BatchState::Final, _) => Standing::Claimable,
            };
            let proof = payouts::prove(&list, u64::from(index)).ok_or_else(|| {
                CliError::Failed(format!("payout {index} of batch {} has no proof", batch.id))
            })?;
            earnings.push(Earning {
                key: key.clone(),
                address: address(account),
                contribution: payout.contribution,
                batch: batch.id,
                amount: payout.amount,
                standing,
                payout: payout.clone(),
                proof: proof.into(),
            });
        }
    }
    Ok(Found { earnings, unreadable })
}

fn sum(earnings: &[Earning], standing: Standing) -> Balance {
    earnings
        .iter()
        .filter(|earning| earning.standing == standing)
        .map(|earning| earning.amount)
        .fold(0, Balance::saturating_add)
}

fn warnings(unreadable: &[(BatchId, String)]) -> String {
    unreadable
        .iter()
        .map(|(batch, reason)| format!("\nBatch {batch} is left out: {reason}"))
        .collect()
}

/// Runs `tributary earnings`.
pub async fn earnings(context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let waiting = spinner("reading batches");
    let found = find(&chain, context).await?;
    waiting.finish_and_clear();
    // By key and contribution: pending, claimable, claimed.
    let mut totals: BTreeMap<(String, ContributionId), [Balance; 3]> = BTreeMap::new();
    for earning in &found.earnings {
        let row = totals.entry((earning.key.clone(), earning.contribution)).or_default();
        let cell = &mut row[earning.standing as usize];
        *cell = cell.saturating_add(earning.amount);
    }
    let rows: Vec<[String; 5]> = totals
        .into_iter()
        .map(|((key, id), [pending, claimable, claimed])| {
            [key, id.to_string(), open(pending), open(claimable), open(claimed)]
        })
        .collect();
    let claimable = sum(&found.earnings, Standing::Claimable);
    let mut text = if rows.is_empty() {
        "Nothing was earned yet; answers that your records shape earn it.\n".to_string()
    } else {
        table(["key", "contribution", "pending", "claimable", "claimed"], &rows)
    };
    if claimable > 0 {
        text.push_str(&format!("\n`tributary claim` takes {}; it costs nothing.", open(claimable)));
    }
    text.push_str(&warnings(&found.unreadable));
    Report::new(
        &json!({
            "earnings": found.earnings,
            "pending": sum(&found.earnings, Standing::Pending).to_string(),
            "claimable": claimable.to_string(),
            "claimed": sum(&found.earnings, Standing::Claimed).to_string(),
            "unreadable": found.unreadable,
        }),
        text,
    )
}

/// Runs `tributary claim`.
pub async fn claim(args: ClaimArgs, context: &Context) -> Result<Report> {
    let payer = if args.pay { Some(context.key()?) } else { None };
    let chain = context.chain().await?;
    let waiting = spinner("reading batches");
    let found = find(&chain, context).await?;
    waiting.finish_and_clear();
    let due: Vec<Earning> =
        found.earnings.into_iter().filter(|e| e.standing == Standing::Claimable).collect();
    let progress = bar(due.len() as u64, "claiming");
    let (mut claims, mut failed) = (Vec::new(), Vec::new());
    let mut total: Balance = 0;
    for earning in &due {
        let (batch, payout, proof) = (earning.batch, earning.payout.clone(), earning.proof.clone());
        let outcome = match &payer {
            Some(key) => {
                chain.submit_wait(&Claim { batch, payout, proof }, key, context.wait()).await
            }
            None => {
                let call = ClaimSponsored { batch, payout, proof };
                chain.submit_general(&call, context.wait()).await
            }
        };
        progress.inc(1);
        match outcome {
            Ok(included) => {
                total = total.saturating_add(earning.amount);
                claims.push(json!({
                    "batch": batch, "contribution": earning.contribution, "key": earning.key,
                    "address": earning.address, "amount": earning.amount.to_string(),
                    "tx": included.tx, "number": included.number,
                }));
            }
            // One that cannot be claimed must not keep the others from it.
            Err(error @ (ChainError::Module { .. } | ChainError::Rejected { .. })) => {
                failed.push((earning.clone(), error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    progress.finish_and_clear();
    if let (true, Some((earning, error))) = (claims.is_empty(), failed.first()) {
        return Err(CliError::Refused(format!(
            "nothing could be claimed; payout of contribution {} in batch {}: {error}",
            earning.contribution, earning.batch
        )));
    }
    let mut text = if claims.is_empty() {
        "There is nothing to claim now; `tributary earnings` shows what is pending.".to_string()
    } else {
        format!("Claimed {} in {} payouts.", open(total), claims.len())
    };
    for (earning, error) in &failed {
        text.push_str(&format!(
            "\nContribution {} in batch {} was refused: {error}",
            earning.contribution, earning.batch
        ));
    }
    text.push_str(&warnings(&found.unreadable));
    let failed: Vec<_> = failed
        .iter()
        .map(|(earning, error)| json!({ "earning": earning, "reason": error.to_string() }))
        .collect();
    Report::new(
        &json!({
            "claimed": total.to_string(), "claims": claims, "failed": failed,
            "unreadable": found.unreadable,
        }),
        text,
    )
}
