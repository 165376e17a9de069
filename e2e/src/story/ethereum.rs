//! The acts about Ethereum: the chain joins it, finality is anchored there, and OPEN goes out and
//! comes back.

use super::{short_open, Story};
use crate::{
    cli::{number, text},
    l1::{Account, Anvil, Bridge},
    ledger::call,
};
use anyhow::{ensure, Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};
use tributary_client::primitives::{money::CAP, Balance, OPEN};
use tributary_relayer::l1::{Anchored, Contracts};

/// Longest time that one step may take: an anchor comes every few blocks, and the delays of the
/// development's contracts are seconds.
const LIMIT: Duration = Duration::from_secs(240);
/// What goes out and comes back, in OPEN.
const TRIP: &str = "25";
const TRIP_UNITS: Balance = 25 * OPEN;

/// OPEN on both chains at one time, in units.
struct BothSides {
    issuance: Balance,
    /// On Ethereum, outside the bridge's lock.
    outside: Balance,
}

impl Story {
    /// Deploys the contracts on the local Ethereum and starts a relayer.
    pub(super) async fn join_ethereum(&mut self, anvil: Anvil) -> Result<()> {
        self.act("The chain joins Ethereum")?;
        let spinner = self.teller()?.wait("waiting for a final block");
        let start = Instant::now();
        // The contracts begin with the validators of a final block.
        while self.stack.chain.finalized().await?.number == 0 {
            ensure!(start.elapsed() < LIMIT, "no block became final within {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        spinner.set_prefix("deploying the contracts");
        let dir = self.stack.dir.join("bridge");
        std::fs::create_dir_all(&dir)?;
        let bridge = Bridge::deploy(&dir, anvil, &self.stack.node.ws).await?;
        spinner.set_prefix("starting the relayer");
        let relayer = bridge.relayer(Account::Relayer).await?;
        spinner.finish_and_clear();
        let contracts = bridge.contracts().await?;
        self.say(format!(
            "contracts on a local Ethereum (chain {}) at {}, portal {:?}",
            contracts.l1().chain_id(),
            bridge.anvil.http,
            contracts.addresses().portal
        ))?;
        self.bridge = Some((bridge, relayer));
        Ok(())
    }

    /// A block after everything above is anchored: its root, signed by the validators, is accepted
    /// by the contract.
    pub(super) async fn anchored(&mut self) -> Result<()> {
        self.act("Anchored to Ethereum")?;
        let contracts = self.contracts().await?;
        let wanted = self.stack.chain.best().await?.number;
        let spinner = self.teller()?.wait("waiting for the relayer");
        let anchored = self.anchor_from(&contracts, wanted).await?;
        spinner.finish_and_clear();
        let receipt = contracts.l1().receipt(anchored.transaction).await?;
        let receipt = receipt.context("Ethereum has forgotten the transaction")?;

        let client = reqwest::Client::new();
        let http = &self.stack.node.http;
        let hash = call(&client, http, "chain_getBlockHash", json!([anchored.block])).await?;
        let root = call(&client, http, "mmr_root", json!([hash])).await?;
        let there = format!("{:?}", anchored.root);
        self.say(format!(
            "block {} is on Ethereum, in its block {}: {} gas, transaction {:?}",
            anchored.block, anchored.l1_block, receipt.gas_used, anchored.transaction
        ))?;
        self.report.digests.insert("anchored MMR root".into(), there.clone());
        self.report.check(
            "Ethereum has the root that the validators signed",
            root.as_str() == Some(there.as_str()) && anchored.block >= wanted,
            format!("block {}, {} gas, {there}", anchored.block, receipt.gas_used),
            format!("the node's own root of a block from {wanted} on"),
        );
        Ok(())
    }

    /// The first anchor at or above a block.
    async fn anchor_from(&mut self, contracts: &Contracts, wanted: u32) -> Result<Anchored> {
        let start = Instant::now();
        loop {
            if contracts.latest_anchored().await? >= wanted {
                let head = contracts.l1().head(tributary_relayer::l1::At::Latest).await?;
                let all = contracts.anchored_between(0, head.number).await?;
                let first = all.into_iter().find(|anchored| anchored.block >= wanted);
                return first.context("the anchor's event is missing");
            }
            let (_, relayer) = self.bridge.as_mut().context("there is no bridge")?;
            relayer.process.check()?;
            ensure!(
                start.elapsed() < LIMIT,
                "block {wanted} is not anchored; the relayer says:\n{}",
                relayer.process.tail(25)
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The consumer sends OPEN to an address of Ethereum, and from there back to the own account.
    pub(super) async fn out_and_back(&mut self) -> Result<()> {
        self.act("Out and back")?;
        let contracts = self.contracts().await?;
        let begin = self.both_sides(&contracts).await?;
        let (bridge, _) = self.bridge.as_ref().context("there is no bridge")?;
        let traveller = Account::Rival.key()?.address();
        let there = format!("{traveller:?}");
        let addresses = bridge.addresses.display().to_string();
        let http = bridge.anvil.http.clone();
        let l1 = ["--l1-rpc", &http, "--l1-addresses", &addresses];
        let (key, words) = Account::Rival.files(&bridge.dir.join("keys"))?;
        let (key, words) = (key.display().to_string(), words.display().to_string());
        let cli = self.stack.cli("consumer");

        let spinner = self.teller()?.wait("withdrawing: burnt, anchored, proposed, proven, paid");
        let who = ["--uri", super::CONSUMER];
        let withdraw = ["bridge", "withdraw", "--amount", TRIP, "--to", &there, "--wait"];
        let arguments = [&who[..], &withdraw[..], &l1[..]].concat();
        let end = cli.run(&arguments);
        let out =
            tokio::time::timeout(LIMIT, end).await.context("the withdrawal takes too long")??;
        spinner.finish_and_clear();
        let arrived = contracts.open_balance(traveller).await?.as_u128();
        let midway = self.both_sides(&contracts).await?;
        self.say(format!(
            "withdrawal {}: {} OPEN arrived at {there}",
            number(&out, "/withdrawal")?,
            short_open(arrived)
        ))?;

        let spinner = self.teller()?.wait("depositing: locked, final on Ethereum, credited");
        let deposit = ["bridge", "deposit", "--amount", TRIP, "--wait"];
        let pay = ["--l1-key-file", &key, "--l1-password-file", &words, "--confirmations", "1"];
        let arguments = [&who[..], &deposit[..], &l1[..], &pay[..]].concat();
        let end = cli.run(&arguments);
        let back =
            tokio::time::timeout(LIMIT, end).await.context("the deposit takes too long")??;
        spinner.finish_and_clear();
        let left = contracts.open_balance(traveller).await?.as_u128();
        let finish = self.both_sides(&contracts).await?;
        self.say(format!(
            "deposit {}: {TRIP} OPEN are back at {}, {} gas",
            number(&back, "/deposit")?,
            text(&back, "/to")?,
            number(&back, "/gas_used")?
        ))?;

        self.report.check(
            "OPEN went to Ethereum and came back, to the unit",
            arrived == TRIP_UNITS
                && left == 0
                && midway.outside == begin.outside + TRIP_UNITS
                && finish.outside == begin.outside,
            format!("{arrived} arrived, {left} left there"),
            format!("{TRIP_UNITS} and 0"),
        );
        let most = [&begin, &midway, &finish]
            .map(|sides| sides.issuance + sides.outside)
            .into_iter()
            .max()
            .unwrap_or(0);
        self.report.check(
            "issuance here and circulation on Ethereum together",
            most <= CAP,
            most,
            format!("at most {CAP} at every step"),
        );
        Ok(())
    }

    async fn contracts(&self) -> Result<Contracts> {
        let (bridge, _) = self.bridge.as_ref().context("there is no bridge")?;
        bridge.contracts().await
    }

    async fn both_sides(&self, contracts: &Contracts) -> Result<BothSides> {
        let issuance = self.stack.chain.token().supply().await?.issuance;
        let all = contracts.open_supply().await?;
        let locked = contracts.open_balance(contracts.addresses().bridge).await?;
        Ok(BothSides { issuance, outside: (all - locked).as_u128() })
    }
}
