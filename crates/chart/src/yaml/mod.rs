//! YAML as sigs.k8s.io/yaml reads and writes it for Helm.

mod encoding;
mod pretty;
mod read;
mod shape;
mod words;
mod write;

use std::sync::LazyLock;

use memchr::memmem::Finder;

pub(crate) use encoding::{decoded, is_utf16};
pub(crate) use pretty::write as write_pretty;
pub(crate) use read::{DEEPEST, is_finite, is_key, is_text, read, read_as_go, read_typed, scalar};
pub(crate) use write::write;

/// How far ahead the next line starts that begins with `---`.
pub(crate) fn next_separator(text: &str) -> Option<usize> {
    static BREAK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\n---"));
    BREAK.find(text.as_bytes()).map(|at| at + 1)
}
