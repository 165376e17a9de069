//! `tributary model`

use crate::{
    context::{amount, model, Context},
    error::CliError,
    output::{facts, open, percent, spinner, table, Report},
    Result,
};
use clap::Subcommand;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};
use tributary_client::{
    calls::{
        attribution::{RegisterBase, TransferModel},
        marketplace::{DelistModel, ListModel},
    },
    keys::address,
    primitives::{
        money::parse_open,
        views::{ListingView, ModelKind, ModelView, MAX_PAGE},
        Balance, ModelId,
    },
    store::{cid_of, FolderKind},
};

/// Look at, list and add models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// List models
    List,
    /// Show a model and its lineage
    Show {
        /// Its name or number
        model: String,
    },
    /// Offer a model of yours at a price, or change the price
    ListForSale {
        /// Its name or number
        model: String,
        /// Price per 1,000 prompt tokens, in OPEN
        #[arg(long, value_parser = amount, default_value = "0.1")]
        price_in: Balance,
        /// Price per 1,000 answer tokens, in OPEN
        #[arg(long, value_parser = amount, default_value = "0.5")]
        price_out: Balance,
    },
    /// Offer a model of yours no longer
    Delist {
        /// Its name or number
        model: String,
    },
    /// Put a base model into the store and register it
    AddBase {
        /// Folder with config.json, *.safetensors and tokenizer.json
        folder: PathBuf,
        /// Its name: 1 to 64 of a-z, 0-9 and -
        #[arg(long)]
        name: String,
        /// Its weight among the ancestors of models trained from it, 0 to 1
        #[arg(long, default_value = "1")]
        royalty: String,
    },
    /// Give a model to somebody else
    Transfer {
        /// Its name or number
        model: String,
        /// Address or key that gets it
        to: String,
    },
}

/// Runs the command.
pub async fn run(command: ModelCommand, context: &Context) -> Result<Report> {
    match command {
        ModelCommand::List => list(context).await,
        ModelCommand::Show { model } => show(&model, context).await,
        ModelCommand::ListForSale { model, price_in, price_out } => {
            list_for_sale(&model, price_in, price_out, context).await
        }
        ModelCommand::Delist { model } => delist(&model, context).await,
        ModelCommand::AddBase { folder, name, royalty } => {
            add_base(folder, &name, &royalty, context).await
        }
        ModelCommand::Transfer { model, to } => transfer(&model, &to, context).await,
    }
}

fn kind(model: &ModelView) -> &'static str {
    match model.kind {
        ModelKind::Base => "base model",
        ModelKind::Adapter => "adapter",
    }
}

fn price(listing: Option<&ListingView>) -> String {
    listing.map_or_else(
        || "not for sale".into(),
        |listing| format!("{} in, {} out", open(listing.price_in), open(listing.price_out)),
    )
}

async fn list(context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let mut models: Vec<ModelView> = Vec::new();
    let mut from = ModelId(0);
    loop {
        let page = chain.attribution().models(from, MAX_PAGE).await?;
        let Some(next) = page.last().and_then(|view| view.id.next()) else { break };
        models.extend(page);
        from = next;
    }
    let mut listings: BTreeMap<ModelId, ListingView> = BTreeMap::new();
    let mut from = ModelId(0);
    loop {
        let page = chain.marketplace().listings(from, MAX_PAGE).await?;
        let Some(next) = page.last().and_then(|view| view.model.next()) else { break };
        listings.extend(page.into_iter().map(|listing| (listing.model, listing)));
        from = next;
    }
    let rows: Vec<[String; 5]> = models
        .iter()
        .map(|view| {
            [
                view.id.to_string(),
                view.name.to_string(),
                kind(view).into(),
                view.parent.map_or_else(String::new, |parent| parent.to_string()),
                price(listings.get(&view.id)),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        "There are no models yet; add one with `tributary model add-base`.".to_string()
    } else {
        table(["number", "name", "kind", "parent", "price per 1,000 tokens"], &rows)
    };
    let listings: Vec<&ListingView> = listings.values().collect();
    Report::new(&json!({ "models": models, "listings": listings }), text)
}

async fn show(text: &str, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    let view = model(&chain, text).await?;
    let listing = chain.marketplace().listing(view.id).await?;
    let lineage = chain.attribution().lineage(view.id).await?;
    let mut rows = vec![
        ("model", format!("{} (number {}), {}", view.name, view.id, kind(&view))),
        ("owner", address(&view.owner)),
        ("files", cid_of(&view.content)),
        ("price", format!("{} per 1,000 tokens", price(listing.as_ref()))),
        ("royalty", percent(view.royalty)),
        ("registered", format!("in block {}", view.registered)),
    ];
    if view.kind == ModelKind::Adapter {
        let mut datanets = Vec::new();
        for version in &view.versions {
            let name = chain.datanets().datanet(version.datanet).await?.map(|d| d.name.to_string());
            let name = name.unwrap_or_else(|| version.datanet.to_string());
            datanets.push(format!("{name}@{}", version.number));
        }
        let line: Vec<String> = lineage.iter().map(|model| model.name.to_string()).collect();
        rows.push(("trained on", datanets.join(", ")));
        rows.push(("lineage", line.join(" ← ")));
        rows.push(("index", cid_of(&view.index)));
        rows.push(("index root", format!("{:?}", view.index_root)));
    }
    if let Some(job) = view.job {
        rows.push(("job", job.to_string()));
    }
    Report::new(&json!({ "model": view, "listing": listing, "lineage": lineage }), facts(&rows))
}

async fn list_for_sale(
    text: &str,
    price_in: Balance,
    price_out: Balance,
    context: &Context,
) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = model(&chain, text).await?;
    let waiting = spinner("waiting for a block");
    let call = ListModel { model: view.id, price_in, price_out };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    waiting.finish_and_clear();
    let listing = ListingView { model: view.id, price_in, price_out };
    let text = format!("`{}` is offered: {} per 1,000 tokens.", view.name, price(Some(&listing)));
    Report::new(&json!({ "listing": listing, "tx": included.tx, "number": included.number }), text)
}

async fn delist(text: &str, context: &Context) -> Result<Report> {
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = model(&chain, text).await?;
    let waiting = spinner("waiting for a block");
    let call = DelistModel { model: view.id };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    waiting.finish_and_clear();
    Report::new(
        &json!({ "model": view.id, "tx": included.tx, "number": included.number }),
        format!("`{}` is offered no longer.", view.name),
    )
}

/// A share between 0 and 1, in parts per million.
fn share(text: &str) -> Result<u32> {
    // An amount of OPEN has the same form, and is exact where a floating-point number is not.
    let units = parse_open(text).ok();
    units
        .map(|units| units / 1_000_000_000_000)
        .and_then(|ppm| u32::try_from(ppm).ok())
        .filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(|| CliError::Usage(format!("`{text}` is not a share between 0 and 1")))
}

async fn add_base(folder: PathBuf, name: &str, royalty: &str, context: &Context) -> Result<Report> {
    let royalty = share(royalty)?;
    for needed in ["config.json", "tokenizer.json"] {
        if !folder.join(needed).is_file() {
            return Err(CliError::Usage(format!(
                "{} has no {needed}; give the folder of a model in the hub's layout",
                folder.display()
            )));
        }
    }
    let key = context.key()?;
    let store = context.store()?;
    let chain = context.chain().await?;
    let waiting = spinner(format!("storing {}", folder.display()));
    let content = store.put_folder(FolderKind::Model, &folder).await?;
    let manifest = store.manifest(&content).await?;
    if !manifest.files.iter().any(|file| file.path.ends_with(".safetensors")) {
        return Err(CliError::Usage(format!("{} has no *.safetensors", folder.display())));
    }
    waiting.set_message("waiting for a block");
    let call = RegisterBase { name: name.into(), content, royalty };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    let id: ModelId = included.require("Attribution", "ModelRegistered")?;
    waiting.finish_and_clear();
    let text = format!(
        "`{name}` is model {id}: {} files, {} bytes, {}.",
        manifest.files.len(),
        manifest.bytes(),
        cid_of(&content)
    );
    Report::new(
        &json!({
            "model": id, "name": name, "content": content, "cid": cid_of(&content),
            "manifest": manifest, "tx": included.tx, "number": included.number,
        }),
        text,
    )
}

async fn transfer(text: &str, to: &str, context: &Context) -> Result<Report> {
    let to = context.account(to)?;
    let key = context.key()?;
    let chain = context.chain().await?;
    let view = model(&chain, text).await?;
    let waiting = spinner("waiting for a block");
    let call = TransferModel { model: view.id, to: to.clone() };
    let included = chain.submit_wait(&call, &key, context.wait()).await?;
    waiting.finish_and_clear();
    let text = format!("`{}` belongs to {} now.", view.name, address(&to));
    Report::new(
        &json!({ "model": view.id, "to": address(&to), "tx": included.tx, "number": included.number }),
        text,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_between_nothing_and_all() {
        assert_eq!(share("1").unwrap(), 1_000_000);
        assert_eq!(share("0.25").unwrap(), 250_000);
        assert_eq!(share("0").unwrap(), 0);
        for bad in ["1.1", "-1", "x", ""] {
            assert!(matches!(share(bad), Err(CliError::Usage(_))), "{bad}");
        }
    }
}
