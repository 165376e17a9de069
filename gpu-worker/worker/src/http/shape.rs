//! The JSON that goes to clients: OpenAI's shapes, and what Tributary adds to them.

use super::{answer::Finished, body::Endpoint, commit};
use crate::{
    backend::{Attribution, Ended, Likelihood, ModelLimits, Served, TokenLogprobs},
    error::{hash_text, hex0x, WorkerError},
    journal::Answer,
};
use axum::{
    http::{header, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    Json,
};
use codec::Encode;
use serde_json::{json, Value};
use tributary_primitives::{
    commitment::Commitment, money::PPM, signing::Receipt, Balance, MultiSignature,
};

/// Head of every part of one answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// Which endpoint is answering.
    pub endpoint: Endpoint,
    /// The answer's id.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Name of the model.
    pub model: String,
    /// What computes the answer.
    pub fingerprint: String,
    /// Whether likelihoods were asked for.
    pub logprobs: bool,
    /// Whether a stream's usage comes in a part of its own.
    pub include_usage: bool,
}

impl Head {
    fn object(&self, streamed: bool) -> &'static str {
        match (self.endpoint, streamed) {
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Chat, false) => "chat.completion",
            (Endpoint::Text, _) => "text_completion",
        }
    }

    fn with(&self, streamed: bool, choices: Value) -> Value {
        let mut body = json!({
            "id": self.id,
            "object": self.object(streamed),
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        });
        if streamed && self.include_usage {
            body["usage"] = Value::Null;
        }
        body
    }

    /// The first chunk of a stream: a conversation's names the speaker.
    pub fn opening(&self) -> Option<Value> {
        (self.endpoint == Endpoint::Chat).then(|| {
            let delta = json!({"role": "assistant", "content": ""});
            self.with(true, json!([{"index": 0, "delta": delta, "finish_reason": null}]))
        })
    }

    /// A chunk with more text, which begins after `before` characters.
    pub fn chunk(&self, text: &str, tokens: &[TokenLogprobs], before: usize) -> Value {
        let mut choice = match self.endpoint {
            Endpoint::Chat => {
                json!({"index": 0, "delta": {"content": text}, "finish_reason": null})
            }
            Endpoint::Text => json!({"index": 0, "text": text, "finish_reason": null}),
        };
        if self.logprobs {
            choice["logprobs"] = self.likelihoods(tokens, before);
        }
        self.with(true, json!([choice]))
    }

    /// The last chunks: no text, but everything that is known at the end.
    pub fn closing(&self, finished: &Finished) -> Vec<Value> {
        let reason = reason(finished.ended);
        let choice = match self.endpoint {
            Endpoint::Chat => json!({"index": 0, "delta": {}, "finish_reason": reason}),
            Endpoint::Text => json!({"index": 0, "text": "", "finish_reason": reason}),
        };
        let mut last = extras(self.with(true, json!([choice])), finished);
        if !self.include_usage {
            return vec![last];
        }
        let mut usage = self.with(true, json!([]));
        usage["usage"] = last["usage"].take();
        vec![last, usage]
    }

    /// The whole answer in one body.
    pub fn whole(&self, finished: &Finished) -> Value {
        let reason = reason(finished.ended);
        let mut choice = match self.endpoint {
            Endpoint::Chat => {
                let message = json!({"role": "assistant", "content": finished.text});
                json!({"index": 0, "message": message, "finish_reason": reason})
            }
            Endpoint::Text => {
                json!({"index": 0, "text": finished.text, "finish_reason": reason})
            }
        };
        let none = Value::Null;
        choice["logprobs"] =
            if self.logprobs { self.likelihoods(&finished.logprobs, 0) } else { none };
        extras(self.with(false, json!([choice])), finished)
    }

    /// Likelihoods of tokens, the first of which begins after `before` characters.
    fn likelihoods(&self, tokens: &[TokenLogprobs], before: usize) -> Value {
        match self.endpoint {
            Endpoint::Chat => {
                let content: Vec<Value> = tokens
                    .iter()
                    .map(|token| {
                        let mut own = likelihood(&token.chosen);
                        own["top_logprobs"] = token.top.iter().map(likelihood).collect();
                        own
                    })
                    .collect();
                json!({"content": content, "refusal": null})
            }
            Endpoint::Text => {
                let mut at = before;
                let mut offsets = Vec::with_capacity(tokens.len());
                for token in tokens {
                    offsets.push(at);
                    at = at.saturating_add(shown(&token.chosen.bytes).chars().count());
                }
                let top = |token: &TokenLogprobs| -> Value {
                    let pairs = token.top.iter();
                    pairs.map(|one| (shown(&one.bytes), number(one.logprob))).collect()
                };
                json!({
                    "tokens": tokens.iter().map(|t| shown(&t.chosen.bytes)).collect::<Vec<_>>(),
                    "token_logprobs":
                        tokens.iter().map(|t| number(t.chosen.logprob)).collect::<Vec<_>>(),
                    "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
                    "text_offset": offsets,
                })
            }
        }
    }
}

/// A token's text; bytes that are no whole characters become replacement characters.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A logarithm as JSON has it: what cannot come at all gets OpenAI's number for that.
fn number(logprob: f32) -> Value {
    let logprob = f64::from(logprob);
    json!(if logprob.is_finite() { logprob } else { -9999.0 })
}

fn likelihood(of: &Likelihood) -> Value {
    json!({"token": shown(&of.bytes), "logprob": number(of.logprob), "bytes": of.bytes})
}

fn reason(ended: Ended) -> &'static str {
    match ended {
        Ended::Stop => "stop",
        Ended::Length => "length",
    }
}

fn usage(receipt: &Receipt) -> Value {
    let (tokens_in, tokens_out) = (u64::from(receipt.tokens_in), u64::from(receipt.tokens_out));
    json!({
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in.saturating_add(tokens_out),
    })
}

fn extras(mut body: Value, finished: &Finished) -> Value {
    let receipt = &finished.answer.receipt;
    body["usage"] = usage(receipt);
    body["attribution"] = attribution(&finished.attribution, &finished.commitment);
    body["receipt"] = signed_receipt(receipt, &finished.answer.signature);
    body["payment"] = payment(&finished.answer, finished.cumulative);
    body
}

fn attribution(of: &Attribution, commitment: &Commitment) -> Value {
    let mut body = json!({
        "shares": of.shares,
        "unattributed_ppm": of.unattributed_ppm,
        "explained_ppm": PPM.saturating_sub(of.unattributed_ppm),
        "records": of.records,
        "influences": of.influences,
        "index_root": hash_text(&of.index_root),
        "commitment": commit::shown(commitment),
    });
    if let Some(spans) = &of.spans {
        body["spans"] = json!(spans);
    }
    body
}

fn payment(answer: &Answer, cumulative: Balance) -> Value {
    json!({
        "channel": answer.receipt.channel,
        "fee": answer.receipt.fee.to_string(),
        "spent": answer.spent.to_string(),
        "cumulative": cumulative.to_string(),
    })
}

/// What was paid for, and how.
pub struct Paid<'a> {
    /// Receipt, signature, and what is spent now.
    pub answer: &'a Answer,
    /// What the best voucher of the channel promises, in units.
    pub cumulative: Balance,
    /// What the answer can be computed again from.
    pub commitment: &'a Commitment,
}

/// The body of `/v1/embeddings`.
pub fn vectors(
    id: &str,
    model: &str,
    fingerprint: &str,
    vectors: Vec<Value>,
    paid: &Paid<'_>,
) -> Value {
    let data: Vec<Value> = vectors
        .into_iter()
        .enumerate()
        .map(|(index, v)| json!({"object": "embedding", "index": index, "embedding": v}))
        .collect();
    let mut usage = usage(&paid.answer.receipt);
    if let Some(usage) = usage.as_object_mut() {
        usage.remove("completion_tokens");
    }
    json!({
        "object": "list",
        "id": id,
        "model": model,
        "system_fingerprint": fingerprint,
        "data": data,
        "usage": usage,
        "commitment": commit::shown(paid.commitment),
        "receipt": signed_receipt(&paid.answer.receipt, &paid.answer.signature),
        "payment": payment(paid.answer, paid.cumulative),
    })
}

/// RFC 4648's base64, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |n: u32| DIGITS.get(n as usize & 63).copied().map_or('=', char::from);
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(digit(bits >> 18));
        text.push(digit(bits >> 12));
        text.push(if part.len() > 1 { digit(bits >> 6) } else { '=' });
        text.push(if part.len() > 2 { digit(bits) } else { '=' });
    }
    text
}

/// A receipt with its signature (the SCALE form of a `MultiSignature`).
pub fn signed_receipt(receipt: &Receipt, signature: &MultiSignature) -> Value {
    json!({"receipt": receipt, "signature": hex0x(&signature.encode())})
}

/// A model as `/v1/models` lists it. The chain does not say when it was made, only in which block.
pub fn model(served: &Served, limits: Option<ModelLimits>) -> Value {
    let model = &served.model;
    let price = |of: fn(&tributary_primitives::views::ListingView) -> Balance| {
        served.listing.as_ref().map(|listing| of(listing).to_string())
    };
    json!({
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.owner.to_string(),
        "model": model.id,
        "kind": model.kind,
        "base": served.base,
        "parent": model.parent,
        "versions": model.versions,
        "content": hash_text(&model.content),
        "index": hash_text(&model.index),
        "index_root": hash_text(&model.index_root),
        "royalty": model.royalty,
        "job": model.job,
        "registered": model.registered,
        "for_sale": served.listing.is_some(),
        "price_in": price(|listing| listing.price_in),
        "price_out": price(|listing| listing.price_out),
        "context": limits.map(|limits| limits.context),
        "vocabulary": limits.map(|limits| limits.vocabulary),
        "endpoints": ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"],
    })
}

/// The body of an error.
pub fn error(error: &WorkerError) -> Value {
    let mut inner = json!({
        "message": error.to_string(),
        "type": error.kind(),
        "code": error.code(),
        "param": match error {
            WorkerError::BadRequest { param, .. } => json!(param),
            _ => Value::Null,
        },
    });
    if let WorkerError::Payment(payment) = error {
        let worker = payment.worker.to_string();
        inner["price_in"] = json!(payment.price_in.to_string());
        inner["price_out"] = json!(payment.price_out.to_string());
        inner["min_cumulative"] = json!(payment.min_cumulative.to_string());
        inner["how"] = json!(format!(
            "open a channel with `tributary channel open {worker} <OPEN>`; then sign a voucher of \
             at least min_cumulative units and send it as X-Tributary-Voucher: 0x<SCALE of \
             (Voucher, MultiSignature)>; `tributary chat` does both"
        ));
        inner["worker"] = json!(worker);
    }
    json!({ "error": inner })
}

impl IntoResponse for WorkerError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(error(&self))).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(ErrorCode(self.code()));
        response
    }
}

/// Tells the request log which error a response carries.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCode(pub &'static str);

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
