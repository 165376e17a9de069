//! Starting the project's own programs on loopback, and stopping them by their own process id.

use anyhow::{bail, Context, Result};
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Folder of the programs built beside this one.
pub fn programs() -> Result<PathBuf> {
    let me = std::env::current_exe().context("where this program lies is unknown")?;
    let folder = me.parent().context("this program lies in no folder")?;
    // Test programs lie one folder further down.
    Ok(match folder.file_name().and_then(|name| name.to_str()) {
        Some("deps") => folder.parent().context("no folder above deps")?.to_path_buf(),
        _ => folder.to_path_buf(),
    })
}

/// Path of one of the project's programs, with a hint when it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = programs()?.join(name);
    if !path.is_file() {
        bail!("{name} was not built; run `make build`");
    }
    Ok(path)
}

/// Root of the checkout that this was built from.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A port on loopback that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running program whose output goes to a file. It is stopped when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with its output in `log`.
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        Ok(Self { name: name.into(), child, log })
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its output if it is no longer running.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} stopped with {status}; the end of its log:\n{}", self.name, self.tail(25));
        }
        Ok(())
    }

    /// The last lines of its output.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until `ready` gives a value; fails when the program stops or the time is over.
    pub async fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(value) = ready().await {
                return Ok(value);
            }
            self.check()?;
            if start.elapsed() > limit {
                bail!("{}: no {what} within {limit:?}; its log:\n{}", self.name, self.tail(25));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM), and kills it if it has not stopped after `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        let Ok(pid) = i32::try_from(self.child.id()) else { return self.kill() };
        // SAFETY: kill(2) takes no pointers; the child has not been waited for, so its id is its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let start = Instant::now();
        while start.elapsed() < patience {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing can be done about a failure here.
            let _ = self.stop(Duration::from_secs(5));
        }
    }
}
