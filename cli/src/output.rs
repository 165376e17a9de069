//! What goes to the terminal.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use std::{fmt::Write, time::Duration};
use tributary_client::primitives::{money::format_open, Balance};

/// What a command has to say: for programs and for people.
#[derive(Debug)]
pub struct Report {
    /// One object.
    pub json: Value,
    /// A few lines.
    pub text: String,
}

impl Report {
    /// A report of something that can be written as JSON.
    pub fn new<T: Serialize>(json: &T, text: impl Into<String>) -> super::Result<Self> {
        Ok(Self { json: serde_json::to_value(json)?, text: text.into() })
    }
}

/// An amount for people.
pub fn open(units: Balance) -> String {
    format!("{} OPEN", format_open(units))
}

/// Parts per million as per cent.
pub fn percent(ppm: u32) -> String {
    format!("{:.1} %", f64::from(ppm) / 10_000.0)
}

/// A long text cut in its middle.
pub fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= 20 {
        return text.to_string();
    }
    let head: String = text.chars().take(10).collect();
    let tail: String = text.chars().skip(count - 6).collect();
    format!("{head}…{tail}")
}

/// Lines of `name  value`, the values in one column.
pub fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

/// A table with a heading; columns of numbers are the caller's to align.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    };
    line(heading);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// A line that moves while something is waited for; nothing is drawn where nobody looks.
pub fn spinner(message: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message.into());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A bar for a known number of steps.
pub fn bar(steps: u64, message: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {prefix} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(steps).with_style(style).with_message(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["1".to_string(), "lång".to_string()], ["22".into(), "x".into()]];
        assert_eq!(table(["id", "name"], &rows), "id  name\n1   lång\n22  x\n");
        assert_eq!(facts(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
        assert_eq!(percent(123_456), "12.3 %");
        assert_eq!(short("0123456789abcdefghijklmn"), "0123456789…ijklmn");
        assert_eq!(open(1_500_000_000_000_000_000), "1.5 OPEN");
    }
}
