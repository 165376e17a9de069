//! The main job as a story: who does what, in acts that the demo tells in full and the tests in
//! short.

mod ask;
mod contribute;
mod crowd;
mod ethereum;
mod settle;
mod train;
mod verify;

pub use crowd::Crowd;

use crate::{
    l1::{Bridge, Relayer},
    report::{Report, Transaction},
    stack::Stack,
    teller::Teller,
};
use anyhow::{Context, Result};
use std::{collections::BTreeMap, path::Path, path::PathBuf, time::Duration};
use tributary_client::{
    primitives::{
        money::format_open, AccountId, Balance, BatchId, ChannelId, ContributionId, DatanetId,
        JobId, ModelId, OPEN,
    },
    Included, Key,
};

/// Name of the datanet that the story is about.
pub const DATANET: &str = "defi-exploits";
/// Name of the model that is trained on it.
pub const MODEL: &str = "exploit-historian";

/// How long the story is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Passes over the data.
    pub epochs: u16,
    /// Records in a step.
    pub batch: u16,
    /// Peak learning rate in billionths.
    pub lr_nano: u32,
    /// LoRA rank.
    pub rank: u16,
    /// LoRA alpha.
    pub alpha: u16,
    /// Held-out prompts that are asked; all of them when `None`.
    pub held_out: Option<usize>,
    /// Off-topic prompts that are asked; all of them when `None`.
    pub off_topic: Option<usize>,
    /// Whether the bars of quality are checked: a short training cannot reach them.
    pub quality: bool,
    /// Whether the worker is killed, and started again, while it serves and while it settles.
    pub crash: bool,
    /// Adapters that are served at once.
    pub crowd: usize,
    /// Whether finality is anchored on a local Ethereum, and OPEN goes there and back.
    pub ethereum: bool,
}

impl Plan {
    /// The demo: everything.
    pub fn demo() -> Self {
        Self {
            epochs: 12,
            batch: 32,
            lr_nano: 4_000_000,
            rank: 16,
            alpha: 32,
            held_out: None,
            off_topic: None,
            quality: true,
            crash: false,
            crowd: 200,
            ethereum: true,
        }
    }

    /// The test: every step once, with a training too short to learn much, and with crashes.
    pub fn short() -> Self {
        Self {
            epochs: 1,
            held_out: Some(6),
            off_topic: Some(2),
            quality: false,
            crash: true,
            crowd: 8,
            ethereum: false,
            ..Self::demo()
        }
    }
}

/// Accounts of the development chain that the story borrows.
pub struct People {
    /// Runs the datanet and fills its sponsor pot.
    pub founder: Key,
    /// Wants a model.
    pub researcher: Key,
    /// Asks it.
    pub consumer: Key,
    /// Trains and serves.
    pub worker: Key,
}

const FOUNDER: &str = "//Alice";
const RESEARCHER: &str = "//Bob";
const CONSUMER: &str = "//Dave";
const WORKER: &str = "//Ferdie";

/// What the acts leave for one another.
#[derive(Default)]
pub struct Facts {
    /// The datanet.
    pub datanet: DatanetId,
    /// Contributors: account and contribution, in the order of their shards.
    pub contributors: Vec<(AccountId, ContributionId)>,
    /// The base model.
    pub base: ModelId,
    /// The training job.
    pub job: JobId,
    /// The model.
    pub model: ModelId,
    /// The consumer's channel.
    pub channel: ChannelId,
    /// Everything spent through it, in units.
    pub spent: Balance,
    /// Answers that were paid for.
    pub answers: u64,
    /// Batches that settled them.
    pub batches: Vec<BatchId>,
    /// Balances before the story, in units.
    pub before: BTreeMap<String, Balance>,
    /// Supply before the story.
    pub supply: Option<tributary_client::primitives::views::SupplyView>,
}

/// The story as it is told.
pub struct Story {
    plan: Plan,
    stack: Stack,
    teller: Option<Teller>,
    people: People,
    facts: Facts,
    report: Report,
    report_path: PathBuf,
    bridge: Option<(Bridge, Relayer)>,
}

impl Story {
    /// Starts a chain of its own.
    pub async fn begin(plan: Plan, dir: &Path) -> Result<Self> {
        let mut teller = Teller::new(!plan.quality);
        teller.act("A chain starts");
        let spinner = teller.wait("starting the node");
        if !plan.ethereum {
            let stack = Stack::start(dir).await?;
            spinner.finish_and_clear();
            return Self::open(plan, stack, teller).await;
        }
        let (stack, anvil) = Stack::start_beside_ethereum(dir).await?;
        spinner.finish_and_clear();
        let mut story = Self::open(plan, stack, teller).await?;
        story.join_ethereum(anvil).await?;
        Ok(story)
    }

    /// Uses what runs already.
    pub async fn on(plan: Plan, stack: Stack) -> Result<Self> {
        let mut teller = Teller::new(!plan.quality);
        teller.act("A chain runs");
        Self::open(plan, stack, teller).await
    }

    async fn open(plan: Plan, stack: Stack, teller: Teller) -> Result<Self> {
        let first = stack.chain.next_block(0).await?;
        teller.say(format!(
            "node at {}, genesis {:?}, block {} is there",
            stack.node.ws,
            stack.chain.genesis(),
            first.number
        ));
        let report = Report {
            genesis: format!("{:?}", stack.chain.genesis()),
            blocks: (first.number.into(), 0),
            ..Report::default()
        };
        let people = People {
            founder: Key::from_uri(FOUNDER)?,
            researcher: Key::from_uri(RESEARCHER)?,
            consumer: Key::from_uri(CONSUMER)?,
            worker: Key::from_uri(WORKER)?,
        };
        let report_path = stack.dir.join("report.json");
        let facts = Facts::default();
        let teller = Some(teller);
        Ok(Self { plan, stack, teller, people, facts, report, report_path, bridge: None })
    }

    /// Tells it up to the registered model.
    pub async fn tell_until_trained(&mut self) -> Result<()> {
        self.remember_balances().await?;
        self.base_and_worker().await?;
        self.contribute().await?;
        self.train().await
    }

    /// Tells all of it.
    pub async fn tell(&mut self) -> Result<()> {
        self.tell_until_trained().await?;
        self.ask().await?;
        self.settle().await?;
        self.claim().await?;
        self.crowd().await?;
        if self.plan.ethereum {
            self.anchored().await?;
            self.out_and_back().await?;
        }
        self.verify().await
    }

    /// Prints the checks, writes the report, and stops what runs (unless it is to be kept).
    /// Says whether everything held.
    pub async fn finish(mut self, complete: bool, keep: bool) -> Result<bool> {
        if let Some(teller) = self.teller.take() {
            self.report.durations_s = teller.finish();
        }
        println!();
        for check in &self.report.checks {
            println!(
                "   {}  {}: {} (bar: {})",
                if check.pass { "pass" } else { "FAIL" },
                check.name,
                check.figure,
                check.bar
            );
        }
        let passed = complete && self.report.passed();
        self.report.write(&self.report_path)?;
        println!("\n   report: {}", self.report_path.display());
        if keep && complete {
            let worker = self.stack.worker()?;
            println!("   RPC:    {}", self.stack.node.ws);
            println!("   worker: {} (OpenAI-compatible, model {MODEL})", worker.url);
            println!("   store:  {}", self.stack.store);
            if let Some((bridge, relayer)) = &self.bridge {
                println!(
                    "   Ethereum: {} (addresses in {})",
                    bridge.anvil.http,
                    bridge.addresses.display()
                );
                println!("   relayer: {}/metrics", relayer.url);
            }
            println!("   press Ctrl-C to stop everything");
            tokio::signal::ctrl_c().await?;
        }
        if let Some(worker) = &mut self.stack.worker {
            worker.process.stop(Duration::from_secs(10))?;
        }
        if let Some((bridge, relayer)) = &mut self.bridge {
            relayer.process.stop(Duration::from_secs(15))?;
            bridge.anvil.process.stop(Duration::from_secs(10))?;
        }
        if let Some(process) = &mut self.stack.node.process {
            process.stop(Duration::from_secs(10))?;
        }
        // A story that is not told to its end has checked nothing.
        if !self.report.checks.is_empty() {
            println!("   {}", if passed { "everything holds" } else { "something does not hold" });
        }
        Ok(passed)
    }

    /// The running parts, for tests that go on from here.
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// What the story is about.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn teller(&mut self) -> Result<&mut Teller> {
        self.teller.as_mut().context("the story is over")
    }

    fn act(&mut self, title: &str) -> Result<()> {
        self.teller()?.act(title);
        Ok(())
    }

    fn say(&mut self, line: impl AsRef<str>) -> Result<()> {
        self.teller()?.say(line);
        Ok(())
    }

    fn sent(&mut self, what: &str, included: &Included) {
        self.report.transactions.push(Transaction {
            what: what.into(),
            hash: format!("{:?}", included.tx),
            block: included.number.into(),
        });
    }

    /// Everybody whose balance the table shows, with the account.
    fn everybody(&self) -> Vec<(String, AccountId)> {
        let people = [
            ("founder", &self.people.founder),
            ("researcher", &self.people.researcher),
            ("worker", &self.people.worker),
            ("consumer", &self.people.consumer),
        ];
        let contributors = self
            .facts
            .contributors
            .iter()
            .enumerate()
            .map(|(n, (account, _))| (format!("contributor {}", n + 1), account.clone()));
        people
            .into_iter()
            .map(|(role, key)| (role.to_string(), key.account()))
            .chain(contributors)
            .collect()
    }

    async fn remember_balances(&mut self) -> Result<()> {
        for (role, account) in self.everybody() {
            let balance = self.stack.chain.balance(&account).await?;
            self.facts.before.insert(role, balance.free + balance.held);
        }
        self.facts.supply = Some(self.stack.chain.token().supply().await?);
        Ok(())
    }
}

/// An amount in OPEN, cut (not rounded) to six decimals, for tables.
pub fn short_open(units: Balance) -> String {
    let whole = units / OPEN;
    let millionths = units % OPEN / (OPEN / 1_000_000);
    if units != 0 && whole == 0 && millionths == 0 {
        return format_open(units);
    }
    format!("{whole}.{millionths:06}")
}
