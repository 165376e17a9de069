//! What a worker commits to with an answer: everything from which the answer can be computed again.
//!
//! A receipt names the digest of a [`Commitment`]. Whoever holds the request and the answer can
//! rebuild the commitment and compare; a committee then runs the model over prompt and answer once
//! (teacher-forced, alone, in fixed chunks), and checks at each position that the sampler of the
//! named version, with the named seed, takes the token that stands there.
//!
//! The digest is sha2-256 of the SCALE encoding of `(tag, commitment)`. Tokens are the ids
//! themselves and not their text, because a text can be cut into tokens in more than one way.
//! Numbers with a fraction enter as the 32 bits of their IEEE 754 single-precision form, which is
//! what the sampler computes with.

use crate::Digest;
use alloc::vec::Vec;
use codec::{Decode, Encode};
use polkadot_sdk::{sp_core::H256, sp_crypto_hashing::sha2_256};
use serde::{Deserialize, Serialize};

/// Domain tag of a commitment.
pub const TAG: &[u8] = b"tributary/commitment:v1";

/// A single-precision number, encoded as its 32 bits, little-endian.
///
/// Zero has one form: a negative zero becomes the positive one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Single(u32);

impl From<f32> for Single {
    fn from(value: f32) -> Self {
        // -0.0 equals 0.0, and adding them gives the positive one.
        Self((value + 0.0).to_bits())
    }
}

impl From<Single> for f32 {
    fn from(value: Single) -> Self {
        f32::from_bits(value.0)
    }
}

impl Serialize for Single {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32((*self).into())
    }
}

impl<'de> Deserialize<'de> for Single {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f32::deserialize(deserializer).map(Self::from)
    }
}

/// How the tokens of an answer were chosen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SamplingTerms {
    /// What logits are divided by; 0 takes the likeliest token always.
    pub temperature: Single,
    /// Probability that the tokens drawn from reach together, at most 1.
    pub top_p: Single,
    /// Number of likeliest tokens drawn from; 0 sets no limit.
    pub top_k: u32,
    /// Least probability of a token drawn from, as a share of the likeliest one's; 0 sets none.
    pub min_p: Single,
    /// Taken from a token's logit for each time that it stands in the answer.
    pub frequency_penalty: Single,
    /// Taken from a token's logit once it stands in the answer.
    pub presence_penalty: Single,
    /// Added to the logits of these tokens; sorted by token, each at most once.
    pub logit_bias: Vec<(u32, Single)>,
    /// sha2-256 of the JSON schema that the answer had to follow, without blanks and with its keys
    /// sorted; `{"type":"object"}` stands for any JSON object.
    pub format: Option<Digest>,
}

/// Everything from which an answer's tokens follow.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Commitment {
    /// Digest of the base model's manifest.
    pub base: Digest,
    /// Digest of the adapter's manifest; none when the base itself answered.
    pub adapter: Option<Digest>,
    /// sha2-256 of the base model's `tokenizer.json`.
    pub tokenizer: Digest,
    /// Digest of the index that gave the shares; none when there is no index.
    pub index: Option<Digest>,
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens of the answer, the closing one too.
    pub answer: Vec<u32>,
    /// Seed of the sampling.
    pub seed: u64,
    /// Version of the sampler, which fixes what seed, position and logits give.
    pub sampler: u32,
    /// How the tokens were chosen.
    pub sampling: SamplingTerms,
}

impl Commitment {
    /// What a receipt names: sha2-256 of the SCALE encoding of `(tag, self)`.
    pub fn digest(&self) -> Digest {
        H256(sha2_256(&(TAG, self).encode()))
    }
}
