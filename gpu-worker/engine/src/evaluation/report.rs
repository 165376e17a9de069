//! Figures of an evaluation, as JSON and as a table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::Settings;

/// One method's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the method.
    pub method: String,
    /// Mean linear datamodeling score over the questions.
    pub lds: f64,
    /// Half the width of its 95 % interval over questions.
    pub lds_interval: f64,
    /// Area under the curve of finding wrong answers by the influence on held-out questions.
    pub auc: f64,
    /// The same by a record's influence on itself, where the method defines one.
    pub auc_own: Option<f64>,
    /// Mean gain in log-probability per token, in nats.
    pub tail_patch: f64,
    /// Half the width of its 95 % interval over questions.
    pub tail_patch_interval: f64,
}

/// A whole evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// Training records.
    pub records: usize,
    /// Held-out questions.
    pub queries: usize,
    /// Records with a wrong answer in that part.
    pub mislabelled: usize,
    /// Mean loss per token on the questions, trained on all records.
    pub loss_full: f64,
    /// The same, trained on subsets.
    pub loss_subsets: f64,
    /// Figures by method.
    pub rows: Vec<Row>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// The table of docs/attribution.md.
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| method | LDS | AUC, held-out questions | AUC, own influence | tail patch, nats per token |\n\
             | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let own = row.auc_own.map_or("–".to_string(), |v| format!("{v:.3}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} | {:.3} ± {:.3} | {:.3} | {own} | {:+.4} ± {:.4} |",
                row.method,
                row.lds,
                row.lds_interval,
                row.auc,
                row.tail_patch,
                row.tail_patch_interval,
            );
        }
        out
    }
}
