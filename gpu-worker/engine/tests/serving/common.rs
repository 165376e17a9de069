//! Adapters, requests and answers that all of these tests use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};
use tributary_engine::{
    Adapter, BaseModel, Engine, EngineError, EngineOptions, EngineStats, Event, Finished,
    GenerateRequest, LoraConfig, ModelConfig, Projection, Prompt, Sampling,
};

pub fn base_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny")
}

pub fn base() -> BaseModel {
    BaseModel::load(&base_folder(), Device::Cpu).unwrap()
}

/// An adapter that changes answers: B is not zero as in a fresh one.
pub fn adapter(
    config: &ModelConfig,
    folder: &Path,
    seed: u64,
    rank: i64,
    targets: &[Projection],
) -> Adapter {
    let lora =
        LoraConfig { rank, alpha: 2.0 * rank as f64, targets: targets.to_vec(), rslora: false };
    let fresh = Adapter::new(lora, config, seed, Device::Cpu).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let numbers = Vec::<f32>::try_from(fresh.flat()).unwrap();
    let moved: Vec<f32> = numbers.iter().map(|n| n + rng.gen_range(-0.04..0.04)).collect();
    fresh.flat().shallow_clone().copy_(&Tensor::from_slice(&moved).to_kind(Kind::Float));
    fresh.save(folder, config, "tiny").unwrap();
    Adapter::load(folder, config, Device::Cpu).unwrap()
}

/// Ranks and targets of several kinds in turn.
pub fn kinds() -> Vec<(i64, Vec<Projection>)> {
    use Projection::{Down, Gate, Up, K, O, Q, V};
    vec![
        (16, Projection::ALL.to_vec()),
        (8, vec![Q, V]),
        (64, vec![Gate, Up, Down]),
        (24, vec![K, O, Up]),
        (10, Projection::ALL.to_vec()),
    ]
}

/// Folders of `count` adapters of rank 8, each with an answer of its own.
pub fn folders(place: &Path, count: usize) -> Vec<PathBuf> {
    let config = ModelConfig::read(&base_folder()).unwrap();
    let make = |n: usize| {
        let folder = place.join(format!("adapter-{n}"));
        adapter(&config, &folder, n as u64 + 1, 8, &Projection::ALL);
        folder
    };
    (0..count).map(make).collect()
}

pub fn options() -> EngineOptions {
    EngineOptions { threads: 2, slots: 4, waiting: 64, ..EngineOptions::new(base_folder()) }
}

pub fn start(options: EngineOptions) -> Engine {
    Engine::start(options).unwrap()
}

pub fn ask(adapter: Option<&str>, text: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        adapter: adapter.map(Into::into),
        prompt: Prompt::Text(text.into()),
        max_tokens,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Default::default(),
    }
}

/// The whole answer.
pub async fn answer(engine: &Engine, request: GenerateRequest) -> Result<Finished, EngineError> {
    let mut events = engine.generate(request)?;
    while let Some(event) = events.recv().await {
        match event {
            Event::Token { .. } => {}
            Event::Done(done) => return Ok(done),
            Event::Failed(error) => return Err(error),
        }
    }
    panic!("the stream ended without a last event");
}

/// Waits until the engine's numbers are as they should come to be.
pub async fn until(engine: &Engine, what: &str, is: impl Fn(&EngineStats) -> bool) -> EngineStats {
    for _ in 0..3000 {
        let stats = engine.stats();
        if is(&stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come: {:?}", engine.stats());
}
