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

impl Reporter for Log {
    fn report(&self, event: &Event) {
        // A full disk must not stop an install.
        let _ = writeln!(lock(&self.file), "{}", json::line(event).trim_end());
    }
}
