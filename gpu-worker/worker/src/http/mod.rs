//! The HTTP API: OpenAI's endpoints, paid with vouchers, and what a client asks about its own
//! channels, receipts and jobs.
//!
//! The order of checks on a request is the order of what they cost: the body, the model, a free
//! slot, the prompt's length, the voucher. Only then does the engine work.

pub mod answer;
pub mod body;
mod commit;
pub mod pay;
mod shape;
mod vectors;

use crate::{
    backend::{Backend, Generate},
    catalog::{Catalog, MarketChain},
    error::{Result, VoucherFault, WorkerError},
    journal::Journal,
    metrics::{Metrics, RequestLabels},
    progress::JobBoard,
};
use answer::{Order, Part};
use axum::{
    body::Bytes,
    extract::{
        rejection::{BytesRejection, QueryRejection},
        DefaultBodyLimit, MatchedPath, Path, Query, Request, State,
    },
    http::{header, HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{
        sse::{Event, KeepAlive, Sse},
        IntoResponse, Response,
    },
    routing::{get, post},
    Json, Router,
};
use body::Endpoint;
use futures::{future, stream, StreamExt};
use pay::{Ledger, Price, Terms};
use serde::Deserialize;
use serde_json::{json, Value};
use shape::{ErrorCode, Head};
use std::{
    convert::Infallible,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc,
    },
    time::Instant,
};
use tokio::sync::{mpsc, OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::TaskTracker;
use tributary_client::{keys::Key, store::digest_of};
use tributary_primitives::{AccountId, Balance, ChannelId, JobId, H256};

/// What the API keeps within.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers given at the same time.
    pub slots: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Tokens of an answer for which no length is asked.
    pub default_tokens: u32,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slots: 16, body_bytes: 1 << 20, default_tokens: 256, max_tokens: 4_096 }
    }
}

/// Everything that a handler needs; clones share it.
#[derive(Clone)]
pub struct Api {
    /// Account of this worker.
    pub worker: AccountId,
    /// Key that signs receipts.
    pub key: Arc<Key>,
    /// Genesis hash of the chain.
    pub genesis: H256,
    /// The chain.
    pub chain: Arc<dyn MarketChain>,
    /// The models.
    pub catalog: Catalog,
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// The journal.
    pub journal: Journal,
    /// What is promised, spent and reserved.
    pub ledger: Ledger,
    /// Jobs under way.
    pub jobs: JobBoard,
    /// What is counted.
    pub metrics: Metrics,
    /// Places for answers.
    pub permits: Arc<Semaphore>,
    /// Answers under way.
    pub tasks: TaskTracker,
    /// Whether no more requests are taken.
    pub draining: Arc<AtomicBool>,
    /// What is kept within.
    pub limits: Limits,
    next_id: Arc<AtomicU64>,
}

/// What an [`Api`] is made of.
pub struct Parts {
    /// Key of this worker.
    pub key: Arc<Key>,
    /// Genesis hash of the chain.
    pub genesis: H256,
    /// The chain.
    pub chain: Arc<dyn MarketChain>,
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// The journal.
    pub journal: Journal,
    /// Jobs under way.
    pub jobs: JobBoard,
    /// What is counted.
    pub metrics: Metrics,
    /// What to keep within.
    pub limits: Limits,
}

impl Api {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { key, genesis, chain, backend, journal, jobs, metrics, limits } = parts;
        Self {
            worker: key.account(),
            key,
            genesis,
            catalog: Catalog::new(chain.clone(), backend.clone()),
            chain,
            backend,
            ledger: Ledger::new(journal.clone()),
            journal,
            jobs,
            metrics,
            permits: Arc::new(Semaphore::new(limits.slots)),
            tasks: TaskTracker::new(),
            draining: Arc::default(),
            limits,
            next_id: Arc::default(),
        }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/v1/models", get(models))
            .route("/v1/models/{model}", get(model))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/completions", post(complete))
            .route("/v1/embeddings", post(vectors::embed))
            .route("/v1/jobs/{job}", get(job))
            .route("/v1/jobs/{job}/progress", get(job_progress))
            .route("/v1/channels/{channel}", get(channel))
            .route("/v1/receipts/{channel}/{sequence}", get(receipt))
            .fallback(nothing_here)
            .method_not_allowed_fallback(wrong_method)
            .layer(DefaultBodyLimit::max(self.limits.body_bytes))
            .layer(middleware::from_fn_with_state(self.clone(), observe))
            .with_state(self)
    }

    /// An answer's id, and a seed for it if nobody asked for one: other answers get others, and
    /// it is below 2⁵³, so that any reader of JSON keeps it.
    fn new_id(&self, endpoint: Endpoint) -> (String, u64) {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let kind = if endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
        let now = answer::now_ms();
        let seed = (now.wrapping_shl(10) | (number & 0x3ff)) & ((1 << 53) - 1);
        (format!("{kind}-{now:x}-{number:x}"), seed)
    }

    /// A request's body, unless the worker is going down.
    fn body(&self, body: Body) -> Result<Bytes> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(WorkerError::ShuttingDown);
        }
        body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                WorkerError::BodyTooLarge { limit: self.limits.body_bytes }
            }
            _ => WorkerError::BadRequest {
                message: format!("the body cannot be read: {rejection}"),
                param: None,
            },
        })
    }

    /// A place among the answers under way, at once or not at all.
    fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| WorkerError::Overloaded { slots: self.limits.slots })
    }

    /// Takes a request in that costs `most` units at most, if its voucher covers that.
    async fn admit(
        &self,
        headers: &HeaderMap,
        price: Price,
        most: Balance,
    ) -> Result<pay::Reservation> {
        let terms = Terms { worker: self.worker.clone(), genesis: self.genesis, price, most };
        let refuse = |fault| terms.refuse(fault, None, terms.most);
        let value = headers.get(pay::HEADER).ok_or_else(|| refuse(VoucherFault::Missing))?;
        let (voucher, signature) =
            pay::read_header(value.as_bytes()).ok_or_else(|| refuse(VoucherFault::Malformed))?;
        let view = self.chain.channel(voucher.channel).await?;
        let ledger = self.ledger.clone();
        tokio::task::spawn_blocking(move || {
            ledger.admit(&terms, view.as_ref(), &voucher, &signature)
        })
        .await
        .map_err(|e| WorkerError::Internal(e.to_string()))?
    }
}

/// Counts and logs each request.
async fn observe(State(api): State<Api>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
    if let Some(code) = code {
        api.metrics.error(code);
    }
    let ms = started.elapsed().as_millis();
    tracing::debug!(%method, route, status, code, ms, "request");
    api.metrics.requests.get_or_create(&RequestLabels { route, status: status.into() }).inc();
    response
}

async fn nothing_here() -> WorkerError {
    WorkerError::NotFound("there is nothing at this address; see /v1/models".into())
}

async fn wrong_method() -> Response {
    let error = WorkerError::BadRequest {
        message: "this address does not take this method".into(),
        param: None,
    };
    (StatusCode::METHOD_NOT_ALLOWED, Json(shape::error(&error))).into_response()
}

/// The process lives.
async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// It can answer: a base model is loaded and on chain, the journal can be written.
async fn ready(State(api): State<Api>) -> Response {
    let health = api.backend.health();
    let journal = api.journal.clone();
    let journal = tokio::task::spawn_blocking(move || journal.check().is_ok()).await;
    let journal = journal.unwrap_or(false);
    let draining = api.draining.load(Ordering::Relaxed);
    let ready = health.ready && journal && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready,
        "backend": health,
        "journal": journal,
        "draining": draining,
        "worker": api.worker.to_string(),
    });
    (status, Json(body)).into_response()
}

async fn metrics(State(api): State<Api>) -> Response {
    api.metrics.adapters.set(i64::try_from(api.backend.health().adapters).unwrap_or(i64::MAX));
    api.metrics.load(&api.backend.load());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}

async fn models(State(api): State<Api>) -> Result<Json<Value>> {
    let all = api.catalog.all().await?;
    let models: Vec<Value> =
        all.iter().map(|model| shape::model(model, api.backend.limits(model).ok())).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

async fn model(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>> {
    let model = api.catalog.find(&name).await?;
    Ok(Json(shape::model(&model, api.backend.limits(&model).ok())))
}

fn id_in_path(text: &str, what: &str) -> Result<u64> {
    text.parse().map_err(|_| WorkerError::field(what, format!("`{what}` has to be a number")))
}

async fn job(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>> {
    let id = JobId(id_in_path(&id, "job")?);
    let progress = api
        .jobs
        .get(id, &api.journal)?
        .ok_or_else(|| WorkerError::NotFound(format!("this worker never held job {id}")))?;
    Ok(Json(json!(progress)))
}

/// What `/v1/jobs/{job}/progress` is asked.
#[derive(Debug, Deserialize)]
struct Since {
    /// Steps after this one alone.
    #[serde(default)]
    after: u32,
}

/// Each step that is remembered, and how far the job is.
async fn job_progress(
    State(api): State<Api>,
    Path(id): Path<String>,
    since: std::result::Result<Query<Since>, QueryRejection>,
) -> Result<Json<Value>> {
    let id = JobId(id_in_path(&id, "job")?);
    let Query(since) =
        since.map_err(|_| WorkerError::field("after", "`after` has to be a step's number"))?;
    let progress = api
        .jobs
        .get(id, &api.journal)?
        .ok_or_else(|| WorkerError::NotFound(format!("this worker never held job {id}")))?;
    let steps = api.jobs.steps(id, since.after);
    Ok(Json(json!({"job": progress, "steps": steps})))
}

async fn channel(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>> {
    let id = ChannelId(id_in_path(&id, "channel")?);
    let view = api
        .chain
        .channel(id)
        .await?
        .filter(|view| view.worker == api.worker)
        .ok_or_else(|| WorkerError::NotFound(format!("no channel {id} pays this worker")))?;
    let row = api.journal.channel(id)?;
    let committed = api.ledger.committed(&view)?;
    let spent = row.as_ref().map_or(view.redeemed, |row| row.spent.max(view.redeemed));
    let best = row.as_ref().map(|row| row.voucher.cumulative);
    let left = view.deposit.saturating_sub(committed);
    Ok(Json(json!({
        "channel": id,
        "consumer": view.consumer.to_string(),
        "worker": view.worker.to_string(),
        "deposit": view.deposit.to_string(),
        "redeemed": view.redeemed.to_string(),
        "spent": spent.to_string(),
        // The next voucher has to promise this and the most that the next request may cost.
        "committed": committed.to_string(),
        "cumulative": best.map(|amount: Balance| amount.to_string()),
        "left": left.to_string(),
        "answers": row.map_or(0, |row| row.answers),
        "closes_at": view.closes_at,
    })))
}

async fn receipt(
    State(api): State<Api>,
    Path((channel, sequence)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let channel = ChannelId(id_in_path(&channel, "channel")?);
    let sequence = id_in_path(&sequence, "sequence")?;
    let (receipt, signature) = api.journal.receipt(channel, sequence)?.ok_or_else(|| {
        WorkerError::NotFound(format!("channel {channel} has no answer {sequence}"))
    })?;
    Ok(Json(shape::signed_receipt(&receipt, &signature)))
}

type Body = std::result::Result<Bytes, BytesRejection>;

async fn chat(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response> {
    answer(api, Endpoint::Chat, headers, body).await
}

async fn complete(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response> {
    answer(api, Endpoint::Text, headers, body).await
}

async fn answer(api: Api, endpoint: Endpoint, headers: HeaderMap, body: Body) -> Result<Response> {
    let body = api.body(body)?;
    let ask = body::parse(endpoint, &body, api.limits.default_tokens)?;
    if ask.generate.max_tokens > api.limits.max_tokens {
        let message = format!("`max_tokens` has to be at most {}", api.limits.max_tokens);
        return Err(WorkerError::field("max_tokens", message));
    }
    let model = api.catalog.find(&ask.model).await?;
    let price = Price::of(&model)?;
    let permit = api.permit()?;

    let limits = api.backend.limits(&model)?;
    let outside = ask.generate.logit_bias.iter().find(|(token, _)| *token >= limits.vocabulary);
    if let Some((token, _)) = outside {
        let message = format!("token {token} is not one of the model's {}", limits.vocabulary);
        return Err(WorkerError::field("logit_bias", message));
    }
    let prompt = api.backend.read(&model, &ask.generate.prompt).await?;
    let tokens_in = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    if tokens_in.saturating_add(ask.generate.max_tokens) > limits.context {
        return Err(WorkerError::TooLong {
            prompt: tokens_in,
            answer: ask.generate.max_tokens,
            context: limits.context,
        });
    }
    let most = price.fee(tokens_in, ask.generate.max_tokens);
    let reservation = api.admit(&headers, price, most).await?;
    // Compiling a schema is work, so that it is done for those who pay alone.
    if let Some(format) = &ask.generate.format {
        api.backend.check_format(&model, format).await?;
    }

    let identity = api.backend.identity(&model)?;
    let (id, seed) = api.new_id(endpoint);
    let head = Head {
        endpoint,
        id,
        created: answer::now_ms() / 1_000,
        model: model.model.name.to_string(),
        fingerprint: identity.fingerprint(),
        logprobs: ask.generate.logprobs.is_some(),
        include_usage: ask.include_usage,
    };
    let generate = Generate { seed: ask.generate.seed.or(Some(seed)), ..ask.generate };
    let request = digest_of(&body);
    let order = Order { model, identity, generate, prompt, price, request, reservation, permit };
    let parts = answer::start(&api, order);
    if ask.stream {
        streamed(head, parts).await
    } else {
        whole(&head, parts).await
    }
}

fn cut_off() -> WorkerError {
    WorkerError::Internal("an answer ended without its last part".into())
}

async fn whole(head: &Head, mut parts: mpsc::UnboundedReceiver<Part>) -> Result<Response> {
    while let Some(part) = parts.recv().await {
        match part {
            Part::More(..) => {}
            Part::Done(finished) => return Ok(Json(head.whole(&finished)).into_response()),
            Part::Failed(error) => return Err(error),
        }
    }
    Err(cut_off())
}

/// Server-sent events: an opening (chat only), one per piece of text, a closing with receipt and
/// payment, `[DONE]`. An error before the first piece is an HTTP error; one in the middle is an
/// event of its own, after which nothing comes.
async fn streamed(head: Head, mut parts: mpsc::UnboundedReceiver<Part>) -> Result<Response> {
    let first = match parts.recv().await {
        Some(Part::Failed(error)) => return Err(error),
        Some(part) => part,
        None => return Err(cut_off()),
    };
    let opening = stream::iter(head.opening().map(|value| vec![value.to_string()]));
    let mut characters = 0_usize;
    let parts = stream::iter([first]).chain(UnboundedReceiverStream::new(parts));
    let rest = parts.map(move |part| match part {
        Part::More(text, tokens) => {
            let chunk = head.chunk(&text, &tokens, characters);
            characters = characters.saturating_add(text.chars().count());
            vec![chunk.to_string()]
        }
        Part::Done(finished) => {
            let closing = head.closing(&finished).into_iter().map(|value| value.to_string());
            closing.chain(["[DONE]".to_owned()]).collect()
        }
        Part::Failed(error) => vec![shape::error(&error).to_string()],
    });
    let events = opening
        .chain(rest)
        .flat_map(stream::iter)
        .then(|data| future::ready(Ok::<_, Infallible>(Event::default().data(data))));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}
