//! Messages that people and workers sign outside an extrinsic.
//!
//! Each is the SCALE encoding of `(tag, genesis hash, message)`. The tag names the kind of message
//! and the genesis hash the chain, so that a signature has one meaning on one chain. Payloads
//! longer than 256 bytes are signed by their blake2-256 hash, as extrinsics are.

use crate::{
    AccountId, Balance, BlockNumber, ChannelId, ContributionId, DatanetId, Digest, ModelId,
    MultiSignature,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk::{sp_core::H256, sp_crypto_hashing::blake2_256, sp_runtime::traits::Verify};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// A message that is signed outside an extrinsic.
pub trait Signable: Encode {
    /// Domain tag; no two kinds of message share one.
    const TAG: &'static [u8];

    /// The bytes to sign on the chain of this genesis hash.
    fn signing_payload(&self, genesis: &H256) -> Vec<u8> {
        let payload = (Self::TAG, genesis, self).encode();
        if payload.len() > 256 {
            blake2_256(&payload).to_vec()
        } else {
            payload
        }
    }

    /// Whether `signer` signed this message on the chain of this genesis hash.
    fn verify(&self, genesis: &H256, signature: &MultiSignature, signer: &AccountId) -> bool {
        signature.verify(self.signing_payload(genesis).as_slice(), signer)
    }
}

/// A shard offered to a datanet, as its payout key signs it.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct ContributionOffer {
    /// The datanet it is for.
    pub datanet: DatanetId,
    /// Digest of the shard.
    pub content: Digest,
    /// Root over its salted records.
    pub records_root: H256,
    /// Number of records.
    pub records: u32,
    /// Size of the shard.
    pub bytes: u64,
    /// Account that is paid when the records are used; it signs the offer.
    pub payout: AccountId,
    /// Last block in which the offer may enter the chain.
    pub valid_until: BlockNumber,
}

impl Signable for ContributionOffer {
    const TAG: &'static [u8] = b"tributary/contribution:v1";
}

/// A wish to take a contribution out of later versions, as its payout key signs it.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Retirement {
    /// The contribution.
    pub contribution: ContributionId,
    /// Last block in which the wish may enter the chain.
    pub valid_until: BlockNumber,
}

impl Signable for Retirement {
    const TAG: &'static [u8] = b"tributary/retirement:v1";
}

/// A promise to pay, in total, this much through a channel. Later vouchers replace earlier ones.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Voucher {
    /// The channel.
    pub channel: ChannelId,
    /// Everything paid through the channel so far, this payment included, in units.
    #[serde(with = "crate::money::as_string")]
    pub cumulative: Balance,
}

impl Signable for Voucher {
    const TAG: &'static [u8] = b"tributary/voucher:v1";
}

/// One contribution's share of an answer.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Share {
    /// The contribution.
    pub contribution: ContributionId,
    /// Its share of the answer in parts per million.
    pub ppm: u32,
}

/// What a worker signs for every answer it was paid for.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct Receipt {
    /// The worker.
    pub worker: AccountId,
    /// Channel that paid.
    pub channel: ChannelId,
    /// Number of the answer in the channel, from 1.
    pub sequence: u64,
    /// Model that answered.
    pub model: ModelId,
    /// sha2-256 of the request's body.
    pub request: Digest,
    /// sha2-256 of the answer's text.
    pub response: Digest,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
    /// What the answer cost, in units.
    #[serde(with = "crate::money::as_string")]
    pub fee: Balance,
    /// Shares by contribution; with `unattributed` they add up to 1,000,000.
    pub shares: Vec<Share>,
    /// Share that no training record explains, in parts per million.
    pub unattributed: u32,
    /// Root of the index that gave the shares.
    pub index_root: H256,
    /// Digest of the [`Commitment`](crate::commitment::Commitment): models, tokens, seed and
    /// sampler from which the answer can be computed again.
    pub commitment: Digest,
}

impl Signable for Receipt {
    const TAG: &'static [u8] = b"tributary/receipt:v2";
}

impl Receipt {
    /// Leaf hash in the batch's receipt tree.
    pub fn leaf(&self) -> H256 {
        crate::tree::leaf_hash(&(Self::TAG, self).encode())
    }
}
