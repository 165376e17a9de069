//! The last act: the story checks itself.

use super::Story;
use crate::{
    ledger::ledger,
    measure::{auc, mean},
    report::{Answer, BalanceRow},
};
use anyhow::{Context, Result};
use tributary_client::primitives::{money::CAP, Balance, ContributionId};

impl Story {
    /// Balances before and after, and every check.
    pub(super) async fn verify(&mut self) -> Result<()> {
        self.act("What holds")?;
        self.balance_table().await?;
        self.check_money().await?;
        self.check_payouts().await?;
        self.report.check(
            "the loss falls",
            self.report.loss_after < self.report.loss_before,
            format!("{:.3} → {:.3} nats", self.report.loss_before, self.report.loss_after),
            "falls",
        );
        if self.plan.quality {
            self.check_quality();
        }
        self.report.blocks.1 = self.stack.chain.best().await?.number.into();
        Ok(())
    }

    async fn balance_table(&mut self) -> Result<()> {
        self.say(format!("{:<16} {:>22} {:>22} {:>16}", "OPEN", "before", "after", "change"))?;
        for (role, account) in self.everybody() {
            let balance = self.stack.chain.balance(&account).await?;
            let after = balance.free + balance.held;
            let before = self.facts.before.get(&role).copied().unwrap_or(0);
            let (sign, change) =
                if after >= before { ("+", after - before) } else { ("-", before - after) };
            self.say(format!(
                "{role:<16} {:>22} {:>22} {:>16}",
                super::short_open(before),
                super::short_open(after),
                format!("{sign}{}", super::short_open(change))
            ))?;
            self.report.balances.push(BalanceRow {
                who: role,
                address: tributary_client::keys::address(&account),
                before: before.to_string(),
                after: after.to_string(),
            });
        }
        Ok(())
    }

    /// Money is conserved: read from raw storage at one block.
    async fn check_money(&mut self) -> Result<()> {
        let block = self.stack.chain.best().await?;
        let hash = format!("{:?}", block.hash);
        let all = ledger(&self.stack.node.http, &hash).await?;
        self.report.check(
            "every unit lies in some account",
            all.accounts == all.issuance,
            format!("{} in accounts, {} issued", all.accounts, all.issuance),
            "equal",
        );
        let supply = self.stack.chain.token().supply().await?;
        let before = self.facts.supply.clone().context("the supply before is unknown")?;
        let expected =
            before.issuance + (supply.emitted - before.emitted) - (supply.burnt - before.burnt);
        // Emission counts rewards that validators have not claimed yet, so issuance may be below.
        let unclaimed = expected.checked_sub(supply.issuance);
        let emitted = supply.emitted - before.emitted;
        self.report.check(
            "issuance changed by fee burn and emission alone",
            unclaimed.is_some_and(|unclaimed| unclaimed <= emitted),
            format!(
                "{} → {}, burnt {}, emitted {emitted}",
                before.issuance,
                supply.issuance,
                supply.burnt - before.burnt
            ),
            "before + emitted − burnt, less unclaimed rewards",
        );
        self.report.check(
            "the cap holds",
            supply.issuance <= CAP && supply.cap == CAP,
            supply.issuance,
            format!("at most {CAP}"),
        );
        Ok(())
    }

    /// The batch paid exactly what the receipts say, by largest remainder, to whom they say.
    async fn check_payouts(&mut self) -> Result<()> {
        let mut paid: Balance = 0;
        for (account, _) in &self.facts.contributors {
            let balance = self.stack.chain.balance(account).await?;
            paid += balance.free;
        }
        let (mut total, mut unclaimed): (Balance, Balance) = (0, 0);
        for id in &self.facts.batches {
            let batch = self.stack.chain.attribution().batch(*id).await?;
            let batch = batch.context("the batch is gone")?;
            total += batch.payouts_total;
            unclaimed += batch.unclaimed;
        }
        self.report.check(
            "contributors got every unit of their payouts",
            paid == total && unclaimed == 0 && total > 0,
            format!("{paid} paid of {total}, {unclaimed} unclaimed"),
            "all of it",
        );
        let rows = self.report.held_out.iter().chain(&self.report.off_topic);
        let answers: Balance = rows.map(|row| row.fee.parse().unwrap_or(0)).sum();
        self.report.check(
            "answers cost what was redeemed",
            answers == self.facts.spent,
            format!("{answers} by receipts, {} redeemed", self.facts.spent),
            "equal",
        );
        Ok(())
    }

    fn check_quality(&mut self) {
        let held_out = &self.report.held_out;
        let right: Vec<&Answer> = held_out.iter().filter(|a| a.right == Some(true)).collect();
        let share = right.len() as f64 / held_out.len().max(1) as f64;
        let attributed = right.iter().filter(|a| a.attributed_right == Some(true)).count();
        let attributed_share = attributed as f64 / right.len().max(1) as f64;
        let explained = |rows: &[Answer]| -> Vec<f64> {
            rows.iter().map(|row| 1.0 - f64::from(row.unattributed_ppm) / 1e6).collect()
        };
        let on = explained(&self.report.held_out);
        let off = explained(&self.report.off_topic);
        let area = auc(&on, &off).unwrap_or(0.0);
        let figures = [
            (
                "right answers on wordings never trained on",
                share >= 0.8,
                format!("{:.1} % ({} of {})", share * 100.0, right.len(), held_out.len()),
                "at least 80 %",
            ),
            (
                "right answers whose largest share went to the right contributor",
                attributed_share >= 0.9 && !right.is_empty(),
                format!("{:.1} % ({attributed} of {})", attributed_share * 100.0, right.len()),
                "at least 90 %",
            ),
            (
                "explained fraction tells on-topic from off-topic (AUC)",
                area >= 0.9 && off.len() >= 20 && on.len() >= 60,
                format!(
                    "{area:.3} over {} and {} prompts, means {:.2} and {:.2}",
                    on.len(),
                    off.len(),
                    mean(&on),
                    mean(&off)
                ),
                "at least 0.9",
            ),
        ];
        let missing = self
            .facts
            .contributors
            .iter()
            .filter(|(_, ContributionId(id))| {
                !held_out.iter().any(|row| row.shares.get(id).copied().unwrap_or(0) > 0)
            })
            .count();
        for (name, pass, figure, bar) in figures {
            self.report.check(name, pass, figure, bar);
        }
        self.report.check(
            "every contributor shaped some answer",
            missing == 0,
            format!("{missing} did not"),
            "none left out",
        );
    }
}
