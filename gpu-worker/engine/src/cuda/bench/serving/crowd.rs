//! Many adapters at once: saturated, then at random arrivals.

use std::time::{Duration, Instant};

use super::clock::{Clock, NO_TIME};
use super::{no_token, window, Figure, Stand};
use crate::engine::Engine;
use crate::error::Result;
use crate::traffic::{closed, open, Popularity, Spread, OPEN_LOAD};

const SECTION: &str = "serving";
/// Part of an open run in which requests come; the rest waits for their answers.
const ARRIVALS: f64 = 0.7;
/// Open runs have so many requests at least.
const FEW: f64 = 4.0;
/// More than any run can ask.
const MANY: usize = 50_000;
/// Part of what is left that registering adapters for one row may take.
const REGISTERING: f64 = 0.6;

/// What is asked in one row; no adapters are the base alone.
#[derive(Clone, Copy)]
struct Row {
    adapters: usize,
    popularity: Popularity,
}

impl Row {
    fn name(self) -> String {
        match self.adapters {
            0 => "base alone".into(),
            1 => "1 adapter".into(),
            n => format!("{n} adapters, {}", self.popularity.name()),
        }
    }
}

/// All rows over one engine that has as many places as the device holds.
pub(super) fn measure(
    stand: &Stand,
    end: Instant,
    figures: &mut Vec<Figure>,
) -> Result<Vec<String>> {
    let mut rows = vec![Row { adapters: 0, popularity: Popularity::Uniform }];
    for &adapters in stand.sizes.adapters {
        rows.push(Row { adapters, popularity: Popularity::Uniform });
        if adapters > 1 {
            rows.push(Row { adapters, popularity: Popularity::Zipf });
        }
    }
    let mut clock = Clock::new(end, 2 * rows.len(), stand.sizes.least, stand.sizes.most);
    stand.over(stand.bench.load.batch, stand.sizes.device, stand.host_bytes, async |engine| {
        all(stand, engine, &rows, &mut clock, figures).await
    })?;
    Ok(clock.left_out())
}

async fn all(
    stand: &Stand<'_>,
    engine: &Engine,
    rows: &[Row],
    clock: &mut Clock,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let (mut there, mut base) = (0, None);
    for row in rows {
        let name = row.name();
        let until = clock.part(REGISTERING);
        if !stand.register(engine, &mut there, row.adapters, until).await? {
            clock.leave_out(&name, 2, NO_TIME);
            continue;
        }
        // Without the base there is nothing to compare with, and no rate for arrivals.
        if base.is_none() && row.adapters > 0 {
            clock.leave_out(&name, 2, "the base was not measured");
            continue;
        }
        let Some(time) = clock.run(&name, 2) else { continue };
        match measure_row(stand, engine, *row, time, base, figures).await {
            Ok(rate) => base = Some(rate),
            Err(error) if base.is_none() => return Err(error),
            Err(error) => clock.leave_out(&name, 0, &format!("failed: {error}")),
        }
    }
    let held = engine.stats().device.adapters as f64;
    figures.push(Figure::new(SECTION, "adapters on the device at the end", held, "adapters"));
    Ok(())
}

/// Measures a row and gives the base's rate, which it is itself when it is the first.
async fn measure_row(
    stand: &Stand<'_>,
    engine: &Engine,
    row: Row,
    time: Duration,
    base: Option<f64>,
    figures: &mut Vec<Figure>,
) -> Result<f64> {
    let name = row.name();
    let make = |adapter, number| stand.request(engine, adapter, number);
    let mut push = |what: &str, value: f64, unit: &str| {
        figures.push(Figure::new(SECTION, format!("{name}: {what}"), value, unit));
    };
    let before = engine.stats().device;
    let asked = row.popularity.requests(row.adapters, MANY, 7, make);
    let full = closed(engine, asked, stand.bench.load.batch, Some(window(time))).await?;
    let rate = full.rate();
    let base = match base {
        Some(base) => base,
        None if rate > 0.0 => rate,
        None => return Err(no_token(time)),
    };
    push("saturated", rate, "tok/s");
    if row.adapters > 0 {
        push("saturated, to base", rate / base, "×");
        push("saturated, distinct in a step", full.distinct, "adapters");
    }

    let arrivals = time.as_secs_f64() * ARRIVALS;
    let per_second = (OPEN_LOAD * base / stand.sizes.answer as f64).max(FEW / arrivals);
    let asked =
        row.popularity.requests(row.adapters, (per_second * arrivals).ceil() as usize, 8, make);
    let patience = Some(time.mul_f64(1.0 - ARRIVALS));
    let steady = open(engine, asked, per_second, 11, patience).await?;
    let after = engine.stats().device;
    if row.adapters == 0 {
        push("open, arrivals", per_second, "req/s");
    } else {
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        let share = hits as f64 / (hits + misses).max(1) as f64;
        push("asked for while on the device", 100.0 * share, "%");
    }
    let first = Spread::of(steady.first());
    push("open, first token, p50", first.p50_ms, "ms");
    push("open, first token, p99", first.p99_ms, "ms");
    let between = Spread::of(steady.between());
    if between.count > 0 {
        push("open, between tokens, p50", between.p50_ms, "ms");
        push("open, between tokens, p99", between.p99_ms, "ms");
    }
    // Their waiting counts in the first token's figures, which then are lower bounds.
    if steady.unanswered() > 0 {
        push("open, without a token at the end", steady.unanswered() as f64, "requests");
    }
    Ok(base)
}
