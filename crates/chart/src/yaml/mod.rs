//! YAML as sigs.k8s.io/yaml reads and writes it for Helm.

mod pretty;
mod read;
mod write;

pub(crate) use pretty::write as write_pretty;
pub(crate) use read::{DEEPEST, decoded, is_finite, is_key, is_text, read, read_typed, scalar};
pub(crate) use write::write;
