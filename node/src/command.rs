//! Runs what was typed.

use std::{fs, sync::Arc};

use polkadot_sdk::*;
use sc_cli::SubstrateCli;
use sc_service::PartialComponents;
use tributary_runtime::opaque::Block;

use crate::{
    chain_spec,
    cli::{Cli, ExportCompactSpecCmd, Subcommand},
    service,
};

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "Tributary Node".into()
    }

    fn impl_version() -> String {
        env!("SUBSTRATE_CLI_IMPL_VERSION").into()
    }

    fn description() -> String {
        env!("CARGO_PKG_DESCRIPTION").into()
    }

    fn author() -> String {
        "the Tributary developers".into()
    }

    fn support_url() -> String {
        "https://github.com/tributary/tributary/issues".into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
        let spec = chain_spec::load(id).map_err(|e| e.to_string())?;
        Ok(Box::new(spec))
    }
}

/// Parses the command line and runs it to its end.
pub fn run() -> sc_cli::Result<()> {
    let cli = Cli::from_args();
    let l1 = cli.l1.check().map_err(|e| sc_cli::Error::Input(e.to_string()))?;

    match &cli.subcommand {
        Some(Subcommand::Key(cmd)) => cmd.run(&cli),
        Some(Subcommand::ExportChainSpec(cmd)) => {
            let spec = cli.load_spec(&cmd.chain)?;
            cmd.run(spec)
        }
        Some(Subcommand::ExportCompactSpec(cmd)) => export_compact_spec(cmd),
        #[allow(deprecated)]
        Some(Subcommand::BuildSpec(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run(config.chain_spec, config.network))
        }
        Some(Subcommand::CheckBlock(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|mut config| {
                let PartialComponents { client, task_manager, import_queue, .. } =
                    service::new_partial(&mut config, &l1)?;
                Ok((cmd.run(client, import_queue), task_manager))
            })
        }
        Some(Subcommand::ExportBlocks(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|mut config| {
                let PartialComponents { client, task_manager, .. } =
                    service::new_partial(&mut config, &l1)?;
                Ok((cmd.run(client, config.database), task_manager))
            })
        }
        Some(Subcommand::ExportState(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|mut config| {
                let PartialComponents { client, task_manager, .. } =
                    service::new_partial(&mut config, &l1)?;
                Ok((cmd.run(client, config.chain_spec), task_manager))
            })
        }
        Some(Subcommand::ImportBlocks(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|mut config| {
                let PartialComponents { client, task_manager, import_queue, .. } =
                    service::new_partial(&mut config, &l1)?;
                Ok((cmd.run(client, import_queue), task_manager))
            })
        }
        Some(Subcommand::PurgeChain(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run(config.database))
        }
        Some(Subcommand::Revert(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|mut config| {
                let PartialComponents { client, task_manager, backend, .. } =
                    service::new_partial(&mut config, &l1)?;
                // The consensus protocols keep notes of their own, which go back too.
                let revert_consensus =
                    Box::new(|client: Arc<service::FullClient>, backend, blocks| {
                        sc_consensus_babe::revert(client.clone(), backend, blocks)?;
                        sc_consensus_grandpa::revert(client, blocks)?;
                        Ok(())
                    });
                Ok((cmd.run(client, backend, Some(revert_consensus)), task_manager))
            })
        }
        Some(Subcommand::ChainInfo(cmd)) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run::<Block>(&config))
        }
        None => {
            let runner = cli.create_runner(&cli.run)?;
            runner.run_node_until_exit(|config| async move {
                service::new_full(config, &l1).map_err(sc_cli::Error::Service)
            })
        }
    }
}

fn export_compact_spec(cmd: &ExportCompactSpecCmd) -> sc_cli::Result<()> {
    let text = chain_spec::load(&cmd.chain)
        .and_then(|spec| chain_spec::compact(&spec))
        .map_err(|e| sc_cli::Error::Input(e.to_string()))?;
    match &cmd.output {
        Some(path) => fs::write(path, text)
            .map_err(|e| sc_cli::Error::Input(format!("cannot write `{}`: {e}", path.display())))?,
        None => print!("{text}"),
    }
    Ok(())
}
