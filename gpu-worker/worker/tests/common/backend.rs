//! An engine that says the question back, word by word.

use async_trait::async_trait;
use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc,
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tributary_primitives::{signing::Share, ContributionId, ModelId, H256};
use tributary_worker::{
    backend::{Attribution, Backend, Ended, Event, Generate, Health, Prompt, RecordShare, Served},
    Result, WorkerError,
};

pub const CONTEXT: u32 = 64;

#[derive(Default)]
pub struct Echo {
    /// Time per token.
    pub pace: Duration,
    /// Whether answers break off after their first token.
    pub breaks: AtomicBool,
    /// Generations that were cancelled.
    pub cancelled: Arc<AtomicUsize>,
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

    fn context(&self, _: &Served) -> Result<u32> {
        Ok(CONTEXT)
    }

    async fn count(&self, _: &Served, prompt: &Prompt) -> Result<u32> {
        Ok(words(prompt).len() as u32)
    }

    async fn schedule(&self, _: &Served, request: Generate) -> Result<mpsc::Receiver<Event>> {
        let (send, receive) = mpsc::channel(1);
        let (pace, breaks) = (self.pace, self.breaks.load(Ordering::Relaxed));
        let cancelled = self.cancelled.clone();
        let words = words(&request.prompt);
        let length = words.len().min(request.max_tokens as usize);
        tokio::spawn(async move {
            let (mut text, mut tokens) = (String::new(), Vec::new());
            for (i, word) in words.iter().take(length).enumerate() {
                tokio::time::sleep(pace).await;
                let piece = if i == 0 { word.clone() } else { format!(" {word}") };
                text.push_str(&piece);
                tokens.push(i as i64);
                if send.send(Event::Token { id: i as i64, text: piece }).await.is_err() {
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
            index_root: H256::repeat_byte(3),
        })
    }
}
