//! Reads the catalogue's files: the built-in ones from the binary, overlays
//! and components of the user's own from disk. The last wins, by component.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::files;
use crate::model::catalogue::{File, Files};
use crate::model::names::{BundleName, ComponentName};

static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");
static BUNDLES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/bundles");

/// The largest file of an overlay, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The most bytes in an overlay.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The most files in an overlay.
const MOST: usize = 20_000;

/// Why an overlay cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    /// A file or folder cannot be read.
    #[error("cannot read the catalogue at `{path}`")]
    Read {
        /// The overlay.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder of a cloud's own component cannot be read.
    #[error("cannot read the component at `{path}`")]
    ReadComponent {
        /// The component's folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no catalogue.
    #[error("`{path}` is no catalogue: it has no files in `templates/` or `bundles/`")]
    Empty {
        /// The overlay.
        path: PathBuf,
    },
    /// It is no component.
    #[error("`{path}` is no component: it has no files")]
    NoComponent {
        /// The component's folder.
        path: PathBuf,
    },
    /// It has too many files to be meant.
    #[error("`{path}` has more than {MOST} files")]
    TooMany {
        /// The overlay.
        path: PathBuf,
    },
    /// Its files are too large to be meant.
    #[error("the files of `{path}` are larger than 64 MiB")]
    Heavy {
        /// The overlay.
        path: PathBuf,
    },
    /// A file is too large to be meant.
    #[error("`{path}` is larger than 16 MiB")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A link: it may lead anywhere.
    #[error("`{path}` is a link: a catalogue holds its own files")]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A socket, a pipe, a device.
    #[error("`{path}` is neither a file nor a folder: a catalogue holds its own files")]
    NoFile {
        /// What it is.
        path: PathBuf,
    },
}

/// The built-in catalogue.
pub(crate) fn built_in() -> Files {
    let mut files = Files::new();
    for (folder, dir) in [("templates", &TEMPLATES), ("bundles", &BUNDLES)] {
        embedded(folder, dir, &mut files);
    }
    files
}

fn embedded(folder: &str, dir: &Dir<'static>, files: &mut Files) {
    for file in dir.files() {
        let path = format!("{folder}/{}", file.path().display());
        let shown = format!("built-in:{path}");
        files.insert(path, File { shown, bytes: Cow::Borrowed(file.contents()) });
    }
    for inner in dir.dirs() {
        embedded(folder, inner, files);
    }
}

/// Lays the catalogue at `path` over `files`. A component in it replaces the
/// whole folder of an older one.
pub(crate) fn overlay(path: &Path, files: &mut Files) -> Result<(), CatalogueError> {
    let (mut found, mut size) = (Files::new(), 0);
    for top in ["templates", "bundles"] {
        let folder = path.join(top);
        if folder.is_dir() {
            walk((path, &folder), top, &mut found, &mut size)?;
        }
    }
    if found.is_empty() {
        return Err(match fs_err::metadata(path) {
            Ok(_) => CatalogueError::Empty { path: path.to_owned() },
            Err(source) => CatalogueError::Read { path: path.to_owned(), source },
        });
    }
    replace(found, files);
    Ok(())
}

/// The lock file of a bundle beside the bundle's file, in the overlay that
/// defines it; `None`: it is built in.
pub(crate) fn lock_path(overlays: &[PathBuf], bundle: &BundleName) -> Option<PathBuf> {
    let folder = overlays.iter().rev().map(|overlay| overlay.join("bundles"));
    let mut found = folder.filter(|folder| folder.join(format!("{bundle}.yaml")).is_file());
    found.next().map(|folder| folder.join(format!("{bundle}.lock")))
}

/// Lays one component's folder over `files`.
pub(crate) fn component(name: &ComponentName, path: &Path, files: &mut Files) -> Result<(), CatalogueError> {
    let mut found = Files::new();
    walk((path, path), &format!("templates/{name}"), &mut found, &mut 0).map_err(|error| match error {
        CatalogueError::Read { path, source } => CatalogueError::ReadComponent { path, source },
        other => other,
    })?;
    if found.is_empty() {
        return Err(CatalogueError::NoComponent { path: path.to_owned() });
    }
    replace(found, files);
    Ok(())
}

fn replace(found: Files, files: &mut Files) {
    let folder = |path: &str| {
        let mut parts = path.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("templates"), Some(name), Some(_)) => Some(format!("templates/{name}/")),
            _ => None,
        }
    };
    let replaced: Vec<String> = found.keys().filter_map(|path| folder(path)).collect();
    files.retain(|path, _| !replaced.iter().any(|folder| path.starts_with(folder.as_str())));
    files.extend(found);
}

fn walk(
    (root, folder): (&Path, &Path),
    prefix: &str,
    found: &mut Files,
    size: &mut usize,
) -> Result<(), CatalogueError> {
    let failed = |source| CatalogueError::Read { path: root.to_owned(), source };
    let mut entries: Vec<_> =
        fs_err::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let path = format!("{prefix}/{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk((root, &entry.path()), &path, found, size)?;
        } else if kind.is_file() {
            if entry.metadata().map_err(failed)?.len() > LARGEST {
                return Err(CatalogueError::TooLarge { path: entry.path() });
            }
            if found.len() >= MOST {
                return Err(CatalogueError::TooMany { path: root.to_owned() });
            }
            let bytes = files::read(&entry.path(), LARGEST).map_err(failed)?;
            *size += bytes.len();
            if *size > MOST_BYTES {
                return Err(CatalogueError::Heavy { path: root.to_owned() });
            }
            found.insert(path, File { shown: entry.path().display().to_string(), bytes: Cow::Owned(bytes) });
        } else {
            let path = entry.path();
            return Err(if kind.is_symlink() {
                CatalogueError::Link { path }
            } else {
                CatalogueError::NoFile { path }
            });
        }
    }
    Ok(())
}
