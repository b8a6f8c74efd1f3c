//! Digests of large files that lie on this machine, kept in the cache: a file is read again only when what `stat` says
//! of it has changed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::store::{atomically, digest_of};
use crate::model::artefact::Digest;

/// What changed so lately is read again the next time: a file system's clock may not tell one write from the next.
const SETTLED: Duration = Duration::from_secs(2);

/// The largest file of digests that is read, in bytes.
const MOST: u64 = 1 << 20;

/// A digest, and what `stat` said of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    stamp: String,
    sha256: String,
}

/// The digests of files by their paths.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// Where they are kept; `None`: nowhere.
    file: Option<PathBuf>,
    known: BTreeMap<PathBuf, Known>,
    changed: bool,
}

impl Digests {
    /// Those of a cache. One that cannot be read is as good as an empty one.
    pub(crate) fn of_cache(cache: Option<&Path>) -> Self {
        let file = cache.map(|cache| cache.join("digests.json"));
        let small = |file: &&PathBuf| fs_err::metadata(file).is_ok_and(|found| found.len() <= MOST);
        let text = file.as_ref().filter(small).and_then(|file| fs_err::read(file).ok());
        let known = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, known, changed: false }
    }

    /// The digest of a file.
    pub(crate) fn of(&mut self, path: &Path) -> io::Result<Digest> {
        let path = fs_err::canonicalize(path)?;
        let before = stamp(&path)?;
        let known = self.known.get(&path).filter(|known| Some(&known.stamp) == before.as_ref());
        if let Some(sha256) = known.and_then(|known| known.sha256.parse().ok()) {
            return Ok(sha256);
        }
        let (sha256, _) = digest_of(&path)?;
        let kept = match before {
            Some(before) if stamp(&path)?.as_ref() == Some(&before) => {
                self.known.insert(path, Known { stamp: before, sha256: sha256.to_string() });
                true
            }
            _ => self.known.remove(&path).is_some(),
        };
        self.changed |= kept;
        Ok(sha256)
    }

    /// Keeps what is new. Digests are a matter of speed: where they cannot be written, files are read again.
    pub(crate) fn keep(mut self) {
        let Some(file) = self.file.filter(|_| self.changed) else { return };
        self.known.retain(|path, _| path.exists());
        if let Ok(text) = serde_json::to_vec(&self.known) {
            let _ = atomically(&file, &text);
        }
    }
}

/// What a file is known by: it cannot change without one of them changing. `None`: it has just changed.
fn stamp(path: &Path) -> io::Result<Option<String>> {
    let found = fs_err::metadata(path)?;
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(found.ctime()).unwrap_or(0));
    let settled = changed.elapsed().is_ok_and(|age| age >= SETTLED);
    let (size, device, inode) = (found.size(), found.dev(), found.ino());
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Ok(settled.then(|| format!("{size}:{device}:{inode}:{times:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests as they were kept, with one that is not the file's: who gets it did not read the file.
    fn told(cache: &Path, path: &Path, other: Digest) -> Digests {
        let mut digests = Digests::of_cache(Some(cache));
        digests.known.get_mut(path).unwrap().sha256 = other.to_string();
        digests
    }

    #[test]
    fn a_file_is_read_again_when_it_changed_and_only_then() {
        let cache = tempfile::tempdir().unwrap();
        // This test's own file would be too new to be trusted.
        let old = fs_err::canonicalize("/bin/sh").unwrap();
        let mut digests = Digests::of_cache(Some(cache.path()));
        let right = digests.of(&old).unwrap();
        assert_eq!(right, digest_of(&old).unwrap().0);
        digests.keep();
        let wrong = Digest::of(b"wrong");
        assert_eq!(told(cache.path(), &old, wrong).of(&old).unwrap(), wrong);
        let mut changed = told(cache.path(), &old, wrong);
        changed.known.get_mut(&old).unwrap().stamp.push('!');
        assert_eq!(changed.of(&old).unwrap(), right);
    }

    #[test]
    fn what_has_just_changed_is_not_kept() {
        let cache = tempfile::tempdir().unwrap();
        let new = cache.path().join("new");
        fs_err::write(&new, "one").unwrap();
        let mut digests = Digests::of_cache(Some(cache.path()));
        assert_eq!(digests.of(&new).unwrap(), Digest::of(b"one"));
        fs_err::write(&new, "two").unwrap();
        assert_eq!(digests.of(&new).unwrap(), Digest::of(b"two"));
        assert!(digests.known.is_empty());
    }

    #[test]
    fn a_cache_that_cannot_be_read_or_written_costs_nothing_but_time() {
        let cache = tempfile::tempdir().unwrap();
        fs_err::write(cache.path().join("digests.json"), "{ not json").unwrap();
        for cache in [Some(cache.path()), Some(Path::new("/proc/none")), None] {
            let mut digests = Digests::of_cache(cache);
            assert_eq!(
                digests.of(Path::new("/etc/passwd")).unwrap(),
                digest_of(Path::new("/etc/passwd")).unwrap().0
            );
            digests.keep();
        }
    }
}
