//! Finds the charts under a folder.

use std::path::{Path, PathBuf};

/// Charts with their names relative to `folder`: folders that hold a
/// `Chart.yaml` outside of another chart, and archives.
pub(crate) fn charts(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        if path.is_dir() {
            if path.join("Chart.yaml").is_file() {
                found.push((name, path));
            } else if let Ok(entries) = fs_err::read_dir(&path) {
                waiting.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
            }
        } else if path.extension().is_some_and(|ext| ext == "tgz") {
            found.push((name, path));
        }
    }
    found.sort();
    found
}
