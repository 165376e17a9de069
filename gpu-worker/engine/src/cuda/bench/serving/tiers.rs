//! What it costs when adapters are not on the device: around the number of places, and for one
//! request on an idle engine.

use std::time::{Duration, Instant};

use super::clock::{Clock, NO_TIME};
use super::{host_bytes_of, no_token, window, Figure, Stand};
use crate::engine::Engine;
use crate::error::Result;
use crate::traffic::{closed, Popularity, Spread, Window};

/// More than any run can ask.
const MANY: usize = 50_000;
/// Rounds over the adapters that are asked cold; the first one is not measured.
const ROUNDS: usize = 4;
/// Longest wait for one cold first token.
const PATIENCE: Duration = Duration::from_secs(10);

/// One fewer adapter than places, as many, one more, and twice as many, all of them asked alike.
/// The host's memory holds them all.
pub(super) fn measure_places(
    stand: &Stand,
    end: Instant,
    figures: &mut Vec<Figure>,
) -> Result<Vec<String>> {
    let fit = stand.host_bytes / host_bytes_of(stand.bench).max(1) / 2;
    let places = stand.sizes.places.min(fit).max(2);
    let mut clock = Clock::new(end, 5, stand.sizes.least, stand.sizes.most);
    stand.over(stand.bench.load.batch, places, stand.host_bytes, async |engine| {
        sweep(stand, engine, places, &mut clock, figures).await
    })?;
    Ok(clock.left_out())
}

async fn sweep(
    stand: &Stand<'_>,
    engine: &Engine,
    places: usize,
    clock: &mut Clock,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    const SECTION: &str = "places";
    let (mut there, mut base, mut full) = (0, None, None);
    for count in [0, places - 1, places, places + 1, 2 * places] {
        let name = match count {
            0 => "base alone".to_string(),
            n => format!("{n} adapters in {places} places"),
        };
        if !stand.register(engine, &mut there, count, clock.part(0.6)).await? {
            clock.leave_out(&name, 1, NO_TIME);
            continue;
        }
        let Some(time) = clock.run(&name, 1) else { continue };
        let make = |adapter, number| stand.request(engine, adapter, number);
        let asked = Popularity::Uniform.requests(count, MANY, 7, make);
        let rate = closed(engine, asked, stand.bench.load.batch, Some(window(time))).await?.rate();
        figures.push(Figure::new(SECTION, name.as_str(), rate, "tok/s"));
        match (count, base) {
            (0, _) if rate > 0.0 => base = Some(rate),
            (0, _) => return Err(no_token(time)),
            (_, Some(base)) => {
                figures.push(Figure::new(SECTION, format!("{name}, to base"), rate / base, "×"));
            }
            (_, None) => {}
        }
        match full {
            _ if count == places => full = Some(rate).filter(|rate| *rate > 0.0),
            Some(full) if count > places => {
                let name = format!("{name}, to {places} adapters");
                figures.push(Figure::new(SECTION, name, rate / full, "×"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// First tokens of one request at a time, its adapter on the device, in the host's memory, and on
/// disk with its files in the page cache.
pub(super) fn measure_cold(
    stand: &Stand,
    end: Instant,
    figures: &mut Vec<Figure>,
) -> Result<Vec<String>> {
    const SECTION: &str = "cold";
    let count = stand.sizes.cold;
    let plenty = (count + 1) * host_bytes_of(stand.bench);
    // With a single place, each asking finds another adapter in it.
    let tiers =
        [("on the device", count, plenty), ("in host memory", 1, plenty), ("on disk", 1, 1)];
    // A run here has all of its time: it ends by itself.
    let mut clock = Clock::new(end, tiers.len(), stand.sizes.least, Duration::MAX);
    let mut ready = None;
    for (tier, places, host_bytes) in tiers {
        let name = format!("adapter {tier}");
        let Some(time) = clock.run(&name, 1) else { continue };
        let until = Instant::now() + time;
        let seconds =
            stand.over(1, places, host_bytes, async |engine| ask(stand, engine, until).await)?;
        if seconds.is_empty() {
            clock.leave_out(&name, 0, NO_TIME);
            continue;
        }
        let first = Spread::of(seconds);
        for (label, value) in [("p50", first.p50_ms), ("p99", first.p99_ms)] {
            let name = format!("{name}: first token, {label}");
            figures.push(Figure::new(SECTION, name, value, "ms"));
        }
        match ready {
            None if tier == tiers[0].0 => ready = Some(first.p50_ms),
            Some(ready) => {
                let name = format!("{name}: more than on the device, p50");
                figures.push(Figure::new(SECTION, name, first.p50_ms - ready, "ms"));
            }
            None => {}
        }
    }
    Ok(clock.left_out())
}

/// Seconds to the first token of each asking after the first round.
async fn ask(stand: &Stand<'_>, engine: &Engine, until: Instant) -> Result<Vec<f64>> {
    let (count, mut there) = (stand.sizes.cold, 0);
    if !stand.register(engine, &mut there, count, until).await? {
        return Ok(vec![]);
    }
    let mut seconds = vec![];
    for number in 0..ROUNDS * count {
        if Instant::now() >= until {
            break;
        }
        let adapter = Some((number % count).to_string());
        let asked = [stand.request(engine, adapter, number)];
        let patience = Window { lead: Duration::ZERO, time: PATIENCE };
        let heard = closed(engine, asked, 1, Some(patience)).await?;
        if number >= count {
            seconds.extend(heard.first());
        }
    }
    Ok(seconds)
}
