//! Two validators: GRANDPA and BEEFY finality advance on both, and a worker on the second node
//! finishes a training job that was submitted through the first.

use anyhow::{ensure, Context, Result};
use std::{path::Path, process::Command, time::Duration};
use tributary_client::Chain;
use tributary_e2e::{
    process::program,
    stack::Stack,
    story::{Plan, Story},
};
use zombienet_sdk::{NetworkConfigBuilder, NetworkConfigExt};

/// Longest time that a node may take to reach a height.
const PATIENCE: Duration = Duration::from_secs(240);

/// Writes the raw specification of the local network, whose validators' keys are those that
/// zombienet gives to nodes named alice and bob. It must not be made anew by zombienet, which reads
/// stakes as 64-bit numbers.
fn export(binary: &Path, to: &Path) -> Result<()> {
    let output =
        Command::new(binary).args(["export-chain-spec", "--chain", "local", "--raw"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::write(to, output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_advances_and_a_worker_on_the_second_node_finishes_a_job() -> Result<()> {
    let binary = program("tributary-node")?;
    let command = binary.to_str().context("the path of tributary-node is not UTF-8")?;
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("local.json");
    export(&binary, &spec)?;
    let config = NetworkConfigBuilder::new()
        .with_relaychain(|chain| {
            chain
                .with_chain("local")
                .with_chain_spec_path(spec.clone())
                .with_default_command(command)
                .with_validator(|node| node.with_name("alice"))
                .with_validator(|node| node.with_name("bob"))
        })
        .build()
        .map_err(|errors| anyhow::anyhow!("the network's configuration is wrong: {errors:?}"))?;
    let network = config.spawn_native().await?;
    let (alice, bob) = (network.get_node("alice")?, network.get_node("bob")?);

    for node in [alice, bob] {
        for metric in ["block_height{status=\"finalized\"}", "substrate_beefy_best_block"] {
            node.wait_metric_with_timeout(metric, |height| height >= 8.0, PATIENCE.as_secs())
                .await
                .with_context(|| format!("{metric} of {} does not advance", node.name()))?;
        }
    }
    let chains = (Chain::connect(alice.ws_uri()).await?, Chain::connect(bob.ws_uri()).await?);
    ensure!(chains.0.genesis() == chains.1.genesis(), "the validators are on different chains");

    let first = Stack::attach(&dir.path().join("run"), alice.ws_uri(), bob.ws_uri()).await?;
    let mut story = Story::on(Plan::short(), first).await?;
    story.tell_until_trained().await?;
    let model = story.facts().model;
    story.finish(true, false).await?;
    let seen = chains.1.attribution().model(model).await?;
    ensure!(seen.is_some(), "the second node does not know the model");
    Ok(())
}
