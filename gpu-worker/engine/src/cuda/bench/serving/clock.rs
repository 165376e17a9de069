//! A section's time, dealt out to its rows.

use std::time::{Duration, Instant};

/// Why most rows that are not measured are not.
pub(super) const NO_TIME: &str = "no time left";

/// Deals what is left of a section's time to the rows that are still to come.
pub(super) struct Clock {
    end: Instant,
    /// Runs that are still to come.
    runs: usize,
    most: Duration,
    least: Duration,
    left_out: Vec<String>,
}

impl Clock {
    /// For so many runs until `end`, each of `least` to `most`.
    pub(super) fn new(end: Instant, runs: usize, least: Duration, most: Duration) -> Self {
        Self { end, runs, most, least, left_out: vec![] }
    }

    /// The time for each of a row's `runs`; `None`, and the row noted as left out, when too little
    /// is left.
    pub(super) fn run(&mut self, row: &str, runs: usize) -> Option<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        let each = left.div_f64(self.runs.max(runs).max(1) as f64);
        self.runs = self.runs.saturating_sub(runs);
        if each < self.least {
            self.leave_out(row, 0, NO_TIME);
            return None;
        }
        Some(each.min(self.most))
    }

    /// Notes a row as not measured, with so many runs that were still to come for it.
    pub(super) fn leave_out(&mut self, row: &str, runs: usize, why: &str) {
        self.runs = self.runs.saturating_sub(runs);
        self.left_out.push(format!("{row} ({why})"));
    }

    /// The moment at which so much of what is left is over.
    pub(super) fn part(&self, share: f64) -> Instant {
        let now = Instant::now();
        now + self.end.saturating_duration_since(now).mul_f64(share)
    }

    /// The rows that were not measured, each with its reason.
    pub(super) fn left_out(self) -> Vec<String> {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_share_what_is_left_and_are_named_when_nothing_is() {
        let end = Instant::now() + Duration::from_secs(8);
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(3));
        let mut clock = Clock::new(end, 4, least, most);
        let each = clock.run("first", 2).unwrap_or_default();
        assert!((1.9..=2.0).contains(&each.as_secs_f64()), "{each:?}");
        // Nothing was spent, so the others have more, but not more than is of use.
        assert_eq!(clock.run("second", 1), Some(most));
        assert!(clock.part(0.5) < end);
        let mut clock = Clock::new(Instant::now(), 3, least, most);
        assert_eq!(clock.run("late", 2), None);
        clock.leave_out("later", 1, "broke");
        assert_eq!(clock.left_out(), ["late (no time left)", "later (broke)"]);
    }
}
