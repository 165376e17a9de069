//! The options, and what they mean once they have been checked.

use std::time::Duration;

use url::Url;

use super::Error;

/// Default and bounds of `--l1-poll-ms`. Ethereum finalises every 6.4 minutes; one slot is 12 s.
const POLL_MS: u64 = 6_000;
const POLL_MS_MIN: u64 = 100;
const POLL_MS_MAX: u64 = 600_000;

/// How the node learns of Ethereum.
///
/// Without an endpoint the node takes other authors' word for Ethereum's blocks, and its own
/// blocks leave the origin where it is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Ethereum")]
pub struct L1Params {
    /// An Ethereum endpoint (http, https, ws or wss). May be given several times: then only those
    /// blocks count on which enough of them agree.
    #[arg(long = "l1-rpc", value_name = "URL")]
    pub l1_rpc: Vec<String>,

    /// How many endpoints must agree on a block; the majority if not given.
    #[arg(long, value_name = "N", requires = "l1_rpc")]
    pub l1_agree: Option<usize>,

    /// How often to ask for Ethereum's finalised block, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = POLL_MS)]
    pub l1_poll_ms: u64,
}

/// The options, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// No two are the same. May be empty.
    pub endpoints: Vec<Url>,
    /// At least 1; at most the number of endpoints, unless there is none.
    pub agree: usize,
    pub poll: Duration,
}

impl Settings {
    /// How long a finalised block must have been known before an author builds on it, so that
    /// importers, who ask as often, know it too.
    pub fn settling(&self) -> Duration {
        self.poll.saturating_mul(2)
    }
}

impl L1Params {
    pub fn check(&self) -> Result<Settings, Error> {
        let mut endpoints: Vec<Url> = Vec::with_capacity(self.l1_rpc.len());
        for (index, text) in self.l1_rpc.iter().enumerate() {
            let place = index + 1;
            let url =
                Url::parse(text).map_err(|e| Error::NotAUrl { place, reason: e.to_string() })?;
            if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
                return Err(Error::Scheme { place, scheme: url.scheme().to_string() });
            }
            if url.host_str().is_none_or(str::is_empty) {
                return Err(Error::NoHost { place });
            }
            if let Some(earlier) = endpoints.iter().position(|known| *known == url) {
                return Err(Error::Twice { place, earlier: earlier + 1 });
            }
            endpoints.push(url);
        }

        let majority = endpoints.len() / 2 + 1;
        let agree = self.l1_agree.unwrap_or(majority);
        if agree == 0 || agree > endpoints.len().max(1) {
            return Err(Error::AgreeRange { agree, endpoints: endpoints.len() });
        }
        if !(POLL_MS_MIN..=POLL_MS_MAX).contains(&self.l1_poll_ms) {
            return Err(Error::PollRange {
                millis: self.l1_poll_ms,
                min: POLL_MS_MIN,
                max: POLL_MS_MAX,
            });
        }
        Ok(Settings { endpoints, agree, poll: Duration::from_millis(self.l1_poll_ms) })
    }
}
