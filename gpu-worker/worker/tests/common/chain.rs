//! A chain in one file: it applies the rules that the pallets apply, and breaks off on demand.

use super::{consumer, fees, worker, GENESIS};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use tributary_client::{calls::attribution::NewBatch, store::digest_of};
use tributary_primitives::{
    fees::split_fee,
    signing::{Signable, Voucher},
    views::{
        BatchState, BatchView, ChannelView, ListingView, ModelKind, ModelView, SharesView, Text,
    },
    AccountId, Balance, BatchId, BlockNumber, ChannelId, Digest, ModelId, MultiSignature, H256,
};
use tributary_worker::{
    catalog::MarketChain,
    settle::{PutBlob, SettleChain},
    Result, WorkerError,
};

pub const WINDOW: BlockNumber = 4;
pub const SHARES: SharesView = SharesView {
    platform: 50_000,
    worker: 400_000,
    owner: 150_000,
    ancestors: 50_000,
    stakers: 50_000,
    contributors: 350_000,
};

/// When a call breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before it has any effect.
    Before,
    /// After it had its effect, before the caller hears of it.
    After,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub height: BlockNumber,
    pub channels: BTreeMap<u64, ChannelView>,
    /// What channels that are settled had been redeemed for.
    pub settled: BTreeMap<u64, String>,
    pub batches: Vec<BatchView>,
    pub revenue: String,
    pub blobs: Vec<Digest>,
    pub refusals: Vec<String>,
}

pub struct FakeChain {
    path: Option<PathBuf>,
    state: Mutex<State>,
    pub shares: Mutex<SharesView>,
    pub models: Mutex<Vec<(ModelView, Option<ListingView>)>>,
    /// Which of the following calls breaks off, counted down.
    fault: Mutex<Option<(usize, Fault)>>,
    pub calls: Mutex<usize>,
    pub delay: Duration,
}

impl FakeChain {
    pub fn new() -> Self {
        Self {
            path: None,
            state: Mutex::new(State { revenue: "0".into(), ..State::default() }),
            shares: Mutex::new(SHARES),
            models: Mutex::default(),
            fault: Mutex::default(),
            calls: Mutex::default(),
            delay: Duration::ZERO,
        }
    }

    /// A chain that lives in a file, so that several processes one after the other see it.
    pub fn in_file(path: &Path, delay: Duration) -> Self {
        let mut chain = Self::new();
        if let Ok(bytes) = std::fs::read(path) {
            chain.state = Mutex::new(serde_json::from_slice(&bytes).unwrap());
        }
        chain.path = Some(path.to_owned());
        chain.delay = delay;
        chain
    }

    pub fn break_off(&self, call: usize, fault: Fault) {
        *self.fault.lock().unwrap() = Some((call, fault));
    }

    pub fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    pub fn revenue_now(&self) -> Balance {
        self.state().revenue.parse().unwrap()
    }

    pub fn change(&self, apply: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        apply(&mut state);
        self.save(&state);
    }

    fn save(&self, state: &State) {
        if let Some(path) = &self.path {
            let next = path.with_extension("next");
            let mut file = std::fs::File::create(&next).unwrap();
            file.write_all(&serde_json::to_vec(state).unwrap()).unwrap();
            file.sync_all().unwrap();
            std::fs::rename(next, path).unwrap();
        }
    }

    pub fn open_channel(&self, id: u64, deposit: Balance) {
        self.change(|state| {
            state.channels.insert(
                id,
                ChannelView {
                    id: ChannelId(id),
                    consumer: consumer().account(),
                    worker: worker().account(),
                    deposit,
                    redeemed: 0,
                    closes_at: None,
                },
            );
        });
    }

    /// Takes a channel off the chain, as `settle_channel` does.
    pub fn settle_channel(&self, id: u64) {
        self.change(|state| {
            let channel = state.channels.remove(&id).unwrap();
            state.settled.insert(id, channel.redeemed.to_string());
        });
    }

    pub fn add_model(&self, id: u64, name: &str, parent: Option<u64>, price: Option<Balance>) {
        let view = ModelView {
            id: ModelId(id),
            name: Text::from(name),
            owner: AccountId::new([5; 32]),
            kind: if parent.is_some() { ModelKind::Adapter } else { ModelKind::Base },
            parent: parent.map(ModelId),
            content: H256::repeat_byte(1),
            versions: vec![],
            index: H256::repeat_byte(2),
            index_root: H256::repeat_byte(3),
            royalty: 0,
            job: None,
            registered: 1,
        };
        let listing = price.map(|price| ListingView {
            model: ModelId(id),
            price_in: price,
            price_out: price * 2,
        });
        self.models.lock().unwrap().push((view, listing));
    }

    /// Runs one call: counted, delayed, and broken off where asked.
    async fn call<T>(
        &self,
        changes: bool,
        apply: impl FnOnce(&mut State) -> std::result::Result<T, &'static str>,
    ) -> Result<T> {
        tokio::time::sleep(self.delay).await;
        *self.calls.lock().unwrap() += 1;
        let fault = {
            let mut fault = self.fault.lock().unwrap();
            match fault.as_mut() {
                Some((0, when)) => {
                    let when = *when;
                    *fault = None;
                    Some(when)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        let broken = || WorkerError::NodeUnreachable("the connection broke".into());
        if fault == Some(Fault::Before) {
            return Err(broken());
        }
        let outcome = {
            let mut state = self.state.lock().unwrap();
            let mut next = state.clone();
            match apply(&mut next) {
                Ok(value) => {
                    if changes {
                        next.height += 1;
                        *state = next;
                        self.save(&state);
                    }
                    Ok(value)
                }
                Err(reason) => {
                    state.refusals.push(reason.to_owned());
                    self.save(&state);
                    Err(WorkerError::Refused { call: "fake", reason: reason.into() })
                }
            }
        };
        if fault == Some(Fault::After) {
            return Err(broken());
        }
        tokio::time::sleep(self.delay).await;
        outcome
    }
}

#[async_trait]
impl SettleChain for FakeChain {
    async fn height(&self) -> Result<BlockNumber> {
        self.call(false, |state| Ok(state.height)).await
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>> {
        self.call(false, |state| Ok(state.channels.get(&id.0).cloned())).await
    }

    async fn shares(&self) -> Result<SharesView> {
        let shares = self.shares.lock().unwrap().clone();
        self.call(false, |_| Ok(shares)).await
    }

    async fn next_sequence(&self, _: &AccountId) -> Result<u32> {
        self.call(false, |state| Ok(state.batches.len() as u32)).await
    }

    async fn revenue(&self, _: &AccountId) -> Result<Balance> {
        self.call(false, |state| Ok(state.revenue.parse().unwrap())).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchView>> {
        self.call(false, |state| Ok(state.batches.iter().find(|b| b.id == id).cloned())).await
    }

    async fn batches(&self, from: BatchId) -> Result<Vec<BatchView>> {
        // Pages of two, so that paging is used.
        self.call(false, |state| {
            Ok(state.batches.iter().filter(|b| b.id >= from).take(2).cloned().collect())
        })
        .await
    }

    async fn redeem(
        &self,
        voucher: &Voucher,
        signature: &MultiSignature,
        total: Balance,
    ) -> Result<()> {
        self.call(true, |state| {
            let channel = state.channels.get_mut(&voucher.channel.0).ok_or("NoSuchChannel")?;
            if !voucher.verify(&GENESIS, signature, &channel.consumer) {
                return Err("BadSignature");
            }
            if voucher.cumulative > channel.deposit {
                return Err("VoucherAboveDeposit");
            }
            if total <= channel.redeemed {
                return Err("StaleVoucher");
            }
            if total > voucher.cumulative {
                return Err("TotalAboveVoucher");
            }
            let revenue: Balance = state.revenue.parse().unwrap();
            state.revenue = (revenue + total - channel.redeemed).to_string();
            channel.redeemed = total;
            Ok(())
        })
        .await
    }

    async fn submit_batch(&self, batch: &NewBatch) -> Result<()> {
        let shares = self.shares.lock().unwrap().clone();
        self.call(true, |state| {
            if batch.sequence as usize != state.batches.len() {
                return Err("WrongSequence");
            }
            let revenue: Balance = state.revenue.parse().unwrap();
            let left = revenue.checked_sub(fees(batch)).ok_or("RevenueTooLow")?;
            let part = |fees| split_fee(fees, &shares).contributors;
            if batch.models.iter().any(|model| model.attributed > part(model.fees)) {
                return Err("AttributedAboveShare");
            }
            let attributed: Balance = batch.models.iter().map(|model| model.attributed).sum();
            let parts: Balance = batch.models.iter().map(|model| part(model.fees)).sum();
            if batch.payouts_total != attributed {
                return Err("PayoutsTotal");
            }
            if batch.unattributed_total != parts - attributed {
                return Err("UnattributedTotal");
            }
            if !state.blobs.contains(&batch.payouts_blob) {
                return Err("PayoutsNotStored");
            }
            state.revenue = left.to_string();
            state.batches.push(BatchView {
                id: BatchId(100 + state.batches.len() as u64),
                worker: worker().account(),
                sequence: batch.sequence,
                fees: fees(batch),
                payouts_root: batch.payouts_root,
                payouts_count: batch.payouts_count,
                payouts_total: batch.payouts_total,
                unclaimed: batch.payouts_total,
                unattributed_total: batch.unattributed_total,
                payouts_blob: batch.payouts_blob,
                receipts_root: batch.receipts_root,
                receipts_count: batch.receipts_count,
                state: BatchState::Pending { final_at: state.height + WINDOW },
            });
            Ok(())
        })
        .await
    }

    async fn finalize_batch(&self, id: BatchId) -> Result<()> {
        self.call(true, |state| {
            let height = state.height;
            let batch = state.batches.iter_mut().find(|b| b.id == id).ok_or("NoSuchBatch")?;
            match batch.state {
                BatchState::Pending { final_at } if height >= final_at => {
                    batch.state = BatchState::Final;
                    Ok(())
                }
                BatchState::Pending { .. } => Err("StillPending"),
                BatchState::Final => Err("AlreadyFinal"),
            }
        })
        .await
    }
}

#[async_trait]
impl PutBlob for FakeChain {
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest> {
        let digest = digest_of(&bytes);
        self.call(true, |state| {
            if !state.blobs.contains(&digest) {
                state.blobs.push(digest);
            }
            Ok(digest)
        })
        .await
    }
}

#[async_trait]
impl MarketChain for FakeChain {
    async fn model_by_name(&self, name: &str) -> Result<Option<ModelView>> {
        let models = self.models.lock().unwrap();
        Ok(models.iter().map(|(m, _)| m).find(|m| m.name == Text::from(name)).cloned())
    }

    async fn model(&self, id: ModelId) -> Result<Option<ModelView>> {
        let models = self.models.lock().unwrap();
        Ok(models.iter().map(|(m, _)| m).find(|m| m.id == id).cloned())
    }

    async fn models(&self, from: ModelId) -> Result<Vec<ModelView>> {
        let models = self.models.lock().unwrap();
        Ok(models.iter().map(|(m, _)| m.clone()).filter(|m| m.id >= from).collect())
    }

    async fn listing(&self, id: ModelId) -> Result<Option<ListingView>> {
        let models = self.models.lock().unwrap();
        Ok(models.iter().find(|(m, _)| m.id == id).and_then(|(_, listing)| listing.clone()))
    }

    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>> {
        Ok(self.state().channels.get(&id.0).cloned())
    }
}
