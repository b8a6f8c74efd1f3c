//! What the user's files mean: `cozy.yaml`, bundles, components and their
//! settings, with every mistake in them as a [`finding::Finding`] that knows
//! its place.
//!
//! No I/O: files come in as bytes with a name, from `catalogue` and `cli`.

pub(crate) mod artefact;
pub(crate) mod bundle;
pub(crate) mod catalogue;
pub(crate) mod cloud;
pub(crate) mod component;
mod contract;
mod cross;
mod decode;
pub(crate) mod duration;
mod file;
pub(crate) mod finding;
pub(crate) mod kept;
pub(crate) mod kinds;
pub(crate) mod lock;
pub(crate) mod mask;
mod meaning;
pub(crate) mod names;
pub(crate) mod object;
pub(crate) mod provided;
pub(crate) mod ranges;
mod raw;
pub(crate) mod release;
pub(crate) mod resolve;
pub(crate) mod schema;
pub(crate) mod secret;
pub(crate) mod selector;
pub(crate) mod suggest;
#[cfg(test)]
mod tests;
pub(crate) mod texts;
mod translate;
mod weight;
mod yaml;
