//! Texts as vectors: `/v1/embeddings`.

use super::{
    answer::{self, write_down, Said},
    body, commit, pay, shape, Api, Body,
};
use crate::{
    backend::{Attribution, Generate, Prompt},
    error::{Result, WorkerError},
};
use axum::{extract::State, http::HeaderMap, response::IntoResponse, response::Response, Json};
use tributary_client::store::digest_of;

/// Answers `/v1/embeddings`. It is paid by the tokens of the texts; the receipt's response is the
/// sha2-256 of all vectors, one after the other, each number little-endian in single precision.
/// No record is known to have shaped a vector, so that the contributors' share goes to the commons.
pub(super) async fn embed(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let body = api.body(body)?;
    let ask = body::parse_vectors(&body)?;
    let model = api.catalog.find(&ask.model).await?;
    let price = pay::Price::of(&model)?;
    let permit = api.permit()?;
    let limits = api.backend.limits(&model)?;
    let mut texts = Vec::with_capacity(ask.texts.len());
    for text in &ask.texts {
        let tokens = api.backend.read(&model, &Prompt::Text(text.clone())).await?;
        let prompt = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if prompt > limits.context {
            return Err(WorkerError::TooLong { prompt, answer: 0, context: limits.context });
        }
        texts.push(tokens);
    }
    let all: Vec<u32> = texts.concat();
    let tokens_in = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let reservation = api.admit(&headers, price, price.fee(tokens_in, 0)).await?;

    let vectors = api.backend.embed(&model, &texts).await?;
    let bytes: Vec<Vec<u8>> =
        vectors.iter().map(|v| v.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let identity = api.backend.identity(&model)?;
    let fingerprint = identity.fingerprint();
    let commitment = commit::Terms::new(&model, identity, &nothing(), all).of(&[]);
    let attribution = Attribution::none();
    let said = Said {
        model: &model,
        request: digest_of(&body),
        response: digest_of(&bytes.concat()),
        tokens: (tokens_in, 0),
        fee: price.fee(tokens_in, 0).min(reservation.amount()),
        attribution: &attribution,
        commitment: commitment.digest(),
    };
    let cumulative = reservation.cumulative();
    let answer = write_down(&api, reservation, said).await?;
    drop(permit);
    let vectors: Vec<serde_json::Value> = match ask.base64 {
        true => bytes.iter().map(|bytes| shape::base64(bytes).into()).collect(),
        false => vectors.into_iter().map(Into::into).collect(),
    };
    let name = model.model.name.to_string();
    let receipt = shape::Paid { answer: &answer, cumulative, commitment: &commitment };
    let id = format!("embd-{:x}-{:x}", answer::now_ms(), answer.receipt.sequence);
    Ok(Json(shape::vectors(&id, &name, &fingerprint, vectors, &receipt)).into_response())
}

/// Nothing is sampled.
fn nothing() -> Generate {
    Generate {
        prompt: Prompt::Text(String::new()),
        max_tokens: 0,
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        logit_bias: Vec::new(),
        seed: None,
        stop: Vec::new(),
        logprobs: None,
        format: None,
    }
}
