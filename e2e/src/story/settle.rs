//! Acts five and six: the worker settles in a batch, and the contributors claim.

use super::Story;
use anyhow::{bail, ensure, Context, Result};
use std::time::{Duration, Instant};
use tributary_client::primitives::{
    views::{BatchState, BatchView},
    BatchId,
};

/// Longest time that a settlement may take.
const LIMIT: Duration = Duration::from_secs(180);

impl Story {
    /// The worker, left alone for a while, redeems what was spent and settles it.
    pub(super) async fn settle(&mut self) -> Result<()> {
        self.act("The worker settles everything in one batch")?;
        let mut crash = self.plan.crash;
        let bar = self.teller()?.wait("settling");
        let start = Instant::now();
        let batch = loop {
            let batches = self.stack.chain.attribution().batches(BatchId(0), 256).await?;
            if crash && !batches.is_empty() {
                // In mid-batch: it is on chain, but not final.
                crash = false;
                self.crash().await?;
            }
            if let [batch] = batches.as_slice() {
                if batch.state == BatchState::Final {
                    break batch.clone();
                }
            }
            if batches.len() > 1 {
                bail!("{} batches instead of one", batches.len());
            }
            if let Some(worker) = &mut self.stack.worker {
                worker.process.check()?;
            }
            if start.elapsed() > LIMIT {
                let log = self.stack.worker()?.process.tail(25);
                bail!("not settled within {LIMIT:?}; the worker's log:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        bar.finish_and_clear();
        self.check_batch(&batch).await?;
        self.facts.batches.push(batch.id);
        self.report.digests.insert("payouts root".into(), format!("{:?}", batch.payouts_root));
        self.report.digests.insert("receipts root".into(), format!("{:?}", batch.receipts_root));
        self.say(format!(
            "batch {}: {} answers, {} OPEN; {} for {} contributions, {} for the commons",
            batch.id,
            batch.receipts_count,
            super::short_open(batch.fees),
            super::short_open(batch.payouts_total),
            batch.payouts_count,
            super::short_open(batch.unattributed_total)
        ))
    }

    async fn check_batch(&self, batch: &BatchView) -> Result<()> {
        let channel = self.stack.chain.marketplace().channel(self.facts.channel).await?;
        let channel = channel.context("the channel is gone")?;
        ensure!(
            batch.fees == self.facts.spent && channel.redeemed == self.facts.spent,
            "spent {}, redeemed {}, settled {}",
            self.facts.spent,
            channel.redeemed,
            batch.fees
        );
        ensure!(
            batch.receipts_count == self.facts.answers,
            "{} answers, {} settled",
            self.facts.answers,
            batch.receipts_count
        );
        Ok(())
    }

    /// Each contributor claims with her own tool; the sponsor pot pays.
    pub(super) async fn claim(&mut self) -> Result<()> {
        self.act("The contributors claim what they earned")?;
        for n in 1..=self.facts.contributors.len() {
            let cli = self.stack.cli(&format!("contributor-{n}"));
            let earned = cli.run(&["earnings"]).await?;
            ensure!(earned.is_object() || earned.is_array(), "no earnings are shown: {earned}");
            cli.run(&["claim"]).await?;
            // A second time there is nothing left, and that is no failure.
            cli.run(&["claim"]).await?;
        }
        let mut lines = Vec::new();
        for (n, (account, id)) in self.facts.contributors.iter().enumerate() {
            let balance = self.stack.chain.balance(account).await?;
            lines.push(format!(
                "contributor {}: contribution {id} paid {} OPEN, without a fee",
                n + 1,
                super::short_open(balance.free)
            ));
        }
        self.say(lines.join("\n"))
    }
}
