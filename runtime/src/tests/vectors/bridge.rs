//! Withdrawals, deposits and output roots.

use codec::Encode;
use polkadot_sdk::*;
use serde_json::{json, Value};
use sp_core::{H160, H256, U256};
use tributary_primitives::{
    bridge::{
        calls::{FinalizeBridge, RelayMessage},
        deposit::{count_slot, hash_slot, roll},
        l1_account, l1_alias, leaf, sender_address,
        tree::{self, Frontier},
        withdrawal::nonce,
        Deposit, DepositData, Withdrawal, L2_BRIDGE, L2_MESSENGER, L2_NOTES, L2_OPEN,
        OPEN_WITHDRAWAL_GAS,
    },
    AccountId, OPEN,
};

use super::{
    hex,
    mountain::{leaf_hash, sample_leaf},
    packed, seed,
};

/// `L1StandardBridge` in these vectors.
const BRIDGE: H160 = H160([0xb1; 20]);
/// `L1CrossDomainMessenger` in these vectors.
const MESSENGER: H160 = H160([0x3e; 20]);
/// `OpenToken` in these vectors.
const TOKEN: H160 = H160([0x0b; 20]);

fn address(text: &str) -> H160 {
    H160::from(seed(text))
}

/// Withdrawals of all lengths of data.
pub fn sample_withdrawals(count: u32) -> Vec<Withdrawal> {
    (0..count)
        .map(|index| Withdrawal {
            nonce: nonce(index),
            sender: if index == 0 { L2_BRIDGE } else { address(&format!("sender {index}")) },
            target: address(&format!("target {index}")),
            value: U256::zero(),
            gas_limit: U256::from(OPEN_WITHDRAWAL_GAS + u64::from(index)),
            data: (0..index * 13).map(|byte| (byte * 7 + index) as u8).collect(),
        })
        .collect()
}

pub fn withdrawal_json(withdrawal: &Withdrawal) -> Value {
    json!({
        "nonce": withdrawal.nonce.to_string(),
        "sender": hex(withdrawal.sender),
        "target": hex(withdrawal.target),
        "value": withdrawal.value.to_string(),
        "gasLimit": withdrawal.gas_limit.to_string(),
        "data": hex(&withdrawal.data),
        "hash": hex(withdrawal.hash()),
    })
}

/// The whole tree level by level, as far as it is not empty: slow, and another way than the
/// frontier's.
fn levels(hashes: &[H256]) -> Vec<Vec<H256>> {
    let mut levels = vec![hashes.to_vec()];
    for empty in &tree::zeros()[..tree::DEPTH] {
        let below = levels.last().expect("it has one");
        let above = below.chunks(2).map(|p| tree::node(&p[0], p.get(1).unwrap_or(empty))).collect();
        levels.push(above);
    }
    levels
}

/// The 1,024 bytes of a proof for the tree of the first `count` withdrawals.
pub fn proof_bytes(hashes: &[H256], index: u32, count: u32) -> String {
    let levels = levels(&hashes[..count as usize]);
    let zeros = tree::zeros();
    let siblings: Vec<H256> = (0..tree::DEPTH)
        .map(|level| {
            let at = (index >> level) as usize ^ 1;
            levels[level].get(at).copied().unwrap_or(zeros[level])
        })
        .collect();
    let proof: tree::Proof = siblings.clone().try_into().expect("it has 32");
    assert!(tree::verify(&levels[tree::DEPTH][0], &hashes[index as usize], index, &proof));
    packed(&siblings)
}

pub fn withdrawals() -> Value {
    let withdrawals = sample_withdrawals(20);
    let hashes: Vec<_> = withdrawals.iter().map(Withdrawal::hash).collect();
    let mut frontier = Frontier::default();
    let mut roots = Vec::new();
    let rows: Vec<_> = withdrawals
        .iter()
        .zip(&hashes)
        .map(|(withdrawal, hash)| {
            frontier.append(*hash, |_, _, _| {});
            roots.push(frontier.root());
            assert_eq!(levels(&hashes[..roots.len()])[tree::DEPTH], [frontier.root()]);
            let mut row = withdrawal_json(withdrawal);
            row["encoded"] = hex(withdrawal.abi_encode()).into();
            row["rootAfter"] = hex(frontier.root()).into();
            row
        })
        .collect();
    let mut proofs = Vec::new();
    for count in [1u32, 2, 3, 4, 7, 8, 9, 16, 20] {
        for index in 0..count {
            proofs.push(json!({
                "index": index,
                "leafCount": count,
                "root": hex(roots[count as usize - 1]),
                "proof": proof_bytes(&hashes, index, count),
            }));
        }
    }

    let account = AccountId::from([0xa1; 32]);
    let (from, to, amount) = (sender_address(&account), address("recipient"), 1_234 * OPEN + 5);
    let call = FinalizeBridge {
        local_token: TOKEN,
        remote_token: L2_OPEN,
        from,
        to,
        amount: amount.into(),
        extra_data: account.encode(),
    };
    let open = Withdrawal {
        nonce: nonce(20),
        sender: L2_BRIDGE,
        target: BRIDGE,
        value: U256::zero(),
        gas_limit: OPEN_WITHDRAWAL_GAS.into(),
        data: call.encode(),
    };
    let mut row = withdrawal_json(&open);
    let more = json!({
        "account": hex(account.encode()),
        "from": hex(from),
        "to": hex(to),
        "amount": amount.to_string(),
        "localToken": hex(TOKEN),
        "remoteToken": hex(L2_OPEN),
        "bridge": hex(BRIDGE),
        "extraData": hex(&call.extra_data),
        "index": 20,
    });
    for (key, value) in more.as_object().expect("it is one") {
        row[key] = value.clone();
    }
    let zeros: Vec<_> = tree::zeros().iter().map(hex).collect();
    json!({ "zeros": zeros, "withdrawals": rows, "proofs": proofs, "open": row })
}

/// A deposit of version 0 that calls `to` with `data`.
fn deposit(from: H160, to: H160, gas_limit: u64, data: Vec<u8>) -> (Deposit, DepositData) {
    let data = DepositData {
        mint: U256::zero(),
        value: U256::zero(),
        gas_limit,
        is_creation: false,
        data,
    };
    (Deposit { from, to, version: U256::zero(), opaque_data: data.encode() }, data)
}

fn deposit_json(deposit: &Deposit, data: &DepositData) -> Value {
    json!({
        "from": hex(deposit.from),
        "to": hex(deposit.to),
        "version": 0,
        "mint": "0",
        "value": "0",
        "gasLimit": data.gas_limit,
        "isCreation": data.is_creation,
        "data": hex(&data.data),
        "opaqueData": hex(&deposit.opaque_data),
        "hash": hex(deposit.hash()),
    })
}

fn open_deposit(extra_data: Vec<u8>) -> Value {
    let (from, to, amount) = (address("depositor"), address("receiver"), 77 * OPEN);
    let call = FinalizeBridge {
        local_token: L2_OPEN,
        remote_token: TOKEN,
        from,
        to,
        amount: amount.into(),
        extra_data,
    };
    let (deposit, data) = deposit(l1_alias(BRIDGE), L2_BRIDGE, 300_000, call.encode());
    json!({
        "bridge": hex(BRIDGE),
        "aliasedBridge": hex(l1_alias(BRIDGE)),
        "localToken": hex(L2_OPEN),
        "remoteToken": hex(TOKEN),
        "from": hex(from),
        "to": hex(to),
        "amount": amount.to_string(),
        "extraData": hex(&call.extra_data),
        "gasLimit": data.gas_limit,
        "data": hex(&data.data),
        "opaqueData": hex(&deposit.opaque_data),
        "hash": hex(deposit.hash()),
    })
}

pub fn deposits() -> Value {
    let mut rolling = H256::zero();
    let rows: Vec<_> = (0..12u32)
        .map(|index| {
            let bytes = (0..index * index * 3).map(|byte| (byte ^ index) as u8).collect();
            let (deposit, data) = deposit(
                address(&format!("from {index}")),
                if index % 3 == 0 { L2_NOTES } else { address(&format!("to {index}")) },
                21_000 + u64::from(index),
                bytes,
            );
            rolling = roll(&rolling, &deposit.hash());
            let mut row = deposit_json(&deposit, &data);
            row["rollingAfter"] = hex(rolling).into();
            row
        })
        .collect();

    let message = RelayMessage {
        nonce: nonce(4),
        sender: address("speaker"),
        target: L2_NOTES,
        value: U256::zero(),
        min_gas_limit: 50_000.into(),
        message: b"the river remembers".to_vec(),
    };
    let (relayed, relayed_data) =
        deposit(l1_alias(MESSENGER), L2_MESSENGER, 120_000, message.encode());
    let carried = [H160::zero(), H160([0xff; 20]), BRIDGE, MESSENGER, address("contract")];
    let aliases: Vec<_> =
        carried.iter().map(|l1| json!({ "l1": hex(l1), "l2": hex(l1_alias(*l1)) })).collect();
    let accounts: Vec<_> = carried
        .iter()
        .map(|l1| json!({ "l1": hex(l1), "account": hex(l1_account(*l1).encode()) }))
        .collect();
    json!({
        "deposits": rows,
        "slots": { "count": hex(count_slot()), "hash": hex(hash_slot()) },
        "aliases": aliases,
        "accounts": accounts,
        "openDeposit": open_deposit(vec![]),
        "openDepositTo": open_deposit(vec![0xd0; 32]),
        "message": {
            "messenger": hex(MESSENGER),
            "aliasedMessenger": hex(l1_alias(MESSENGER)),
            "nonce": message.nonce.to_string(),
            "sender": hex(message.sender),
            "target": hex(message.target),
            "value": "0",
            "minGas": 50_000,
            "message": hex(&message.message),
            "gasLimit": relayed_data.gas_limit,
            "data": hex(&relayed_data.data),
            "opaqueData": hex(&relayed.opaque_data),
            "hash": hex(relayed.hash()),
        },
    })
}

pub fn outputs() -> Value {
    let outputs: Vec<_> = (0..20u32)
        .map(|number| {
            let sample = sample_leaf(number);
            let (hash, block) = (leaf_hash(&sample), sample.parent_number_and_hash.1);
            let root = sample.leaf_extra.withdrawal_root;
            let output = leaf::output_root(hash, root, block);
            let read = leaf::Leaf::read(&sample.encode()).expect("it is one");
            assert_eq!(read.output_root(), output);
            json!({
                "l2BlockNumber": number,
                "leafHash": hex(hash),
                "withdrawalRoot": hex(root),
                "blockHash": hex(block),
                "outputRoot": hex(output),
                "leaf": hex(sample.encode()),
            })
        })
        .collect();
    json!({ "outputs": outputs })
}
