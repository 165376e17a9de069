//! `tributary-demo`: the main job, from data to payout, on this machine.

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use tributary_e2e::{
    process::checkout,
    story::{Plan, Story},
};

/// Runs Tributary's main job with a real node and a real worker, and checks itself.
#[derive(Parser)]
#[command(name = "tributary-demo", version)]
struct Arguments {
    /// Leaves node and worker running at the end and prints their URLs.
    #[arg(long)]
    keep: bool,
    /// Folder of logs, stores and the report; emptied first.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = arguments.dir.unwrap_or_else(|| checkout().join("target/demo"));
    let mut story = Story::begin(Plan::demo(), &dir).await?;
    let told = story.tell().await;
    if let Err(error) = &told {
        eprintln!("\nThe demo stopped: {error:#}");
        eprintln!("Logs of node and worker are in {}", dir.display());
    }
    let passed = story.finish(told.is_ok(), arguments.keep).await?;
    if !passed {
        std::process::exit(1);
    }
    Ok(())
}
