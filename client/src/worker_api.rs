//! The consumer's side of a worker's HTTP API.

mod shapes;

pub use shapes::{
    Attribution, Influence, JobProgress, Payment, RecordShare, ShownCommitment, SignedReceipt, Span,
};

use crate::{vouchers, vouchers::SignedVoucher, ErrorKind};
use futures::{Stream, StreamExt};
use reqwest::{Response, StatusCode};
use serde::{de::DeserializeOwned, Deserialize};
use serde_json::{json, Value};
use std::time::Duration;
use tributary_primitives::{money::as_string, AccountId, Balance, ChannelId, JobId, H256};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a worker may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(120);
/// Attempts for requests that can be repeated.
const ATTEMPTS: u32 = 4;
/// Longest event of a stream, in bytes.
const EVENT_MAX: usize = 16 << 20;

/// What can go wrong with a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It does not answer.
    #[error("the worker at {url} does not answer: {reason}; try again, or choose another with `tributary worker list`")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// It wants to be paid.
    #[error("the worker wants to be paid: {}", .0.message)]
    Payment(Box<PaymentRequired>),
    /// It does not have what was asked for.
    #[error("the worker does not have it: {0}")]
    NotFound(String),
    /// It said no.
    #[error("the worker refused ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It answered in another form than the API's.
    #[error("the worker at {url} does not speak the API of this client: {reason}")]
    BadAnswer {
        /// Where it is.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a worker says when it wants to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PaymentRequired {
    /// For people.
    pub message: String,
    /// Price per 1,000 prompt tokens, in units.
    #[serde(with = "as_string")]
    pub price_in: Balance,
    /// Price per 1,000 answer tokens, in units.
    #[serde(with = "as_string")]
    pub price_out: Balance,
    /// The worker's account.
    pub worker: AccountId,
    /// What a voucher must promise at the least, in units.
    #[serde(with = "as_string")]
    pub min_cumulative: Balance,
}

impl WorkerError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Payment(_) | Self::Refused { .. } => ErrorKind::Refused,
            Self::BadAnswer { .. } => ErrorKind::Failed,
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Name of the model.
    pub model: String,
    /// What is asked.
    pub prompt: String,
    /// What the model is told beforehand.
    pub system: Option<String>,
    /// Longest answer, in tokens.
    pub max_tokens: u32,
    /// 0 for the likeliest answer.
    pub temperature: f64,
    /// Seed of the sampling.
    pub seed: Option<u64>,
    /// A JSON schema that the answer has to follow.
    pub schema: Option<Value>,
}

impl Question {
    fn body(&self) -> Value {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let user = std::iter::once(json!({"role": "user", "content": self.prompt}));
        let mut body = json!({
            "model": self.model,
            "messages": system.chain(user).collect::<Vec<_>>(),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": true,
        });
        if let Some(schema) = &self.schema {
            let wrapped = json!({"name": "answer", "strict": true, "schema": schema});
            body["response_format"] = json!({"type": "json_schema", "json_schema": wrapped});
        }
        body
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Why it ended: `stop` or `length`.
    pub finish_reason: String,
    /// Whose records shaped it.
    pub attribution: Attribution,
    /// The receipt.
    pub receipt: SignedReceipt,
    /// What it cost.
    pub payment: Payment,
    /// sha2-256 of the body that was sent, which the receipt names.
    pub request: H256,
}

/// A worker's API.
#[derive(Clone, Debug)]
pub struct WorkerApi {
    endpoint: String,
    http: reqwest::Client,
}

impl WorkerApi {
    /// The API at an endpoint, such as `http://127.0.0.1:8080`.
    pub fn new(endpoint: &str) -> Result<Self, WorkerError> {
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| WorkerError::BadAnswer {
                url: endpoint.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self { endpoint, http })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn unreachable(&self, error: &reqwest::Error) -> WorkerError {
        // reqwest's own text stops before the cause, which is what helps.
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        WorkerError::Unreachable { url: self.endpoint.clone(), reason }
    }

    fn bad(&self, reason: impl std::fmt::Display) -> WorkerError {
        WorkerError::BadAnswer { url: self.endpoint.clone(), reason: reason.to_string() }
    }

    /// Reads something, trying again for a few seconds when the worker does not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, WorkerError> {
        let url = format!("{}{path}", self.endpoint);
        let mut pause = Duration::from_millis(250);
        let mut attempt = 1;
        loop {
            match self.http.get(&url).send().await {
                Ok(response) => {
                    let response = self.accepted(response).await?;
                    return response.json().await.map_err(|error| self.bad(error));
                }
                Err(error) if attempt >= ATTEMPTS => return Err(self.unreachable(&error)),
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                    attempt += 1;
                }
            }
        }
    }

    /// Models that it serves, as the OpenAI-compatible list has them.
    pub async fn models(&self) -> Result<Value, WorkerError> {
        self.get("/v1/models").await
    }

    /// How far a job is.
    pub async fn job(&self, job: JobId) -> Result<JobProgress, WorkerError> {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// What it knows of a channel.
    pub async fn channel(&self, channel: ChannelId) -> Result<Value, WorkerError> {
        self.get(&format!("/v1/channels/{channel}")).await
    }

    /// A receipt that it gave.
    pub async fn receipt(
        &self,
        channel: ChannelId,
        sequence: u64,
    ) -> Result<SignedReceipt, WorkerError> {
        self.get(&format!("/v1/receipts/{channel}/{sequence}")).await
    }

    async fn accepted(&self, response: Response) -> Result<Response, WorkerError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(refusal(status, parsed.get("error"), &body))
    }

    /// Asks a question and reads the answer as it comes; `more` gets each piece of text. Nothing
    /// is repeated by itself: a broken connection may already have cost something.
    pub async fn ask(
        &self,
        question: &Question,
        voucher: Option<&SignedVoucher>,
        mut more: impl FnMut(&str),
    ) -> Result<Answer, WorkerError> {
        let body = serde_json::to_vec(&question.body()).map_err(|error| self.bad(error))?;
        let request = crate::store::digest_of(&body);
        let mut post = self
            .http
            .post(format!("{}/v1/chat/completions", self.endpoint))
            .header("content-type", "application/json")
            .body(body);
        if let Some(voucher) = voucher {
            post = post.header(vouchers::HEADER, voucher.header());
        }
        let response = post.send().await.map_err(|error| self.unreachable(&error))?;
        let response = self.accepted(response).await?;
        let mut reading = Reading::default();
        let mut events = std::pin::pin!(events(response.bytes_stream()));
        while let Some(event) = events.next().await {
            match event {
                Ok(data) if data == "[DONE]" => break,
                Ok(data) => {
                    let chunk: Value =
                        serde_json::from_str(&data).map_err(|error| self.bad(error))?;
                    if let Some(text) = reading.take(chunk)? {
                        more(&text);
                    }
                }
                Err(EventError::Broken(error)) => return Err(self.unreachable(&error)),
                Err(EventError::TooLong) => return Err(self.bad("an event is too long")),
            }
        }
        reading.finish(request).map_err(|reason| self.bad(reason))
    }
}

/// What was read of an answer so far.
#[derive(Default)]
struct Reading {
    text: String,
    finish_reason: Option<String>,
    last: Value,
}

impl Reading {
    fn take(&mut self, chunk: Value) -> Result<Option<String>, WorkerError> {
        if let Some(error) = chunk.get("error") {
            return Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, Some(error), b""));
        }
        let choice = chunk.pointer("/choices/0").cloned().unwrap_or_default();
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish_reason = Some(reason.to_string());
        }
        let text = choice
            .pointer("/delta/content")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_string);
        if let Some(text) = &text {
            self.text.push_str(text);
        }
        if chunk.get("receipt").is_some() {
            self.last = chunk;
        }
        Ok(text)
    }

    fn finish(mut self, request: H256) -> Result<Answer, String> {
        fn part<T: DeserializeOwned>(last: &mut Value, name: &str) -> Result<T, String> {
            let value = last.get_mut(name).map(Value::take).unwrap_or_default();
            serde_json::from_value(value).map_err(|error| format!("its `{name}`: {error}"))
        }
        if self.last.is_null() {
            return Err("the answer broke off before its receipt".into());
        }
        Ok(Answer {
            finish_reason: self.finish_reason.unwrap_or_else(|| "stop".into()),
            attribution: part(&mut self.last, "attribution")?,
            receipt: part(&mut self.last, "receipt")?,
            payment: part(&mut self.last, "payment")?,
            text: self.text,
            request,
        })
    }
}

fn refusal(status: StatusCode, error: Option<&Value>, body: &[u8]) -> WorkerError {
    let message = error
        .and_then(|error| error.get("message"))
        .and_then(Value::as_str)
        .map_or_else(|| String::from_utf8_lossy(body).chars().take(300).collect(), str::to_string);
    match status {
        StatusCode::PAYMENT_REQUIRED => {
            match error.cloned().map(serde_json::from_value::<PaymentRequired>) {
                Some(Ok(terms)) => WorkerError::Payment(Box::new(terms)),
                _ => WorkerError::Refused { status: status.as_u16(), message },
            }
        }
        StatusCode::NOT_FOUND => WorkerError::NotFound(message),
        _ => WorkerError::Refused { status: status.as_u16(), message },
    }
}

enum EventError {
    Broken(reqwest::Error),
    TooLong,
}

/// The `data` of each server-sent event.
fn events<B: AsRef<[u8]>>(
    bytes: impl Stream<Item = Result<B, reqwest::Error>>,
) -> impl Stream<Item = Result<String, EventError>> {
    let state = (Box::pin(bytes), Vec::<u8>::new());
    futures::stream::try_unfold(state, |(mut bytes, mut buffer)| async move {
        loop {
            if let Some(data) = next_event(&mut buffer) {
                return Ok(Some((data, (bytes, buffer))));
            }
            if buffer.len() > EVENT_MAX {
                return Err(EventError::TooLong);
            }
            match bytes.next().await {
                Some(Ok(more)) => buffer.extend_from_slice(more.as_ref()),
                Some(Err(error)) => return Err(EventError::Broken(error)),
                None => return Ok(None),
            }
        }
    })
}

/// Takes the data of the first complete event out of the buffer; comments are skipped.
fn next_event(buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let (end, gap) = [(&b"\n\n"[..], 2), (&b"\r\n\r\n"[..], 4)]
            .into_iter()
            .filter_map(|(mark, gap)| {
                buffer.windows(mark.len()).position(|w| w == mark).map(|at| (at, gap))
            })
            .min()?;
        let event: Vec<u8> = buffer.drain(..end + gap).take(end).collect();
        let text = String::from_utf8_lossy(&event);
        let data: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        if !data.is_empty() {
            return Some(data.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests;
