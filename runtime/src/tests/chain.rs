//! A chain in a test: blocks are made and executed as the node does it.

use codec::Encode;
use frame_support::storage::{with_transaction_unchecked, TransactionOutcome};
use polkadot_sdk::*;
use sp_consensus_babe::{
    digests::{PreDigest, SecondaryPlainPreDigest},
    BABE_ENGINE_ID,
};
use sp_core::{Pair, H256};
use sp_io::TestExternalities;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    generic::Era,
    traits::Header as _,
    transaction_validity::{TransactionSource, TransactionValidity},
    Digest, DigestItem,
};

use super::externalities;
use crate::{
    constants::time::{EPOCH_DURATION_IN_SLOTS, SLOT_DURATION},
    Block, Executive, Header, InherentDataExt, RuntimeCall, Signature, SignedPayload, System,
    TxExtension, UncheckedExtrinsic,
};

/// A slot that begins well after the Unix epoch.
const FIRST_SLOT: u64 = 100;

/// The state after some blocks, and the number and hash of the last of them.
pub struct Chain {
    ext: TestExternalities,
    head: (u32, H256),
}

impl Chain {
    /// A chain at its genesis. As long as no node has made that block, the state says that its
    /// hash is this one.
    pub fn new(preset: &str) -> Self {
        Self { ext: externalities(preset), head: (0, H256::repeat_byte(69)) }
    }

    /// Looks at the state, or changes it.
    pub fn state<R>(&mut self, look: impl FnOnce() -> R) -> R {
        self.ext.execute_with(look)
    }

    /// The header that opens the next block, claimed by authority 0 in a secondary slot.
    pub fn opening(&self) -> Header {
        let number = self.head.0 + 1;
        let slot = (FIRST_SLOT + u64::from(number)).into();
        let digest =
            PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: 0, slot });
        Header::new(
            number,
            H256::zero(),
            H256::zero(),
            self.head.1,
            Digest { logs: vec![DigestItem::PreRuntime(BABE_ENGINE_ID, digest.encode())] },
        )
    }

    /// Makes the next block with the inherents and `transactions`, which must all succeed.
    ///
    /// A session's first block has no room for transactions, since the change of the session is
    /// counted as a whole block's weight; they go into the one after it.
    pub fn block(&mut self, transactions: Vec<UncheckedExtrinsic>) -> Block {
        if !transactions.is_empty()
            && self.head.0 > 0
            && self.head.0.is_multiple_of(EPOCH_DURATION_IN_SLOTS)
        {
            self.block(vec![]);
        }
        let opening = self.opening();
        let block = self.ext.execute_with(|| {
            Executive::initialize_block(&opening);
            let mut data = sp_inherents::InherentData::new();
            let now = (FIRST_SLOT + u64::from(opening.number)) * SLOT_DURATION;
            data.put_data(sp_timestamp::INHERENT_IDENTIFIER, &sp_timestamp::InherentType::new(now))
                .expect("the identifier is new");
            let mut extrinsics = data.create_extrinsics();
            extrinsics.extend(transactions);
            for extrinsic in &extrinsics {
                Executive::apply_extrinsic(extrinsic.clone())
                    .unwrap_or_else(|e| panic!("{e:?}: {extrinsic:?}"))
                    .unwrap_or_else(|e| panic!("{e:?}: {extrinsic:?}"));
            }
            Block { header: Executive::finalize_block(), extrinsics }
        });
        self.head = (*block.header.number(), block.header.hash());
        block
    }

    /// Makes `count` blocks with nothing but inherents in them.
    pub fn run(&mut self, count: u32) {
        for _ in 0..count {
            self.block(vec![]);
        }
    }

    /// A transaction by one of the well-known accounts.
    pub fn signed(&mut self, who: Sr25519Keyring, call: RuntimeCall) -> UncheckedExtrinsic {
        self.ext.execute_with(|| {
            let account = who.to_account_id();
            let extension = extension(System::account_nonce(&account));
            let payload = SignedPayload::new(call.clone(), extension.clone())
                .expect("nothing in it depends on what is missing");
            let signature: Signature = payload.using_encoded(|bytes| who.pair().sign(bytes)).into();
            UncheckedExtrinsic::new_signed(call, account.into(), signature, extension)
        })
    }

    /// Makes a block with one transaction of one of the well-known accounts.
    pub fn submit(&mut self, who: Sr25519Keyring, call: impl Into<RuntimeCall>) {
        let transaction = self.signed(who, call.into());
        self.block(vec![transaction]);
    }

    /// What the pool would say of a transaction that came from outside. As in a node, nothing of
    /// the check stays in the state.
    pub fn validate(&mut self, transaction: &UncheckedExtrinsic) -> TransactionValidity {
        let head = self.head.1;
        self.ext.execute_with(|| {
            with_transaction_unchecked(|| {
                TransactionOutcome::Rollback(Executive::validate_transaction(
                    TransactionSource::External,
                    transaction.clone(),
                    head,
                ))
            })
        })
    }
}

/// A transaction that no account sends: its call brings its own authority along.
pub fn general(call: impl Into<RuntimeCall>) -> UncheckedExtrinsic {
    UncheckedExtrinsic::new_transaction(call.into(), extension(0))
}

fn extension(nonce: u32) -> TxExtension {
    (
        frame_system::AuthorizeCall::new(),
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    )
}
