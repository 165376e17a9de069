//! `tributary balance`, `transfer` and `supply`

use crate::{
    context::{amount, Context},
    error::CliError,
    output::{facts, open, spinner, table, Report},
    Result,
};
use clap::Args;
use serde_json::json;
use tributary_client::{
    calls::system::{Address, TransferKeepAlive},
    keys::address,
    primitives::{AccountId, Balance},
};

/// What an account has.
#[derive(Args, Debug)]
pub struct BalanceArgs {
    /// Address or key; all keys of this machine when left out
    account: Option<String>,
}

/// Runs `tributary balance`.
pub async fn balance(args: BalanceArgs, context: &Context) -> Result<Report> {
    let accounts: Vec<(String, AccountId)> = match (&args.account, &context.options.uri) {
        (Some(text), _) => vec![(text.clone(), context.account(text)?)],
        (None, Some(uri)) => vec![(uri.clone(), context.key()?.account())],
        (None, None) => {
            context.all_keys()?.into_iter().map(|key| (key.name, key.account)).collect()
        }
    };
    if accounts.is_empty() {
        return Err(CliError::NotFound(
            "there are no keys yet; name an address, or make a key with `tributary key new`".into(),
        ));
    }
    let chain = context.chain().await?;
    let (mut rows, mut list) = (Vec::new(), Vec::new());
    for (name, account) in accounts {
        let balances = chain.balance(&account).await?;
        rows.push([name.clone(), address(&account), open(balances.free), open(balances.held)]);
        let mut json = serde_json::to_value(balances)?;
        json["name"] = json!(name);
        json["address"] = json!(address(&account));
        list.push(json);
    }
    Report::new(&json!({ "accounts": list }), table(["account", "address", "free", "held"], &rows))
}

/// Send OPEN.
#[derive(Args, Debug)]
pub struct TransferArgs {
    /// Address or key that gets it
    to: String,
    /// How much, in OPEN
    #[arg(value_parser = amount)]
    amount: Balance,
}

/// Runs `tributary transfer`.
pub async fn transfer(args: TransferArgs, context: &Context) -> Result<Report> {
    let to = context.account(&args.to)?;
    let key = context.key()?;
    let chain = context.chain().await?;
    let waiting = spinner(format!("sending {}", open(args.amount)));
    let call = TransferKeepAlive { to: Address::Id(to.clone()), amount: args.amount.into() };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    waiting.finish_and_clear();
    Report::new(
        &json!({
            "from": key.address(), "to": address(&to), "amount": args.amount.to_string(),
            "tx": included.tx, "block": included.block, "number": included.number,
            "finalized": included.finalized,
        }),
        format!("Sent {} to {} in block {}.", open(args.amount), address(&to), included.number),
    )
}

/// Runs `tributary supply`.
pub async fn supply(context: &Context) -> Result<Report> {
    let supply = context.chain().await?.token().supply().await?;
    let text = facts(&[
        ("cap", open(supply.cap)),
        ("there is", open(supply.issuance)),
        ("at genesis", open(supply.genesis)),
        ("emitted since", open(supply.emitted)),
        ("burnt since", open(supply.burnt)),
    ]);
    Report::new(&supply, text)
}
