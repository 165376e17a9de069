//! `tributary key`

use crate::{
    context::{env_password, Context, DEFAULT_KEY},
    error::CliError,
    output::{facts, table, Report},
    Result,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use tributary_client::keys::{KeyInfo, Protection};

/// Make and keep keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its words are shown once
    New(NewArgs),
    /// List the keys of this machine
    List,
    /// Show a key's address
    Show {
        /// Its name
        #[arg(default_value = DEFAULT_KEY)]
        name: String,
    },
    /// Take over a key from its words (read from standard input), or from --uri
    Import(NewArgs),
    /// Print a key's secret
    Export {
        /// Its name
        name: String,
    },
    /// Delete a key; without its words nobody can bring it back
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Where a key goes, and what opens it.
#[derive(Args, Debug)]
pub struct NewArgs {
    /// Its name
    #[arg(default_value = DEFAULT_KEY)]
    name: String,
    /// Ask for a password. Without one (and without TRIBUTARY_PASSWORD) a random secret beside the
    /// key opens it: that protects a copied key file, not a copied folder
    #[arg(long)]
    password: bool,
}

impl NewArgs {
    fn password(&self) -> Result<Option<String>> {
        if let Some(password) = env_password() {
            return Ok(Some(password));
        }
        if !self.password {
            return Ok(None);
        }
        let first = rpassword::prompt_password("New password: ")?;
        if first.is_empty() {
            return Err(CliError::Usage("an empty password protects nothing".into()));
        }
        if first != rpassword::prompt_password("Again: ")? {
            return Err(CliError::Usage("the two passwords differ".into()));
        }
        Ok(Some(first))
    }
}

fn opened_by(protection: Protection) -> &'static str {
    match protection {
        Protection::Password => "password",
        Protection::File => "secret file beside it",
    }
}

fn describe(info: &KeyInfo) -> String {
    facts(&[
        ("name", info.name.clone()),
        ("address", info.address.clone()),
        ("opened by", opened_by(info.protection).into()),
    ])
}

/// Runs the command.
pub fn run(command: KeyCommand, context: &Context) -> Result<Report> {
    let keys = context.home.keys();
    match command {
        KeyCommand::New(args) => {
            let (_, words) = keys.create(&args.name, args.password()?.as_deref())?;
            let info = keys.info(&args.name)?;
            let text = format!(
                "{}\nWrite these words down. They are the key, and are not shown again:\n\n  {}\n",
                describe(&info),
                words.as_str()
            );
            let mut json = serde_json::to_value(&info)?;
            json["words"] = json!(words.as_str());
            Report::new(&json, text)
        }
        KeyCommand::List => {
            let list = keys.list()?;
            let rows: Vec<[String; 3]> = list
                .iter()
                .map(|k| [k.name.clone(), k.address.clone(), opened_by(k.protection).into()])
                .collect();
            let text = if rows.is_empty() {
                "There are no keys yet; make one with `tributary key new`.".to_string()
            } else {
                table(["name", "address", "opened by"], &rows)
            };
            Report::new(&json!({ "keys": list }), text)
        }
        KeyCommand::Show { name } => {
            let info = keys.info(&name)?;
            Report::new(&info, describe(&info))
        }
        KeyCommand::Import(args) => {
            let secret = match &context.options.uri {
                Some(uri) => uri.clone(),
                None if std::io::stdin().is_terminal() => {
                    rpassword::prompt_password("Words or 0x… seed: ")?
                }
                None => {
                    let mut line = String::new();
                    std::io::stdin().lock().read_line(&mut line)?;
                    line
                }
            };
            keys.import(&args.name, secret.trim(), args.password()?.as_deref())?;
            let info = keys.info(&args.name)?;
            Report::new(&info, describe(&info))
        }
        KeyCommand::Export { name } => {
            let password = context.password(&name)?;
            let secret = keys.export(&name, password.as_deref())?;
            Report::new(&json!({ "name": name, "secret": secret.as_str() }), secret.as_str())
        }
        KeyCommand::Delete { name, yes } => {
            let info = keys.info(&name)?;
            if !yes {
                if !std::io::stdin().is_terminal() {
                    return Err(CliError::Usage(format!(
                        "deleting `{name}` cannot be undone; say --yes if you mean it"
                    )));
                }
                eprint!("Delete `{name}` ({})? Type its name: ", info.address);
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line)?;
                if line.trim() != name {
                    return Err(CliError::Usage("not deleted".into()));
                }
            }
            keys.delete(&name)?;
            Report::new(&json!({ "deleted": name }), format!("Deleted `{name}`."))
        }
    }
}
