//! The crate's one error type. Each variant says what is wrong and what to do, and maps to an HTTP
//! status, an OpenAI error type and a metric label of low cardinality.

use axum::http::StatusCode;
use tributary_client::shards::RecordKind;
use tributary_primitives::{
    money::format_open, AccountId, Balance, ChannelId, ContributionId, Digest, JobId, H256,
};

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, WorkerError>;

/// What can go wrong in the worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    // --- what a caller of the API did ---------------------------------------------------------
    /// The body is not JSON, or a field has the wrong type or range.
    #[error("{message}")]
    BadRequest {
        /// What is wrong with it.
        message: String,
        /// The field, when it is one.
        param: Option<String>,
    },
    /// The prompt and the answer asked for do not fit into the model's context.
    #[error("the prompt has {prompt} tokens and {answer} more are asked for, but the model's context is {context}; shorten the messages or lower max_tokens")]
    TooLong {
        /// Tokens of the prompt.
        prompt: u32,
        /// Tokens asked for.
        answer: u32,
        /// Tokens that fit.
        context: u32,
    },
    /// The body is larger than this worker reads.
    #[error("the body is larger than {limit} bytes; shorten the messages")]
    BodyTooLarge {
        /// Bytes that are read at most.
        limit: usize,
    },
    /// No such model here.
    #[error("no model `{0}` is served here; GET /v1/models lists what is")]
    UnknownModel(String),
    /// The model's owner asks no price, so that nobody can buy an answer.
    #[error("model `{0}` is not listed on the market; its owner lists it with `tributary model list-for-sale`")]
    NotListed(String),
    /// There is nothing at this address.
    #[error("{0}")]
    NotFound(String),
    /// The request carries no voucher, or one that does not cover it.
    #[error("{}", .0.reason)]
    Payment(Box<PaymentRequired>),
    /// Too many answers are being given at this moment.
    #[error("all {slots} answer slots are taken; try again in a moment")]
    Overloaded {
        /// Answers given at the same time.
        slots: usize,
    },
    /// The engine's queue is full.
    #[error("the engine has more to do than it can queue; try again in a moment")]
    EngineBusy,
    /// The worker is going down.
    #[error("the worker is shutting down; ask another worker or try again later")]
    ShuttingDown,

    // --- the world outside --------------------------------------------------------------------
    /// The node does not answer.
    #[error("the node cannot be reached ({0}); check that it runs and that its URL is right")]
    NodeUnreachable(String),
    /// The chain refused a call.
    #[error("the chain refused {call}: {reason}")]
    Refused {
        /// The call, as `Pallet::call`.
        call: &'static str,
        /// The module's error or the reason that the pool gave.
        reason: String,
    },
    /// The chain answered with something that this version does not understand.
    #[error("the node's answer is not understood ({0}); worker and node are probably of different versions")]
    ChainAnswer(String),
    /// The object store does not answer.
    #[error("the object store cannot be reached ({0}); check its URL and that it runs")]
    StoreUnreachable(String),
    /// The object store has no such blob.
    #[error("the object store has no blob {0:?}; whoever registered it has to store it again")]
    BlobMissing(Digest),
    /// What the object store holds is not what the chain names.
    #[error("blob {digest:?} is not usable: {reason}")]
    BadBlob {
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },

    // --- the worker itself --------------------------------------------------------------------
    /// A setting is missing or wrong.
    #[error("{0}")]
    Config(String),
    /// The journal cannot be read or written.
    #[error("the journal failed ({0}); check the disk that holds the data folder")]
    Journal(#[from] rusqlite::Error),
    /// The journal holds something that this version cannot read.
    #[error("the journal holds a damaged {what} ({reason}); restore the data folder from a copy")]
    JournalDamaged {
        /// Which row.
        what: &'static str,
        /// Why it cannot be read.
        reason: String,
    },
    /// The journal belongs to another chain or worker.
    #[error("the journal belongs to {what} {found}, but this is {expected}; give each chain and each worker its own data folder")]
    JournalForeign {
        /// `chain` or `worker`.
        what: &'static str,
        /// What it belongs to.
        found: String,
        /// What this worker is.
        expected: String,
    },
    /// Journal and chain tell different stories.
    #[error("journal and chain disagree: {0}")]
    Disagreement(String),
    /// A lease ended before the job was done.
    #[error("the lease of job {job} ended before its result was there; it is open for other workers again")]
    LeaseLost {
        /// The job.
        job: JobId,
    },
    /// A job cannot be trained, however often it is tried.
    #[error("job {job} cannot be trained here: {reason}")]
    JobImpossible {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// A job's versions hold records of both kinds.
    #[error("job {job} cannot be trained: contribution {} holds {} and contribution {} {}, and a training takes one kind only; submit a job for each kind, on versions that hold no other", .first.0, .first.1, .second.0, .second.1)]
    MixedRecords {
        /// The job.
        job: JobId,
        /// A contribution and what it holds.
        first: (ContributionId, RecordKind),
        /// One that holds something else.
        second: (ContributionId, RecordKind),
    },
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// A file or socket failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to which path.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task of the worker itself broke off.
    #[error("an internal task stopped ({0}); this is a fault of the worker, please report it with its log")]
    Internal(String),
}

/// Why and how a request has to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRequired {
    /// What is missing.
    pub fault: VoucherFault,
    /// For people.
    pub reason: String,
    /// Price per 1,000 prompt tokens, in units.
    pub price_in: Balance,
    /// Price per 1,000 answer tokens, in units.
    pub price_out: Balance,
    /// Whom to open a channel with.
    pub worker: AccountId,
    /// What a voucher has to promise at least, in units, for this request.
    pub min_cumulative: Balance,
}

/// What is wrong with a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoucherFault {
    /// There is none.
    Missing,
    /// It is not the hexadecimal SCALE form of a voucher with its signature.
    Malformed,
    /// The chain has no such channel.
    UnknownChannel,
    /// The channel pays another worker.
    OtherWorker,
    /// The channel is being closed.
    Closing,
    /// The consumer of the channel did not sign it on this chain.
    BadSignature,
    /// It promises more than the channel's deposit.
    AboveDeposit,
    /// All that it promises is already spent.
    Stale,
    /// It promises too little for the longest answer that is asked for.
    Insufficient,
}

impl VoucherFault {
    /// The error code in the body, and the metric label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "voucher_missing",
            Self::Malformed => "voucher_malformed",
            Self::UnknownChannel => "channel_unknown",
            Self::OtherWorker => "channel_of_other_worker",
            Self::Closing => "channel_closing",
            Self::BadSignature => "voucher_signature",
            Self::AboveDeposit => "voucher_above_deposit",
            Self::Stale => "voucher_stale",
            Self::Insufficient => "voucher_insufficient",
        }
    }

    /// What is wrong, for people.
    pub fn explain(self, channel: Option<ChannelId>, min_cumulative: Balance) -> String {
        let of = channel.map(|id| format!(" {id}")).unwrap_or_default();
        let least = format_open(min_cumulative);
        match self {
            Self::Missing => "this request has to be paid with a voucher in the header X-Tributary-Voucher".into(),
            Self::Malformed => "X-Tributary-Voucher has to be 0x and the hexadecimal SCALE form of (Voucher, MultiSignature)".into(),
            Self::UnknownChannel => format!("the chain has no channel{of}; open one with this worker"),
            Self::OtherWorker => format!("channel{of} pays another worker; open one with this worker"),
            Self::Closing => format!("channel{of} is being closed; open a new one"),
            Self::BadSignature => format!("the voucher is not signed by the consumer of channel{of} for this chain"),
            Self::AboveDeposit => format!("the voucher promises more than the deposit of channel{of}; top the channel up"),
            Self::Stale => format!("everything that the voucher promises is spent; sign one of at least {least} OPEN"),
            Self::Insufficient => format!("the voucher does not cover the longest answer asked for; sign one of at least {least} OPEN or lower max_tokens"),
        }
    }
}

impl WorkerError {
    /// Shorthand for a wrong field.
    pub fn field(param: &str, message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into(), param: Some(param.into()) }
    }

    /// Shorthand for a failed file operation.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A journal row that cannot be decoded.
    pub fn damaged(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::JournalDamaged { what, reason: reason.to_string() }
    }

    /// HTTP status of the error.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } | Self::TooLong { .. } => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownModel(_) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::NotListed(_) => StatusCode::FORBIDDEN,
            Self::Payment(_) => StatusCode::PAYMENT_REQUIRED,
            Self::Overloaded { .. } | Self::EngineBusy => StatusCode::TOO_MANY_REQUESTS,
            // A full disk may be emptied, and another worker has a disk of its own.
            Self::ShuttingDown
            | Self::NodeUnreachable(_)
            | Self::StoreUnreachable(_)
            | Self::Journal(_)
            | Self::Io { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::BlobMissing(_) | Self::BadBlob { .. } => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Error type in OpenAI's terms.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Payment(_) => "payment_required",
            Self::Overloaded { .. } | Self::EngineBusy => "rate_limit_error",
            _ if self.status().is_client_error() => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// Code in the body, and metric label: one of a few dozen constants.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::TooLong { .. } => "context_length_exceeded",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::UnknownModel(_) => "model_not_found",
            Self::NotListed(_) => "model_not_listed",
            Self::NotFound(_) => "not_found",
            Self::Payment(payment) => payment.fault.code(),
            Self::Overloaded { .. } | Self::EngineBusy => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::NodeUnreachable(_) => "node_unreachable",
            Self::Refused { .. } => "chain_refused",
            Self::ChainAnswer(_) => "chain_answer",
            Self::StoreUnreachable(_) => "store_unreachable",
            Self::BlobMissing(_) => "blob_missing",
            Self::BadBlob { .. } => "blob_bad",
            Self::Config(_) => "config",
            Self::Journal(_) => "journal",
            Self::JournalDamaged { .. } => "journal_damaged",
            Self::JournalForeign { .. } => "journal_foreign",
            Self::Disagreement(_) => "disagreement",
            Self::LeaseLost { .. } => "lease_lost",
            Self::JobImpossible { .. } => "job_impossible",
            Self::MixedRecords { .. } => "records_mixed",
            Self::Engine(_) => "engine",
            Self::Io { .. } => "io",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether trying the same again later can help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NodeUnreachable(_)
                | Self::StoreUnreachable(_)
                | Self::BlobMissing(_)
                | Self::Overloaded { .. }
                | Self::EngineBusy
                | Self::Journal(_)
                | Self::Io { .. }
        )
    }
}

/// `0x` and hexadecimal digits.
pub fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A hash as people write it.
pub fn hash_text(hash: &H256) -> String {
    hex0x(hash.as_bytes())
}
