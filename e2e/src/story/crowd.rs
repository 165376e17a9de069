//! An act beside the chain: the trained adapter and its relatives, served at once on one base.

use super::{Story, MODEL};
use crate::{process::program, stack::base_model};
use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tributary_client::store::Store;

/// What `tributary-bench crowd` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    /// Adapters that answered at the same time.
    pub adapters: usize,
    /// Tokens in a second of all their answers.
    pub tokens_per_second: f64,
    /// Tokens in a second of the same questions to the base.
    pub base_tokens_per_second: f64,
    /// The first in relation to the second.
    pub ratio: f64,
    /// Different answers to one and the same question.
    pub different_answers: usize,
    /// Whether the trained adapter says the same in the crowd and alone.
    pub same_as_alone: bool,
}

impl Story {
    /// Fetches the trained adapter from the object store, as anybody can, and serves it among
    /// relatives that differ from it by a little noise each.
    pub(super) async fn crowd(&mut self) -> Result<()> {
        let count = self.plan.crowd;
        self.act(&format!("{count} adapters on one base"))?;
        let view = self.stack.chain.attribution().model(self.facts.model).await?;
        let view = view.context("the model is not on chain")?;
        let folder = self.stack.dir.join("crowd");
        Store::open(&self.stack.store)?.get_folder(&view.content, &folder).await?;
        let spinner = self.teller()?.wait("asking all of them at once");
        let output = Command::new(program("tributary-bench")?)
            .arg("crowd")
            .arg("--base")
            .arg(base_model())
            .arg("--adapter")
            .arg(&folder)
            .arg(format!("--count={count}"))
            .kill_on_drop(true)
            .output()
            .await?;
        spinner.finish_and_clear();
        ensure!(
            output.status.success(),
            "tributary-bench crowd failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let crowd: Crowd = serde_json::from_slice(&output.stdout).context("its answer")?;
        self.say(format!(
            "`{MODEL}` and {} relatives answer at once: {:.0} tokens a second, {:.2} of the base's \
             own {:.0}",
            crowd.adapters - 1,
            crowd.tokens_per_second,
            crowd.ratio,
            crowd.base_tokens_per_second
        ))?;
        self.report.check(
            "many adapters answer at once, each in its own way",
            crowd.adapters >= count && crowd.same_as_alone && crowd.different_answers > 1,
            format!(
                "{} adapters, {} different answers to one question, ratio {:.2}",
                crowd.adapters, crowd.different_answers, crowd.ratio
            ),
            format!("at least {count} adapters, and the trained one says what it says alone"),
        );
        self.report.crowd = Some(crowd);
        Ok(())
    }
}
