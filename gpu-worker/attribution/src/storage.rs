//! Bytes in memory or mapped from a file, and files written whole or not at all.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::{IndexError, Result};

pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    /// Maps a file. It must not be changed in place while it is mapped; the files that this crate
    /// writes are replaced by renaming and never are.
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| io(path, &e))?;
        // SAFETY: the map is only read, and nothing changes the file in place (see above).
        let map = unsafe { Mmap::map(&file) }.map_err(|e| io(path, &e))?;
        Ok(Self::Mapped(map))
    }

    pub(crate) fn all(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

pub(crate) fn io(path: &Path, error: &std::io::Error) -> IndexError {
    IndexError::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// Where a file is written before it takes its name.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}

/// Writes beside `path`, then renames over it.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path);
    std::fs::write(&part, bytes).map_err(|e| io(&part, &e))?;
    std::fs::rename(&part, path).map_err(|e| io(path, &e))
}
