//! The same loads through transformers and PEFT, if this machine's Python has them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tch::Device;

use super::{setup, training, Figure, Options, Shape};
use crate::error::{EngineError, Result};

const SCRIPT: &str = include_str!("peer.py");

#[derive(Deserialize)]
struct Line {
    name: String,
    value: f64,
    unit: String,
}

fn failed(reason: String) -> EngineError {
    EngineError::Cuda { doing: "comparing with PEFT", reason }
}

/// Whether this Python has what the comparison needs. Imports nothing, so it takes no time.
pub(super) fn is_there(python: &Path) -> bool {
    let asked = "import importlib.util as u, sys\n\
                 sys.exit(not all(u.find_spec(n) for n in ('torch', 'transformers', 'peft')))";
    let mut command = Command::new(python);
    command.args(["-c", asked]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Our training in relation to the peer's, which trains several jobs one after the other.
pub(super) fn compare(shape: Shape, ours: &[Figure], theirs: &[Figure]) -> Vec<Figure> {
    let training = |f: &&Figure| f.name.starts_with("PEFT, training") && f.unit == "tok/s";
    let Some(peer) = theirs.iter().find(training) else { return vec![] };
    let names = training::comparable(&setup::sizes(shape).1);
    let comparable = ours.iter().filter(|f| f.section == "training" && names.contains(&f.name));
    comparable
        .map(|f| Figure::new("peer", format!("{}, to PEFT", f.name), f.value / peer.value, "×"))
        .collect()
}

/// Runs the comparison for at most `left`. What it has measured by then counts.
pub(super) fn measure(
    options: &Options,
    python: &Path,
    left: Duration,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let device = match options.device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    };
    let mut child = Command::new(python)
        .args(["-c", SCRIPT, &device, options.shape.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("{} cannot be started ({e})", python.display())))?;
    // Read elsewhere, so that a full pipe holds nothing up and time can be kept here.
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = vec![];
            if let Some(mut pipe) = pipe {
                // What was read before an error counts.
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let err = reader(child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| failed(e.to_string()))? {
            Some(status) => break Some(status),
            None if start.elapsed() >= left => {
                // It may have ended this very moment.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let text = out.join().unwrap_or_default();
    let words = err.join().unwrap_or_default();
    for line in text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok()) {
        figures.push(Figure::new("peer", line.name, line.value, &line.unit));
    }
    match status {
        Some(status) if status.success() => Ok(()),
        Some(_) => {
            let last = words.lines().rfind(|l| !l.trim().is_empty());
            Err(failed(last.unwrap_or("it ended without a word").to_string()))
        }
        None => Err(failed(format!("stopped after {} s", left.as_secs()))),
    }
}
