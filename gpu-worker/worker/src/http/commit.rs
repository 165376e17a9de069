//! What an answer can be computed again from.

use crate::{
    backend::{Format, Generate, Identity, Served},
    error::hash_text,
};
use serde_json::{json, Value};
use tributary_client::store::digest_of;
use tributary_primitives::{
    commitment::{Commitment, SamplingTerms},
    views::ModelKind,
    Digest,
};

/// A commitment whose answer is not there yet.
pub(super) struct Terms(Commitment);

impl Terms {
    /// Of a request for `model` whose prompt has these tokens.
    pub(super) fn new(
        model: &Served,
        identity: Identity,
        generate: &Generate,
        prompt: Vec<u32>,
    ) -> Self {
        let adapter = model.model.kind == ModelKind::Adapter;
        Self(Commitment {
            base: identity.base,
            adapter: adapter.then_some(model.model.content),
            tokenizer: identity.tokenizer,
            index: adapter.then_some(model.model.index),
            prompt,
            answer: Vec::new(),
            seed: generate.seed.unwrap_or_default(),
            sampler: identity.sampler,
            sampling: sampling(generate),
        })
    }

    /// Tokens of the prompt.
    pub(super) fn tokens_in(&self) -> u32 {
        u32::try_from(self.0.prompt.len()).unwrap_or(u32::MAX)
    }

    /// The commitment of an answer with these tokens.
    pub(super) fn of(self, answer: &[i64]) -> Commitment {
        let answer = answer.iter().map(|token| u32::try_from(*token).unwrap_or(u32::MAX));
        Commitment { answer: answer.collect(), ..self.0 }
    }
}

fn sampling(generate: &Generate) -> SamplingTerms {
    let bias = generate.logit_bias.iter().map(|(token, added)| (*token, (*added).into()));
    SamplingTerms {
        temperature: generate.temperature.into(),
        top_p: generate.top_p.into(),
        top_k: generate.top_k,
        min_p: generate.min_p.into(),
        frequency_penalty: generate.frequency_penalty.into(),
        presence_penalty: generate.presence_penalty.into(),
        logit_bias: bias.collect(),
        format: generate.format.as_ref().map(format_digest),
    }
}

/// sha2-256 of the schema without blanks, its keys sorted: an order of keys is not kept by every
/// reader of JSON, and the receipt's request has it.
fn format_digest(format: &Format) -> Digest {
    let mut schema = match format {
        Format::JsonObject => json!({"type": "object"}),
        Format::JsonSchema(schema) => schema.clone(),
    };
    schema.sort_all_objects();
    digest_of(schema.to_string().as_bytes())
}

/// A commitment as clients get it. What they sent themselves is left out, apart from the seed,
/// which the worker draws when none is asked for.
pub(super) fn shown(commitment: &Commitment) -> Value {
    let hash = |digest: &Digest| hash_text(digest);
    json!({
        "digest": hash_text(&commitment.digest()),
        "base": hash_text(&commitment.base),
        "adapter": commitment.adapter.as_ref().map(hash),
        "tokenizer": hash_text(&commitment.tokenizer),
        "index": commitment.index.as_ref().map(hash),
        "prompt_tokens": commitment.prompt.len(),
        "answer": commitment.answer,
        "seed": commitment.seed,
        "sampler": commitment.sampler,
        "sampling": commitment.sampling,
    })
}
