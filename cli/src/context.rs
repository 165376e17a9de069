//! What every command needs: the home folder, the node, the store, the key.

use crate::{error::CliError, Result};
use clap::Args;
use std::{io::IsTerminal, path::PathBuf};
use tributary_client::{
    chain::Wait,
    keys::{parse_address, KeyInfo, Protection},
    primitives::{
        money::parse_open,
        views::{ContributionView, DatanetView, JobView, ModelView, WorkerView},
        AccountId, Balance, ContributionId, DatanetId, JobId, ModelId,
    },
    store::parse_digest,
    Chain, Home, Key, KeyError, Store,
};

/// Name of the key that is used when none is named.
pub const DEFAULT_KEY: &str = "default";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Node to talk to
    #[arg(
        long,
        global = true,
        env = "TRIBUTARY_NODE",
        default_value = "ws://127.0.0.1:9944",
        value_name = "URL",
        help_heading = "Common options"
    )]
    pub node: String,
    /// Object store: a folder, file:///path or s3://bucket/prefix [default: HOME/store]
    #[arg(
        long,
        global = true,
        env = "TRIBUTARY_STORE",
        value_name = "URL",
        help_heading = "Common options"
    )]
    pub store: Option<String>,
    /// Folder of keys, seeds and channels [default: ~/.local/share/tributary]
    #[arg(
        long,
        global = true,
        env = "TRIBUTARY_HOME",
        value_name = "FOLDER",
        help_heading = "Common options"
    )]
    pub home: Option<PathBuf>,
    /// Key to sign with [default: default]
    #[arg(
        long,
        global = true,
        env = "TRIBUTARY_KEY",
        value_name = "NAME",
        help_heading = "Common options"
    )]
    pub key: Option<String>,
    /// Sign with this secret instead: words, a 0x… seed, or a development name like //Alice
    #[arg(
        long,
        global = true,
        value_name = "SECRET",
        conflicts_with = "key",
        help_heading = "Common options"
    )]
    pub uri: Option<String>,
    /// Print one JSON object on standard output; everything for people goes to standard error
    #[arg(long, global = true, help_heading = "Common options")]
    pub json: bool,
    /// Wait until the transaction's block is final, not only until it is in a block
    #[arg(long = "final", global = true, help_heading = "Common options")]
    pub wait_final: bool,
    /// Say more about what is happening
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// What every command needs.
#[derive(Debug)]
pub struct Context {
    /// The options.
    pub options: Options,
    /// The home folder.
    pub home: Home,
}

impl Context {
    /// Opens the home folder; nothing else is touched yet.
    pub fn new(options: Options) -> Result<Self> {
        let home = Home::open(options.home.clone())?;
        Ok(Self { options, home })
    }

    /// What to wait for after submitting.
    pub fn wait(&self) -> Wait {
        if self.options.wait_final {
            Wait::Final
        } else {
            Wait::Block
        }
    }

    /// Connects to the node.
    pub async fn chain(&self) -> Result<Chain> {
        Ok(Chain::connect(&self.options.node).await?)
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Store> {
        let url = self.options.store.clone().unwrap_or_else(|| self.home.default_store());
        Ok(Store::open(&url)?)
    }

    /// Name of the key to sign with; `None` when a secret is given instead.
    pub fn key_name(&self) -> &str {
        self.options.key.as_deref().unwrap_or(DEFAULT_KEY)
    }

    /// The key to sign with.
    pub fn key(&self) -> Result<Key> {
        match &self.options.uri {
            Some(uri) => Ok(Key::from_uri(uri)?),
            None => self.load_key(self.key_name()),
        }
    }

    /// What opens a key: nothing, or its password, from the environment or the terminal.
    pub fn password(&self, name: &str) -> Result<Option<String>> {
        let info = self.home.keys().info(name).map_err(|error| match error {
            KeyError::NotFound { name, folder } => CliError::NotFound(format!(
                "there is no key `{name}` in {}; make one with `tributary key new {name}`, or name \
                 another with --key",
                folder.display()
            )),
            other => other.into(),
        })?;
        match info.protection {
            Protection::File => Ok(None),
            Protection::Password => Ok(Some(password_for(name)?)),
        }
    }

    /// Opens a key by name, asking for its password if it has one.
    pub fn load_key(&self, name: &str) -> Result<Key> {
        let password = self.password(name)?;
        Ok(self.home.keys().load(name, password.as_deref())?)
    }

    /// Every key of this machine.
    pub fn all_keys(&self) -> Result<Vec<KeyInfo>> {
        Ok(self.home.keys().list()?)
    }

    /// An account by its address, or by the name of a local key.
    pub fn account(&self, text: &str) -> Result<AccountId> {
        parse_address(text).or_else(|error| match self.home.keys().info(text) {
            Ok(info) => Ok(info.account),
            Err(_) => Err(error.into()),
        })
    }
}

/// The password of a key: from the environment, or from the terminal.
fn password_for(name: &str) -> Result<String> {
    if let Some(password) = env_password() {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(KeyError::PasswordNeeded(name.into()).into());
    }
    Ok(rpassword::prompt_password(format!("Password of key `{name}`: "))?)
}

/// The password in the environment, if one is there.
pub fn env_password() -> Option<String> {
    std::env::var("TRIBUTARY_PASSWORD").ok().filter(|password| !password.is_empty())
}

/// An amount of OPEN on the command line.
pub fn amount(text: &str) -> std::result::Result<Balance, String> {
    parse_open(text).map_err(|error| error.to_string())
}

/// A datanet by name or number.
pub async fn datanet(chain: &Chain, text: &str) -> Result<DatanetView> {
    let found = match chain.datanets().datanet_by_name(text).await? {
        Some(view) => Some(view),
        None => match text.parse().map(DatanetId) {
            Ok(id) => chain.datanets().datanet(id).await?,
            Err(_) => None,
        },
    };
    found.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no datanet `{text}`; `tributary datanet list` shows those there are"
        ))
    })
}

/// A model by name or number.
pub async fn model(chain: &Chain, text: &str) -> Result<ModelView> {
    let found = match chain.attribution().model_by_name(text).await? {
        Some(view) => Some(view),
        None => match text.parse().map(ModelId) {
            Ok(id) => chain.attribution().model(id).await?,
            Err(_) => None,
        },
    };
    found.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no model `{text}`; `tributary model list` shows those there are"
        ))
    })
}

/// A contribution by number, or by the digest or CID of its shard.
pub async fn contribution(chain: &Chain, text: &str) -> Result<ContributionView> {
    let found = match text.parse().map(ContributionId) {
        Ok(id) => chain.datanets().contribution(id).await?,
        Err(_) => chain.datanets().contribution_by_content(parse_digest(text)?).await?,
    };
    found.ok_or_else(|| CliError::NotFound(format!("there is no contribution {text}")))
}

/// A job by number.
pub async fn job(chain: &Chain, id: u64) -> Result<JobView> {
    chain.compute().job(JobId(id)).await?.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no job {id}; `tributary job list` shows those there are"
        ))
    })
}

/// A worker by account.
pub async fn worker(chain: &Chain, account: &AccountId) -> Result<WorkerView> {
    chain.compute().worker(account).await?.ok_or_else(|| {
        CliError::NotFound(
            "there is no such worker; `tributary worker list` shows those there are".into(),
        )
    })
}
