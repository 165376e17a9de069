//! `tributary verify`

use crate::{
    context::{contribution, worker, Context},
    error::CliError,
    output::{facts, open, percent, Report},
    Result,
};
use clap::Subcommand;
use serde_json::{json, Value};
use std::{io::Read, path::PathBuf};
use tributary_client::{keys::address, shards::RecordProof, worker_api::SignedReceipt};

/// Check what others say.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// Check that a receipt is its worker's, for this chain
    Receipt {
        /// The receipt's JSON, as `chat` keeps it; - for standard input
        file: PathBuf,
    },
    /// Check that a record is in a contribution
    Record {
        /// What `contribution prove --json` printed; - for standard input
        file: PathBuf,
        /// The contribution [default: the one that the proof names]
        #[arg(long)]
        contribution: Option<String>,
    },
}

fn read(file: &PathBuf) -> Result<Value> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                CliError::NotFound(format!("there is no file {}", file.display()))
            }
            _ => CliError::Failed(format!("cannot read {}: {error}", file.display())),
        })?
    };
    serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{} is not JSON: {error}", file.display())))
}

/// Runs the command.
pub async fn run(command: VerifyCommand, context: &Context) -> Result<Report> {
    match command {
        VerifyCommand::Receipt { file } => receipt(read(&file)?, context).await,
        VerifyCommand::Record { file, contribution } => {
            record(read(&file)?, contribution, context).await
        }
    }
}

async fn receipt(value: Value, context: &Context) -> Result<Report> {
    // `chat --json` has the signed receipt as a member; the file that it keeps is the receipt.
    let inner = value.get("receipt").filter(|r| r.get("receipt").is_some()).unwrap_or(&value);
    let signed: SignedReceipt = serde_json::from_value(inner.clone())
        .map_err(|error| CliError::Usage(format!("that is not a receipt: {error}")))?;
    let chain = context.chain().await?;
    let by = worker(&chain, &signed.receipt.worker).await?;
    if !signed.verify(&chain.genesis(), &by.signing_key) {
        return Err(CliError::Refused(format!(
            "the receipt is not signed by the worker's key {} for this chain",
            address(&by.signing_key)
        )));
    }
    let receipt = &signed.receipt;
    let parts = receipt
        .shares
        .iter()
        .fold(receipt.unattributed, |sum, share| sum.saturating_add(share.ppm));
    if parts != 1_000_000 {
        return Err(CliError::Refused(format!(
            "the worker signed it, but its shares add up to {} of 100 %",
            percent(parts)
        )));
    }
    let shares: Vec<String> = receipt
        .shares
        .iter()
        .map(|share| format!("{} contribution {}", percent(share.ppm), share.contribution))
        .collect();
    let text = facts(&[
        ("receipt", "signed by the worker, for this chain".into()),
        ("worker", address(&receipt.worker)),
        ("channel", format!("{}, answer {}", receipt.channel, receipt.sequence)),
        ("model", receipt.model.to_string()),
        ("tokens", format!("{} in, {} out", receipt.tokens_in, receipt.tokens_out)),
        ("fee", open(receipt.fee)),
        ("shares", shares.join(", ")),
        ("commons", percent(receipt.unattributed)),
        ("commitment", format!("{:?}", receipt.commitment)),
    ]);
    Report::new(&json!({ "valid": true, "receipt": receipt }), text)
}

async fn record(value: Value, named: Option<String>, context: &Context) -> Result<Report> {
    let bad = |what: &str| CliError::Usage(format!("that is not a record's proof: {what}"));
    let proof: RecordProof =
        serde_json::from_value(value.get("proof").cloned().unwrap_or_default())
            .map_err(|error| bad(&error.to_string()))?;
    let id = named
        .or_else(|| value.get("contribution").and_then(Value::as_u64).map(|id| id.to_string()))
        .ok_or_else(|| bad("it names no contribution; give one with --contribution"))?;
    let view = contribution(&context.chain().await?, &id).await?;
    let fits = proof.holds(&view.records_root) && proof.proof.count == u64::from(view.records);
    if !fits {
        return Err(CliError::Refused(format!(
            "the record is not shown to be in contribution {}",
            view.id
        )));
    }
    let text = format!(
        "Record {} of contribution {} is:\n\n  {}",
        proof.proof.index, view.id, proof.record
    );
    Report::new(
        &json!({
            "valid": true, "contribution": view.id, "index": proof.proof.index,
            "record": proof.record,
        }),
        text,
    )
}
