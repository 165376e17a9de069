//! Many adapters asked at once, and the base asked as often.

use crate::{load, serving, Place};
use anyhow::{ensure, Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tributary_engine::{traffic::closed, Adapter, BaseModel, Engine, EngineOptions};

/// What is asked of a crowd of adapters.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// Folder of the adapter whose relatives make up the crowd.
    #[arg(long)]
    adapter: PathBuf,
    /// How many adapters.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 32)]
    tokens: usize,
}

/// How the crowd did; printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Crowd {
    /// Adapters that answered at the same time.
    pub adapters: usize,
    /// Tokens in a second of all their answers.
    pub tokens_per_second: f64,
    /// Tokens in a second of the same questions to the base.
    pub base_tokens_per_second: f64,
    /// The first in relation to the second.
    pub ratio: f64,
    /// Different answers to one and the same question.
    pub different_answers: usize,
    /// Whether the adapter itself says the same in the crowd and alone.
    pub same_as_alone: bool,
}

/// Writes `count` relatives of the adapter: the first is the adapter itself, each other one adds
/// its own small noise.
fn relatives(base: &BaseModel, adapter: &Path, count: usize, into: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::with_capacity(count);
    for number in 0..count {
        let copy = Adapter::load(adapter, base.config(), tch::Device::Cpu)
            .with_context(|| adapter.display().to_string())?;
        if number > 0 {
            tch::manual_seed(number as i64);
            let mut flat = copy.flat().shallow_clone();
            flat += tch::Tensor::randn_like(copy.flat()) * 0.02;
        }
        let folder = into.join(number.to_string());
        copy.save(&folder, base.config(), "tiny")?;
        folders.push(folder);
    }
    Ok(folders)
}

async fn texts(engine: &Engine, names: &[Option<String>], tokens: usize) -> Result<Vec<String>> {
    let mut events = Vec::new();
    for name in names {
        events.push(engine.generate(load::request(engine, name.clone(), 0, tokens))?);
    }
    let mut texts = Vec::new();
    for mut receiver in events {
        let text = loop {
            match receiver.recv().await.context("an answer ended without its last event")? {
                tributary_engine::Event::Done(done) => break done.text,
                tributary_engine::Event::Failed(error) => return Err(error.into()),
                tributary_engine::Event::Token { .. } => {}
            }
        };
        texts.push(text);
    }
    Ok(texts)
}

/// Loads the crowd, asks it, and compares.
pub async fn run(options: &Options) -> Result<()> {
    ensure!(options.count > 0, "a crowd of no adapters says nothing; give --count 1 or more");
    let base = BaseModel::load(&options.place.base, tch::Device::Cpu)?;
    let folder = tempfile::tempdir()?;
    let folders = relatives(&base, &options.adapter, options.count, folder.path())?;
    drop(base);
    let engine = Engine::start(EngineOptions {
        threads: options.place.threads,
        slots: options.count,
        capacity: 128,
        waiting: 4 * options.count,
        device_adapters: options.count,
        ..EngineOptions::new(&options.place.base)
    })?;
    serving::register(&engine, &folders, options.count).await?;

    let names: Vec<Option<String>> = (0..options.count).map(|n| Some(n.to_string())).collect();
    let alone = texts(&engine, &names[..1], options.tokens).await?;
    let crowd = texts(&engine, &names, options.tokens).await?;
    let mut different = crowd.clone();
    different.sort();
    different.dedup();

    let ask = |named: bool| {
        let name = |n: usize| named.then(|| n.to_string());
        let all = (0..options.count).map(|n| load::request(&engine, name(n), n, options.tokens));
        closed(&engine, all.collect::<Vec<_>>(), options.count, None)
    };
    ask(false).await?;
    let plain = ask(false).await?.rate();
    let full = ask(true).await?.rate();
    let crowd = Crowd {
        adapters: options.count,
        tokens_per_second: full,
        base_tokens_per_second: plain,
        ratio: full / plain,
        different_answers: different.len(),
        same_as_alone: crowd.first() == alone.first(),
    };
    println!("{}", serde_json::to_string(&crowd)?);
    Ok(())
}
