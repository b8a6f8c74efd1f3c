//! Files that users name, read up to a limit: a device, or a wrong path, fills no memory.

use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// Those of the file, and `FileTooLarge` where it goes on after that.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    all(fs_err::File::open(path)?, limit).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(&format!("`{}`", path.display()), limit),
        _ => error,
    })
}

/// Reads at most `limit` bytes.
///
/// # Errors
/// As [`read`].
pub(crate) fn all(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large("it", limit)) } else { Ok(bytes) }
}

fn too_large(what: &str, limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{what} is larger than {} MiB", limit >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_refused_and_what_just_fits_is_read() {
        let error = read(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "`/dev/zero` is larger than 1 MiB");
        assert_eq!(all(&[7; 8][..], 8).unwrap(), [7; 8]);
        assert_eq!(all(&[7; 9][..], 8).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(Path::new("/nowhere"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
