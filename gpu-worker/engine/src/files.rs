//! Files written so that a crash leaves either the old content or the new.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::{EngineError, Result};

/// Writes `bytes` beside `path`, syncs, then renames over it. What stood there stays when it fails.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let io = EngineError::io(&part);
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written
        .map_err(io)
        .and_then(|()| std::fs::rename(&part, path).map_err(EngineError::io(path)));
    if moved.is_err() {
        let _ = std::fs::remove_file(&part); // half a file helps nobody and takes room
    }
    moved
}

/// Writes `value` as indented JSON with a final newline.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| EngineError::Config {
        path: path.to_path_buf(),
        reason: format!("cannot be written as JSON: {e}"),
    })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}
