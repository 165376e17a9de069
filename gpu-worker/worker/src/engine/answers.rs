//! Asking the engine: the API's requests in its words, its answers in the API's.

use super::{contribution_id, engine_fault, lock, Engines};
use crate::{
    backend::{
        Attribution, Backend, Ended, Event, Format, Generate, Health, Identity, Influence,
        Likelihood, Load, Message, ModelLimits, Prompt, RecordShare, Served, Span, TokenLogprobs,
    },
    error::{Result, WorkerError},
};
use async_trait::async_trait;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tributary_engine::{
    AttributeRequest, Engine, EngineError, Event as Theirs, FinishReason, GenerateRequest,
    Guidance, Pooling, Sampling,
};
use tributary_primitives::{money::PPM, signing::Share, ContributionId, ModelId, H256};

/// Records that an attribution names.
const TOP_RECORDS: usize = 8;

fn engine_prompt(prompt: &Prompt) -> tributary_engine::Prompt {
    let turn = |m: &Message| tributary_engine::Message {
        role: m.role.clone(),
        content: m.content.clone(),
    };
    match prompt {
        Prompt::Chat(messages) => {
            tributary_engine::Prompt::Chat(messages.iter().map(turn).collect())
        }
        Prompt::Text(text) => tributary_engine::Prompt::Text(text.clone()),
    }
}

fn engine_format(format: &Format) -> tributary_engine::Format {
    match format {
        Format::JsonObject => tributary_engine::Format::JsonObject,
        Format::JsonSchema(schema) => tributary_engine::Format::JsonSchema(schema.clone()),
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Runs what blocks on a thread that may.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, EngineError> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| WorkerError::Internal(e.to_string()))?
        .map_err(engine_fault)
}

async fn guidance(engine: &Engine, request: &Generate) -> Result<Guidance> {
    let bias = request.logit_bias.iter().map(|(token, added)| (i64::from(*token), *added));
    let grammar = match &request.format {
        None => None,
        Some(format) => {
            let (engine, format) = (engine.clone(), engine_format(format));
            Some(aside(move || engine.grammar(&format)).await?)
        }
    };
    Ok(Guidance { bias: bias.collect(), grammar })
}

fn likelihood(engine: &Engine, token: i64, logprob: f32) -> Likelihood {
    Likelihood { bytes: engine.token_text(token), logprob }
}

fn token_logprobs(
    engine: &Engine,
    token: i64,
    found: &tributary_engine::TokenLogprobs,
) -> TokenLogprobs {
    let top = found.top.iter().map(|(token, logprob)| likelihood(engine, *token, *logprob));
    TokenLogprobs { chosen: likelihood(engine, token, found.chosen), top: top.collect() }
}

fn event(engine: &Engine, event: Theirs) -> Event {
    match event {
        Theirs::Token { id, text, logprobs } => {
            // The closing token is no part of the answer's text.
            let logprobs = logprobs.filter(|_| !engine.is_closing(id));
            let logprobs = logprobs.map(|found| token_logprobs(engine, id, &found));
            Event::Token { id, text, logprobs }
        }
        Theirs::Done(done) => Event::Done {
            ended: match done.reason {
                FinishReason::Stop => Ended::Stop,
                FinishReason::Length | FinishReason::Grammar => Ended::Length,
            },
            tokens: done.answer_tokens,
            text: done.text,
        },
        Theirs::Failed(error) => Event::Failed(engine_fault(error)),
    }
}

#[async_trait]
impl Backend for Engines {
    fn bases(&self) -> Vec<ModelId> {
        self.named()
    }

    fn health(&self) -> Health {
        let bases = self.named().len();
        let adapters = lock(&self.loaded).values().map(HashMap::len).sum();
        Health { ready: bases > 0, bases, adapters }
    }

    fn limits(&self, model: &Served) -> Result<ModelLimits> {
        let engine = self.engine(model.base)?;
        let info = engine.info();
        Ok(ModelLimits {
            context: saturate(info.capacity),
            vocabulary: u32::try_from(info.config.vocab_size).unwrap_or(u32::MAX),
        })
    }

    fn identity(&self, model: &Served) -> Result<Identity> {
        self.identity_of(model.base)
    }

    fn load(&self) -> Load {
        let mut load = Load::default();
        for stats in self.engines().iter().map(Engine::stats) {
            load.waiting += stats.waiting as u64;
            load.running += stats.running as u64;
            load.adapters_device += stats.device.adapters as u64;
            load.adapters_host += stats.host.adapters as u64;
            load.adapters_disk += stats.disk.adapters as u64;
        }
        load
    }

    async fn read(&self, model: &Served, prompt: &Prompt) -> Result<Vec<u32>> {
        let (engine, prompt) = (self.engine(model.base)?, engine_prompt(prompt));
        let tokens = aside(move || engine.prompt_tokens(&prompt)).await?;
        Ok(tokens.into_iter().map(|token| u32::try_from(token).unwrap_or(u32::MAX)).collect())
    }

    async fn check_format(&self, model: &Served, format: &Format) -> Result<()> {
        let (engine, format) = (self.engine(model.base)?, engine_format(format));
        aside(move || engine.grammar(&format).map(drop)).await
    }

    async fn schedule(&self, model: &Served, request: Generate) -> Result<mpsc::Receiver<Event>> {
        let engine = self.engine(model.base)?;
        let guidance = guidance(&engine, &request).await?;
        let adapter = self.adapter(model, &engine).await?;
        let mut events = engine
            .generate(GenerateRequest {
                adapter,
                prompt: engine_prompt(&request.prompt),
                max_tokens: request.max_tokens as usize,
                sampling: Sampling {
                    temperature: request.temperature,
                    top_p: request.top_p,
                    top_k: request.top_k,
                    min_p: request.min_p,
                    frequency_penalty: request.frequency_penalty,
                    presence_penalty: request.presence_penalty,
                    seed: request.seed.unwrap_or_default(),
                },
                stop: request.stop,
                logprobs: request.logprobs.map(|count| count as usize),
                guidance,
            })
            .map_err(engine_fault)?;
        let (send, receive) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let found = tokio::select! {
                    found = events.recv() => found,
                    // Nobody listens any more: dropping the engine's receiver ends the answer.
                    () = send.closed() => return,
                };
                let Some(found) = found else { return };
                if send.send(event(&engine, found)).await.is_err() {
                    return;
                }
            }
        });
        Ok(receive)
    }

    async fn embed(&self, model: &Served, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let engine = self.engine(model.base)?;
        let adapter = self.adapter(model, &engine).await?;
        let tokens = |text: &Vec<u32>| text.iter().map(|token| i64::from(*token)).collect();
        let texts = texts.iter().map(tokens).collect();
        let all = engine.embed_tokens(adapter, texts, Pooling::Mean).await.map_err(engine_fault)?;
        Ok(all.into_iter().map(|embedded| embedded.vector).collect())
    }

    async fn attribute(
        &self,
        model: &Served,
        prompt: &Prompt,
        answer: &[i64],
    ) -> Result<Attribution> {
        let engine = self.engine(model.base)?;
        for last in [false, true] {
            // It may have been unloaded since it answered; then it is loaded once more.
            let Some(adapter) = self.adapter(model, &engine).await? else {
                return Ok(Attribution::none());
            };
            let request = AttributeRequest {
                adapter,
                prompt: engine_prompt(prompt),
                answer_tokens: answer.to_vec(),
                top: TOP_RECORDS,
            };
            let (found, owners) = (engine.attribute(request).await, self.owners_of(model));
            match (found, owners) {
                (Ok(found), Some(owners)) => {
                    let root = model.model.index_root;
                    let spans = self.passages(&engine, &root, answer)?;
                    return attribution(&found.attribution, &owners, spans, root);
                }
                (Err(EngineError::UnknownAdapter(_)), _) | (Ok(_), None) if !last => {}
                (Err(error), _) => return Err(engine_fault(error)),
                (Ok(_), None) => break,
            }
        }
        Err(WorkerError::Engine("the adapter was unloaded while its answer was attributed".into()))
    }
}

/// A cosine in parts per million. Rows and queries are rounded to 8 bits, which may carry it a little
/// beyond 1.
fn cosine(ppm: i64) -> i32 {
    let whole = i64::from(PPM);
    i32::try_from(ppm.clamp(-whole, whole)).unwrap_or_default()
}

fn attribution(
    found: &tributary_attribution::Attribution,
    owners: &[(ContributionId, u32)],
    spans: Option<Vec<Span>>,
    index_root: H256,
) -> Result<Attribution> {
    let shares = found
        .shares
        .iter()
        .filter(|(_, ppm)| *ppm > 0)
        .map(|(id, ppm)| {
            let contribution = contribution_id(id).map_err(WorkerError::Engine)?;
            Ok(Share { contribution, ppm: *ppm })
        })
        .collect::<Result<Vec<_>>>()?;
    let records = found
        .records
        .iter()
        .filter(|record| record.ppm > 0)
        .filter_map(|record| {
            let (contribution, first) = owners.get(record.contribution as usize)?;
            Some(RecordShare {
                contribution: *contribution,
                record: record.row.saturating_sub(*first),
                ppm: u32::try_from(record.ppm).unwrap_or(u32::MAX),
            })
        })
        .collect();
    let influences = found
        .influences
        .iter()
        .filter(|near| {
            found.shares.get(near.contribution as usize).is_some_and(|(_, ppm)| *ppm > 0)
        })
        .filter_map(|near| {
            let (contribution, first) = owners.get(near.contribution as usize)?;
            Some(Influence {
                contribution: *contribution,
                record: near.row.saturating_sub(*first),
                ppm: cosine(near.ppm),
            })
        })
        .collect();
    let unattributed_ppm = found.unattributed_ppm;
    Ok(Attribution { shares, unattributed_ppm, records, influences, spans, index_root })
}
