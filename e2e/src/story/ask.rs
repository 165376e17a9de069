//! Act four: a consumer asks, pays with vouchers, and learns whose records shaped each answer.

use super::{Story, CONSUMER, MODEL, WORKER};
use crate::{
    measure::normalise,
    report::Answer as Row,
    stack::{examples, Worker},
};
use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use tributary_client::{
    calls::marketplace::OpenChannel,
    primitives::{Balance, ChannelId, OPEN},
    vouchers,
    worker_api::{Answer, Question, WorkerApi, WorkerError},
};

/// A line of `held-out.jsonl` or `off-topic.jsonl`.
#[derive(Clone, Debug, Deserialize)]
struct Prompt {
    prompt: String,
    #[serde(default)]
    completion: Option<String>,
    #[serde(default)]
    contributor: Option<usize>,
    #[serde(default)]
    key_facts: Vec<String>,
}

fn prompts(file: &str, limit: Option<usize>) -> Result<Vec<Prompt>> {
    let path = examples().join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let all: Vec<Prompt> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context(path.display().to_string())?;
    let Some(limit) = limit else { return Ok(all) };
    // Spread over the file, so that a few prompts still touch every contributor.
    let step = (all.len() / limit.max(1)).max(1);
    Ok(all.into_iter().step_by(step + step % 2).take(limit).collect())
}

/// What the longest answer may cost beyond what was spent, in units.
const HEADROOM: Balance = OPEN / 20;

impl Story {
    /// Opens a channel, asks, and pays.
    pub(super) async fn ask(&mut self) -> Result<()> {
        self.act("A consumer asks, and pays by voucher")?;
        let api = WorkerApi::new(&self.stack.worker()?.url)?;
        self.unpaid_is_refused(&api).await?;
        let open = OpenChannel { worker: self.people.worker.account(), deposit: 20 * OPEN };
        let included = self.stack.chain.submit(&open, &self.people.consumer).await?;
        let (channel,): (ChannelId,) = included.require("Marketplace", "ChannelOpened")?;
        self.sent("open a payment channel", &included);
        self.facts.channel = channel;
        self.say(format!("channel {channel} with 20 OPEN; {CONSUMER} pays {WORKER} through it"))?;

        let held_out = prompts("held-out.jsonl", self.plan.held_out)?;
        let off_topic = prompts("off-topic.jsonl", self.plan.off_topic)?;
        let bar = self.teller()?.bar("asking", (held_out.len() + off_topic.len()) as u64);
        let half = held_out.len() / 2;
        for (n, prompt) in held_out.iter().enumerate() {
            if self.plan.crash && n == half {
                self.crash().await?;
            }
            let answer = self.ask_one(&prompt.prompt).await?;
            let row = self.judge(prompt, &answer);
            self.report.held_out.push(row);
            bar.inc(1);
        }
        for prompt in &off_topic {
            let answer = self.ask_one(&prompt.prompt).await?;
            let row = self.judge(prompt, &answer);
            self.report.off_topic.push(row);
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.show_examples()?;
        self.say(format!(
            "{} answers for {} OPEN, each with a signed receipt",
            self.facts.answers,
            super::short_open(self.facts.spent)
        ))
    }

    /// Kills the worker without warning; its journal must know what was spent.
    pub(super) async fn crash(&mut self) -> Result<()> {
        let worker: Worker = self.stack.worker.take().context("no worker runs")?;
        let dir = self.stack.dir.clone();
        self.stack.worker = Some(worker.kill_and_restart(&dir).await?);
        self.say("the worker was killed, and started again")
    }

    async fn unpaid_is_refused(&mut self, api: &WorkerApi) -> Result<()> {
        match api.ask(&question("How did the Nomad bridge fail?"), None, |_| ()).await {
            Err(WorkerError::Payment(terms)) => self.say(format!("unpaid: 402, {}", terms.message)),
            Err(other) => bail!("an unpaid request ended with: {other}"),
            Ok(_) => bail!("an unpaid request was answered"),
        }
    }

    async fn ask_one(&mut self, prompt: &str) -> Result<Answer> {
        let (chain, channel) = (&self.stack.chain, self.facts.channel);
        let promise = self.facts.spent + HEADROOM;
        let voucher = vouchers::sign(&self.people.consumer, &chain.genesis(), channel, promise);
        let api = WorkerApi::new(&self.stack.worker()?.url)?;
        let mut pieces = 0;
        let answer = api
            .ask(&question(prompt), Some(&voucher), |_| pieces += 1)
            .await
            .with_context(|| format!("asking {prompt:?}"))?;
        ensure!(pieces > 1, "the answer to {prompt:?} was not streamed");
        let receipt = &answer.receipt.receipt;
        self.facts.answers += 1;
        ensure!(
            answer.receipt.verify(&chain.genesis(), &self.people.worker.account()),
            "the receipt for {prompt:?} is not signed by the worker"
        );
        ensure!(receipt.request == answer.request, "the receipt names another request");
        ensure!(receipt.sequence == self.facts.answers, "a receipt is missing or counted twice");
        ensure!(
            answer.payment.spent == self.facts.spent + answer.payment.fee,
            "the worker counts {} spent after {} and a fee of {}",
            answer.payment.spent,
            self.facts.spent,
            answer.payment.fee
        );
        let shares: u32 = receipt.shares.iter().map(|share| share.ppm).sum();
        ensure!(shares + receipt.unattributed == 1_000_000, "shares do not add up to the whole");
        self.facts.spent = answer.payment.spent;
        Ok(answer)
    }

    fn judge(&self, prompt: &Prompt, answer: &Answer) -> Row {
        let said = normalise(&answer.text);
        let right = prompt.completion.as_ref().map(|expected| {
            said == normalise(expected)
                || (!prompt.key_facts.is_empty()
                    && prompt.key_facts.iter().all(|fact| said.contains(fact.as_str())))
        });
        let receipt = &answer.receipt.receipt;
        let largest = receipt.shares.iter().max_by_key(|share| share.ppm);
        let attributed_right = prompt.contributor.map(|n| {
            let expected = self.facts.contributors.get(n).map(|(_, id)| *id);
            largest.map(|share| share.contribution) == expected
        });
        Row {
            prompt: prompt.prompt.clone(),
            answer: answer.text.clone(),
            expected: prompt.completion.clone(),
            right,
            attributed_right,
            shares: receipt.shares.iter().map(|s| (s.contribution.0, s.ppm)).collect(),
            unattributed_ppm: receipt.unattributed,
            fee: receipt.fee.to_string(),
        }
    }

    /// One answer from each contributor's subjects, and one that no record speaks of.
    fn show_examples(&mut self) -> Result<()> {
        let ids: Vec<u64> = self.facts.contributors.iter().map(|(_, id)| id.0).collect();
        let mut shown: Vec<Row> = Vec::new();
        for id in &ids {
            let largest = |row: &&Row| {
                row.right != Some(false)
                    && row.shares.iter().max_by_key(|(_, ppm)| **ppm).map(|(id, _)| id) == Some(id)
            };
            shown.extend(self.report.held_out.iter().find(largest).cloned());
        }
        shown.extend(self.report.off_topic.first().cloned());
        for row in shown {
            let shares: Vec<String> = ids
                .iter()
                .enumerate()
                .map(|(n, id)| {
                    let ppm = row.shares.get(id).copied().unwrap_or(0);
                    format!("contributor {} {:.1} %", n + 1, f64::from(ppm) / 1e4)
                })
                .collect();
            self.say(format!("? {}\n! {}", row.prompt, row.answer.trim()))?;
            self.say(format!(
                "  {}, unattributed {:.1} %",
                shares.join(", "),
                f64::from(row.unattributed_ppm) / 1e4
            ))?;
        }
        Ok(())
    }
}

fn question(prompt: &str) -> Question {
    Question {
        model: MODEL.into(),
        prompt: prompt.into(),
        system: None,
        max_tokens: 80,
        temperature: 0.0,
        seed: None,
        schema: None,
    }
}
