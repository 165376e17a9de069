//! Several endpoints: on what they agree, and what happens when they do not.

use std::{sync::Arc, time::Instant};

use polkadot_sdk::substrate_prometheus_endpoint::Registry;
use tributary_node::l1::{
    quorum::{Finalised, Quorum},
    Error, Metrics, L1,
};

use super::fake::*;

/// Longer than any test is willing to wait for an endpoint.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn quorum(fakes: &[&Fake], agree: Option<usize>) -> (Quorum, Registry) {
    let urls: Vec<String> = fakes.iter().map(|fake| fake.url.clone()).collect();
    let registry = Registry::new();
    let metrics = Metrics::new(Some(&registry)).expect("no metrics clash");
    (Quorum::new(&settings(&urls, agree, 100), metrics), registry)
}

/// The sum of a metric over its labels.
fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.get_name() == name);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    metrics
        .iter()
        .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
        .sum()
}

#[tokio::test]
async fn one_endpoint_is_believed() {
    let fake = Fake::start(10).await;
    let (quorum, registry) = quorum(&[&fake], None);
    let agreed = quorum.finalized(Some(CHAIN)).await.expect("it answers");
    assert_eq!(agreed.block.number, 10);
    assert_eq!(agreed.block.hash, fake.state().hash(10));
    assert_eq!(metric(&registry, "l1_endpoint_errors_total"), 0.0);
}

#[tokio::test]
async fn a_web_socket_serves_as_well() {
    let fake = Fake::start(10).await;
    let quorum = Quorum::new(&settings(&[fake.ws()], None, 100), Metrics::default());
    let agreed = quorum.finalized(Some(CHAIN)).await.expect("it answers");
    assert_eq!(agreed.block.hash, fake.state().hash(10));
}

#[tokio::test]
async fn one_liar_of_three_is_outvoted_and_counted() {
    let (honest, liar, other) =
        (Fake::start(10).await, Fake::start(10).await, Fake::start(10).await);
    liar.state().salt.insert(5, 1);
    let (quorum, registry) = quorum(&[&liar, &honest, &other], None);
    let agreed = quorum.finalized(Some(CHAIN)).await.expect("two agree");
    assert_eq!(agreed.block.hash, honest.state().hash(10));
    assert!(!agreed.by.contains(&0), "the liar is not among {:?}", agreed.by);

    // Whether the liar is heard at all depends on who answers first; all must be heard when all
    // must agree.
    let (quorum_of_all, registry_of_all) = self::quorum(&[&liar, &honest, &other], Some(3));
    let error = quorum_of_all.finalized_at(10, Some(CHAIN)).await.expect_err("one disagrees");
    let text = error.to_string();
    assert!(matches!(error, Error::Disagreement { number: 10, .. }), "{text}");
    assert!(text.contains(&liar.state().hash(10).to_string()), "{text}");
    assert!(text.contains(&honest.state().hash(10).to_string()), "{text}");
    assert_eq!(metric(&registry_of_all, "l1_disagreements_total"), 1.0);
    drop(registry);
    // Below the lie they still agree.
    let agreed = quorum_of_all.finalized_at(4, Some(CHAIN)).await.expect("all agree");
    assert_eq!(agreed.by.len(), 3);
}

#[tokio::test]
async fn a_liar_at_the_head_does_not_hide_an_agreement_below() {
    let (honest, liar, lagging) =
        (Fake::start(10).await, Fake::start(10).await, Fake::start(8).await);
    liar.state().salt.insert(0, 1);
    let (quorum, _) = quorum(&[&honest, &liar, &lagging], Some(2));
    let agreed = quorum.finalized(Some(CHAIN)).await.expect("two agree on block 8");
    assert_eq!(agreed.block.number, 8);
    assert_eq!(agreed.block.hash, honest.state().hash(8));
}

#[tokio::test]
async fn one_that_runs_ahead_moves_nothing() {
    let (fast, one, other) =
        (Fake::start(1_000).await, Fake::start(10).await, Fake::start(9).await);
    let (quorum, _) = quorum(&[&fast, &one, &other], Some(2));
    let agreed = quorum.finalized(Some(CHAIN)).await.expect("two agree");
    assert_eq!(agreed.block.number, 10);
    assert_eq!(quorum.known_finalized(), 10);
    let error = quorum.finalized_at(1_000, Some(CHAIN)).await.expect_err("only one has it");
    assert!(matches!(error, Error::BeyondFinality { number: 1_000, finalized: 10 }), "{error}");
}

#[tokio::test]
async fn silent_endpoints_are_not_waited_for() {
    let (one, other, silent) =
        (Fake::start(10).await, Fake::start(10).await, Fake::start(10).await);
    silent.state().delay = SILENCE;
    let (quorum, _) = quorum(&[&silent, &one, &other], None);
    let start = Instant::now();
    quorum.finalized_at(10, Some(CHAIN)).await.expect("two agree");
    assert!(start.elapsed().as_secs() < 5, "it took {:?}", start.elapsed());
}

#[tokio::test]
async fn too_few_answers_are_no_agreement() {
    let (up, down) = (Fake::start(10).await, Fake::start(10).await);
    down.state().down = true;
    let (quorum, registry) = quorum(&[&up, &down], None);
    let error = quorum.finalized(Some(CHAIN)).await.expect_err("one of two is not enough");
    let text = error.to_string();
    assert!(matches!(error, Error::TooFew { answered: 1, agree: 2, .. }), "{text}");
    assert!(text.contains("the endpoint is down"), "{text}");
    assert!(metric(&registry, "l1_endpoint_errors_total") >= 1.0);

    // It comes back.
    down.state().down = false;
    quorum.finalized(Some(CHAIN)).await.expect("both answer");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_named_without_its_key() {
    let fake = Fake::start(10).await;
    let url = fake.url.clone();
    drop(fake);
    let quorum = Quorum::new(&settings(std::slice::from_ref(&url), None, 100), Metrics::default());
    let error = quorum.finalized(Some(CHAIN)).await.expect_err("nobody listens").to_string();
    assert!(error.contains("127.0.0.1"), "{error}");
    assert!(url.contains("0123456789abcdef") && !error.contains("0123456789abcdef"), "{error}");
}

#[tokio::test]
async fn another_chain_is_refused_by_name() {
    let (right, wrong) = (Fake::start(10).await, Fake::start(10).await);
    wrong.state().chain = 11_155_111;
    let (quorum, _) = quorum(&[&right, &wrong], None);
    let text = quorum.finalized(Some(CHAIN)).await.expect_err("one is missing").to_string();
    assert!(text.contains("serves chain 11155111") && text.contains("chain 900"), "{text}");
    // Before the bridge is configured any chain will do.
    quorum.finalized(None).await.expect("both answer");
    // The endpoint is corrected.
    wrong.state().chain = CHAIN;
    quorum.finalized(Some(CHAIN)).await.expect("both answer");
}

#[tokio::test]
async fn a_reorganisation_above_finality_goes_by_unnoticed() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &FakeChain::default());
    node.poll().await.expect("it answers");
    let before = node.known_hash(10).expect("it is noted");

    // Blocks 11 to 20 are replaced again and again before they become final.
    for salt in 1..5 {
        fake.state().salt.insert(11, salt);
        node.poll().await.expect("nothing happened");
        assert_eq!(node.finalized_number(), Some(10));
        assert_eq!(node.known_hash(10), Some(before));
        assert_eq!(node.known_hash(11), None);
    }
    fake.state().finalized = 11;
    node.poll().await.expect("it answers");
    assert_eq!(node.known_hash(11), Some(fake.state().hash(11)));

    // The head was never asked for.
    let asked = fake.state().asked.clone();
    assert!(asked.iter().all(|(_, of)| of != "latest" && of != "pending" && of != "safe"));
}

#[tokio::test]
async fn a_finalised_block_that_changes_is_an_error() {
    let fake = Fake::start(10).await;
    let registry = Registry::new();
    let chain = Arc::new(FakeChain::default());
    let node =
        L1::new(settings(std::slice::from_ref(&fake.url), None, 100), chain, Some(&registry))
            .expect("no metrics clash");
    node.poll().await.expect("it answers");
    let before = node.known_hash(10);
    assert_eq!(metric(&registry, "l1_finalized_number"), 10.0);

    fake.state().salt.insert(0, 1);
    let error = node.poll().await.expect_err("finality broke");
    assert!(matches!(error, Error::FinalityChanged { number: 10, .. }), "{error}");
    assert_eq!(node.known_hash(10), before, "the first is kept");
    assert_eq!(metric(&registry, "l1_disagreements_total"), 1.0);
}

#[test]
fn the_cache_is_bounded() {
    let mut finalised = Finalised::default();
    let hash = alloy_primitives::B256::repeat_byte(1);
    for number in 0..2 * Finalised::CAPACITY as u64 {
        finalised.insert(number, hash).expect("each is new");
    }
    assert_eq!(finalised.hash(0), None);
    assert_eq!(finalised.hash(Finalised::CAPACITY as u64), Some(hash));
    assert_eq!(finalised.newest(), Some(2 * Finalised::CAPACITY as u64 - 1));
}
