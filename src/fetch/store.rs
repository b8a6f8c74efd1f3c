//! The cache: blobs named by their digest, `blobs/sha256/HEX`, and for what was
//! let through unverified which blob it is, `unverified/charts/NAME-VERSION.tgz`.
//! Written atomically, checked whenever they are read; never any network.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::FetchError;
use super::local;
use crate::model::artefact::{Artefact, Digest, Home, Id};

/// The cache of one user.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Whether only pinned bytes are given out.
    verify: bool,
}

impl Store {
    /// The cache in a folder, which need not exist yet.
    pub(crate) fn new(folder: Option<&Path>, verify: bool) -> Result<Self, FetchError> {
        Ok(Self { folder: folder.ok_or(FetchError::NoCache)?.to_owned(), verify })
    }

    /// Whether only pinned bytes are given out.
    pub(crate) fn verifies(&self) -> bool {
        self.verify
    }

    /// An artefact's bytes, if they are at hand: in the cache, or in a folder of
    /// the user's own. `None`: not at hand, or not pinned yet.
    pub(crate) fn get(&self, artefact: &Artefact) -> Result<Option<Bytes>, FetchError> {
        if let Home::Folder(folder) = &artefact.home {
            return match local::read(folder, &artefact.id) {
                Ok(found) => Ok(Some(found.bytes)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            };
        }
        if !self.verify
            && let Some(digest) = self.unverified(&artefact.id)?
            && let Some(bytes) = self.blob(&artefact.id, digest)?
        {
            return Ok(Some(bytes));
        }
        artefact.sha256.map_or(Ok(None), |digest| self.blob(&artefact.id, digest))
    }

    /// Keeps an artefact.
    pub(crate) fn put(&self, id: &Id, bytes: &[u8]) -> Result<Digest, FetchError> {
        let digest = Digest::of(bytes);
        write(&self.path(digest), id, bytes)?;
        if !self.verify {
            write(&self.reference(id), id, digest.to_string().as_bytes())?;
        }
        Ok(digest)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.to_string())
    }

    fn reference(&self, id: &Id) -> PathBuf {
        self.folder.join("unverified").join(id.path())
    }

    fn blob(&self, id: &Id, digest: Digest) -> Result<Option<Bytes>, FetchError> {
        let path = self.path(digest);
        let Some(bytes) = read(&path, id)? else { return Ok(None) };
        if Digest::of(&bytes) == digest {
            Ok(Some(bytes.into()))
        } else {
            Err(FetchError::Spoiled { what: id.to_string(), path })
        }
    }

    fn unverified(&self, id: &Id) -> Result<Option<Digest>, FetchError> {
        let text = read(&self.reference(id), id)?;
        Ok(text.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()))
    }
}

fn read(path: &Path, id: &Id) -> Result<Option<Vec<u8>>, FetchError> {
    let mut bytes = Vec::new();
    let limit = id.kind.limit() as u64 + 1;
    match fs_err::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(FetchError::File { verb: "read", what: id.to_string(), path: path.to_owned(), source })
        }
    }
}

fn write(path: &Path, id: &Id, bytes: &[u8]) -> Result<(), FetchError> {
    atomically(path, bytes).map_err(|source| FetchError::File {
        verb: "write",
        what: id.to_string(),
        path: path.to_owned(),
        source,
    })
}

/// Writes a file so that it is there as a whole or not at all.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}
