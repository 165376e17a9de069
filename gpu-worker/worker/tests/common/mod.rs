//! A chain and an engine small enough to know exactly what they do.
#![allow(dead_code)] // Each test program uses its own part.

pub mod backend;
pub mod chain;
pub mod real;
pub mod server;

use std::sync::Arc;
use tributary_client::{calls::attribution::NewBatch, keys::Key};
use tributary_primitives::{
    signing::{Receipt, Share, Voucher},
    Balance, ChannelId, ContributionId, ModelId, MultiSignature, H256,
};
use tributary_worker::journal::{Answer, Journal};

pub const GENESIS: H256 = H256::repeat_byte(0x9e);

pub fn worker() -> Key {
    Key::from_uri("//Worker").unwrap()
}

pub fn consumer() -> Key {
    Key::from_uri("//Consumer").unwrap()
}

pub fn voucher(channel: u64, cumulative: Balance) -> (Voucher, MultiSignature) {
    let voucher = Voucher { channel: ChannelId(channel), cumulative };
    let signature = consumer().sign(&voucher, &GENESIS);
    (voucher, signature)
}

pub fn open_journal(folder: &std::path::Path) -> Journal {
    Journal::open(&folder.join("journal.db"), &GENESIS, &worker().account()).unwrap()
}

/// Gives an answer as the API does: the voucher first, then the answer.
pub fn give_answer(
    journal: &Journal,
    channel: u64,
    model: u64,
    fee: Balance,
    shares: &[(u64, u32)],
    now_ms: u64,
) -> Answer {
    let spent = journal.channel(ChannelId(channel)).unwrap().map_or(0, |row| row.spent);
    let (voucher, signature) = voucher(channel, spent + fee);
    journal.accept_voucher(&consumer().account(), &voucher, &signature, 0).unwrap();
    let given: u32 = shares.iter().map(|(_, ppm)| ppm).sum();
    journal
        .record_answer(ChannelId(channel), now_ms, |sequence| {
            let receipt = Receipt {
                worker: worker().account(),
                channel: ChannelId(channel),
                sequence,
                model: ModelId(model),
                request: H256::zero(),
                response: H256::zero(),
                tokens_in: 10,
                tokens_out: 20,
                fee,
                shares: shares
                    .iter()
                    .map(|(id, ppm)| Share { contribution: ContributionId(*id), ppm: *ppm })
                    .collect(),
                unattributed: 1_000_000 - given,
                index_root: H256::zero(),
                commitment: H256::zero(),
            };
            let signature = worker().sign(&receipt, &GENESIS);
            (receipt, signature)
        })
        .unwrap()
}

pub fn key() -> Arc<Key> {
    Arc::new(worker())
}

/// Sum of a batch's fees.
pub fn fees(batch: &NewBatch) -> Balance {
    batch.models.iter().map(|model| model.fees).sum()
}
