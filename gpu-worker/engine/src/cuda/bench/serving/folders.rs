//! Adapters on disk: a few real ones, and any number of folders that link to them.

use std::path::PathBuf;

use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use super::Bench;
use crate::error::{EngineError, Result};
use crate::lora::Adapter;

/// A folder for each adapter. Links take no room, and the page cache holds what they link to, so
/// that thousands of adapters need no more disk and memory than a few.
pub(super) struct Folders {
    root: TempDir,
    real: Vec<PathBuf>,
}

impl Folders {
    /// Writes `count` adapters of random numbers in PEFT's layout.
    pub(super) fn make(bench: &Bench, count: usize) -> Result<Self> {
        let place = std::env::temp_dir();
        let root = tempfile::Builder::new()
            .prefix("tributary-bench-adapters-")
            .tempdir()
            .map_err(EngineError::io(&place))?;
        let numbers = bench.lora.parameter_count(bench.base.config());
        let real = (0..count)
            .map(|number| {
                // Drawn where that is quick; small, so that activations stay finite.
                let mut flat = Tensor::f_empty([numbers], (Kind::Float, bench.device))?;
                let flat = flat.f_normal_(0.0, 0.01)?.f_to_device(Device::Cpu)?;
                let adapter = Adapter::from_flat(bench.lora.clone(), flat);
                let folder = root.path().join(format!("real-{number}"));
                adapter.save(&folder, bench.base.config(), "random")?;
                Ok(folder)
            })
            .collect::<Result<_>>()?;
        Ok(Self { root, real })
    }

    /// The folder of adapter `number`, made when it is first asked for.
    pub(super) fn of(&self, number: usize) -> Result<PathBuf> {
        let folder = self.root.path().join(number.to_string());
        let real = &self.real[number % self.real.len()];
        if !folder.is_dir() {
            std::fs::create_dir(&folder).map_err(EngineError::io(&folder))?;
            for entry in std::fs::read_dir(real).map_err(EngineError::io(real))? {
                let entry = entry.map_err(EngineError::io(real))?;
                let link = folder.join(entry.file_name());
                std::fs::hard_link(entry.path(), &link).map_err(EngineError::io(&link))?;
            }
        }
        Ok(folder)
    }
}

/// Memory that this process may use, as far as the machine says: what is available, or what its
/// control group allows if that is less.
pub(super) fn host_memory() -> Option<usize> {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let available = text("/proc/meminfo").and_then(|all| {
        let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: usize = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib << 10)
    });
    // "max", or a number beyond every machine, where there is no limit.
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = groups.into_iter().filter_map(|path| text(path)?.trim().parse::<usize>().ok());
    limits.chain(available).min()
}
