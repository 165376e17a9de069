//! What an author's block says of Ethereum: origin, proof, deposits.

use std::time::{Duration, Instant};

use alloy_consensus::Header;
use alloy_primitives::{Address, U256};
use alloy_rlp::Decodable;
use futures::stream;
use pallet_settlement::trie;
use polkadot_sdk::sp_inherents::InherentDataProvider;
use serde_json::json;
use tributary_node::l1::{
    advance::{Prepared, Preparer, Standing},
    quorum::Quorum,
    Bridge, Error, Inherent, Metrics,
};
use tributary_primitives::bridge::{
    deposit::{count_slot, hash_slot, roll},
    Advance, L1Ref, INHERENT_IDENTIFIER,
};
use tributary_runtime::Hash;

use super::fake::*;

/// An endpoint with three deposits, in blocks 4, 6 and 9, and block 10 finalised.
async fn with_three() -> (Fake, Made) {
    let fake = Fake::start(10).await;
    let made: Made = [4, 6, 9].into_iter().zip(0..).map(|(at, n)| (at, deposit(n))).collect();
    fake.state().deposits = made.clone();
    (fake, made)
}

fn quorum(fakes: &[&Fake]) -> Quorum {
    let urls: Vec<String> = fakes.iter().map(|fake| fake.url.clone()).collect();
    Quorum::new(&settings(&urls, Some(1), 100), Metrics::default())
}

fn target(fake: &Fake, number: u64) -> Option<L1Ref> {
    Some(L1Ref { number, hash: fake.state().hash(number).0.into() })
}

async fn prepare(
    preparer: &mut Preparer,
    quorum: &Quorum,
    bridge: Bridge,
    target: Option<L1Ref>,
) -> Result<Option<Prepared>, Error> {
    let standing = Standing::of(bridge).expect("the chain is joined to a portal");
    preparer.prepare(quorum, &standing, target).await
}

/// Checks an advance as the runtime does, and returns number and deposits of the new origin.
fn verify(before: &Bridge, advance: &Advance) -> (u64, u64) {
    let before = &before.view;
    advance.check_bounds().expect("it is within bounds");
    let origin = advance.origin.as_ref().expect("it brings an origin");
    let header = Header::decode(&mut &origin.header[..]).expect("it can be read");
    let portal = before.config.expect("there is a portal").portal;
    let storage = trie::storage_root(header.state_root.0.into(), portal, &origin.account_proof)
        .expect("the account is proven");
    let count = before.known + origin.deposit_hashes.len() as u64;
    let rolling = origin.deposit_hashes.iter().fold(before.deposits_hash, |a, b| roll(&a, b));
    let number = trie::slot_value(storage, count_slot(), &origin.count_proof);
    assert_eq!(number, Ok(U256::from(count)), "the number of deposits is proven");
    let hash = trie::slot_value(storage, hash_slot(), &origin.hash_proof);
    assert_eq!(hash, Ok(U256::from_be_bytes(rolling.0)), "the rolling hash is proven");
    (header.number, count)
}

#[tokio::test]
async fn origin_and_deposits_come_with_a_proof() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    let before = view(2, 2, &made, 0);
    let prepared = prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 10)).await;
    let prepared = prepared.expect("all is well").expect("there is something to say");
    assert_eq!(verify(&before, &prepared.advance), (10, 3));
    assert_eq!(prepared.origin, target(&fake, 10));
    // The bodies come at once, in order.
    let bodies: Vec<_> = made.into_iter().map(|(_, deposit)| deposit).collect();
    assert_eq!(prepared.advance.bodies, bodies);
}

#[tokio::test]
async fn before_the_first_deposit_absence_is_proven() {
    let fake = Fake::start(10).await;
    let quorum = quorum(&[&fake]);
    let before = view(2, 2, &Vec::new(), 0);
    let prepared = prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 10)).await;
    let prepared = prepared.expect("all is well").expect("the origin moves");
    assert_eq!(verify(&before, &prepared.advance), (10, 0));
    assert!(prepared.advance.bodies.is_empty());
}

#[tokio::test]
async fn nothing_new_is_nothing_to_say() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    for target in [None, target(&fake, 10), target(&fake, 8)] {
        let prepared = prepare(&mut Preparer::new(), &quorum, view(2, 10, &made, 3), target).await;
        assert_eq!(prepared.expect("all is well"), None);
    }
}

#[tokio::test]
async fn deposits_that_wait_are_found_again_after_a_restart() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    // The origin is at the finalised block, one of three deposits has been executed.
    let prepared = prepare(&mut Preparer::new(), &quorum, view(2, 10, &made, 1), None).await;
    let advance = prepared.expect("all is well").expect("two deposits wait").advance;
    assert!(advance.origin.is_none());
    assert_eq!(advance.bodies, [made[1].1.clone(), made[2].1.clone()]);
    advance.check_bounds().expect("it is within bounds");
}

#[tokio::test]
async fn a_pause_stops_bodies_and_not_the_origin() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    let mut before = view(2, 5, &made, 0);
    before.view.paused_until = Some(1_000);
    let prepared = prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 10)).await;
    let advance = prepared.expect("all is well").expect("the origin moves").advance;
    assert_eq!(verify(&before, &advance), (10, 3));
    assert!(advance.bodies.is_empty());
}

#[tokio::test]
async fn a_block_takes_no_more_than_its_bounds() {
    let fake = Fake::start(200).await;
    let mut made: Made = (0..150).map(|n| (10 + u64::from(n), deposit(n))).collect();
    // Large ones: sixteen of them fill a block.
    for (_, deposit) in &mut made[64..] {
        deposit.opaque_data.resize(4_096, 7);
    }
    fake.state().deposits = made.clone();
    let quorum = quorum(&[&fake]);
    let mut preparer = Preparer::new();

    let before = view(2, 2, &made, 0);
    let prepared = prepare(&mut preparer, &quorum, before.clone(), target(&fake, 200)).await;
    let advance = prepared.expect("all is well").expect("there is something to say").advance;
    assert_eq!(verify(&before, &advance), (200, 150));
    assert_eq!(advance.bodies.len(), 64);

    // The rest follows without an origin, from what was read already.
    let asked = fake.asked("eth_getLogs");
    let prepared = prepare(&mut preparer, &quorum, view(2, 200, &made, 64), None).await;
    let advance = prepared.expect("all is well").expect("86 deposits wait").advance;
    assert!(advance.origin.is_none());
    assert_eq!(advance.bodies.len(), 16);
    assert_eq!(advance.bodies[0], made[64].1);
    advance.check_bounds().expect("it is within bounds");
    assert_eq!(fake.asked("eth_getLogs"), asked, "nothing was asked again");
}

#[tokio::test]
async fn an_earlier_block_is_chosen_when_there_is_little_room() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    let mut before = view(2, 2, &made, 0);
    before.room = 2;
    let prepared = prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 10)).await;
    let prepared = prepared.expect("all is well").expect("two fit");
    // The third is in block 9.
    assert_eq!(verify(&before, &prepared.advance), (8, 2));
    assert_eq!(prepared.origin, target(&fake, 8));

    // All three in one block do not fit at all.
    fake.state().deposits = made.iter().map(|(_, deposit)| (4, deposit.clone())).collect();
    let blocked = prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 10)).await;
    // Up to the block before them the origin may move.
    let prepared = blocked.expect("all is well").expect("the origin moves to block 3");
    assert_eq!(verify(&before, &prepared.advance), (3, 0));
    before = view(2, 3, &made, 0);
    before.room = 2;
    let error = prepare(&mut Preparer::new(), &quorum, before, target(&fake, 10))
        .await
        .expect_err("there is no room");
    assert!(matches!(error, Error::NoRoom { number: 4, deposits: 3, room: 2 }), "{error}");
}

#[tokio::test]
async fn a_full_queue_is_emptied_before_the_origin_moves() {
    let (fake, made) = with_three().await;
    let quorum = quorum(&[&fake]);
    let mut before = view(2, 6, &made, 0);
    before.room = 0;
    let prepared = prepare(&mut Preparer::new(), &quorum, before, target(&fake, 10)).await;
    let advance = prepared.expect("all is well").expect("two wait").advance;
    assert!(advance.origin.is_none());
    assert_eq!(advance.bodies.len(), 2);
}

#[tokio::test]
async fn ranges_shrink_until_the_provider_takes_them() {
    let (fake, made) = with_three().await;
    fake.state().finalized = 3_000;
    fake.state().log_range = Some(7);
    let quorum = quorum(&[&fake]);
    let before = view(2, 2, &made, 0);
    let prepared =
        prepare(&mut Preparer::new(), &quorum, before.clone(), target(&fake, 3_000)).await;
    let advance = prepared.expect("all is well").expect("there is something to say").advance;
    assert_eq!(verify(&before, &advance), (3_000, 3));
}

#[tokio::test]
async fn false_events_are_found_out_and_the_next_endpoint_asked() {
    let tampers: [fn(&mut Vec<serde_json::Value>); 6] = [
        // Left out.
        |logs| drop(logs.pop()),
        // Twice.
        |logs| logs.extend(logs.last().cloned()),
        // In another order.
        |logs| {
            for (place, log) in logs.iter_mut().rev().enumerate() {
                log["logIndex"] = json!(format!("{place:#x}"));
                log["blockNumber"] = json!("0x4");
            }
        },
        // Somebody else's.
        |logs| logs[0]["topics"][1] = json!(alloy_primitives::B256::left_padding_from(&[5; 20])),
        // Of another contract.
        |logs| logs[0]["address"] = json!(Address::repeat_byte(5)),
        // Not readable.
        |logs| logs[0]["data"] = json!("0x20"),
    ];
    for (number, tamper) in tampers.into_iter().enumerate() {
        let ((liar, made), (honest, _)) = (with_three().await, with_three().await);
        liar.state().tamper_logs = tamper;
        let quorum = quorum(&[&liar, &honest]);
        let mut preparer = Preparer::new();
        let before = view(2, 2, &made, 0);
        let error = prepare(&mut preparer, &quorum, before.clone(), target(&honest, 10))
            .await
            .expect_err("the rolling hash does not fit");
        assert!(
            matches!(error, Error::BadDeposits { .. } | Error::BadEvent { .. }),
            "{number}: {error}"
        );
        assert!(error.to_string().contains("127.0.0.1"), "{number}: {error}");
        let prepared = prepare(&mut preparer, &quorum, before.clone(), target(&honest, 10)).await;
        let advance = prepared.expect("the other is honest").expect("there is news").advance;
        assert_eq!(verify(&before, &advance), (10, 3), "{number}");
    }
}

#[tokio::test]
async fn false_events_of_deposits_that_wait_are_found_out_too() {
    let ((liar, made), (honest, _)) = (with_three().await, with_three().await);
    liar.state().tamper_logs = |logs| {
        logs[0]["topics"][2] = json!(alloy_primitives::B256::left_padding_from(&[5; 20]));
    };
    let quorum = quorum(&[&liar, &honest]);
    let mut preparer = Preparer::new();
    let error = prepare(&mut preparer, &quorum, view(2, 10, &made, 0), None)
        .await
        .expect_err("the chain knows another hash");
    assert!(matches!(error, Error::BadDeposits { .. }), "{error}");
    let prepared = prepare(&mut preparer, &quorum, view(2, 10, &made, 0), None).await;
    assert!(prepared.expect("the other is honest").is_some());
}

#[tokio::test]
async fn a_false_proof_is_not_offered() {
    let tampers: [fn(&mut serde_json::Value); 4] = [
        |proof| proof["accountProof"] = json!([]),
        |proof| proof["storageProof"][0]["value"] = json!("0x4"),
        |proof| proof["storageProof"][1]["proof"][0] = json!("0x80"),
        |proof| {
            let slots = proof["storageProof"].as_array_mut().expect("they are a list");
            slots.truncate(1);
        },
    ];
    for (number, tamper) in tampers.into_iter().enumerate() {
        let (fake, made) = with_three().await;
        fake.state().tamper_proof = tamper;
        let quorum = quorum(&[&fake]);
        let error = prepare(&mut Preparer::new(), &quorum, view(2, 2, &made, 0), target(&fake, 10))
            .await
            .expect_err("it does not hold");
        assert!(matches!(error, Error::BadProof { .. }), "{number}: {error}");
    }
}

#[tokio::test]
async fn what_waits_is_offered_even_if_the_origin_cannot_move() {
    let (fake, made) = with_three().await;
    fake.state().tamper_proof = |proof| proof["accountProof"] = json!([]);
    let quorum = quorum(&[&fake]);
    let prepared =
        prepare(&mut Preparer::new(), &quorum, view(2, 5, &made, 0), target(&fake, 10)).await;
    let advance = prepared.expect("one waits").expect("one waits").advance;
    assert!(advance.origin.is_none());
    assert_eq!(advance.bodies, [made[0].1.clone()]);
}

#[tokio::test]
async fn the_follower_prepares_and_the_author_takes() {
    let (fake, made) = with_three().await;
    let chain = FakeChain::default();
    let before = view(2, 2, &made, 0);
    chain.set(before.clone());
    let node = l1(&[&fake], None, &chain);
    let follower = tokio::spawn(node.clone().follow(true, stream::pending()));

    let parent = Hash::repeat_byte(3);
    let start = Instant::now();
    let advance = loop {
        if let Some(advance) = node.prepared_for(parent) {
            break advance;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing lies prepared");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(verify(&before, &advance), (10, 3));

    // The author's inherents hold it, the importer's do not.
    let data = Inherent::author(&node, parent).create_inherent_data().await.expect("it is put");
    assert_eq!(data.get_data(&INHERENT_IDENTIFIER).expect("it is one"), Some(advance));
    let data = Inherent::importer(&node, parent).create_inherent_data().await.expect("it is empty");
    assert_eq!(data.len(), 0);

    // On another state of the chain it is not offered.
    chain.set(view(2, 3, &made, 0));
    assert_eq!(node.prepared_for(parent), None);
    follower.abort();
}

#[tokio::test]
async fn an_outage_stops_nothing_and_ends() {
    let (fake, made) = with_three().await;
    fake.state().down = true;
    let chain = FakeChain::default();
    chain.set(view(2, 2, &made, 0));
    let node = l1(&[&fake], None, &chain);
    let follower = tokio::spawn(node.clone().follow(true, stream::pending()));
    let parent = Hash::repeat_byte(3);
    let start = Instant::now();
    while fake.asked("eth_chainId") < 3 {
        assert!(start.elapsed() < Duration::from_secs(20), "the follower gave up");
        assert_eq!(node.prepared_for(parent), None);
        let data = Inherent::author(&node, parent).create_inherent_data().await;
        assert_eq!(data.expect("an author never fails").len(), 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fake.state().down = false;
    let start = Instant::now();
    while node.prepared_for(parent).is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing lies prepared");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    follower.abort();
}
