//! `make l1`: the same two commands, as the Makefile has them, with nothing but the environment that
//! it names.

use anyhow::{ensure, Context, Result};
use serde_json::Value;
use std::{path::Path, process::Output, time::Duration};
use tributary_client::Chain;
use tributary_e2e::{
    l1::{Account, Anvil},
    process::{checkout, program},
    stack::Node,
};
use tributary_relayer::{addresses::Addresses, l1::from_address};

/// The arguments of the relayer's commands in the recipe of target `l1`, in their order.
fn recipe() -> Result<Vec<Vec<String>>> {
    let makefile = std::fs::read_to_string(checkout().join("Makefile"))?;
    let config = makefile
        .lines()
        .find_map(|line| line.strip_prefix("L1_CONFIG ?= "))
        .context("the Makefile names no L1_CONFIG")?;
    let recipe = makefile.lines().skip_while(|line| !line.starts_with("l1:")).skip(1);
    Ok(recipe
        .take_while(|line| line.starts_with('\t'))
        .filter_map(|line| line.split_once("/tributary-relayer\" "))
        .map(|(_, arguments)| {
            arguments.replace("$(L1_CONFIG)", config).split_whitespace().map(Into::into).collect()
        })
        .collect())
}

/// Runs the relayer from the root of the checkout, as make does.
async fn run(arguments: &[String], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = tokio::process::Command::new(program("tributary-relayer")?);
    command.args(arguments).envs(environment.iter().copied()).current_dir(checkout());
    Ok(command.stdin(std::process::Stdio::null()).output().await?)
}

async fn succeed(arguments: &[String], environment: &[(&str, &str)]) -> Result<Value> {
    let output = run(arguments, environment).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} ended with {}:\n{errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub async fn the_makefiles_commands_deploy_and_join() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    let anvil = Anvil::start(dir, 1).await?;
    let follow = [format!("--l1-rpc={}", anvil.http), "--l1-poll-ms=500".to_string()];
    let node = Node::start_with(dir, &follow).await?;
    let chain = Chain::connect(&node.ws).await?;
    while chain.finalized().await?.number == 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (key, password) = Account::Relayer.files(&dir.join("keys"))?;
    let file = dir.join("l1.json");
    let text = |path: &Path| path.display().to_string();
    let (key, password, addresses) = (text(&key), text(&password), text(&file));
    let environment = [
        ("TRIBUTARY_NODE", node.ws.as_str()),
        ("TRIBUTARY_L1_RPC", anvil.http.as_str()),
        ("TRIBUTARY_L1_KEY_FILE", key.as_str()),
        ("TRIBUTARY_L1_PASSWORD_FILE", password.as_str()),
        ("TRIBUTARY_L1_ADDRESSES", addresses.as_str()),
        ("TRIBUTARY_SUDO_KEY", "//Alice"),
    ];
    let commands = recipe()?;
    let names: Vec<&str> = commands.iter().filter_map(|all| Some(all.first()?.as_str())).collect();
    ensure!(names == ["deploy", "configure"], "the recipe is {commands:?}");
    let mut answers = Vec::new();
    for command in &commands {
        answers.push(succeed(command, &environment).await?);
    }

    let written = Addresses::load(&file)?;
    let announced: Addresses = serde_json::from_value(answers[0]["addresses"].clone())?;
    ensure!(written == announced, "the file says {written:?}");
    let verified = succeed(&["verify".to_string()], &environment).await?;
    ensure!(verified["verified"] == true, "{verified}");
    let joined = chain.settlement().state().await?.config.context("the chain is not joined")?;
    ensure!(joined.portal == from_address(written.portal), "joined to {joined:?}");
    ensure!(joined.chain_id == written.chain_id, "joined to {joined:?}");

    // A second time nothing is deployed: addresses in use are not written over.
    let again = run(&commands[0], &environment).await?;
    let errors = String::from_utf8_lossy(&again.stderr);
    ensure!(!again.status.success() && errors.contains("--force"), "{errors}");
    ensure!(Addresses::load(&file)? == written, "the file was changed");
    // Wrong addresses are noticed.
    let wrong = Addresses { anchor: written.portal, portal: written.anchor, ..written };
    wrong.save(&file)?;
    let refused = run(&["verify".to_string()], &environment).await?;
    ensure!(!refused.status.success(), "swapped addresses were verified");
    Ok(())
}
