//! Chart archives: hostile until checked (Helm's `loader/archive`).

use std::io::Read;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::File;
use crate::error::Error;
use crate::funcs::encoding::clean;
use crate::limits::Limits;

pub(super) const BOM: &[u8] = &[0xef, 0xbb, 0xbf];

/// What may still be read, archives within archives included.
pub(super) struct Budget<'l> {
    pub(super) limits: &'l Limits,
    bytes: u64,
    files: usize,
}

impl<'l> Budget<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self { limits, bytes: limits.archive_bytes, files: limits.files }
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::Archive(problem.into())
}

/// Reads all files of an archive, without its outermost folder.
pub(super) fn files(bytes: &[u8], budget: &mut Budget<'_>) -> Result<Vec<File>, Error> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(refused("it is not compressed with gzip"));
    }
    // Headers and padding count, too: an archive of empty files is not free.
    let whole =
        budget.bytes.saturating_add(u64::try_from(budget.files).unwrap_or(u64::MAX).saturating_mul(2_048));
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes).take(whole));
    let mut files = Vec::new();
    for entry in archive.entries().map_err(|error| refused(error.to_string()))? {
        let mut entry = entry.map_err(|error| refused(error.to_string()))?;
        let Some(path) = path_of_file(&entry)? else { continue };
        budget.files = budget
            .files
            .checked_sub(1)
            .ok_or_else(|| refused(format!("it has more than {} files", budget.limits.files)))?;
        let size = entry.header().size().unwrap_or(0);
        if size > budget.bytes {
            return Err(refused(format!(
                "it has more than {} bytes, decompressed",
                budget.limits.archive_bytes
            )));
        }
        let mut data = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or(0));
        let read = (&mut entry)
            .take(budget.bytes)
            .read_to_end(&mut data)
            .map_err(|error| refused(error.to_string()))?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if read < size {
            return Err(refused("it ends within a file"));
        }
        budget.bytes = budget.bytes.saturating_sub(read);
        let data = data.strip_prefix(BOM).unwrap_or(&data);
        files.push(File { path, data: Rc::from(data) });
    }
    if files.is_empty() {
        return Err(refused("it has no files"));
    }
    Ok(files)
}

/// The path of a file within the chart; of folders, and of what only describes others, there is none.
fn path_of_file(entry: &tar::Entry<'_, impl Read>) -> Result<Option<String>, Error> {
    let kind = entry.header().entry_type();
    if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
        return Ok(None);
    }
    let raw = entry.path_bytes();
    let name = std::str::from_utf8(&raw).map_err(|_| refused("it has a file name that is not UTF-8"))?;
    if name.contains('\0') {
        return Err(refused("it has a file name with a NUL"));
    }
    if name.ends_with('/') {
        return Ok(None);
    }
    let path = inner_path(name)?;
    if kind.is_symlink() || kind.is_hard_link() {
        let target = entry.link_name_bytes().unwrap_or_default();
        let target = String::from_utf8_lossy(&target);
        if leaves(&path, &target) {
            return Err(refused(format!("{name} links to {target}, which is outside of it")));
        }
    } else if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
        return Err(refused(format!("{name} is neither a file nor a folder")));
    }
    Ok(Some(path))
}

/// The path without the outermost folder.
fn inner_path(name: &str) -> Result<String, Error> {
    let separator = if name.contains('\\') { '\\' } else { '/' };
    let (first, rest) = name.split_once(separator).unwrap_or((name, ""));
    let rest = rest.replace(separator, "/");
    if rest.starts_with('/') {
        return Err(refused(format!("{name} is an absolute path")));
    }
    let path = clean(&rest);
    if first == "Chart.yaml" {
        return Err(refused("Chart.yaml is not within a folder"));
    }
    if path == "." {
        return Err(refused(format!("{name:?} is outside of its folder")));
    }
    if path.starts_with("..") {
        return Err(refused(format!("{name} leads out of its folder")));
    }
    let mut characters = path.chars();
    if characters.next().is_some_and(|c| c.is_ascii_alphabetic()) && characters.as_str().starts_with(":/") {
        return Err(refused(format!("{name} names a drive")));
    }
    Ok(path)
}

/// Whether a link leads out of the chart.
fn leaves(path: &str, target: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    target.starts_with('/') || clean(format!("{folder}/{target}").trim_start_matches('/')).starts_with("..")
}
