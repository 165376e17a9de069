//! The main job, short: every step once, with the worker killed while it serves and while it
//! settles.

use anyhow::Result;
use tributary_e2e::story::{Plan, Story};

pub async fn the_main_job_survives_crashes_and_conserves_money() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut story = Story::begin(Plan::short(), &dir.path().join("run")).await?;
    let told = story.tell().await;
    let checks = story.report().checks.clone();
    let passed = story.finish(told.is_ok(), false).await?;
    told?;
    assert!(passed, "{checks:#?}");
    Ok(())
}
