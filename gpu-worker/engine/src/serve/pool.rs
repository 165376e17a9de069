//! Which adapters are where: device ← host ← disk.
//!
//! Thousands can be registered by their folders. Those in use are on the device and stay there
//! while a sequence uses them; the least recently used of the others make room. What leaves the
//! device is often still in the host's memory, and what leaves that comes back from its folder.
//! Nothing here waits: fetching is the loader's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use super::loader::{bytes as size, Fetch, Fetched};
use super::stats::TierStats;
use super::Prepared;
use crate::error::{EngineError, Result};
use crate::lora::Adapter;

/// Adapters that may be on their way at once.
const IN_FLIGHT: usize = 4;

/// Limits of the two upper tiers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub device_adapters: usize,
    pub device_bytes: usize,
    pub host_bytes: usize,
}

struct OnDevice {
    prepared: Rc<Prepared>,
    bytes: usize,
    /// Sequences that use it.
    pins: usize,
    used: u64,
}

struct Entry {
    folder: PathBuf,
    generation: u64,
    host: Option<(Adapter, u64)>,
    device: Option<OnDevice>,
    /// Memory on the device, as far as it is known.
    bytes: usize,
    loading: bool,
}

/// A hold on an adapter while a sequence uses it.
pub(crate) struct Pin {
    id: String,
    generation: u64,
}

/// Adapters by name.
pub(crate) struct Pool {
    entries: BTreeMap<String, Entry>,
    limits: Limits,
    loader: Sender<Fetch>,
    clock: u64,
    generation: u64,
    device: TierStats,
    host: TierStats,
    disk: TierStats,
    in_flight: usize,
    /// Nobody gets a new hold on this one: its place is needed.
    draining: Option<String>,
}

impl Pool {
    pub(crate) fn new(limits: Limits, loader: Sender<Fetch>) -> Self {
        let limits = Limits { device_adapters: limits.device_adapters.max(1), ..limits };
        Self {
            entries: BTreeMap::new(),
            limits,
            loader,
            clock: 0,
            generation: 0,
            device: TierStats::default(),
            host: TierStats::default(),
            disk: TierStats::default(),
            in_flight: 0,
            draining: None,
        }
    }

    /// Registers an adapter that was read, in place of one of the same name. Sequences that use
    /// that one keep it.
    pub(crate) fn register(&mut self, id: String, folder: PathBuf, host: Adapter) {
        self.forget(&id);
        self.generation += 1;
        // Prepared matrices are padded. By how much shows when it is prepared for the first time;
        // until then twice is taken, so that the limit holds.
        let bytes = size(&host).saturating_mul(2);
        let entry = Entry {
            folder,
            generation: self.generation,
            host: None,
            device: None,
            bytes,
            loading: false,
        };
        self.entries.insert(id.clone(), entry);
        self.keep_on_host(&id, host);
        // The first request should find it ready, unless somebody would have to leave for it.
        if self.has_place(bytes) {
            self.fetch(&id);
        }
    }

    /// Forgets an adapter; says whether it was known.
    pub(crate) fn forget(&mut self, id: &str) -> bool {
        self.drop_from_device(id);
        self.drop_from_host(id);
        if self.draining.as_deref() == Some(id) {
            self.draining = None;
        }
        match self.entries.remove(id) {
            Some(entry) => {
                self.in_flight -= usize::from(entry.loading);
                true
            }
            None => false,
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    pub(crate) fn knows(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// The folder of an adapter and its copy in the host's memory, if there is one.
    pub(crate) fn source(&mut self, id: &str) -> Option<(PathBuf, Option<Adapter>)> {
        self.clock += 1;
        let entry = self.entries.get_mut(id)?;
        let host = entry.host.as_mut().map(|(host, used)| {
            *used = self.clock;
            host.share()
        });
        Some((entry.folder.clone(), host))
    }

    /// Begins a round of admissions: whose place is needed is decided anew.
    pub(crate) fn begin_round(&mut self) {
        self.draining = None;
    }

    /// Counts a request for an adapter.
    pub(crate) fn count(&mut self, id: &str) {
        match self.entries.get(id).is_some_and(|e| e.device.is_some()) {
            true => self.device.hits += 1,
            false => self.device.misses += 1,
        }
    }

    /// Whether a sequence could have it now.
    pub(crate) fn is_ready(&self, id: &str) -> bool {
        self.draining.as_deref() != Some(id)
            && self.entries.get(id).is_some_and(|e| e.device.is_some())
    }

    /// Holds an adapter that is ready.
    pub(crate) fn pin(&mut self, id: &str) -> Option<(Rc<Prepared>, Pin)> {
        self.clock += 1;
        let entry = self.entries.get_mut(id)?;
        let device = entry.device.as_mut()?;
        device.pins += 1;
        device.used = self.clock;
        let pin = Pin { id: id.to_string(), generation: entry.generation };
        Some((device.prepared.clone(), pin))
    }

    /// Lets go of an adapter.
    pub(crate) fn unpin(&mut self, pin: Pin) {
        self.clock += 1;
        let entry = self.entries.get_mut(&pin.id).filter(|e| e.generation == pin.generation);
        if let Some(device) = entry.and_then(|e| e.device.as_mut()) {
            device.pins = device.pins.saturating_sub(1);
            device.used = self.clock;
        }
    }

    /// Sends for an adapter that is not on the device. One that nobody uses leaves for it if
    /// there is no place; `wanted` says which ones are to stay if others can go. With `must`,
    /// wanted ones go too, and where all are in use, one of them is given to no further sequence.
    pub(crate) fn request(&mut self, id: &str, wanted: &dyn Fn(&str) -> bool, must: bool) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.loading || entry.device.is_some() || self.in_flight >= IN_FLIGHT {
            return;
        }
        let bytes = entry.bytes;
        while !self.has_place(bytes) {
            let idle = |entries: &BTreeMap<String, Entry>, spare: bool| {
                let idle = entries.iter().filter_map(|(id, e)| Some((id, e.device.as_ref()?)));
                let idle = idle.filter(|(id, d)| d.pins == 0 && (!spare || !wanted(id)));
                idle.min_by_key(|(_, d)| d.used).map(|(id, _)| id.clone())
            };
            let victim =
                idle(&self.entries, true).or_else(|| idle(&self.entries, false).filter(|_| must));
            match victim {
                Some(victim) => {
                    self.drop_from_device(&victim);
                    self.device.evictions += 1;
                }
                None => {
                    if must {
                        self.draining = self.least_held();
                    }
                    return;
                }
            }
        }
        self.fetch(id);
    }

    fn least_held(&self) -> Option<String> {
        let held = self.entries.iter().filter_map(|(id, e)| Some((id, e.device.as_ref()?)));
        held.min_by_key(|(_, d)| (d.pins, d.used)).map(|(id, _)| id.clone())
    }

    /// Whether an adapter of `bytes` fits beside those on the device and on their way. One alone
    /// always does.
    fn has_place(&self, bytes: usize) -> bool {
        let coming = self.entries.values().filter(|e| e.loading).map(|e| e.bytes);
        let (count, held) = (self.device.adapters + self.in_flight, self.device.bytes);
        count == 0
            || (count < self.limits.device_adapters
                && held + coming.sum::<usize>() + bytes <= self.limits.device_bytes)
    }

    fn fetch(&mut self, id: &str) {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(id) else { return };
        let host = entry.host.as_mut().map(|(host, used)| {
            *used = self.clock;
            host.share()
        });
        match host.is_some() {
            true => self.host.hits += 1,
            false => {
                self.host.misses += 1;
                self.disk.hits += 1;
            }
        }
        let fetch = Fetch {
            id: id.to_string(),
            generation: entry.generation,
            folder: entry.folder.clone(),
            host,
        };
        // Without its thread nothing can be fetched; requests then wait until they are dropped.
        entry.loading = self.loader.send(fetch).is_ok();
        self.in_flight += usize::from(entry.loading);
    }

    /// Takes what the loader brought. An error is for the requests that wait for this adapter.
    pub(crate) fn arrived(&mut self, fetched: Fetched) -> Option<(String, EngineError)> {
        let Fetched { id, generation, result } = fetched;
        let entry = self.entries.get_mut(&id).filter(|e| e.generation == generation)?;
        entry.loading = false;
        self.in_flight -= 1;
        let (host, prepared) = match result {
            Ok(both) => both,
            Err(error) => {
                self.disk.misses += u64::from(entry.host.is_none());
                if error.is_out_of_memory() && self.device.adapters > 1 {
                    // There is less room than was thought: another try, with fewer beside it.
                    self.limits.device_adapters = self.device.adapters;
                    return None;
                }
                return Some((id, error));
            }
        };
        let bytes = prepared.bytes();
        self.clock += 1;
        entry.bytes = bytes;
        entry.device =
            Some(OnDevice { prepared: Rc::new(prepared), bytes, pins: 0, used: self.clock });
        self.device.adapters += 1;
        self.device.bytes += bytes;
        if entry.host.is_none() {
            self.keep_on_host(&id, host);
        }
        None
    }

    /// Puts an adapter into the host's memory if it fits, the least recently used leaving for it.
    fn keep_on_host(&mut self, id: &str, host: Adapter) {
        let bytes = size(&host);
        if bytes > self.limits.host_bytes {
            return;
        }
        while self.host.bytes + bytes > self.limits.host_bytes {
            let held = self.entries.iter().filter_map(|(id, e)| Some((id, e.host.as_ref()?.1)));
            let Some(oldest) = held.min_by_key(|(_, used)| *used).map(|(id, _)| id.clone()) else {
                break;
            };
            self.drop_from_host(&oldest);
            self.host.evictions += 1;
        }
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.host = Some((host, self.clock));
            self.host.adapters += 1;
            self.host.bytes += bytes;
        }
    }

    fn drop_from_host(&mut self, id: &str) {
        if let Some((host, _)) = self.entries.get_mut(id).and_then(|e| e.host.take()) {
            self.host.adapters -= 1;
            self.host.bytes -= size(&host);
        }
    }

    fn drop_from_device(&mut self, id: &str) {
        if let Some(device) = self.entries.get_mut(id).and_then(|e| e.device.take()) {
            self.device.adapters -= 1;
            self.device.bytes -= device.bytes;
        }
    }

    /// Device, host and disk.
    pub(crate) fn stats(&self) -> (TierStats, TierStats, TierStats) {
        let disk = TierStats { adapters: self.entries.len(), ..self.disk };
        (self.device, self.host, disk)
    }

    /// The error for a request whose adapter is not known.
    pub(crate) fn unknown(id: &str) -> EngineError {
        EngineError::UnknownAdapter(id.to_string())
    }
}

/// An error about an adapter, for each of the requests that wait for it.
pub(crate) fn repeat(id: &str, error: &EngineError) -> EngineError {
    EngineError::Adapter { path: PathBuf::from(id), reason: error.to_string() }
}

/// Checks limits that were set by somebody.
pub(crate) fn check(limits: &Limits) -> Result<()> {
    match limits.device_adapters {
        0 => Err(EngineError::Request("device_adapters is 0; adapters need a place".into())),
        _ => Ok(()),
    }
}
