//! Failures and their exit codes.

use serde_json::{json, Value};
use tributary_client::{
    chain::ChainError, channels::ChannelError, home::HomeError, keys::KeyError, shards::ShardError,
    store::StoreError, worker_api::WorkerError, Error as ClientError, ErrorKind,
};

/// Exit codes, as `--help` shows them.
pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something failed on this machine
  2  the command was not understood, or its input is not of the right form
  3  what was asked for does not exist
  4  node, store or worker cannot be reached, or does not get on
  5  the chain or a worker refused";

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Something in the client library.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// What was given is not of the right form.
    #[error("{0}")]
    Usage(String),
    /// The chain or a worker would refuse.
    #[error("{0}")]
    Refused(String),
    /// Something went wrong here.
    #[error("{0}")]
    Failed(String),
    /// It is still waiting for somebody.
    #[error("{0}")]
    Waiting(String),
}

macro_rules! through_client {
    ($($error:ty),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Client(error.into())
            }
        }
    )*};
}

through_client!(ChainError, ChannelError, HomeError, KeyError, ShardError, StoreError, WorkerError);

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("cannot write JSON: {error}"))
    }
}

impl CliError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Client(error) => error.kind(),
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Usage(_) => ErrorKind::Usage,
            Self::Refused(_) => ErrorKind::Refused,
            Self::Failed(_) => ErrorKind::Failed,
            Self::Waiting(_) => ErrorKind::Unreachable,
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::NotFound => 3,
            ErrorKind::Unreachable => 4,
            ErrorKind::Refused => 5,
        }
    }

    /// The object that `--json` prints.
    pub fn json(&self) -> Value {
        let mut error = json!({
            "kind": self.kind().label(),
            "message": self.to_string(),
            "exit_code": self.exit_code(),
        });
        if let Self::Client(ClientError::Chain(ChainError::Module {
            pallet, error: name, ..
        })) = self
        {
            error["code"] = json!(format!("{pallet}::{name}"));
        }
        json!({ "error": error })
    }
}

/// Outcome of a command.
pub type Result<T> = std::result::Result<T, CliError>;
