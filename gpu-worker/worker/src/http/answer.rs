//! Giving one answer: generate, attribute, sign, write down.
//!
//! Each answer has a task of its own, which outlives the client's connection: a client that goes
//! away in the middle ends the generation and pays for what was generated, so that nobody reads an
//! answer for nothing by hanging up before its end.

use super::{
    pay::{Price, Reservation},
    Api,
};
use crate::{
    backend::{Attribution, Ended, Event, Generate, Served},
    error::{Result, WorkerError},
    journal::Answer,
    metrics::Label,
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, OwnedSemaphorePermit};
use tracing::{info, warn, Instrument};
use tributary_client::store::digest_of;
use tributary_primitives::{signing::Receipt, Balance, Digest};

/// A request that was admitted and has to be answered.
pub struct Order {
    /// Whom to ask.
    pub model: Served,
    /// What to generate.
    pub generate: Generate,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// What it costs.
    pub price: Price,
    /// sha2-256 of the body.
    pub request: Digest,
    /// What pays for it.
    pub reservation: Reservation,
    /// Its place among the answers under way; given back when the answer ends.
    pub permit: OwnedSemaphorePermit,
}

/// What goes to the client.
#[derive(Debug)]
pub enum Part {
    /// More of the answer.
    Text(String),
    /// The end of it. It is in the journal.
    Done(Box<Finished>),
    /// There is no end of it, and nothing was charged.
    Failed(WorkerError),
}

/// A complete answer.
#[derive(Debug)]
pub struct Finished {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub ended: Ended,
    /// Who shaped it.
    pub attribution: Attribution,
    /// Receipt, signature, and what is spent now.
    pub answer: Answer,
    /// What the best voucher of the channel promises, in units.
    pub cumulative: Balance,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Starts the answer's task. Dropping the receiver cancels the answer.
pub fn start(api: &Api, order: Order) -> mpsc::UnboundedReceiver<Part> {
    // Its length is bounded by the answer's, which was paid for.
    let (parts, receiver) = mpsc::unbounded_channel();
    let span = tracing::info_span!(
        "answer",
        model = %order.model.model.name,
        channel = order.reservation.channel().0,
    );
    let api_of_task = api.clone();
    api.tasks.spawn(
        async move {
            let api = api_of_task;
            api.metrics.answering.inc();
            if let Err(error) = run(&api, order, &parts).await {
                warn!(%error, code = error.code(), "the answer failed, nothing is charged");
                api.metrics.error(error.code());
                // A client that is gone need not be told.
                let _ = parts.send(Part::Failed(error));
            }
            api.metrics.answering.dec();
        }
        .instrument(span),
    );
    receiver
}

struct Generated {
    text: String,
    tokens: Vec<i64>,
    ended: Ended,
}

async fn run(api: &Api, order: Order, parts: &mpsc::UnboundedSender<Part>) -> Result<()> {
    let Order { model, generate, tokens_in, price, request, reservation, permit } = order;
    let prompt = generate.prompt.clone();
    let started = Instant::now();
    let generated = generate_text(api, &model, generate, parts, started).await?;
    let Some(Generated { text, tokens, ended }) = generated else {
        info!("the client went away before the first token");
        return Ok(());
    };
    api.metrics.answer_seconds.observe(started.elapsed().as_secs_f64());
    let attributing = Instant::now();
    let attribution = api.backend.attribute(&model, &prompt, &tokens).await?;
    attribution.check()?;
    api.metrics.attribution_seconds.observe(attributing.elapsed().as_secs_f64());

    let tokens_out = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let fee = price.fee(tokens_in, tokens_out).min(reservation.amount());
    let (worker, key, genesis) = (api.worker.clone(), api.key.clone(), api.genesis);
    let (model_id, response) = (model.model.id, digest_of(text.as_bytes()));
    let (shares, unattributed, index_root) =
        (attribution.shares.clone(), attribution.unattributed_ppm, attribution.index_root);
    let (channel, cumulative) = (reservation.channel(), reservation.cumulative());
    let answer = tokio::task::spawn_blocking(move || {
        reservation.record(now_ms(), |sequence| {
            let receipt = Receipt {
                worker,
                channel,
                sequence,
                model: model_id,
                request,
                response,
                tokens_in,
                tokens_out,
                fee,
                shares,
                unattributed,
                index_root,
            };
            let signature = key.sign(&receipt, &genesis);
            (receipt, signature)
        })
    })
    .await
    .map_err(|e| WorkerError::Internal(e.to_string()))??;
    drop(permit);

    let count = |kind, tokens: u32| {
        api.metrics.tokens.get_or_create(&Label { kind }).inc_by(tokens.into());
    };
    count("prompt", tokens_in);
    count("answer", tokens_out);
    api.metrics.fee(fee);
    info!(
        sequence = answer.receipt.sequence,
        tokens_in,
        tokens_out,
        fee = %fee,
        unattributed_ppm = unattributed,
        "answered"
    );
    // A client that is gone finds the receipt under /v1/receipts.
    let _ =
        parts.send(Part::Done(Box::new(Finished { text, ended, attribution, answer, cumulative })));
    Ok(())
}

/// `None` when the client went away before there was anything to pay for.
async fn generate_text(
    api: &Api,
    model: &Served,
    generate: Generate,
    parts: &mpsc::UnboundedSender<Part>,
    started: Instant,
) -> Result<Option<Generated>> {
    let mut events = tokio::select! {
        events = api.backend.schedule(model, generate) => events?,
        () = parts.closed() => return Ok(None),
    };
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = parts.closed() => {
                if tokens.is_empty() {
                    return Ok(None);
                }
                info!(tokens = tokens.len(), "the client went away, the answer ends here");
                return Ok(Some(Generated { text, tokens, ended: Ended::Stop }));
            },
        };
        match event {
            Some(Event::Token { id, text: more }) => {
                if tokens.is_empty() {
                    api.metrics.first_token_seconds.observe(started.elapsed().as_secs_f64());
                }
                tokens.push(id);
                if !more.is_empty() {
                    text.push_str(&more);
                    // If the client is gone, the next turn notices.
                    let _ = parts.send(Part::Text(more));
                }
            }
            Some(Event::Done { ended, tokens, text }) => {
                return Ok(Some(Generated { text, tokens, ended }))
            }
            Some(Event::Failed(error)) => return Err(error),
            None => {
                return Err(WorkerError::Engine("it stopped in the middle of an answer".into()))
            }
        }
    }
}
