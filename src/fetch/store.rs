//! The cache: blobs named by their digest, `blobs/sha256/HEX`, and for what was
//! let through unverified which blob it is, `unverified/HOME/charts/NAME-VERSION.tgz`.
//! Written atomically, checked whenever they are read; never any network.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::error::FetchError;
use super::http::Sink;
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
            && let Some(digest) = self.unverified(artefact)?
            && let Some(bytes) = self.blob(&artefact.id, digest)?
        {
            return Ok(Some(bytes));
        }
        artefact.sha256.map_or(Ok(None), |digest| self.blob(&artefact.id, digest))
    }

    /// Keeps an artefact.
    pub(crate) fn put(&self, artefact: &Artefact, bytes: &[u8]) -> Result<Digest, FetchError> {
        let (id, digest) = (&artefact.id, Digest::of(bytes));
        write(&self.path(digest), id, bytes)?;
        if !self.verify {
            write(&self.reference(artefact), id, digest.to_string().as_bytes())?;
        }
        Ok(digest)
    }

    /// Where a file of these bytes is, if it is at hand. Reads it all: off the runtime's thread, please.
    pub(super) fn held(&self, what: &str, digest: Digest) -> Result<Option<(PathBuf, u64)>, FetchError> {
        let path = self.path(digest);
        match digest_of(&path) {
            Ok((found, size)) if found == digest => Ok(Some((path, size))),
            Ok(_) => Err(FetchError::Spoiled { what: what.to_owned(), path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FetchError::File { verb: "read", what: what.to_owned(), path, source }),
        }
    }

    /// A place in the cache for a file that is still to come.
    pub(super) fn spool(&self, what: &str) -> Result<Spool, FetchError> {
        let folder = self.folder.join("blobs/sha256");
        let made = fs_err::create_dir_all(&folder)
            .and_then(|()| tempfile::Builder::new().prefix(".new-").tempfile_in(&folder));
        match made {
            Ok(file) => Ok(Spool { file, hash: Sha256::new(), size: 0 }),
            Err(source) => {
                Err(FetchError::File { verb: "write", what: what.to_owned(), path: folder, source })
            }
        }
    }

    /// Keeps a file that came.
    pub(super) fn keep(&self, what: &str, spool: Spool) -> Result<PathBuf, FetchError> {
        let path = self.path(spool.digest());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        let file = spool.file;
        let kept = file
            .as_file()
            .sync_all()
            .and_then(|()| file.as_file().set_permissions(mode))
            .and_then(|()| file.persist(&path).map_err(|error| error.error));
        match kept {
            Ok(_) => Ok(path),
            Err(source) => Err(FetchError::File { verb: "write", what: what.to_owned(), path, source }),
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.to_string())
    }

    /// Two homes may call different charts the same.
    fn reference(&self, artefact: &Artefact) -> PathBuf {
        let home = match &artefact.home {
            Home::Repository(url) | Home::Registry(url) | Home::File(url) => url.as_bytes(),
            Home::Folder(folder) => folder.as_os_str().as_encoded_bytes(),
        };
        self.folder.join("unverified").join(Digest::of(home).to_string()).join(artefact.id.path())
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

    fn unverified(&self, artefact: &Artefact) -> Result<Option<Digest>, FetchError> {
        let text = read(&self.reference(artefact), &artefact.id)?;
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

/// A file of the cache that is not whole yet; gone with the value, unless it is kept.
pub(super) struct Spool {
    file: tempfile::NamedTempFile,
    hash: Sha256,
    pub(super) size: usize,
}

impl Spool {
    /// The digest of what came.
    pub(super) fn digest(&self) -> Digest {
        Digest::from(self.hash.clone())
    }
}

impl Sink for Spool {
    fn place(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    fn held(&self) -> usize {
        self.size
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len();
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.as_file().set_len(0)?;
        self.file.rewind()?;
        self.hash = Sha256::new();
        self.size = 0;
        Ok(())
    }
}

/// The digest of a file, and its size. Reads it piece by piece.
pub(crate) fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = fs_err::File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((Digest::from(hash), size)),
            count => {
                hash.update(piece.get(..count).unwrap_or_default());
                size += count as u64;
            }
        }
    }
}

/// Holds the folder of a file for this process alone, until the answer is dropped; waits for another one that holds it.
/// The folder, as files are replaced by others. Where a file system cannot do that, as some in networks, nothing is held.
pub(crate) fn alone(path: &Path) -> io::Result<fs_err::File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let held = fs_err::File::open(folder)?;
    // What can be read and written without a lock is not given up for the lack of one.
    let _ = held.file().lock();
    Ok(held)
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
