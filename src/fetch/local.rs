//! Artefacts from folders: packed as they are, unpacked charts as an archive
//! that is the same bytes each time.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cozy_chart::{File, Limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::error::FetchError;
use super::folder::{self, FolderError};
use crate::model::artefact::{Id, Kind};

/// What a folder has.
pub(crate) struct Found {
    /// The artefact.
    pub(crate) bytes: Bytes,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Of an unpacked chart: the version that it says it has.
    pub(crate) unpacked: Option<String>,
}

/// Reads a file of a folder, `NAME-VERSION.tgz`, or else the unpacked chart `NAME/`.
pub(crate) fn read(folder: &Path, id: &Id) -> Result<Found, FetchError> {
    let path = folder.join(id.file());
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
    let limits = Limits { archive_bytes: limit as u64, ..Limits::default() };
    let files = folder::files(&unpacked, &limits).map_err(|error| match error {
        FolderError::Unreadable(source) => failed(&unpacked, source),
        FolderError::Refused(problem) => failed(&unpacked, io::Error::other(problem)),
        FolderError::TooLarge(folder) => too_large(&folder),
    })?;
    let bytes = pack(&id.name, &files).map_err(|source| failed(&unpacked, source))?;
    let version = version(&unpacked).map_err(|source| failed(&unpacked, source))?;
    Ok(Found { bytes, path: unpacked, unpacked: Some(version) })
}

/// An archive of a chart's files, all of them within a folder.
fn pack(folder: &str, files: &[File]) -> io::Result<Bytes> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for File { path, data } in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{folder}/{path}"), &**data)?;
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
