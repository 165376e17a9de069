//! The stages of a withdrawal, as they are shown.

use crate::{
    error::CliError,
    output::{facts, open, short, table, Report},
    Result,
};
use serde_json::{json, Value};
use std::{fmt::Write, time::Duration};
use tributary_client::primitives::{
    bridge::{calls::FinalizeBridge, Withdrawal, L2_BRIDGE},
    AccountId, Balance,
};
use tributary_relayer::{
    duties::withdraw::{progress, recipient, Progress, Step},
    l1::Contracts,
    l2::L2,
};

/// How often both chains are asked while a withdrawal is waited for.
const POLL: Duration = Duration::from_secs(3);

/// Whose withdrawals are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Everybody's.
    Everybody,
    /// Those that this account made.
    One(AccountId),
}

/// OPEN that a withdrawal carries, and the account that made it; `None` for a message.
fn carried(withdrawal: &Withdrawal) -> Option<(Balance, Option<AccountId>)> {
    if withdrawal.sender != L2_BRIDGE {
        return None;
    }
    let call = FinalizeBridge::decode(&withdrawal.data)?;
    let amount = Balance::try_from(call.amount).ok()?;
    let account = <[u8; 32]>::try_from(call.extra_data.as_slice()).ok().map(AccountId::new);
    Some((amount, account))
}

impl Watched {
    fn includes(&self, withdrawal: &Withdrawal) -> bool {
        match self {
            Self::Everybody => true,
            Self::One(account) => match carried(withdrawal) {
                Some((_, who)) => who.as_ref() == Some(account),
                None => {
                    withdrawal.sender
                        == tributary_client::primitives::bridge::sender_address(account)
                }
            },
        }
    }
}

/// A stage in words.
fn words(step: Step) -> &'static str {
    match step {
        Step::Initiated => "initiated on the chain",
        Step::Anchored => "in a block that is anchored on Ethereum",
        Step::Proposed => "an output that has it is proposed and proven",
        Step::Maturing => "proven at the portal, maturing",
        Step::Ready => "mature, to be carried out",
        Step::Finalized => "carried out",
    }
}

/// Seconds as people say them.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        7_200..=172_799 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// Every stage, those passed marked.
fn ladder(progress: &Progress) -> String {
    let mut text = String::new();
    for step in Step::ALL {
        let mark = match step.cmp(&progress.step) {
            std::cmp::Ordering::Less => "x",
            std::cmp::Ordering::Equal if step == Step::Finalized => "x",
            std::cmp::Ordering::Equal => ">",
            std::cmp::Ordering::Greater => " ",
        };
        let left = match (step, progress.seconds_left) {
            (Step::Maturing, Some(left)) if step == progress.step => {
                format!(", about {} left", duration(left))
            }
            _ => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  [{mark}] {}{left}", words(step));
    }
    text
}

fn as_json(index: u32, withdrawal: &Withdrawal, progress: &Progress) -> Result<Value> {
    let mut json = serde_json::to_value(progress)?;
    json["withdrawal"] = json!(index);
    json["hash"] = json!(withdrawal.hash());
    json["to"] = json!(recipient(withdrawal));
    json["amount"] = json!(carried(withdrawal).map(|(amount, _)| amount.to_string()));
    Ok(json)
}

async fn look(contracts: &Contracts, l2: &L2, index: u32) -> Result<(Withdrawal, Progress)> {
    let withdrawal = l2.withdrawal(index).await?.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no withdrawal {index}; `tributary bridge status --all` shows those there are"
        ))
    })?;
    let progress = progress(contracts, l2, index, &withdrawal).await?;
    Ok((withdrawal, progress))
}

fn report(index: u32, withdrawal: &Withdrawal, progress: &Progress) -> Result<Report> {
    let what = match carried(withdrawal) {
        Some((amount, _)) => open(amount),
        None => format!("a message of {} bytes", withdrawal.data.len()),
    };
    let head = facts(&[
        ("withdrawal", index.to_string()),
        ("what", what),
        ("to", format!("{:?}", recipient(withdrawal))),
        ("hash", format!("{:?}", withdrawal.hash())),
        ("last anchored block", progress.anchored_block.to_string()),
    ]);
    Ok(Report { json: as_json(index, withdrawal, progress)?, text: head + &ladder(progress) })
}

/// How far one withdrawal is.
pub async fn one(contracts: &Contracts, l2: &L2, index: u32) -> Result<Report> {
    let (withdrawal, progress) = look(contracts, l2, index).await?;
    report(index, &withdrawal, &progress)
}

/// Follows a withdrawal until it has arrived; `say` hears of every change.
pub async fn follow(
    contracts: &Contracts,
    l2: &L2,
    index: u32,
    say: impl Fn(String),
) -> Result<Report> {
    loop {
        let (withdrawal, progress) = look(contracts, l2, index).await?;
        if progress.step == Step::Finalized {
            return report(index, &withdrawal, &progress);
        }
        let left = progress.seconds_left.map(|left| format!(", about {} left", duration(left)));
        say(format!("{}{}", words(progress.step), left.unwrap_or_default()));
        tokio::time::sleep(POLL).await;
    }
}

/// Several withdrawals in a table, the newest last.
pub async fn list(contracts: &Contracts, l2: &L2, whose: &Watched) -> Result<Report> {
    let state = l2.settlement(None).await?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for index in 0..state.withdrawals {
        let Some(withdrawal) = l2.withdrawal(index).await? else { continue };
        if !whose.includes(&withdrawal) {
            continue;
        }
        let progress = progress(contracts, l2, index, &withdrawal).await?;
        let amount = carried(&withdrawal).map_or("message".into(), |(amount, _)| open(amount));
        let to = short(&format!("{:?}", recipient(&withdrawal)));
        let left = progress.seconds_left.map(duration).unwrap_or_default();
        rows.push([index.to_string(), amount, to, words(progress.step).into(), left]);
        all.push(as_json(index, &withdrawal, &progress)?);
    }
    let anchored = contracts.latest_anchored().await?;
    let origin = state.origin.map_or(0, |origin| origin.number);
    let mut text = facts(&[
        ("last anchored block", anchored.to_string()),
        ("Ethereum is known up to block", origin.to_string()),
        ("deposits taken in", state.executed.to_string()),
        ("withdrawals made", state.withdrawals.to_string()),
    ]);
    if rows.is_empty() {
        text.push_str("No withdrawals.\n");
    } else {
        text.push_str(&table(["withdrawal", "what", "to", "stage", "left"], &rows));
    }
    let json = json!({ "withdrawals": all, "anchored_block": anchored, "state": state });
    Ok(Report { json, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: Step, seconds_left: Option<u64>) -> Progress {
        Progress {
            step,
            anchored_block: 7,
            game: None,
            game_block: None,
            game_status: None,
            seconds_left,
        }
    }

    #[test]
    fn the_ladder_shows_what_is_done_and_what_is_left() {
        let text = ladder(&at(Step::Maturing, Some(90)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[2].starts_with("  [x] an output"));
        assert_eq!(lines[3], "  [>] proven at the portal, maturing, about 90 s left");
        assert!(lines[4].starts_with("  [ ] mature"));
        assert!(ladder(&at(Step::Finalized, None)).lines().all(|line| line.starts_with("  [x]")));
    }

    #[test]
    fn times_are_said_as_people_do() {
        assert_eq!(duration(119), "119 s");
        assert_eq!(duration(121), "3 min");
        assert_eq!(duration(7_201), "3 h");
        assert_eq!(duration(604_800), "7 days");
    }
}
