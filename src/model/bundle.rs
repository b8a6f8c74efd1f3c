//! A bundle: a named set of components with defaults, `bundles/NAME.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::{BundleName, ComponentName};

/// `kind: Bundle`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Bundle {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    /// Its name; equals the file's.
    pub(crate) name: BundleName,
    /// The version of the set.
    pub(crate) version: semver::Version,
    /// One line for `cozy bundle list`.
    pub(crate) summary: String,
    /// Bundles whose components it takes over, in order.
    #[serde(default)]
    pub(crate) extends: Vec<BundleName>,
    /// Its own components, and changes to those taken over.
    #[serde(default)]
    pub(crate) components: BTreeMap<ComponentName, BundleEntry>,
}

/// What a bundle says of one component.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BundleEntry {
    /// Off unless the user enables it.
    #[serde(default)]
    pub(crate) optional: bool,
    /// Settings, over the component's defaults.
    #[serde(default)]
    pub(crate) settings: Map<String, Value>,
    /// Raw chart values, merged last.
    #[serde(default)]
    pub(crate) values: Map<String, Value>,
}
