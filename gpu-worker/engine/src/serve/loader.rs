//! The thread that fetches adapters: from their folders, and into the form that a pass reads.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use tch::Device;

use super::{gave_up, Prepared, Preparer};
use crate::error::{EngineError, Result};
use crate::lora::Adapter;

/// Reads an adapter into the host's memory, pinned when the device is CUDA's.
pub(crate) fn read(folder: &Path, preparer: &Preparer) -> Result<Adapter> {
    let adapter = Adapter::load(folder, preparer.config(), Device::Cpu)?;
    if !preparer.device().is_cuda() {
        return Ok(adapter);
    }
    let flat = adapter.flat().f_pin_memory(preparer.device())?;
    Ok(Adapter::from_flat(adapter.config().clone(), flat))
}

/// Memory of an adapter's numbers.
pub(crate) fn bytes(adapter: &Adapter) -> usize {
    adapter.flat().numel() * adapter.flat().kind().elt_size_in_bytes()
}

/// What to fetch.
pub(crate) struct Fetch {
    pub id: String,
    /// Which of the adapters that had this name.
    pub generation: u64,
    pub folder: PathBuf,
    /// The host's copy, if there is one.
    pub host: Option<Adapter>,
}

/// A fetched adapter.
pub(crate) struct Fetched {
    pub id: String,
    pub generation: u64,
    /// The host's copy, and the one for the device.
    pub result: Result<(Adapter, Prepared)>,
}

/// Starts the thread. It ends when the sender is dropped.
pub(crate) fn start(preparer: Preparer) -> Result<(Sender<Fetch>, Receiver<Fetched>)> {
    let (orders, inbox) = mpsc::channel::<Fetch>();
    let (outbox, fetched) = mpsc::channel();
    std::thread::Builder::new()
        .name("engine-load".into())
        .spawn(move || {
            // Beside the steps, and not instead of them.
            tch::set_num_threads(1);
            for fetch in inbox {
                let Fetch { id, generation, folder, host } = fetch;
                let result = fetch_one(&preparer, &folder, host);
                if outbox.send(Fetched { id, generation, result }).is_err() {
                    return;
                }
            }
        })
        .map_err(EngineError::io(Path::new("engine-load")))?;
    Ok((orders, fetched))
}

fn fetch_one(
    preparer: &Preparer,
    folder: &Path,
    host: Option<Adapter>,
) -> Result<(Adapter, Prepared)> {
    let work = std::panic::AssertUnwindSafe(|| {
        let host = match host {
            Some(host) => host,
            None => read(folder, preparer)?,
        };
        let prepared = preparer.prepare(&host)?;
        Ok((host, prepared))
    });
    // The tensor library panics where it runs out of memory: only this adapter is affected.
    std::panic::catch_unwind(work).unwrap_or_else(|panic| Err(gave_up(panic)))
}
