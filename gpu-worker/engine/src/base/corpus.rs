//! Prose that can be found on any machine that builds this project: the documentation comments
//! of the Rust library and of fetched crates, and licence texts.

use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::error::{EngineError, Result};

/// No single file gives more than this, so that no crate's voice drowns the others.
const MAX_CHARS_PER_FILE: usize = 40_000;
/// Shorter passages are mostly headings and lists of names.
const MIN_PASSAGE: usize = 200;

/// Passages of English text.
pub struct Corpus {
    /// One per source file, ASCII, paragraphs parted by a line break.
    pub passages: Vec<String>,
}

impl Corpus {
    /// Reads text below `roots` until there are `max_chars`; the order of files is drawn by
    /// `seed`. Rust sources give their documentation comments, `.md`, `.txt` and nameless
    /// extensions give their prose.
    ///
    /// Errors when a root cannot be read or when there is too little text altogether.
    pub fn read(roots: &[PathBuf], max_chars: usize, seed: u64) -> Result<Self> {
        let mut files = Vec::new();
        for root in roots {
            list_files(root, &mut files).map_err(EngineError::io(root))?;
        }
        files.sort();
        files.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut passages = Vec::new();
        let mut total = 0;
        for path in files {
            // A file that is not UTF-8 is not prose.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let mut prose = if path.extension().is_some_and(|e| e == "rs") {
                documentation_of(&text)
            } else {
                prose_of(text.lines())
            };
            prose.truncate(MAX_CHARS_PER_FILE); // ASCII, so any cut is a character boundary
            if prose.len() >= MIN_PASSAGE {
                total += prose.len();
                passages.push(prose);
            }
            if total >= max_chars {
                break;
            }
        }
        if total < max_chars.min(200_000) {
            return Err(EngineError::Spec(format!(
                "only {total} characters of prose were found; name more folders with text"
            )));
        }
        Ok(Self { passages })
    }
}

fn list_files(root: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if root.is_file() {
        into.push(root.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        // Links are left out: they lead in circles.
        let Ok(kind) = path.symlink_metadata() else { continue };
        if kind.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name != "tests" && name != "target" && name != ".git" {
                list_files(&path, into)?;
            }
        } else if kind.is_file() && kind.len() < 2_000_000 {
            let wanted = match path.extension().and_then(|e| e.to_str()) {
                Some(ext) => matches!(ext, "rs" | "md" | "txt"),
                None => true,
            };
            if wanted {
                into.push(path);
            }
        }
    }
    Ok(())
}

fn documentation_of(source: &str) -> String {
    prose_of(source.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))
    }))
}

/// Keeps lines that read like English, joins them to paragraphs.
fn prose_of<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for line in lines {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            in_code = !in_code;
            continue;
        }
        if in_code || line.starts_with(['#', '|', '[', '<']) || !line.is_ascii() {
            continue;
        }
        if line.is_empty() {
            if !out.ends_with('\n') && !out.is_empty() {
                out.push('\n');
            }
            continue;
        }
        let letters = line.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').count();
        if line.len() < 24 || letters * 100 < line.len() * 88 {
            continue;
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push(' ');
        }
        out.extend(line.chars().filter(|c| !matches!(c, '`' | '*' | '[' | ']')));
    }
    out
}
