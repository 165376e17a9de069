//! What the figures were taken on.

use serde::Serialize;

/// The machine and how busy it was.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Threads that it runs at once.
    pub cores: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Load average of the last minute when the run began: other work on the machine shows here.
    pub load: f64,
    /// Threads that one tensor operation may use.
    pub threads: usize,
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

impl Machine {
    /// This one.
    pub fn here(threads: usize) -> Self {
        let kib = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or(0.0) / f64::from(1 << 20),
            load: load
                .and_then(|text| text.split_whitespace().next()?.parse().ok())
                .unwrap_or(f64::NAN),
            threads,
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let Self { processor, cores, memory_gib, load, threads } = self;
        format!(
            "{processor}, {cores} cores, {memory_gib:.0} GiB, {threads} threads, load {load:.2}"
        )
    }
}

/// From here on the most memory that ever was in RAM is counted anew.
pub fn forget_peak() {
    // Where the kernel does not allow it, the peak stays that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Memory of this process that is in RAM, and the most that was, in MiB.
pub fn resident_mib() -> (f64, f64) {
    let read = |name| {
        let text = field("/proc/self/status", name)?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    (read("VmRSS").unwrap_or(0.0) / 1024.0, read("VmHWM").unwrap_or(0.0) / 1024.0)
}
