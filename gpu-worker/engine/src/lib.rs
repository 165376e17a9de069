//! LoRA training, generation and per-record gradients for Llama-family models on `tch`.

pub mod base;
mod batch;
mod config;
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
mod tokenizer;
mod train;
mod weights;

pub use config::{ModelConfig, Projection, RopeScaling};
pub use engine::{
    AttributeRequest, Attributed, Engine, EngineInfo, EngineOptions, Event, Finished,
    GenerateRequest, IndexSpec, Prompt, TrainDone, TrainEvent, TrainRequest, INDEX_FILE,
    SPANS_FILE,
};
pub use error::{EngineError, Result};
pub use generate::{generate, Answer, Batcher, FinishReason, Request, Sampling, StepOutput};
pub use gradients::{projected_gradients, record_gradients, GradientOptions, TwoSided};
pub use lora::{Adapter, LoraConfig, LoraTensors};
pub use model::{BaseModel, Transformer};
pub use record::{Record, Sample};
pub use tokenizer::{Message, TextStream, Tokenizer};
pub use train::{
    encode_records, train, Checkpoints, Metrics, Progress, TrainSpec, Trained, Trainer,
};
pub use weights::WeightStore;
