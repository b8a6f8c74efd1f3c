//! Artefacts from folders: packed as they are, unpacked charts as an archive
//! that is the same bytes each time.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::error::FetchError;
use crate::model::artefact::{Id, Kind};

/// The most files of an unpacked chart.
const MOST: usize = 20_000;

/// What a folder has.
pub(crate) struct Found {
    /// The artefact.
    pub(crate) bytes: Bytes,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Of an unpacked chart: the version that it says it has.
    pub(crate) unpacked: Option<String>,
}

/// Reads `NAME-VERSION.tgz` or `.yaml` of a folder, or else the unpacked chart `NAME/`.
pub(crate) fn read(folder: &Path, id: &Id) -> Result<Found, FetchError> {
    let (_, ending) = id.kind.layout();
    let path = folder.join(format!("{}-{}{ending}", id.name, id.version));
    let limit = id.kind.limit();
    let failed = |path: &Path, source| FetchError::File {
        verb: "read",
        what: id.to_string(),
        path: path.to_owned(),
        source,
    };
    let too_large =
        |path: &Path| FetchError::TooLarge { what: id.to_string(), from: path.display().to_string(), limit };
    let mut bytes = Vec::new();
    match fs_err::File::open(&path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() > limit => return Err(too_large(&path)),
        Ok(_) => return Ok(Found { bytes: bytes.into(), path, unpacked: None }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(&path, source)),
    }
    let unpacked = folder.join(&id.name);
    if id.kind != Kind::Chart || !unpacked.join("Chart.yaml").is_file() {
        return Err(FetchError::NotFound {
            what: id.to_string(),
            from: folder.display().to_string(),
            known: String::new(),
        });
    }
    let mut files = Vec::new();
    let mut size = 0;
    walk(&unpacked, &id.name, limit, &mut files, &mut size).map_err(|source| failed(&unpacked, source))?;
    if size > limit || files.len() > MOST {
        return Err(too_large(&unpacked));
    }
    let bytes = pack(&files).map_err(|source| failed(&unpacked, source))?;
    let version = version(&unpacked).map_err(|source| failed(&unpacked, source))?;
    Ok(Found { bytes, path: unpacked, unpacked: Some(version) })
}

/// The regular files under a folder, sorted, with their paths in the archive.
/// Links are left out: a chart holds its own files.
fn walk(
    folder: &Path,
    prefix: &str,
    limit: usize,
    files: &mut Vec<(String, Vec<u8>)>,
    size: &mut usize,
) -> io::Result<()> {
    let mut entries = fs_err::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        if *size > limit || files.len() > MOST {
            return Ok(());
        }
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other("a file's name is not UTF-8"))?;
        let path = format!("{prefix}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &path, limit, files, size)?;
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            fs_err::File::open(entry.path())?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
            *size += bytes.len();
            files.push((path, bytes));
        }
    }
    Ok(())
}

fn pack(files: &[(String, Vec<u8>)]) -> io::Result<Bytes> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?.finish()?.into())
}

fn version(folder: &Path) -> io::Result<String> {
    #[derive(Deserialize)]
    struct Chart {
        version: String,
    }
    let text = fs_err::read_to_string(folder.join("Chart.yaml"))?;
    let chart: Chart = serde_yaml::from_str(&text).map_err(|error| {
        io::Error::other(format!("Chart.yaml: {}", error.to_string().lines().next().unwrap_or_default()))
    })?;
    Ok(chart.version)
}
