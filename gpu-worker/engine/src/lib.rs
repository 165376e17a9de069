//! LoRA training, generation and per-record gradients for Llama-family models on `tch`.

pub mod base;
mod batch;
mod config;
pub mod cuda;
mod decoding;
mod engine;
mod error;
pub mod evaluation;
mod files;
mod generate;
mod gradients;
pub mod indexing;
mod lora;
mod model;
mod optim;
mod record;
mod rope;
mod serve;
mod tokenizer;
pub mod traffic;
mod train;
mod weights;

pub use config::{ModelConfig, Projection, RopeScaling};
pub use decoding::{
    FinishReason, Format, Grammar, Guidance, Sampling, TokenLogprobs, SAMPLER_VERSION,
};
pub use engine::{
    AttributeRequest, Attributed, Embedded, Engine, EngineInfo, EngineOptions, Event, Finished,
    GenerateRequest, IndexSpec, Prompt, TrainDone, TrainEvent, TrainRequest, INDEX_FILE,
    SPANS_FILE,
};
pub use error::{EngineError, Result};
pub use generate::{generate, Answer, BatchOptions, Batcher, Request, StepOutput};
pub use gradients::{projected_gradients, record_gradients, GradientOptions, TwoSided};
pub use lora::{Adapter, LoraConfig, LoraTensors};
pub use model::{nf4_round_trip, BaseModel, Quantise, Transformer};
pub use record::{Record, Sample};
pub use serve::score::{score, Agreement, Scored, BF16_TOLERANCE, F32_TOLERANCE};
pub use serve::stats::{EngineStats, TierStats};
pub use serve::stock::LoraPath;
pub use serve::Pooling;
pub use tokenizer::{Message, TextStream, Tokenizer};
pub use train::{
    encode_records, step_together, train, Checkpoints, Metrics, Progress, TrainSpec, Trained,
    Trainer,
};
pub use weights::WeightStore;
