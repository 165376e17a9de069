//! The committed vectors: what other languages read to check that they agree with this crate.
//!
//! After a wanted change, write them anew with
//! `cargo test -p tributary-primitives --test suite -- --ignored write_the_vectors`.

use crate::{
    commitment::{commitment, of_the_base},
    leaves,
    signing::{offer, receipt, retirement, voucher, GENESIS},
};
use codec::{Decode, Encode};
use polkadot_sdk::sp_core::{ecdsa, ed25519, sr25519, Pair, H256};
use serde::Serialize;
use serde_json::{json, Value};
use std::{fs, path::PathBuf};
use tributary_primitives::{
    fees::split_fee,
    jobs::token_fee,
    log::LogEntry,
    money::{format_open, split},
    payouts::{self, Payout},
    records,
    signing::Signable,
    tree::{self, Frontier},
    views::SharesView,
    AccountId, ContributionId, MultiSignature, CAP, OPEN,
};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"))
}

/// Every file by its name.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("commitment", commitments()),
        ("fees", fees()),
        ("frontier", frontier()),
        ("log", log()),
        ("money", money()),
        ("payouts", payouts_of_a_batch()),
        ("records", records_of_a_shard()),
        ("signing", signing()),
        ("tree", trees()),
    ]
}

fn money() -> Value {
    let splits: Vec<_> = [
        (10u128, vec![1u64, 1, 1]),
        (11, vec![1, 1, 1]),
        (10, vec![1, 2, 1]),
        (1, vec![999_999, 1]),
        (7, vec![0, 3, 0]),
        (0, vec![3, 4]),
        (1_000_000_007, vec![400_000, 150_000, 50_000, 50_000, 350_000]),
        (CAP, vec![1, 1, 1, 1, 1, 1, 1]),
        (CAP, vec![1_000_000, 999_999, 1]),
        (u128::MAX, vec![u64::MAX / 3; 3]),
    ]
    .into_iter()
    .map(|(total, weights)| {
        let parts = split(total, &weights).expect("some weight is not zero");
        let weights: Vec<_> = weights.iter().map(u64::to_string).collect();
        let parts: Vec<_> = parts.iter().map(u128::to_string).collect();
        json!({ "total": total.to_string(), "weights": weights, "parts": parts })
    })
    .collect();
    let formats: Vec<_> = [0, 1, OPEN, 3 * OPEN / 2, 10 * OPEN + 100, CAP]
        .into_iter()
        .map(|units| json!({ "units": units.to_string(), "open": format_open(units) }))
        .collect();
    let token_fees: Vec<_> = [(0, OPEN), (1, 1), (1_001, 1), (1_500, 3), (123_456, OPEN / 1_000)]
        .into_iter()
        .map(|(tokens, price)| {
            json!({
                "tokens": tokens,
                "price_per_1k": price.to_string(),
                "fee": token_fee(tokens, price).to_string(),
            })
        })
        .collect();
    json!({ "split": splits, "format": formats, "token_fee": token_fees })
}

fn fees() -> Value {
    let shares = SharesView {
        platform: 50_000,
        worker: 400_000,
        owner: 150_000,
        ancestors: 50_000,
        stakers: 50_000,
        contributors: 350_000,
    };
    let cases: Vec<_> = [0, 1, 2, 3, 19, 1_000_003, OPEN + 1, CAP]
        .into_iter()
        .map(|fees: u128| json!({ "fees": fees.to_string(), "parts": split_fee(fees, &shares) }))
        .collect();
    json!({ "shares": shares, "cases": cases })
}

fn trees() -> Value {
    let cases: Vec<_> = [0usize, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 513]
        .into_iter()
        .map(|count| {
            let leaves = leaves(count);
            let chosen: Vec<usize> =
                if count < 10 { (0..count).collect() } else { vec![0, count / 2, count - 1] };
            let proofs: Vec<_> = chosen
                .into_iter()
                .map(|index| {
                    let proof = tree::prove(&leaves, index as u64).expect("there is such a leaf");
                    json!({ "leaf": leaves[index], "proof": proof })
                })
                .collect();
            json!({ "count": count, "root": tree::root(&leaves), "proofs": proofs })
        })
        .collect();
    json!({ "leaf": "leaf_hash(\"leaf <index>\")", "cases": cases })
}

fn frontier() -> Value {
    let mut frontier = Frontier::default();
    let mut roots = vec![json!({ "length": 0, "root": frontier.root() })];
    for leaf in leaves(130) {
        frontier.append(leaf).expect("the tree has room");
        if frontier.length <= 9 || [31, 32, 33, 127, 128, 129, 130].contains(&frontier.length) {
            roots.push(json!({ "length": frontier.length, "root": frontier.root() }));
        }
    }
    json!({ "leaf": "leaf_hash(\"leaf <index>\")", "roots": roots })
}

fn records_of_a_shard() -> Value {
    let seed = [7; 32];
    let lines = [
        r#"{"prompt":"How much was lost?","completion":"190 million dollars."}"#,
        r#"{"text":"A record."}"#,
        r#"{"text":"Überweisung 💸"}"#,
        r#"{"text":"A record."}"#,
    ];
    let leaves = records::leaves(&seed, lines.iter().map(|line| line.as_bytes()));
    let records: Vec<_> = (0u64..)
        .zip(lines)
        .map(|(i, line)| {
            json!({
                "record": line,
                "salt": hex(records::salt(&seed, i)),
                "leaf": leaves[i as usize],
                "proof": tree::prove(&leaves, i),
            })
        })
        .collect();
    json!({ "seed": hex(seed), "root": tree::root(&leaves), "records": records })
}

fn payouts_of_a_batch() -> Value {
    let list: Vec<_> = [(1, OPEN), (4, 1), (9, 123_456_789_012_345_678_901), (1 << 40, CAP)]
        .into_iter()
        .map(|(id, amount)| Payout { contribution: ContributionId(id), amount })
        .collect();
    let rows: Vec<_> = (0u64..)
        .zip(&list)
        .map(|(i, payout)| {
            json!({
                "payout": payout,
                "leaf": payout.leaf(),
                "proof": payouts::prove(&list, i),
            })
        })
        .collect();
    json!({ "root": payouts::root(&list), "payouts": rows })
}

fn log() -> Value {
    let accepted = |id: u64| LogEntry::Accepted {
        contribution: ContributionId(id),
        content: H256::repeat_byte(id as u8),
        records_root: H256::repeat_byte(0xf0 | id as u8),
    };
    let entries = [
        accepted(1),
        accepted(2),
        LogEntry::Retired { contribution: ContributionId(1) },
        accepted(3),
    ];
    let mut frontier = Frontier::default();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            frontier.append(entry.leaf()).expect("the tree has room");
            json!({
                "entry": entry,
                "encoded": hex(entry.encode()),
                "leaf": entry.leaf(),
                "root_after": frontier.root(),
            })
        })
        .collect();
    let members: Vec<_> = tributary_primitives::log::members(&entries)
        .into_iter()
        .map(|(id, content)| json!({ "contribution": id, "content": content }))
        .collect();
    json!({ "entries": rows, "members": members })
}

/// The signature under this name in the committed file, if there is one that is still good.
///
/// sr25519 signatures are random: a good one is kept, so that the file does not change for nothing.
fn committed<M: Signable>(name: &str, message: &M, signer: &AccountId) -> Option<MultiSignature> {
    let text = fs::read_to_string(file("signing")).ok()?;
    let read: Value = serde_json::from_str(&text).ok()?;
    let row = read.get("messages")?.as_array()?.iter().find(|row| row["name"] == name)?;
    let bytes = hex::decode(row["signatures"]["sr25519"]["signature"].as_str()?.get(2..)?).ok()?;
    let signature = MultiSignature::decode(&mut bytes.as_slice()).ok()?;
    message.verify(&GENESIS, &signature, signer).then_some(signature)
}

fn signed<M: Signable + Serialize>(name: &str, message: M) -> Value {
    let payload = message.signing_payload(&GENESIS);
    let sr = sr25519::Pair::from_seed(&[11; 32]);
    let ed = ed25519::Pair::from_seed(&[12; 32]);
    let ec = ecdsa::Pair::from_seed(&[13; 32]);
    let sr_account = AccountId::from(sr.public());
    let ec_account = AccountId::new(crate::hash(&[ec.public().as_ref()]).0);
    let by_sr = committed(name, &message, &sr_account).unwrap_or_else(|| sr.sign(&payload).into());
    let row = |signature: MultiSignature, account: AccountId| {
        assert!(message.verify(&GENESIS, &signature, &account));
        json!({
            "account": hex(&account),
            "ss58": account,
            "signature": hex(signature.encode()),
            "with_message": hex((&message, &signature).encode()),
        })
    };
    json!({
        "name": name,
        "tag": String::from_utf8_lossy(M::TAG),
        "message": message,
        "encoded": hex(message.encode()),
        "payload": hex(&payload),
        "signatures": {
            "sr25519": row(by_sr, sr_account),
            "ed25519": row(ed.sign(&payload).into(), ed.public().into()),
            "ecdsa": row(ec.sign(&payload).into(), ec_account),
        },
    })
}

fn signing() -> Value {
    json!({
        "genesis": GENESIS,
        "seeds": {
            "sr25519": hex([11; 32]),
            "ed25519": hex([12; 32]),
            "ecdsa": hex([13; 32]),
        },
        "messages": [
            signed("contribution", offer()),
            signed("retirement", retirement()),
            signed("voucher", voucher()),
            signed("receipt", receipt(1)),
            signed("receipt without shares", receipt(0)),
        ],
    })
}

fn commitments() -> Value {
    let cases: Vec<_> = [commitment(), of_the_base()]
        .into_iter()
        .map(|commitment| {
            json!({
                "commitment": commitment,
                "encoded": hex(commitment.encode()),
                "digest": commitment.digest(),
            })
        })
        .collect();
    json!({ "tag": String::from_utf8_lossy(tributary_primitives::commitment::TAG), "cases": cases })
}

/// With sorted keys: whether serde_json keeps their order depends on what else is built with it.
fn text(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&sorted).expect("it can be written");
    text.push('\n');
    text
}

#[test]
fn the_committed_vectors_are_what_the_code_gives() {
    for (name, value) in all() {
        let committed = fs::read_to_string(file(name))
            .unwrap_or_else(|error| panic!("vectors/{name}.json: {error}"));
        assert_eq!(
            committed,
            text(&value),
            "vectors/{name}.json differs; see the head of this file for how to write it anew"
        );
    }
}

#[test]
fn the_committed_signatures_are_good() {
    // Read from the file alone, as another program would.
    let read = fs::read_to_string(file("signing")).expect("the file is committed");
    let read: Value = serde_json::from_str(&read).expect("the file is JSON");
    let bytes = |value: &Value| -> Vec<u8> {
        let text = value.as_str().expect("it is a string");
        hex::decode(&text[2..]).expect("it is hexadecimal")
    };
    let messages = read["messages"].as_array().expect("it is a list");
    assert_eq!(messages.len(), 5);
    for row in messages {
        let payload = bytes(&row["payload"]);
        for scheme in ["sr25519", "ed25519", "ecdsa"] {
            use polkadot_sdk::sp_runtime::traits::Verify;
            let row = &row["signatures"][scheme];
            let account: [u8; 32] = bytes(&row["account"]).try_into().expect("it has 32 bytes");
            let signature = MultiSignature::decode(&mut bytes(&row["signature"]).as_slice())
                .expect("it is a signature");
            assert!(signature.verify(payload.as_slice(), &AccountId::new(account)), "{row}");
        }
    }
}

#[test]
#[ignore = "writes the committed vectors anew"]
fn write_the_vectors() {
    for (name, value) in all() {
        fs::write(file(name), text(&value)).expect("the folder can be written");
    }
}
