//! The main job on the runtime itself: data in, adapter registered, answer paid, contributor paid,
//! through the same transactions that the tools send. Only the periods are those of a fast runtime.

use pallet_attribution::{ModelTotal, NewBatch, PayoutProof};
use pallet_compute::{NewJob, WorkerInfo};
use pallet_datanets::{Policy, Sponsorship};
use polkadot_sdk::*;
use sp_core::{sr25519, Pair, H256};
use sp_keyring::Sr25519Keyring::{self, Bob, Charlie, Dave, Eve, Ferdie};
use sp_runtime::MultiSignature;
use tributary_primitives::{
    fees::split_fee,
    jobs::{JobResult, Metrics, Targets, TrainSpec},
    payouts::{self, Payout},
    signing::{ContributionOffer, Signable, Voucher},
    views::{Consent, ContributionState, JobState, Text},
    BatchId, ChannelId, ContributionId, DatanetId, JobId, ModelId, VersionRef,
};

use super::chain::{general, Chain};
use crate::{
    configs::{
        attribution::BatchChallengeWindow, compute::JobChallengeWindow, datanets::ReviewWindow,
    },
    constants::money::{EXISTENTIAL_DEPOSIT, MILLI, OPEN},
    AccountId, Attribution, Balance, Balances, Compute, Datanets, Marketplace, Runtime, Stakes,
    System, Token,
};

/// What the consumer pays in all.
const PAID: Balance = 2 * OPEN;

fn bounded<const N: u32>(
    text: &str,
) -> frame_support::BoundedVec<u8, frame_support::traits::ConstU32<N>> {
    text.as_bytes().to_vec().try_into().expect("it is short")
}

fn sign(chain: &mut Chain, pair: &sr25519::Pair, message: &impl Signable) -> MultiSignature {
    let genesis = chain.state(|| System::block_hash(0u32));
    pair.sign(&message.signing_payload(&genesis)).into()
}

/// A datanet whose pot pays, with one contribution by a key that has no account.
fn contribute(chain: &mut Chain, contributor: &sr25519::Pair) -> DatanetId {
    chain.submit(
        Dave,
        pallet_datanets::Call::<Runtime>::create_datanet {
            name: bounded("defi-exploits"),
            policy: Policy::Open,
            licence: bounded("CC-BY-4.0"),
            consent: Consent { train: true, commercial: true, quote: true },
            min_stake: 0,
        },
    );
    let datanet = chain
        .state(|| Datanets::view_datanet_by_name(Text::from("defi-exploits")))
        .expect("it was created")
        .id;
    chain.submit(
        Dave,
        pallet_datanets::Call::<Runtime>::set_sponsorship {
            datanet,
            sponsorship: Sponsorship { enabled: true, max_per_period: 10 },
        },
    );
    chain.submit(Dave, pallet_datanets::Call::<Runtime>::fund_pot { datanet, amount: 10 * OPEN });

    let offer = ContributionOffer {
        datanet,
        content: H256::repeat_byte(1),
        records_root: H256::repeat_byte(2),
        records: 10,
        bytes: 1_000,
        payout: contributor.public().into(),
        valid_until: 100,
    };
    let signature = sign(chain, contributor, &offer);
    let forged = sign(chain, &Bob.pair(), &offer);
    let call = |signature| {
        general(pallet_datanets::Call::<Runtime>::contribute_signed {
            offer: offer.clone(),
            signature,
        })
    };
    // A signature by another key gets past no node's pool.
    assert!(chain.validate(&call(forged)).is_err());
    let contribution = call(signature);
    chain.validate(&contribution).expect("it needs no account");
    chain.block(vec![contribution.clone()]);
    assert!(chain.validate(&contribution).is_err(), "the same content twice");

    chain.run(ReviewWindow::get() + 1);
    let view = chain.state(|| Datanets::view_contribution(ContributionId(0)));
    assert!(
        matches!(view.as_ref().map(|v| &v.state), Some(ContributionState::Accepted { .. })),
        "{view:?}"
    );
    chain.submit(Dave, pallet_datanets::Call::<Runtime>::cut_version { datanet });
    datanet
}

/// A worker trains an adapter for a researcher.
fn train(chain: &mut Chain, datanet: DatanetId) -> ModelId {
    chain.submit(
        Bob,
        pallet_attribution::Call::<Runtime>::register_base {
            name: bounded("tiny"),
            content: H256::repeat_byte(3),
            royalty: 100_000,
        },
    );
    let base = chain
        .state(|| Attribution::view_model_by_name(Text::from("tiny")))
        .expect("it was registered")
        .id;
    chain.submit(
        Eve,
        pallet_compute::Call::<Runtime>::register_worker {
            info: WorkerInfo {
                endpoint: bounded("http://127.0.0.1:8080"),
                signing_key: Eve.to_account_id(),
                max_rank: 64,
                gpu: false,
                train_price: MILLI,
            },
            stake: 100 * OPEN,
        },
    );
    let spec = TrainSpec {
        rank: 16,
        alpha: 32,
        targets: Targets::ALL,
        epochs: 2,
        batch: 4,
        lr_nano: 4_000_000,
        warmup_permille: 100,
        seq_len: 128,
        seed: 1,
    };
    chain.submit(
        Charlie,
        pallet_compute::Call::<Runtime>::submit_job {
            job: NewJob {
                name: bounded("defi"),
                base,
                versions: vec![VersionRef { datanet, number: 1 }].try_into().expect("it is one"),
                spec,
                max_fee: OPEN,
                deadline: 1_000,
            },
        },
    );
    let job = JobId(0);
    chain.submit(Eve, pallet_compute::Call::<Runtime>::claim_job { job });
    chain.submit(
        Eve,
        pallet_compute::Call::<Runtime>::submit_result {
            job,
            result: JobResult {
                adapter: H256::repeat_byte(4),
                index: H256::repeat_byte(5),
                index_root: H256::repeat_byte(6),
                transcript: H256::repeat_byte(7),
                metrics: Metrics {
                    loss_before_micro: 4_000_000,
                    loss_after_micro: 1_000_000,
                    steps: 5,
                    tokens: 1_000,
                },
            },
        },
    );
    chain.run(JobChallengeWindow::get() + 1);
    chain.submit(Ferdie, pallet_compute::Call::<Runtime>::finalize_job { job });
    let view = chain.state(|| Compute::view_job(job)).expect("it is there");
    let JobState::Completed { model, fee, .. } = view.state else { panic!("{view:?}") };
    assert_eq!(fee, MILLI, "a thousand tokens at the worker's price");
    model
}

/// A consumer pays a worker for answers; gives the payment to settle.
fn pay(chain: &mut Chain, model: ModelId) {
    chain.submit(
        Charlie,
        pallet_marketplace::Call::<Runtime>::list_model {
            model,
            price_in: MILLI,
            price_out: MILLI,
        },
    );
    chain.submit(
        Ferdie,
        pallet_marketplace::Call::<Runtime>::open_channel {
            worker: Eve.to_account_id(),
            deposit: 10 * OPEN,
        },
    );
    let voucher = Voucher { channel: ChannelId(0), cumulative: 3 * OPEN };
    let signature = sign(chain, &Ferdie.pair(), &voucher);
    chain.submit(
        Eve,
        pallet_marketplace::Call::<Runtime>::redeem { voucher, signature, total: PAID },
    );
    assert_eq!(chain.state(|| Attribution::view_revenue(Eve.to_account_id())), PAID);
}

#[test]
fn data_comes_in_and_its_contributor_is_paid() {
    let contributor = sr25519::Pair::from_string("//Contributor", None).expect("it is a seed");
    let payee: AccountId = contributor.public().into();
    let mut chain = Chain::new("development");
    let free = |who: Sr25519Keyring| Balances::free_balance(who.to_account_id());

    // GIVEN a model trained on the data of somebody who owns nothing, and answers paid for
    let datanet = contribute(&mut chain, &contributor);
    let model = train(&mut chain, datanet);
    pay(&mut chain, model);
    chain.state(|| {
        assert!(!System::account_exists(&payee));
        assert_eq!(Attribution::view_lineage(model).len(), 2);
        assert_eq!(
            Stakes::view_total(tributary_primitives::Subject::Worker(Eve.to_account_id())),
            100 * OPEN
        );
        assert_eq!(Marketplace::view_channels_of(Ferdie.to_account_id()).len(), 1);
    });

    // WHEN the worker settles, half of the contributors' part being attributed
    let shares = chain.state(Attribution::view_shares);
    let parts = split_fee(PAID, &shares);
    let attributed = parts.contributors / 2;
    let unattributed = parts.contributors - attributed;
    let all = [Payout { contribution: ContributionId(0), amount: attributed }];
    let worker_before = chain.state(|| free(Eve));
    let owner_before = chain.state(|| free(Charlie));
    let ancestor_before = chain.state(|| free(Bob));
    let transaction = chain.signed(
        Eve,
        pallet_attribution::Call::<Runtime>::submit_batch {
            batch: NewBatch {
                sequence: 0,
                models: vec![ModelTotal {
                    model,
                    requests: 3,
                    tokens_in: 100,
                    tokens_out: 100,
                    fees: PAID,
                    attributed,
                }]
                .try_into()
                .expect("it is one"),
                payouts_root: payouts::root(&all),
                payouts_count: 1,
                payouts_total: attributed,
                payouts_blob: H256::repeat_byte(8),
                unattributed_total: unattributed,
                receipts_root: H256::repeat_byte(9),
                receipts_count: 3,
            },
        }
        .into(),
    );
    chain.block(vec![transaction]);
    let worker_fees = worker_before - chain.state(|| free(Eve));
    chain.run(BatchChallengeWindow::get() + 1);
    chain.submit(Ferdie, pallet_attribution::Call::<Runtime>::finalize_batch { batch: BatchId(0) });

    // THEN everybody has a part
    chain.state(|| {
        assert_eq!(free(Eve), worker_before - worker_fees + parts.worker);
        assert_eq!(free(Charlie), owner_before + parts.owner);
        assert_eq!(free(Bob), ancestor_before + parts.ancestors);
        // Nobody stakes behind the model, so that the stakers' part is common too.
        assert_eq!(
            Balances::free_balance(Attribution::commons()),
            EXISTENTIAL_DEPOSIT + unattributed + parts.stakers
        );
    });

    // AND the contributor claims without owning anything
    let proof = payouts::prove(&all, 0).expect("it is there");
    let claim = general(pallet_attribution::Call::<Runtime>::claim_sponsored {
        batch: BatchId(0),
        payout: all[0].clone(),
        proof: PayoutProof { index: 0, siblings: proof.siblings.try_into().expect("it is short") },
    });
    chain.validate(&claim).expect("the pot pays");
    chain.block(vec![claim.clone()]);
    assert!(chain.validate(&claim).is_err(), "it is paid once");
    chain.state(|| {
        assert_eq!(Balances::free_balance(&payee), attributed);
        assert_eq!(Balances::free_balance(Attribution::pot()), EXISTENTIAL_DEPOSIT);

        // Nothing was made and nothing was lost but what was burnt as fees.
        let supply = Token::view_supply();
        assert!(supply.burnt > 0);
        assert_eq!(supply.issuance, supply.genesis - supply.burnt);
        assert!(supply.issuance + supply.emitted <= supply.cap);
    });
}
