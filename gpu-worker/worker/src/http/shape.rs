//! The JSON that goes to clients: OpenAI's shapes, and what Tributary adds to them.

use super::{answer::Finished, body::Endpoint};
use crate::{
    backend::{Attribution, Ended, Served},
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
use tributary_primitives::{money::PPM, signing::Receipt, Balance, MultiSignature};

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
}

impl Head {
    fn object(&self, streamed: bool) -> &'static str {
        match (self.endpoint, streamed) {
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Chat, false) => "chat.completion",
            (Endpoint::Text, _) => "text_completion",
        }
    }

    fn with(&self, streamed: bool, choice: Value) -> Value {
        json!({
            "id": self.id,
            "object": self.object(streamed),
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        })
    }

    /// The first chunk of a stream: a conversation's names the speaker.
    pub fn opening(&self) -> Option<Value> {
        (self.endpoint == Endpoint::Chat).then(|| {
            let delta = json!({"role": "assistant", "content": ""});
            self.with(true, json!({"index": 0, "delta": delta, "finish_reason": null}))
        })
    }

    /// A chunk with more text.
    pub fn chunk(&self, text: &str) -> Value {
        self.with(
            true,
            match self.endpoint {
                Endpoint::Chat => {
                    json!({"index": 0, "delta": {"content": text}, "finish_reason": null})
                }
                Endpoint::Text => json!({"index": 0, "text": text, "finish_reason": null}),
            },
        )
    }

    /// The last chunk: no text, but everything that is known at the end.
    pub fn closing(&self, finished: &Finished) -> Value {
        let reason = reason(finished.ended);
        let choice = match self.endpoint {
            Endpoint::Chat => json!({"index": 0, "delta": {}, "finish_reason": reason}),
            Endpoint::Text => json!({"index": 0, "text": "", "finish_reason": reason}),
        };
        extras(self.with(true, choice), finished)
    }

    /// The whole answer in one body.
    pub fn whole(&self, finished: &Finished) -> Value {
        let reason = reason(finished.ended);
        let choice = match self.endpoint {
            Endpoint::Chat => {
                let message = json!({"role": "assistant", "content": finished.text});
                json!({"index": 0, "message": message, "finish_reason": reason})
            }
            Endpoint::Text => {
                json!({"index": 0, "text": finished.text, "finish_reason": reason})
            }
        };
        extras(self.with(false, choice), finished)
    }
}

fn reason(ended: Ended) -> &'static str {
    match ended {
        Ended::Stop => "stop",
        Ended::Length => "length",
    }
}

fn extras(mut body: Value, finished: &Finished) -> Value {
    let receipt = &finished.answer.receipt;
    let (tokens_in, tokens_out) = (u64::from(receipt.tokens_in), u64::from(receipt.tokens_out));
    body["usage"] = json!({
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in.saturating_add(tokens_out),
    });
    body["attribution"] = attribution(&finished.attribution);
    body["receipt"] = signed_receipt(receipt, &finished.answer.signature);
    body["payment"] = payment(&finished.answer, finished.cumulative);
    body
}

fn attribution(of: &Attribution) -> Value {
    json!({
        "shares": of.shares,
        "unattributed_ppm": of.unattributed_ppm,
        "explained_ppm": PPM.saturating_sub(of.unattributed_ppm),
        "records": of.records,
        "index_root": hash_text(&of.index_root),
    })
}

fn payment(answer: &Answer, cumulative: Balance) -> Value {
    json!({
        "channel": answer.receipt.channel,
        "fee": answer.receipt.fee.to_string(),
        "spent": answer.spent.to_string(),
        "cumulative": cumulative.to_string(),
    })
}

/// A receipt with its signature (the SCALE form of a `MultiSignature`).
pub fn signed_receipt(receipt: &Receipt, signature: &MultiSignature) -> Value {
    json!({"receipt": receipt, "signature": hex0x(&signature.encode())})
}

/// A model as `/v1/models` lists it.
pub fn model(served: &Served) -> Value {
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
        "versions": model.versions,
        "content": hash_text(&model.content),
        "index_root": hash_text(&model.index_root),
        "price_in": price(|listing| listing.price_in),
        "price_out": price(|listing| listing.price_out),
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
