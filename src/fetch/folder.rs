//! The folder of an unpacked chart, read as Helm reads it: without what its
//! `.helmignore` names, links followed, within limits.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cozy_chart::{File, IgnoreRules, Limits};

/// Why the folder of a chart cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// A file or folder cannot be read; the error names it.
    #[error(transparent)]
    Unreadable(io::Error),
    /// It is no chart.
    #[error("{0}")]
    Refused(String),
    /// It is larger than a chart may be.
    #[error("`{}` is larger than a chart may be", .0.display())]
    TooLarge(PathBuf),
}

/// The files of a chart's folder, in the order of their names.
pub(crate) fn files(folder: &Path, limits: &Limits) -> Result<Vec<File>, FolderError> {
    let rules = match fs_err::read(folder.join(".helmignore")) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(FolderError::Unreadable(error)),
    };
    let rules = IgnoreRules::parse(rules.as_deref()).map_err(FolderError::Refused)?;
    let mut walk =
        Walk { root: folder, rules, files: Vec::new(), bytes: limits.archive_bytes, count: limits.files };
    walk.folder(folder, "", 0)?;
    Ok(walk.files)
}

/// A walk through a chart's folder, and what it may still read.
struct Walk<'a> {
    root: &'a Path,
    rules: IgnoreRules,
    files: Vec<File>,
    bytes: u64,
    /// Files and folders: links make many of few.
    count: usize,
}

/// The deepest nesting of folders; links may lead around in circles.
const DEEPEST: usize = 40;

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, within: &str, depth: usize) -> Result<(), FolderError> {
        if depth > DEEPEST {
            let shown = folder.display();
            return Err(FolderError::Refused(format!("`{shown}` is nested more than {DEEPEST} deep")));
        }
        self.count()?;
        let entries = fs_err::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(FolderError::Unreadable)?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if within.is_empty() { name } else { format!("{within}/{name}") };
            let metadata = fs_err::metadata(entry.path()).map_err(FolderError::Unreadable)?;
            if self.rules.ignores(&path, metadata.is_dir()) {
                continue;
            }
            if metadata.is_dir() {
                self.folder(&entry.path(), &path, depth + 1)?;
            } else if metadata.is_file() {
                self.file(&entry.path(), path)?;
            } else {
                let shown = entry.path();
                let problem = format!("`{}` is neither a file nor a folder", shown.display());
                return Err(FolderError::Refused(problem));
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), FolderError> {
        let left = self.count.checked_sub(1);
        self.count = left.ok_or_else(|| FolderError::TooLarge(self.root.to_owned()))?;
        Ok(())
    }

    fn file(&mut self, place: &Path, path: String) -> Result<(), FolderError> {
        self.count()?;
        let mut data = Vec::new();
        let file = fs_err::File::open(place).map_err(FolderError::Unreadable)?;
        let read = file.take(self.bytes + 1).read_to_end(&mut data).map_err(FolderError::Unreadable)?;
        let left = self.bytes.checked_sub(read as u64);
        self.bytes = left.ok_or_else(|| FolderError::TooLarge(self.root.to_owned()))?;
        self.files.push(File::new(path, data));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn small() -> Limits {
        Limits { files: 60, archive_bytes: 100, ..Limits::default() }
    }

    fn paths(folder: &Path) -> Result<Vec<String>, String> {
        let files = files(folder, &small());
        files.map_or_else(
            |error| Err(error.to_string().replace(&folder.display().to_string(), "[folder]")),
            |files| Ok(files.into_iter().map(|file| file.path).collect()),
        )
    }

    #[test]
    fn links_are_followed_and_what_is_ignored_is_left_out() {
        let (chart, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| chart.path().join(name);
        fs_err::write(beside.path().join("a.yaml"), "kind: A").unwrap();
        fs_err::write(at("Chart.yaml"), "name: a").unwrap();
        fs_err::write(at("x.bak"), "x").unwrap();
        fs_err::write(at(".helmignore"), "*.bak\n.helmignore\n").unwrap();
        symlink(beside.path(), at("templates")).unwrap();
        assert_eq!(paths(chart.path()), Ok(vec!["Chart.yaml".to_owned(), "templates/a.yaml".to_owned()]));
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let chart = tempfile::tempdir().unwrap();
        let at = |name: &str| chart.path().join(name);
        let problem = || paths(chart.path()).unwrap_err();
        symlink(".", at("circle")).unwrap();
        assert!(problem().contains("circle/circle/circle"), "{}", problem());
        fs_err::remove_file(at("circle")).unwrap();
        fs_err::create_dir_all(at(&"x/".repeat(41))).unwrap();
        assert!(problem().ends_with("is nested more than 40 deep"), "{}", problem());
        fs_err::remove_dir_all(at("x")).unwrap();
        symlink("/dev/null", at("null")).unwrap();
        assert_eq!(problem(), "`[folder]/null` is neither a file nor a folder");
        fs_err::remove_file(at("null")).unwrap();
        symlink("nowhere", at("broken")).unwrap();
        assert!(problem().contains("[folder]/broken"), "{}", problem());
        fs_err::remove_file(at("broken")).unwrap();
        fs_err::write(at(".helmignore"), "a/**").unwrap();
        assert!(problem().contains("double-star"), "{}", problem());
        fs_err::write(at(".helmignore"), "[").unwrap();
        assert!(problem().contains("is not a pattern"), "{}", problem());
        fs_err::remove_file(at(".helmignore")).unwrap();
        fs_err::write(at("large"), [0; 101]).unwrap();
        assert_eq!(problem(), "`[folder]` is larger than a chart may be");
        fs_err::remove_file(at("large")).unwrap();
        for name in 0..60 {
            fs_err::write(at(&name.to_string()), "").unwrap();
        }
        assert_eq!(problem(), "`[folder]` is larger than a chart may be");
    }
}
