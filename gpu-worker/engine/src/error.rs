//! The crate's one error type: each variant names what is wrong and what to do about it.

use std::path::{Path, PathBuf};

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, EngineError>;

/// What can go wrong between a model folder and an answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file exists but reading or writing it failed.
    #[error("{path}: {source}; check that the path exists and that its permissions allow this")]
    Io { path: PathBuf, source: std::io::Error },
    /// The disk has no room left.
    #[error("{path}: no space is left; free some and start again, a training goes on from its last checkpoint")]
    StorageFull { path: PathBuf },
    /// A file that the layout demands is not there.
    #[error("{path} is missing: {needed_for}")]
    MissingFile { path: PathBuf, needed_for: &'static str },
    /// `config.json` cannot be used.
    #[error("{path}: {reason}")]
    Config { path: PathBuf, reason: String },
    /// The weights lack a tensor that the configuration demands.
    #[error("tensor `{name}` is missing from {path}; the checkpoint is incomplete or of another architecture")]
    MissingTensor { name: String, path: PathBuf },
    /// A tensor's shape is not the one that follows from the configuration.
    #[error(
        "tensor `{name}` has shape {found:?}, but the configuration asks for {expected:?}; \
         weights and configuration do not belong together"
    )]
    TensorShape { name: String, expected: Vec<i64>, found: Vec<i64> },
    /// A tensor's number format is not f32, bf16 or f16.
    #[error("tensor `{name}` is stored as {dtype}; only F32, BF16 and F16 can be read")]
    TensorDtype { name: String, dtype: String },
    /// A matrix cannot be held in 4 bits.
    #[error(
        "a matrix of shape {shape:?} cannot be quantised; its size is not a multiple of {block}"
    )]
    Quantise { shape: Vec<i64>, block: i64 },
    /// A safetensors file is truncated or its header is malformed.
    #[error("{path} is not a whole safetensors file ({reason}); fetch it again")]
    Safetensors { path: PathBuf, reason: String },
    /// `tokenizer.json` or `tokenizer_config.json` cannot be used.
    #[error("{path}: the tokenizer cannot be used: {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    /// The chat template failed on these messages.
    #[error("the chat template failed: {reason}")]
    Template { reason: String },
    /// An adapter's configuration or tensors cannot be used on this base model.
    #[error("adapter {path}: {reason}")]
    Adapter { path: PathBuf, reason: String },
    /// A record is not one of the accepted forms, or has nothing to learn from.
    #[error("record {index}: {reason}")]
    Record { index: usize, reason: String },
    /// A training specification is out of range.
    #[error("training specification: {0}")]
    Spec(String),
    /// The loss or a gradient became infinite or not a number.
    #[error(
        "the loss or gradient is not finite at step {step}; lower the learning rate or clip gradients"
    )]
    NotFinite { step: usize },
    /// A checkpoint does not belong to this training run, or is damaged.
    #[error("checkpoint {path}: {reason}; delete the folder to start afresh")]
    Checkpoint { path: PathBuf, reason: String },
    /// No adapter of this name is loaded.
    #[error("adapter `{0}` is not loaded; load it first")]
    UnknownAdapter(String),
    /// The request cannot fit into the model's context.
    #[error("the prompt has {tokens} tokens, and {max} is the most that fits; shorten it")]
    PromptTooLong { tokens: usize, max: usize },
    /// A request that makes no sense (empty prompt, temperature below zero, …).
    #[error("request: {0}")]
    Request(String),
    /// A JSON schema that an answer is to follow cannot be used.
    #[error("the schema cannot be followed: {0}")]
    Schema(String),
    /// The attribution index was refused.
    #[error(transparent)]
    Attribution(#[from] tributary_attribution::IndexError),
    /// The tensor library reported an error.
    #[error("tensor library: {0}")]
    Torch(#[from] tch::TchError),
    /// A step of generation failed; the requests in it end, others go on.
    #[error("a step of generation failed: {0}")]
    Step(String),
    /// CUDA, its compiler or a kernel's conditions.
    #[error("{doing}: {reason}")]
    Cuda { doing: &'static str, reason: String },
    /// The job was cancelled by its owner.
    #[error("the job was cancelled")]
    Cancelled,
    /// Too many requests wait already.
    #[error("the engine is overloaded; try again in a moment")]
    Overloaded,
    /// The engine's thread has ended.
    #[error("the engine has stopped; restart the process")]
    Stopped,
}

impl EngineError {
    /// An [`EngineError::Io`] for `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { path: path.to_path_buf() }
            }
            _ => Self::Io { path: path.to_path_buf(), source },
        }
    }

    /// Whether the tensor library had no memory left: less of the same may work.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let said = match self {
            Self::Step(reason) => reason.to_lowercase(),
            Self::Torch(error) => error.to_string().to_lowercase(),
            _ => return false,
        };
        // The words of CUDA's allocator, of cuBLAS and of the CPU's.
        ["out of memory", "alloc_failed", "can't allocate memory"].iter().any(|w| said.contains(w))
    }

    /// A short label of low cardinality for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::StorageFull { .. } => "storage_full",
            Self::MissingFile { .. } => "missing_file",
            Self::Config { .. } => "config",
            Self::MissingTensor { .. } => "missing_tensor",
            Self::TensorShape { .. } => "tensor_shape",
            Self::TensorDtype { .. } => "tensor_dtype",
            Self::Quantise { .. } => "quantise",
            Self::Safetensors { .. } => "safetensors",
            Self::Tokenizer { .. } => "tokenizer",
            Self::Template { .. } => "template",
            Self::Adapter { .. } => "adapter",
            Self::Record { .. } => "record",
            Self::Spec(_) => "spec",
            Self::NotFinite { .. } => "not_finite",
            Self::Checkpoint { .. } => "checkpoint",
            Self::UnknownAdapter(_) => "unknown_adapter",
            Self::PromptTooLong { .. } => "prompt_too_long",
            Self::Request(_) => "request",
            Self::Schema(_) => "schema",
            Self::Attribution(_) => "attribution",
            Self::Torch(_) => "torch",
            Self::Step(_) => "step",
            Self::Cuda { .. } => "cuda",
            Self::Cancelled => "cancelled",
            Self::Overloaded => "overloaded",
            Self::Stopped => "stopped",
        }
    }
}
