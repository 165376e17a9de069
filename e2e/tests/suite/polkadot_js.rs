//! Polkadot.js-compatible tools can use the chain: `@polkadot/api` against a real node.

use anyhow::{Context, Result};
use std::process::Command;
use tributary_e2e::{process::checkout, stack::Node};

pub async fn polkadot_js_reads_everything_and_submits_every_kind() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = Node::start(dir.path()).await?;
    let folder = checkout().join("e2e/polkadot-js");
    let url = node.ws.clone();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("node").arg("check.js").arg(url).current_dir(folder).output()
    })
    .await?
    .context("node (of Node.js) could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(" passed, 0 failed"),
        "{text}\n{}\nnode:\n{}",
        String::from_utf8_lossy(&output.stderr),
        node.tail(15)
    );
    Ok(())
}
