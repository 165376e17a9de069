//! An engine that says the question back, word by word.

use async_trait::async_trait;
use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc, Mutex,
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tributary_primitives::{signing::Share, ContributionId, ModelId, H256};
use tributary_worker::{
    backend::{
        Attribution, Backend, Ended, Event, Format, Generate, Health, Identity, Influence,
        Likelihood, Load, ModelLimits, Prompt, RecordShare, Served, Span, TokenLogprobs,
    },
    Result, WorkerError,
};

pub const CONTEXT: u32 = 64;
pub const VOCABULARY: u32 = 1_000;

#[derive(Default)]
pub struct Echo {
    /// Time per token.
    pub pace: Duration,
    /// Whether answers break off after their first token.
    pub breaks: AtomicBool,
    /// Generations that were cancelled.
    pub cancelled: Arc<AtomicUsize>,
    /// Generations under way.
    pub running: Arc<AtomicUsize>,
    /// The last request.
    pub asked: Mutex<Option<Generate>>,
    /// What its attributions name word for word.
    pub spans: Mutex<Option<Vec<Span>>>,
}

/// Counts one generation for as long as it lives.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As likely as its length tells; beside it, a word that is as long as it is unlikely.
fn likelihoods(piece: &str, beside: u32) -> TokenLogprobs {
    let of = |text: &str, logprob| Likelihood { bytes: text.as_bytes().to_vec(), logprob };
    TokenLogprobs {
        chosen: of(piece, -0.5 * piece.len() as f32),
        top: (0..beside).map(|n| of(&"o".repeat(n as usize + 1), -1.0 - n as f32)).collect(),
    }
}

fn words(prompt: &Prompt) -> Vec<String> {
    let text = match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(messages) => messages.last().unwrap().content.clone(),
    };
    text.split_whitespace().map(str::to_owned).collect()
}

#[async_trait]
impl Backend for Echo {
    fn bases(&self) -> Vec<ModelId> {
        vec![ModelId(0)]
    }

    fn health(&self) -> Health {
        Health { ready: true, bases: 1, adapters: 0 }
    }

    fn limits(&self, _: &Served) -> Result<ModelLimits> {
        Ok(ModelLimits { context: CONTEXT, vocabulary: VOCABULARY })
    }

    fn identity(&self, _: &Served) -> Result<Identity> {
        Ok(Identity {
            base: H256::repeat_byte(0xba),
            tokenizer: H256::repeat_byte(0x70),
            sampler: 9,
            engine: "1.2.3".into(),
        })
    }

    fn load(&self) -> Load {
        let running = self.running.load(Ordering::SeqCst) as u64;
        Load { waiting: 2, running, adapters_host: 5, ..Load::default() }
    }

    /// A word's token is its length.
    async fn read(&self, _: &Served, prompt: &Prompt) -> Result<Vec<u32>> {
        Ok(words(prompt).iter().map(|word| word.len() as u32).collect())
    }

    async fn check_format(&self, _: &Served, format: &Format) -> Result<()> {
        match format {
            Format::JsonSchema(schema) if schema.get("not").is_some() => {
                Err(WorkerError::field("response_format", "at #/not: `not` is not supported"))
            }
            _ => Ok(()),
        }
    }

    async fn embed(&self, _: &Served, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| vec![1.0, 0.0, text.len() as f32]).collect())
    }

    async fn schedule(&self, _: &Served, request: Generate) -> Result<mpsc::Receiver<Event>> {
        let (send, receive) = mpsc::channel(1);
        let (pace, breaks) = (self.pace, self.breaks.load(Ordering::Relaxed));
        let cancelled = self.cancelled.clone();
        let words = words(&request.prompt);
        let beside = request.logprobs;
        *self.asked.lock().unwrap() = Some(request.clone());
        let running = Running::new(&self.running);
        let length = words.len().min(request.max_tokens as usize);
        tokio::spawn(async move {
            let _running = running;
            let (mut text, mut tokens) = (String::new(), Vec::new());
            for (i, word) in words.iter().take(length).enumerate() {
                tokio::select! {
                    () = tokio::time::sleep(pace) => {},
                    () = send.closed() => {
                        cancelled.fetch_add(1, Ordering::Relaxed);
                        return;
                    },
                }
                let piece = if i == 0 { word.clone() } else { format!(" {word}") };
                text.push_str(&piece);
                tokens.push(i as i64);
                let logprobs = beside.map(|beside| likelihoods(&piece, beside));
                let token = Event::Token { id: i as i64, text: piece, logprobs };
                if send.send(token).await.is_err() {
                    cancelled.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                if breaks {
                    let error = WorkerError::Engine("out of memory".into());
                    let _ = send.send(Event::Failed(error)).await;
                    return;
                }
            }
            let ended = if length < words.len() { Ended::Length } else { Ended::Stop };
            let _ = send.send(Event::Done { ended, tokens, text }).await;
        });
        Ok(receive)
    }

    async fn attribute(&self, _: &Served, _: &Prompt, answer: &[i64]) -> Result<Attribution> {
        assert!(!answer.is_empty());
        Ok(Attribution {
            shares: vec![
                Share { contribution: ContributionId(1), ppm: 500_000 },
                Share { contribution: ContributionId(2), ppm: 200_000 },
            ],
            unattributed_ppm: 300_000,
            records: vec![RecordShare { contribution: ContributionId(1), record: 4, ppm: 400_000 }],
            influences: vec![
                Influence { contribution: ContributionId(1), record: 4, ppm: 910_000 },
                Influence { contribution: ContributionId(2), record: 0, ppm: -20_000 },
            ],
            spans: self.spans.lock().unwrap().clone(),
            index_root: H256::repeat_byte(3),
        })
    }
}
