//! Giving one answer: generate, attribute, sign, write down.
//!
//! Each answer has a task of its own, which outlives the client's connection: a client that goes
//! away in the middle ends the generation and pays for what was generated, so that nobody reads an
//! answer for nothing by hanging up before its end.

use super::{
    commit,
    pay::{Price, Reservation},
    Api,
};
use crate::{
    backend::{Attribution, Ended, Event, Generate, Identity, Served, TokenLogprobs},
    error::{Result, WorkerError},
    journal::Answer,
    metrics::Label,
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, OwnedSemaphorePermit};
use tracing::{info, warn, Instrument};
use tributary_client::store::digest_of;
use tributary_primitives::{commitment::Commitment, signing::Receipt, Balance, Digest};

/// A request that was admitted and has to be answered.
pub struct Order {
    /// Whom to ask.
    pub model: Served,
    /// What computes the answer.
    pub identity: Identity,
    /// What to generate.
    pub generate: Generate,
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
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
    /// More of the answer: text, and the tokens that came since the last part if their
    /// likelihoods were asked for.
    More(String, Vec<TokenLogprobs>),
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
    /// Likelihoods of its tokens, if they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Who shaped it.
    pub attribution: Attribution,
    /// What it can be computed again from.
    pub commitment: Commitment,
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
    logprobs: Vec<TokenLogprobs>,
    ended: Ended,
}

async fn run(api: &Api, order: Order, parts: &mpsc::UnboundedSender<Part>) -> Result<()> {
    let Order { model, identity, generate, prompt, price, request, reservation, permit } = order;
    let asked = generate.prompt.clone();
    let committed = commit::Terms::new(&model, identity, &generate, prompt);
    let tokens_in = committed.tokens_in();
    let started = Instant::now();
    let generated = generate_text(api, &model, generate, parts, started).await?;
    let Some(Generated { text, tokens, logprobs, ended }) = generated else {
        info!("the client went away before the first token");
        return Ok(());
    };
    api.metrics.answer_seconds.observe(started.elapsed().as_secs_f64());
    let attributing = Instant::now();
    let attribution = api.backend.attribute(&model, &asked, &tokens).await?;
    attribution.check()?;
    api.metrics.attribution_seconds.observe(attributing.elapsed().as_secs_f64());

    let tokens_out = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let fee = price.fee(tokens_in, tokens_out).min(reservation.amount());
    let commitment = committed.of(&tokens);
    let said = Said {
        model: &model,
        request,
        response: digest_of(text.as_bytes()),
        tokens: (tokens_in, tokens_out),
        fee,
        attribution: &attribution,
        commitment: commitment.digest(),
    };
    let cumulative = reservation.cumulative();
    let answer = write_down(api, reservation, said).await?;
    drop(permit);
    info!(
        sequence = answer.receipt.sequence,
        tokens_in,
        tokens_out,
        fee = %fee,
        unattributed_ppm = attribution.unattributed_ppm,
        "answered"
    );
    // A client that is gone finds the receipt under /v1/receipts.
    let finished = Finished { text, ended, logprobs, attribution, commitment, answer, cumulative };
    let _ = parts.send(Part::Done(Box::new(finished)));
    Ok(())
}

/// What a receipt states.
pub(super) struct Said<'a> {
    /// The model that answered.
    pub model: &'a Served,
    /// sha2-256 of the body.
    pub request: Digest,
    /// sha2-256 of the answer.
    pub response: Digest,
    /// Tokens of prompt and answer.
    pub tokens: (u32, u32),
    /// What it costs, in units.
    pub fee: Balance,
    /// Who shaped it.
    pub attribution: &'a Attribution,
    /// Digest of its commitment.
    pub commitment: Digest,
}

/// Signs a receipt and writes it down; nothing of it is acknowledged before this returns.
pub(super) async fn write_down(
    api: &Api,
    reservation: Reservation,
    said: Said<'_>,
) -> Result<Answer> {
    let (worker, key, genesis) = (api.worker.clone(), api.key.clone(), api.genesis);
    let (channel, model) = (reservation.channel(), said.model.model.id);
    let Said { request, response, tokens: (tokens_in, tokens_out), fee, commitment, .. } = said;
    let Attribution { shares, unattributed_ppm: unattributed, index_root, .. } =
        said.attribution.clone();
    let answer = tokio::task::spawn_blocking(move || {
        reservation.record(now_ms(), |sequence| {
            let receipt = Receipt {
                worker,
                channel,
                sequence,
                model,
                request,
                response,
                tokens_in,
                tokens_out,
                fee,
                shares,
                unattributed,
                index_root,
                commitment,
            };
            let signature = key.sign(&receipt, &genesis);
            (receipt, signature)
        })
    })
    .await
    .map_err(|e| WorkerError::Internal(e.to_string()))??;
    let count = |kind, tokens: u32| {
        api.metrics.tokens.get_or_create(&Label { kind }).inc_by(tokens.into());
    };
    count("prompt", tokens_in);
    count("answer", tokens_out);
    api.metrics.fee(fee);
    Ok(answer)
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
    let (mut text, mut tokens, mut logprobs) = (String::new(), Vec::new(), Vec::new());
    // Of tokens whose text is not certain yet.
    let mut held = Vec::new();
    let mut last = started;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = parts.closed() => {
                if tokens.is_empty() {
                    return Ok(None);
                }
                info!(tokens = tokens.len(), "the client went away, the answer ends here");
                return Ok(Some(Generated { text, tokens, logprobs, ended: Ended::Stop }));
            },
        };
        match event {
            Some(Event::Token { id, text: more, logprobs: own }) => {
                let now = Instant::now();
                let waited = now.duration_since(last).as_secs_f64();
                match tokens.is_empty() {
                    true => api.metrics.first_token_seconds.observe(waited),
                    false => api.metrics.inter_token_seconds.observe(waited),
                }
                last = now;
                api.metrics.pace.count(now);
                tokens.push(id);
                held.extend(own);
                if !more.is_empty() {
                    text.push_str(&more);
                    logprobs.extend(held.iter().cloned());
                    // If the client is gone, the next turn notices.
                    let _ = parts.send(Part::More(more, std::mem::take(&mut held)));
                }
            }
            Some(Event::Done { ended, tokens, text }) => {
                logprobs.extend(held.iter().cloned());
                if !held.is_empty() {
                    let _ = parts.send(Part::More(String::new(), held));
                }
                return Ok(Some(Generated { text, tokens, logprobs, ended }));
            }
            Some(Event::Failed(error)) => return Err(error),
            None => {
                return Err(WorkerError::Engine("it stopped in the middle of an answer".into()))
            }
        }
    }
}
