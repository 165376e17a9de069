//! What a person gets wrong, against a real node: each failure names what is wrong, has its exit
//! status, and leaves the chain as it was.

use anyhow::{ensure, Result};
use std::{fs, path::Path};
use tributary_client::{
    calls::{
        attribution::Claim,
        compute::SubmitResult,
        datanets::{ContributeSigned, CreateDatanet, FundPot, SetSponsorship, Sponsorship},
        marketplace::{OpenChannel, Redeem},
    },
    chain::Wait,
    primitives::{
        jobs::{JobResult, Metrics},
        payouts::Payout,
        signing::{ContributionOffer, Signable, Voucher},
        views::{Consent, PolicyView, Text},
        BatchId, ChannelId, ContributionId, DatanetId, JobId, H256, OPEN,
    },
    Chain, ChainError, Key, Store,
};
use tributary_e2e::{
    cli::{Cli, Ended},
    ledger::ledger,
    stack::Stack,
};

async fn refused(cli: &Cli, arguments: &[&str], code: i32, words: &[&str]) -> Result<Ended> {
    let ended = cli.end(arguments).await?;
    let all = format!("{}{}", ended.text, ended.json);
    ensure!(ended.code == code, "`{}` ended with {}: {all}", arguments.join(" "), ended.code);
    for word in words {
        ensure!(all.contains(word), "`{}` does not say {word:?}: {all}", arguments.join(" "));
    }
    Ok(ended)
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> Result<String> {
    let path = dir.join(name);
    fs::write(&path, bytes)?;
    Ok(path.display().to_string())
}

async fn datanet(chain: &Chain, founder: &Key) -> Result<DatanetId> {
    let create = CreateDatanet {
        name: Text::from("notes"),
        policy: PolicyView::Open,
        licence: Text::from("CC0-1.0"),
        consent: Consent { train: true, commercial: true, quote: true },
        min_stake: 0,
    };
    let (id,): (DatanetId,) =
        chain.submit(&create, founder).await?.require("Datanets", "DatanetCreated")?;
    chain.submit(&FundPot { datanet: id, amount: 10 * OPEN }, founder).await?;
    let sponsorship = Sponsorship { enabled: true, max_per_period: 100 };
    chain.submit(&SetSponsorship { datanet: id, sponsorship }, founder).await?;
    Ok(id)
}

pub async fn bad_input_is_named_and_changes_nothing() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let stack = Stack::start(&temporary.path().join("run")).await?;
    let (chain, dir) = (&stack.chain, stack.dir.as_path());
    let founder = Key::from_uri("//Alice")?;
    let id = datanet(chain, &founder).await?;
    let cli = stack.cli("contributor");

    files(&cli, dir).await?;
    unreachable(&stack).await?;

    // A good shard, so that there is something to offer twice.
    let good = file(dir, "good.jsonl", b"{\"prompt\":\"a\",\"completion\":\"b\"}\n")?;
    cli.run(&["datanet", "push", "notes", &good]).await?;
    let before = chain.datanets().datanet(id).await?;
    let again = stack.cli("somebody-else");
    refused(&again, &["datanet", "push", "notes", &good], 5, &[]).await?;
    refused(&cli, &["datanet", "push", "nothing-here", &good], 3, &["nothing-here"]).await?;
    forged_offer(chain, id).await?;
    let after = chain.datanets().datanet(id).await?;
    ensure!(before == after, "a refused contribution changed the datanet");

    wrong_digest(&stack, &cli).await?;
    calls_without_right(chain, &founder).await?;
    vouchers(chain, &founder).await?;

    let block = format!("{:?}", chain.best().await?.hash);
    let sum = ledger(&stack.node.http, &block).await?;
    ensure!(sum.accounts == sum.issuance, "{} in accounts of {}", sum.accounts, sum.issuance);
    Ok(())
}

/// Malformed, empty and missing files: the line and the reason.
async fn files(cli: &Cli, dir: &Path) -> Result<()> {
    for (name, bytes, words) in [
        ("broken.jsonl", &b"{\"text\":\"fine\"}\n{\"prompt\": oops}\n"[..], &["line 2"][..]),
        ("shape.jsonl", &b"{\"question\":\"a\"}\n"[..], &["line 1"][..]),
        ("empty.jsonl", &b""[..], &["record"][..]),
        ("binary.jsonl", &b"\xff\xfe\n"[..], &["line 1", "UTF-8"][..]),
    ] {
        let path = file(dir, name, bytes)?;
        refused(cli, &["datanet", "push", "notes", &path], 2, words).await?;
    }
    let missing = dir.join("missing.jsonl").display().to_string();
    refused(cli, &["datanet", "push", "notes", &missing], 3, &["missing.jsonl"]).await?;
    Ok(())
}

/// A node or a store that does not answer.
async fn unreachable(stack: &Stack) -> Result<()> {
    let mut lost = stack.cli("lost");
    lost.node = "ws://127.0.0.1:1".into();
    refused(&lost, &["supply"], 4, &["ws://127.0.0.1:1"]).await?;
    Ok(())
}

/// An offer with somebody else's signature does not even reach a block.
async fn forged_offer(chain: &Chain, datanet: DatanetId) -> Result<()> {
    let (her, other) = (Key::generate().0, Key::generate().0);
    let offer = ContributionOffer {
        datanet,
        content: H256::repeat_byte(7),
        records_root: H256::repeat_byte(8),
        records: 1,
        bytes: 10,
        payout: her.account(),
        valid_until: chain.best().await?.number + 20,
    };
    let genesis = chain.genesis();
    for signature in [other.sign(&offer, &genesis), her.sign(&offer, &H256::repeat_byte(1))] {
        let call = ContributeSigned { offer: offer.clone(), signature };
        match chain.submit_general(&call, Wait::Block).await {
            Err(error) if error.is_module("Datanets", "BadSignature") => (),
            other => anyhow::bail!("a forged offer ended with {other:?}"),
        }
    }
    Ok(())
}

/// A blob that is not what its digest says is refused when it is read.
async fn wrong_digest(stack: &Stack, cli: &Cli) -> Result<()> {
    let store = Store::open(&stack.store)?;
    let digest = store.put(b"{\"text\":\"what was meant\"}\n".to_vec()).await?;
    let hex = format!("{digest:?}");
    let hex = hex.trim_start_matches("0x");
    let folder = stack.dir.join("store/sha256");
    fs::write(folder.join(hex), b"{\"text\":\"something else\"}\n")?;
    let error = store.get(&digest).await.expect_err("a wrong blob was taken");
    ensure!(error.to_string().contains(hex), "the error does not name the blob: {error}");
    let missing = store.get(&H256::repeat_byte(9)).await;
    ensure!(missing.is_err(), "a missing blob was found");
    // The tool's own store is the same folder.
    ensure!(cli.store == stack.store, "two stores");
    Ok(())
}

/// A result without the lease, and a claim on a batch that is not there.
async fn calls_without_right(chain: &Chain, key: &Key) -> Result<()> {
    let result = JobResult {
        adapter: H256::repeat_byte(1),
        index: H256::repeat_byte(2),
        index_root: H256::repeat_byte(3),
        transcript: H256::repeat_byte(4),
        metrics: Metrics { loss_before_micro: 2, loss_after_micro: 1, steps: 1, tokens: 1 },
    };
    let error = chain.submit(&SubmitResult { job: JobId(99), result }, key).await.unwrap_err();
    ensure!(matches!(error, ChainError::Module { .. }), "a result without a job: {error}");
    let claim = Claim {
        batch: BatchId(99),
        payout: Payout { contribution: ContributionId(0), amount: OPEN },
        proof: tributary_client::calls::attribution::PayoutProof { index: 0, siblings: vec![] },
    };
    let error = chain.submit(&claim, key).await.unwrap_err();
    ensure!(matches!(error, ChainError::Module { .. }), "a claim on no batch: {error}");
    Ok(())
}

/// Vouchers that are forged, for another chain, above the deposit, or old.
async fn vouchers(chain: &Chain, consumer: &Key) -> Result<()> {
    use tributary_client::calls::compute::{RegisterWorker, WorkerInfo};
    let worker = Key::from_uri("//Bob")?;
    let info = WorkerInfo {
        endpoint: Text::from("http://127.0.0.1:1"),
        signing_key: worker.account(),
        max_rank: 8,
        gpu: false,
        train_price: OPEN / 1_000,
    };
    chain.submit(&RegisterWorker { info, stake: 1_000 * OPEN }, &worker).await?;
    let open = OpenChannel { worker: worker.account(), deposit: 5 * OPEN };
    let (channel,): (ChannelId,) =
        chain.submit(&open, consumer).await?.require("Marketplace", "ChannelOpened")?;
    let genesis = chain.genesis();
    let voucher = |cumulative| Voucher { channel, cumulative };
    let good = voucher(2 * OPEN);
    let signed = |voucher: &Voucher| consumer.sign(voucher, &genesis);
    let redeem = Redeem { voucher: good.clone(), signature: signed(&good), total: OPEN };
    chain.submit(&redeem, &worker).await?;
    let after_first = chain.marketplace().channel(channel).await?;

    let above = voucher(6 * OPEN);
    let other_chain = consumer.sign(&good, &H256::repeat_byte(1));
    for (what, voucher, signature, total) in [
        ("forged", good.clone(), worker.sign(&good, &genesis), 2 * OPEN),
        ("for another chain", good.clone(), other_chain, 2 * OPEN),
        ("above the deposit", above.clone(), signed(&above), 6 * OPEN),
        ("stale", good.clone(), signed(&good), OPEN),
        ("above its promise", good.clone(), signed(&good), 3 * OPEN),
    ] {
        let call = Redeem { voucher, signature, total };
        match chain.submit(&call, &worker).await {
            Err(ChainError::Module { .. }) => (),
            other => anyhow::bail!("a voucher {what} ended with {other:?}"),
        }
    }
    ensure!(
        chain.marketplace().channel(channel).await? == after_first,
        "a refused voucher changed the channel"
    );
    ensure!(good.verify(&genesis, &signed(&good), &consumer.account()), "a good voucher is good");
    Ok(())
}
