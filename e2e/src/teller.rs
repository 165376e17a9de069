//! The story on the terminal: acts, lines, and a progress bar for every long step.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Tells the story and keeps the time of each act.
pub struct Teller {
    quiet: bool,
    act: Option<(String, Instant)>,
    durations: BTreeMap<String, f64>,
    count: usize,
}

impl Teller {
    /// A teller for people, or for a test's log when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, act: None, durations: BTreeMap::new(), count: 0 }
    }

    /// Begins an act.
    pub fn act(&mut self, title: &str) {
        self.close();
        self.count += 1;
        println!("\n{}. {title}", self.count);
        self.act = Some((title.into(), Instant::now()));
    }

    /// One line within an act.
    pub fn say(&self, line: impl AsRef<str>) {
        for line in line.as_ref().lines() {
            println!("   {line}");
        }
    }

    /// A bar over `length` steps.
    pub fn bar(&self, what: &str, length: u64) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {prefix:<28} [{bar:32}] {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        ProgressBar::new(length).with_style(style).with_prefix(what.to_string())
    }

    /// A spinner for a wait of unknown length.
    pub fn wait(&self, what: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {spinner} {prefix} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_prefix(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn close(&mut self) {
        if let Some((title, start)) = self.act.take() {
            let seconds = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
            println!("   ({seconds} s)");
            self.durations.insert(title, seconds);
        }
    }

    /// Ends the last act and gives the seconds of each.
    pub fn finish(mut self) -> BTreeMap<String, f64> {
        self.close();
        self.durations
    }
}
