//! What an earlier run of the worker left on disk.

use std::path::{Path, PathBuf};

/// Folders of adapters in `cache`, the one that was written last first. Only what is named as an
/// adapter's files are, by the digest of their manifest; a folder that cannot be read has none.
pub(super) fn left_in(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| hex::decode(name).ok());
            digest.is_some_and(|digest| digest.len() == 32)
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
        })
        .map(|entry| (entry.metadata().and_then(|m| m.modified()).ok(), entry.path()))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn only_adapters_are_found_the_oldest_last() {
        let cache = tempfile::tempdir().unwrap();
        assert!(left_in(&cache.path().join("nothing")).is_empty());
        let named = |byte: &str| cache.path().join(byte.repeat(32));
        for (age, name) in [(30, "aa"), (10, "bb"), (20, "cc")] {
            let folder = named(name);
            std::fs::create_dir(&folder).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            std::fs::File::open(&folder).unwrap().set_modified(then).unwrap();
        }
        std::fs::create_dir(cache.path().join("spans")).unwrap();
        std::fs::create_dir(cache.path().join("dd")).unwrap();
        std::fs::write(named("ee"), "a file").unwrap();
        assert_eq!(left_in(cache.path()), ["bb", "cc", "aa"].map(named));
    }
}
