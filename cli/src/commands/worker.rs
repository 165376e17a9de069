//! `tributary worker`

use crate::{
    context::{worker, Context},
    output::{facts, open, table, Report},
    Result,
};
use clap::Subcommand;
use serde_json::json;
use tributary_client::{
    keys::address,
    primitives::views::{WorkerView, MAX_PAGE},
    worker_api::WorkerApi,
};

/// Look at workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List workers
    List,
    /// Show a worker, and the models that it serves
    Show {
        /// Its address, or the key's name
        worker: String,
    },
}

fn describe(view: &WorkerView) -> String {
    facts(&[
        ("worker", address(&view.account)),
        ("endpoint", view.endpoint.to_string()),
        ("signs with", address(&view.signing_key)),
        ("gpu", if view.gpu { "yes" } else { "no" }.into()),
        ("rank up to", view.max_rank.to_string()),
        ("training", format!("{} per 1,000 tokens", open(view.train_price))),
        ("stake", open(view.stake)),
        ("jobs", format!("{} under way, {} completed", view.active_jobs, view.completed)),
    ])
}

/// Runs the command.
pub async fn run(command: WorkerCommand, context: &Context) -> Result<Report> {
    let chain = context.chain().await?;
    match command {
        WorkerCommand::List => {
            let workers = chain.compute().workers(MAX_PAGE).await?;
            let rows: Vec<[String; 5]> = workers
                .iter()
                .map(|view| {
                    [
                        address(&view.account),
                        view.endpoint.to_string(),
                        if view.gpu { "yes" } else { "no" }.into(),
                        open(view.train_price),
                        open(view.stake),
                    ]
                })
                .collect();
            let text = if rows.is_empty() {
                "There are no workers yet; `tributary-worker` registers itself.".to_string()
            } else {
                table(["worker", "endpoint", "gpu", "training per 1,000 tokens", "stake"], &rows)
            };
            Report::new(&json!({ "workers": workers }), text)
        }
        WorkerCommand::Show { worker: text } => {
            let view = worker(&chain, &context.account(&text)?).await?;
            let mut text = describe(&view);
            // What it serves is its own word, and it may be away.
            let models = WorkerApi::new(&view.endpoint.to_string())?.models().await.ok();
            match models.as_ref().and_then(|list| list.get("data")).and_then(|d| d.as_array()) {
                Some(list) => {
                    let names: Vec<&str> =
                        list.iter().filter_map(|model| model.get("id")?.as_str()).collect();
                    text.push_str(&format!("serves      {}\n", names.join(", ")));
                }
                None => text.push_str("serves      it does not answer\n"),
            }
            Report::new(&json!({ "worker": view, "models": models }), text)
        }
    }
}
