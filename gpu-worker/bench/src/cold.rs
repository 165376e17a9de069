//! Cold adapters: what the first token costs more when its adapter is not prepared.

use crate::{load::request, table};
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tributary_client::store::{FolderKind, Store};
use tributary_engine::{
    traffic::{closed, Spread},
    Engine, EngineOptions,
};

/// Memory on the host for every adapter there is.
const PLENTY: usize = 8 << 30;

/// First tokens of one tier.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Where the adapter was.
    pub tier: &'static str,
    /// To the first token.
    pub first_token: Spread,
    /// The median's distance from that of a prepared adapter.
    pub extra_ms: f64,
}

async fn first(engine: &Engine, adapter: &str) -> Result<f64> {
    let heard = closed(engine, [request(engine, Some(adapter.into()), 0, 2)], 1, None).await?;
    Ok(heard.first().first().copied().unwrap_or(0.0))
}

fn start(base: &Path, threads: usize, device: usize, host_bytes: usize) -> Result<Engine> {
    Ok(Engine::start(EngineOptions {
        threads,
        slots: 4,
        capacity: 128,
        device_adapters: device,
        host_bytes,
        ..EngineOptions::new(base)
    })?)
}

/// Asks one adapter at a time on an idle engine, from each tier.
pub async fn run(
    base: &Path,
    threads: usize,
    folders: &[PathBuf],
    store: &Path,
) -> Result<Vec<Row>> {
    let names: Vec<String> = (0..folders.len()).map(|n| n.to_string()).collect();
    let mut tiers: Vec<(&'static str, Vec<f64>)> = Vec::new();

    let engine = start(base, threads, folders.len(), PLENTY)?;
    for (name, folder) in names.iter().zip(folders) {
        engine.load_adapter(name.as_str(), folder).await?;
        first(&engine, name).await?;
    }
    let mut seconds = Vec::new();
    for name in &names {
        seconds.push(first(&engine, name).await?);
    }
    tiers.push(("prepared", seconds));
    drop(engine);

    // One place to prepare: each asking finds another adapter in it.
    for (tier, host) in [("host memory", PLENTY), ("disk", 1)] {
        let engine = start(base, threads, 1, host)?;
        for (name, folder) in names.iter().zip(folders) {
            engine.load_adapter(name.as_str(), folder).await?;
        }
        let mut seconds = Vec::new();
        for name in names.iter().cycle().take(2 * names.len()) {
            seconds.push(first(&engine, name).await?);
        }
        seconds.drain(..names.len());
        tiers.push((tier, seconds));
    }

    // The object store: a folder is fetched, every digest checked, and then loaded.
    let shelf = Store::open(&store.join("blobs").display().to_string())?;
    let mut digests = Vec::new();
    for folder in folders {
        digests.push(shelf.put_folder(FolderKind::Adapter, folder).await?);
    }
    let engine = start(base, threads, folders.len(), PLENTY)?;
    let mut seconds = Vec::new();
    for (name, digest) in names.iter().zip(&digests) {
        let asked = std::time::Instant::now();
        let folder = store.join("fetched").join(name);
        shelf.get_folder(digest, &folder).await?;
        engine.load_adapter(name.as_str(), &folder).await?;
        let fetched = asked.elapsed().as_secs_f64();
        seconds.push(fetched + first(&engine, name).await?);
    }
    tiers.push(("object store", seconds));

    let mut rows: Vec<Row> = Vec::new();
    for (tier, seconds) in tiers {
        let first_token = Spread::of(seconds);
        let warm = rows.first().map_or(first_token.p50_ms, |row| row.first_token.p50_ms);
        rows.push(Row { tier, first_token, extra_ms: first_token.p50_ms - warm });
    }
    Ok(rows)
}

/// The table for people.
pub fn show(rows: &[Row]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let Spread { p50_ms, p99_ms, .. } = row.first_token;
            let extra = format!("{:+.1}", row.extra_ms);
            vec![row.tier.into(), format!("{p50_ms:.1} / {p99_ms:.1}"), extra]
        })
        .collect();
    table::print(
        "Cold adapters: first token of one request on an idle engine",
        &["adapter is in", "first token ms p50/p99", "more than prepared ms"],
        &cells,
    );
}
