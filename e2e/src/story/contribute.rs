//! Acts one and two: the base model and the worker, and three contributors who own nothing.

use super::{Story, DATANET, WORKER};
use crate::{
    cli::number,
    stack::{base_model, examples},
};
use anyhow::{ensure, Context, Result};
use tributary_client::{
    calls::{attribution::RegisterBase, datanets},
    primitives::{
        views::{Consent, ContributionState, PolicyView, Text},
        ContributionId, DatanetId, ModelId, OPEN,
    },
    store::{digest_hex, FolderKind},
    Store,
};

/// Seconds without a request after which the worker settles: longer than any pause between two
/// questions of the story, a restart of the worker included.
const SETTLE_AFTER_S: u32 = 15;

impl Story {
    /// The founder registers the base model; the worker starts, and registers itself.
    pub(super) async fn base_and_worker(&mut self) -> Result<()> {
        self.act("A worker joins")?;
        let store = Store::open(&self.stack.store)?;
        let content = store.put_folder(FolderKind::Model, &base_model()).await?;
        let call = RegisterBase { name: Text::from("tiny"), content, royalty: 100_000 };
        let included = self.stack.chain.submit(&call, &self.people.founder).await?;
        let (model,): (ModelId,) = included.require("Attribution", "ModelRegistered")?;
        self.sent("register base model", &included);
        self.facts.base = model;
        self.report.digests.insert("base model".into(), digest_hex(&content));
        let spinner = self.teller()?.wait("starting the worker");
        let url = self.stack.start_worker(WORKER, SETTLE_AFTER_S).await?.url.clone();
        spinner.finish_and_clear();
        let account = self.people.worker.account();
        let worker = self.stack.chain.compute().worker(&account).await?;
        let worker = worker.context("the worker did not register itself")?;
        self.say(format!(
            "base model `tiny` is model {model}; worker at {url} stakes {} OPEN",
            super::short_open(worker.stake)
        ))
    }

    /// Three contributors push their shards; the datanet's sponsor pot pays.
    pub(super) async fn contribute(&mut self) -> Result<()> {
        self.act("Three contributors push their data, and own nothing")?;
        self.make_datanet().await?;
        let datanet = self.facts.datanet;
        for n in 0..3 {
            let cli = self.stack.cli(&format!("contributor-{}", n + 1));
            let shard = examples().join(format!("shard-{n}.jsonl"));
            let shard = shard.to_str().context("the checkout's path is not UTF-8")?;
            let pushed = cli.run(&["datanet", "push", DATANET, shard]).await?;
            let id = ContributionId(number(&pushed, "/contribution/id")?);
            let view = self.stack.chain.datanets().contribution(id).await?;
            let view = view.context("the contribution is not on chain")?;
            let balance = self.stack.chain.balance(&view.payout).await?;
            ensure!(!balance.exists, "a contributor's account existed before she was paid");
            self.facts.contributors.push((view.payout.clone(), id));
            self.facts.before.insert(format!("contributor {}", n + 1), 0);
            self.report.digests.insert(format!("shard {n}"), digest_hex(&view.content));
            self.say(format!(
                "contributor {}: {} records, {} bytes, contribution {id}; her account {} does not exist",
                n + 1,
                view.records,
                view.bytes,
                tributary_client::keys::address(&view.payout)
            ))?;
        }
        let due = self.review_ends().await?;
        let bar = self.teller()?.wait("review window");
        self.stack.chain.wait_for_block(due).await?;
        bar.finish_and_clear();
        let cut = datanets::CutVersion { datanet };
        let included = self.stack.chain.submit(&cut, &self.people.founder).await?;
        self.sent("cut version", &included);
        let version = tributary_client::primitives::VersionRef { datanet, number: 1 };
        let view = self.stack.chain.datanets().version(version).await?;
        let view = view.context("the version is not on chain")?;
        ensure!(view.contributions == 3, "the version holds {} shards", view.contributions);
        self.report.digests.insert("version root".into(), digest_hex(&view.root));
        self.say(format!(
            "version 1 is cut: {} contributions, {} records, root {:?}",
            view.contributions, view.records, view.root
        ))
    }

    async fn make_datanet(&mut self) -> Result<()> {
        let create = datanets::CreateDatanet {
            name: Text::from(DATANET),
            policy: PolicyView::Open,
            licence: Text::from("CC-BY-4.0"),
            consent: Consent { train: true, commercial: true, quote: true },
            min_stake: 0,
        };
        let included = self.stack.chain.submit(&create, &self.people.founder).await?;
        let (datanet,): (DatanetId,) = included.require("Datanets", "DatanetCreated")?;
        self.sent("create datanet", &included);
        self.facts.datanet = datanet;
        let fund = datanets::FundPot { datanet, amount: 100 * OPEN };
        let included = self.stack.chain.submit(&fund, &self.people.founder).await?;
        self.sent("fund the sponsor pot", &included);
        let sponsorship = datanets::Sponsorship { enabled: true, max_per_period: 1_000 };
        let set = datanets::SetSponsorship { datanet, sponsorship };
        let included = self.stack.chain.submit(&set, &self.people.founder).await?;
        self.sent("switch the sponsor pot on", &included);
        self.say(format!("datanet `{DATANET}` is there, with 100 OPEN in its sponsor pot"))
    }

    /// The block by which every contribution is accepted.
    async fn review_ends(&self) -> Result<u32> {
        let mut last = 0;
        for (_, id) in &self.facts.contributors {
            let view = self.stack.chain.datanets().contribution(*id).await?;
            if let Some(ContributionState::Pending { due: Some(due) }) = view.map(|v| v.state) {
                last = last.max(due);
            }
        }
        Ok(last)
    }
}
