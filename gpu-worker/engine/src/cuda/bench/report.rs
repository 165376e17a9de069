//! Figures with their targets and computed bounds, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::{Options, Shape};
use crate::cuda::DeviceFacts;

/// What a figure is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Which part of the program measured it.
    pub section: String,
    /// What it is.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What it is to reach, if anything was asked for.
    pub target: Option<Target>,
    /// Whether it does.
    pub met: Option<bool>,
    /// What the hardware would allow, computed.
    pub roof: Option<f64>,
    /// From what the bound was computed.
    pub roof_basis: Option<String>,
}

impl Figure {
    /// A figure without target and bound.
    pub fn new(section: &str, name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            section: section.into(),
            name: name.into(),
            value,
            unit: unit.into(),
            target: None,
            met: None,
            roof: None,
            roof_basis: None,
        }
    }

    /// With what it is to reach.
    pub fn target(mut self, target: Target) -> Self {
        self.met = Some(match target {
            Target::AtLeast(least) => self.value >= least,
            Target::AtMost(most) => self.value <= most,
        });
        self.target = Some(target);
        self
    }

    /// With a computed bound, if there is one.
    pub fn roof(mut self, roof: Option<f64>, basis: &str) -> Self {
        self.roof_basis = roof.map(|_| basis.into());
        self.roof = roof;
        self
    }
}

/// A section that was not measured to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missed {
    /// Its name.
    pub section: String,
    /// Why.
    pub reason: String,
}

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The device's name.
    pub device: String,
    /// Peak memory bandwidth that bounds were computed with, bytes per second.
    pub bandwidth: Option<f64>,
    /// Peak bf16 operations per second that bounds were computed with.
    pub operations: Option<f64>,
    /// The model's shape.
    pub shape: String,
    /// How long the run took.
    pub seconds: f64,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Sections that failed or were left out.
    pub missed: Vec<Missed>,
    /// Targets hold for the full shape only.
    #[serde(skip)]
    with_targets: bool,
}

impl Report {
    pub(super) fn new(options: &Options, facts: Option<&DeviceFacts>) -> Self {
        Self {
            device: facts.map_or_else(|| "CPU, kernel emulated".into(), |f| f.name.clone()),
            bandwidth: facts.map(|f| f.bandwidth),
            operations: facts.and_then(super::setup::operations),
            shape: options.shape.name().into(),
            seconds: 0.0,
            figures: vec![],
            missed: vec![],
            with_targets: options.shape == Shape::Llama3_8b,
        }
    }

    pub(super) fn push(&mut self, mut figure: Figure) {
        if !self.with_targets {
            figure.target = None;
            figure.met = None;
        }
        self.figures.push(figure);
    }

    pub(super) fn extend(&mut self, figures: Vec<Figure>) {
        figures.into_iter().for_each(|figure| self.push(figure));
    }

    pub(super) fn outcome(&mut self, section: &str, reason: Option<String>) {
        if let Some(reason) = reason {
            self.missed.push(Missed { section: section.into(), reason });
        }
    }

    /// The table that people read.
    pub fn table(&self) -> String {
        let head = ["section", "figure", "measured", "target", "", "roof", "roof from"];
        let mut rows: Vec<[String; 7]> = vec![head.map(str::to_string)];
        for f in &self.figures {
            let target = match f.target {
                Some(Target::AtLeast(n)) => format!("≥ {}", number(n)),
                Some(Target::AtMost(n)) => format!("≤ {}", number(n)),
                None => String::new(),
            };
            let met = match f.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            rows.push([
                f.section.clone(),
                f.name.clone(),
                format!("{} {}", number(f.value), f.unit),
                target,
                met.into(),
                f.roof.map(number).unwrap_or_default(),
                f.roof_basis.clone().unwrap_or_default(),
            ]);
        }
        let widths: [usize; 7] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let mut text = format!("{}, shape {}, {:.0} s\n\n", self.device, self.shape, self.seconds);
        for row in &rows {
            let cells =
                row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                    2 | 3 | 5 => format!("{cell:>width$}"),
                    _ => format!("{cell:<width$}"),
                });
            let line = cells.collect::<Vec<_>>().join("  ");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for missed in &self.missed {
            let _ = writeln!(text, "{}: {}", missed.section, missed.reason);
        }
        text
    }
}

/// Three to four digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_whether_their_targets_are_met() {
        let least = |v| Figure::new("s", "n", v, "x").target(Target::AtLeast(0.75)).met;
        assert_eq!((least(0.75), least(0.74)), (Some(true), Some(false)));
        let most = |v| Figure::new("s", "n", v, "ms").target(Target::AtMost(10.0)).met;
        assert_eq!((most(10.0), most(f64::NAN)), (Some(true), Some(false)));
    }

    #[test]
    fn the_table_names_what_was_not_measured() {
        let options = Options {
            device: tch::Device::Cpu,
            shape: Shape::Llama3_8b,
            limit: std::time::Duration::ZERO,
            python: None,
        };
        let mut report = Report::new(&options, None);
        report.push(
            Figure::new("decoding", "ratio", 0.5, "×")
                .target(Target::AtLeast(0.75))
                .roof(Some(0.78), "bytes"),
        );
        report.outcome("training", Some("left out: the 0 s are over".into()));
        report.outcome("kernel", None);
        let table = report.table();
        let line = table.lines().find(|l| l.contains("ratio")).unwrap_or_default();
        for word in ["0.500 ×", "≥ 0.750", "missed", "0.780", "bytes"] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
        assert!(table.contains("training: left out") && !table.contains("kernel:"));
    }
}
