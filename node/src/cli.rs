//! What can be typed after `tributary-node`.

use std::path::PathBuf;

use polkadot_sdk::*;
use sc_cli::RunCmd;

use crate::l1::L1Params;

#[derive(Debug, clap::Parser)]
pub struct Cli {
    #[command(subcommand)]
    pub subcommand: Option<Subcommand>,

    #[clap(flatten)]
    pub run: RunCmd,

    #[clap(flatten)]
    pub l1: L1Params,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)]
pub enum Subcommand {
    /// Make, inspect and store keys.
    #[command(subcommand)]
    Key(sc_cli::KeySubcommand),

    /// Write the whole specification of a chain, its code included.
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Write the specification of a chain without its code: small enough to read and to keep
    /// under version control. A node that loads it puts its own code in.
    ExportCompactSpec(ExportCompactSpecCmd),

    /// Write the specification of a chain (the older way of `export-chain-spec`, which other
    /// tools still use).
    #[allow(deprecated)]
    BuildSpec(sc_cli::BuildSpecCmd),

    /// Execute a block of the chain again and check it.
    CheckBlock(sc_cli::CheckBlockCmd),

    /// Write blocks to a file.
    ExportBlocks(sc_cli::ExportBlocksCmd),

    /// Write the state at a block into a specification of a chain.
    ExportState(sc_cli::ExportStateCmd),

    /// Read blocks from a file.
    ImportBlocks(sc_cli::ImportBlocksCmd),

    /// Delete the chain's database.
    PurgeChain(sc_cli::PurgeChainCmd),

    /// Go back some blocks.
    Revert(sc_cli::RevertCmd),

    /// Print what the database knows of the chain.
    ChainInfo(sc_cli::ChainInfoCmd),
}

/// Options of `export-compact-spec`.
#[derive(Debug, clap::Parser)]
pub struct ExportCompactSpecCmd {
    /// The chain: `dev`, `local`, `staging`, or the path of a specification.
    #[arg(long, default_value = "local")]
    pub chain: String,

    /// The file to write; standard output if none is given.
    #[arg(long)]
    pub output: Option<PathBuf>,
}
