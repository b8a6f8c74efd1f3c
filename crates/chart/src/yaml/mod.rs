//! YAML as sigs.k8s.io/yaml reads and writes it for Helm.

mod pretty;
mod read;
mod write;

pub(crate) use pretty::write as write_pretty;
pub(crate) use read::{read, read_typed};
pub(crate) use write::write;
