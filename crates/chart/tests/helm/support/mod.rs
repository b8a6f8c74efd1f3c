//! What the test binaries of this crate share: the calls of `helm template`
//! that are compared, both sides that answer them, and how answers differ.

pub(crate) mod archive;
pub(crate) mod cases;
pub(crate) mod found;
pub(crate) mod job;
pub(crate) mod mask;
pub(crate) mod oracle;
pub(crate) mod ours;
pub(crate) mod random;
pub(crate) mod report;
pub(crate) mod time;

use std::path::PathBuf;

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
