//! The run's log: every event as one JSON line, in a file that a failed run names.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;

use super::json;
use super::out::lock;
use crate::execute::event::{Event, Reporter};

/// A log that is being written.
pub(crate) struct Log {
    path: PathBuf,
    file: Mutex<fs_err::File>,
}

impl Log {
    /// Creates `FOLDER/CLOUD-TIME.jsonl`, readable by its owner only.
    pub(crate) fn create(folder: &Path, cloud: &str, now: Timestamp) -> io::Result<Self> {
        fs_err::create_dir_all(folder)?;
        // One more than fits is worth less than the run.
        let _ = prune(folder, cloud);
        let path = folder.join(format!(
            "{cloud}-{}-{}.jsonl",
            now.strftime("%Y%m%dT%H%M%S%.3fZ"),
            std::process::id()
        ));
        let file = fs_err::File::create_new(&path)?;
        fs_err::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// How many logs of a cloud are kept.
const KEPT: usize = 100;

/// Deletes the oldest logs of a cloud, so that with a new one [`KEPT`] are left.
fn prune(folder: &Path, cloud: &str) -> io::Result<()> {
    let is_log = |name: &str| {
        let rest = name.strip_prefix(cloud).and_then(|rest| rest.strip_prefix('-'));
        // `CLOUD-TIME-PID.jsonl`: what follows the name of another cloud, `CLOUD-2`, has no such time.
        rest.and_then(|rest| rest.strip_suffix(".jsonl")).is_some_and(|rest| {
            rest.split_once('-').is_some_and(|(time, pid)| {
                time.len() == "20260102T030405.678Z".len()
                    && time.ends_with('Z')
                    && pid.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
    };
    let names = fs_err::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut logs: Vec<String> = names.filter(|name| is_log(name)).collect();
    // Their times sort as text.
    logs.sort_unstable();
    let old = logs.len().saturating_sub(KEPT - 1);
    logs.iter().take(old).try_for_each(|name| fs_err::remove_file(folder.join(name)))
}

impl Reporter for Log {
    fn report(&self, event: &Event) {
        // A full disk must not stop an install.
        let _ = writeln!(lock(&self.file), "{}", json::line(event).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_logs_of_the_same_cloud_go() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let others = ["demo-2-20230101T000000.000Z-1.jsonl", "demo-notes.jsonl", "demo.txt"];
        for name in others {
            fs_err::write(folder.path().join(name), "x").unwrap();
        }
        let logs: Vec<PathBuf> = (0..120)
            .map(|second| Log::create(folder.path(), "demo", at(second)).unwrap().path().to_owned())
            .collect();
        assert!(logs.iter().take(20).all(|log| !log.exists()));
        assert!(logs.iter().skip(20).all(|log| log.exists()));
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
    }
}
