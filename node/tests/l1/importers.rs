//! What a node thinks of the Ethereum block that another author named.

use std::time::{Duration, Instant};

use codec::Encode;
use polkadot_sdk::{sp_core::H256, sp_inherents::InherentDataProvider};
use tributary_node::l1::{Error, Inherent};
use tributary_primitives::bridge::{InherentError, L1Origin, L1Ref, INHERENT_IDENTIFIER};
use tributary_runtime::Hash;

use super::fake::*;

const PARENT: Hash = Hash::repeat_byte(3);

fn of(fake: &Fake, number: u64) -> L1Ref {
    L1Ref { number, hash: fake.state().hash(number).0.into() }
}

fn joined() -> FakeChain {
    let chain = FakeChain::default();
    chain.set(view(2, 2, &Vec::new(), 0));
    chain
}

#[tokio::test]
async fn without_endpoints_all_is_taken_on_trust() {
    let node = l1(&[], None, &joined());
    let origin = L1Ref { number: 1 << 40, hash: H256::repeat_byte(1) };
    node.check(PARENT, origin).await.expect("there is nobody to ask");
}

#[tokio::test]
async fn ethereums_block_is_accepted_and_remembered() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &joined());
    node.check(PARENT, of(&fake, 10)).await.expect("it is Ethereum's");
    node.check(PARENT, of(&fake, 7)).await.expect("it is Ethereum's");
    let asked = fake.asked("eth_getBlockByNumber");
    node.check(PARENT, of(&fake, 7)).await.expect("it is known");
    assert_eq!(fake.asked("eth_getBlockByNumber"), asked, "nobody was asked again");
}

#[tokio::test]
async fn a_false_block_is_refused_with_both_hashes() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &joined());
    let lie = L1Ref { number: 10, hash: H256::repeat_byte(1) };
    // The second time from the cache.
    for _ in 0..2 {
        let error = node.check(PARENT, lie).await.expect_err("it is a lie");
        let text = error.to_string();
        assert!(matches!(error, Error::FakeOrigin { number: 10, .. }), "{text}");
        assert!(text.contains(&format!("{:?}", lie.hash)), "{text}");
        assert!(text.contains(&fake.state().hash(10).to_string()), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_final_is_refused_even_if_it_is_ethereums() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &joined());
    let error = node.check(PARENT, of(&fake, 12)).await.expect_err("it may be reverted");
    assert!(matches!(error, Error::BeyondFinality { number: 12, finalized: 10 }), "{error}");

    // Far beyond there is no point in waiting.
    let start = Instant::now();
    let error = node.check(PARENT, of(&fake, 10_000)).await.expect_err("it may be reverted");
    assert!(matches!(error, Error::BeyondFinality { number: 10_000, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_block_that_becomes_final_in_time_is_accepted() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &joined());
    let origin = of(&fake, 12);
    let later = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(800)).await;
        later.state().finalized = 12;
    });
    node.check(PARENT, origin).await.expect("it is final by now");
}

#[tokio::test]
async fn silent_endpoints_mean_not_now() {
    let fake = Fake::start(10).await;
    fake.state().delay = Duration::from_secs(30);
    let node = l1(&[&fake], None, &joined());
    let origin = of(&fake, 10);
    let start = Instant::now();
    let error = node.check(PARENT, origin).await.expect_err("nobody answers");
    assert!(matches!(error, Error::CannotCheck { number: 10, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(6), "it took {:?}", start.elapsed());

    fake.state().delay = Duration::ZERO;
    fake.state().down = true;
    let error = node.check(PARENT, origin).await.expect_err("it refuses");
    assert!(matches!(error, Error::CannotCheck { .. }), "{error}");
    fake.state().down = false;
    node.check(PARENT, origin).await.expect("now it can be checked");
}

#[tokio::test]
async fn endpoints_of_another_chain_cannot_vouch() {
    let fake = Fake::start(10).await;
    fake.state().chain = 1;
    let node = l1(&[&fake], None, &joined());
    let error = node.check(PARENT, of(&fake, 10)).await.expect_err("it is another chain");
    assert!(error.to_string().contains("serves chain 1"), "{error}");
}

#[tokio::test]
async fn endpoints_that_disagree_cannot_vouch() {
    let (one, other) = (Fake::start(10).await, Fake::start(10).await);
    other.state().salt.insert(0, 1);
    let node = l1(&[&one, &other], None, &joined());
    let error = node.check(PARENT, of(&one, 10)).await.expect_err("which of them is right?");
    assert!(matches!(error, Error::CannotCheck { .. }), "{error}");
    assert!(error.to_string().contains("do not agree"), "{error}");
}

#[tokio::test]
async fn the_runtimes_question_is_answered() {
    let fake = Fake::start(10).await;
    let node = l1(&[&fake], None, &joined());
    let inherent = Inherent::importer(&node, PARENT);
    let ask = |hash| {
        let origin = L1Origin { number: 10, hash, timestamp: 0 };
        InherentError::Unchecked(origin).encode()
    };

    let truth = ask(of(&fake, 10).hash);
    let answer = inherent.try_handle_error(&INHERENT_IDENTIFIER, &truth).await;
    answer.expect("it is ours to answer").expect("it is Ethereum's");

    let lie = ask(H256::repeat_byte(1));
    let answer = inherent.try_handle_error(&INHERENT_IDENTIFIER, &lie).await;
    let error = answer.expect("it is ours to answer").expect_err("it is a lie");
    assert!(error.to_string().contains("but it is"), "{error}");

    for bad in [InherentError::Malformed.encode(), vec![], vec![99, 1, 2]] {
        let answer = inherent.try_handle_error(&INHERENT_IDENTIFIER, &bad).await;
        answer.expect("it is ours to answer").expect_err("it cannot be right");
    }
    // Other inherents' errors are others' to answer.
    assert!(inherent.try_handle_error(b"timstap0", &truth).await.is_none());
}
