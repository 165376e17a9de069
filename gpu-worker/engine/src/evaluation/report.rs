//! Figures of an evaluation, as JSON and as a table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{statistics, Settings};

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
    /// The linear datamodeling score of each question.
    pub agreements: Vec<f64>,
    /// The gain of each question.
    pub gains: Vec<f64>,
}

impl Row {
    pub(super) fn new(
        method: String,
        (agreements, gains): (Vec<f64>, Vec<f64>),
        (auc, auc_own): (f64, Option<f64>),
    ) -> Self {
        Self {
            method,
            lds: statistics::mean(&agreements),
            lds_interval: statistics::interval(&agreements),
            auc,
            auc_own,
            tail_patch: statistics::mean(&gains),
            tail_patch_interval: statistics::interval(&gains),
            agreements,
            gains,
        }
    }

    /// How far the score is above another method's, in the mean over the questions, and half the
    /// width of the 95 % interval of that difference. Both methods have the same retrained models
    /// to foretell, so their difference is known better than either score.
    pub fn ahead_of(&self, other: &Self) -> (f64, f64) {
        let apart: Vec<f64> =
            self.agreements.iter().zip(&other.agreements).map(|(a, b)| a - b).collect();
        (statistics::mean(&apart), statistics::interval(&apart))
    }
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
    /// Several evaluations, of other facts each, as one over all their questions; `None` of none.
    /// Areas under a curve are the mean of theirs.
    pub fn pooled(groups: &[Self]) -> Option<Self> {
        let first = groups.first()?;
        let mean = |of: &dyn Fn(&Self) -> f64| {
            statistics::mean(&groups.iter().map(of).collect::<Vec<_>>())
        };
        let sum = |of: &dyn Fn(&Self) -> usize| groups.iter().map(of).sum();
        let rows = first.rows.iter().map(|row| {
            let same: Vec<&Row> =
                groups.iter().flat_map(|g| &g.rows).filter(|r| r.method == row.method).collect();
            let all = |of: &dyn Fn(&Row) -> Vec<f64>| same.iter().flat_map(|r| of(r)).collect();
            let own: Option<Vec<f64>> = same.iter().map(|r| r.auc_own).collect();
            let auc = statistics::mean(&same.iter().map(|r| r.auc).collect::<Vec<_>>());
            Row::new(
                row.method.clone(),
                (all(&|r| r.agreements.clone()), all(&|r| r.gains.clone())),
                (auc, own.map(|of| statistics::mean(&of))),
            )
        });
        Some(Self {
            settings: first.settings.clone(),
            records: sum(&|g| g.records),
            queries: sum(&|g| g.queries),
            mislabelled: sum(&|g| g.mislabelled),
            loss_full: mean(&|g| g.loss_full),
            loss_subsets: mean(&|g| g.loss_subsets),
            rows: rows.collect(),
            seconds: groups.iter().map(|g| g.seconds).sum(),
        })
    }

    /// The table of docs/attribution.md. Its third column says how far what pays is ahead.
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| method | LDS | parts of ρ ahead by | AUC, held-out questions | AUC, own influence | tail patch, nats per token |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        let pays = self.rows.iter().find(|row| row.method == super::PAYS);
        for row in &self.rows {
            let own = row.auc_own.map_or("–".to_string(), |v| format!("{v:.3}"));
            let ahead = match pays {
                Some(pays) if pays.method != row.method => {
                    let (mean, interval) = pays.ahead_of(row);
                    format!("{mean:+.3} ± {interval:.3}")
                }
                _ => "–".to_string(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} | {:.3} ± {:.3} | {ahead} | {:.3} | {own} | {:+.4} ± {:.4} |",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_pooled_by_question() {
        let row = |method: &str, agreements: &[f64], auc: f64, own: Option<f64>| {
            let gains = agreements.iter().map(|v| v * 2.0).collect();
            Row::new(method.into(), (agreements.to_vec(), gains), (auc, own))
        };
        let report = |rows: Vec<Row>, queries: usize| Report {
            settings: Settings::default(),
            records: 10,
            queries,
            mislabelled: 1,
            loss_full: 0.5,
            loss_subsets: queries as f64,
            rows,
            seconds: 2.0,
        };
        let first = report(
            vec![row(super::super::PAYS, &[0.5], 0.75, None), row("b", &[0.25], 0.5, Some(0.5))],
            1,
        );
        let second = report(
            vec![
                row(super::super::PAYS, &[1.0, 0.75], 0.25, None),
                row("b", &[0.5, 0.5], 1.0, Some(1.0)),
            ],
            2,
        );
        let pooled = Report::pooled(&[first.clone(), second]).unwrap();
        assert_eq!((pooled.records, pooled.queries, pooled.mislabelled), (20, 3, 2));
        assert_eq!((pooled.loss_subsets, pooled.seconds), (1.5, 4.0));
        let [pays, b] = pooled.rows.as_slice() else { panic!("two methods") };
        assert_eq!((pays.lds, pays.auc, pays.auc_own), (0.75, 0.5, None));
        assert_eq!((b.tail_patch, b.auc, b.auc_own), (2.0 * 1.25 / 3.0, 0.75, Some(0.75)));
        let (mean, interval) = pays.ahead_of(b);
        // Ahead by a quarter, a half and a quarter.
        assert!((mean - 1.0 / 3.0).abs() < 1e-12);
        assert!((interval - 1.96 * (1.0f64 / 48.0 / 3.0).sqrt()).abs() < 1e-12, "{interval}");
        assert!(
            pooled.table().contains("| b | 0.417 ± 0.163 | +0.333 ± 0.163 |"),
            "{}",
            pooled.table()
        );
        assert_eq!(Report::pooled(std::slice::from_ref(&first)).unwrap(), first);
        assert_eq!(Report::pooled(&[]), None);
    }
}
