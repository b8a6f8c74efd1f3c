//! One Kubernetes object, and its identity.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::is_dns_label;

/// A kind without its version: `Deployment.apps`, `Namespace`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct GroupKind {
    /// The API group; empty for the core group.
    pub(crate) group: String,
    /// The kind.
    pub(crate) kind: String,
}

impl GroupKind {
    /// Makes a kind from its parts.
    pub(crate) fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }

    /// Whether it is this kind.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

/// What tells one object from every other in a cluster. Its version is not
/// part of it: the same object can be read at several versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ObjectId {
    /// Group and kind.
    #[serde(flatten)]
    pub(crate) kind: GroupKind,
    /// The namespace; `None` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// The name.
    pub(crate) name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.kind, self.name),
            None => write!(f, "{} {}", self.kind.kind, self.name),
        }
    }
}

/// The identity of an object, borrowed from what names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ObjectRef<'a> {
    /// The API group; empty for the core group.
    pub(crate) group: &'a str,
    /// The kind.
    pub(crate) kind: &'a str,
    /// The namespace; `None` for cluster-scoped objects.
    pub(crate) namespace: Option<&'a str>,
    /// The name.
    pub(crate) name: &'a str,
}

impl<'a> From<&'a ObjectId> for ObjectRef<'a> {
    fn from(id: &'a ObjectId) -> Self {
        let ObjectId { kind: GroupKind { group, kind }, namespace, name } = id;
        Self { group, kind, namespace: namespace.as_deref(), name }
    }
}

impl From<ObjectRef<'_>> for ObjectId {
    fn from(object: ObjectRef<'_>) -> Self {
        let ObjectRef { group, kind, namespace, name } = object;
        let kind = GroupKind::new(group, kind);
        Self { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }
}

/// One object as cozy wants it to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// Its identity. Invariant: equals what `value` says.
    pub(crate) id: ObjectId,
    /// The version of its group, `v1`.
    pub(crate) version: String,
    /// The whole object, `apiVersion` and `kind` included.
    pub(crate) value: Value,
}

/// Why a document is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnObject {
    /// The document is a list, a string, ….
    #[error("the document is not a mapping")]
    NotAMapping,
    /// A field that every object has is missing, empty or no string.
    #[error("`{0}` is missing or not a string")]
    Field(&'static str),
    /// A name that would be another place in the API.
    #[error("`metadata.name` is `{0}`: no kind allows `/` or `%` in names, or the names `.` and `..`")]
    Name(String),
    /// The same of a namespace.
    #[error("`metadata.namespace` is `{0}`, which is no name of a namespace")]
    Namespace(String),
}

impl Object {
    /// Reads the identity from an object's own fields.
    pub(crate) fn from_value(value: Value) -> Result<Self, NotAnObject> {
        if !value.is_object() {
            return Err(NotAnObject::NotAMapping);
        }
        let api_version = text(&value, "apiVersion").ok_or(NotAnObject::Field("apiVersion"))?;
        let (group, version) = split_api_version(api_version);
        let kind = text(&value, "kind").ok_or(NotAnObject::Field("kind"))?;
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        let namespace = text(metadata, "namespace");
        let name = text(metadata, "name").ok_or(NotAnObject::Field("metadata.name"))?;
        // The API's own rule for what stands in a path (`ValidatePathSegmentName`).
        if name.contains(['/', '%']) || [".", ".."].contains(&name) {
            return Err(NotAnObject::Name(name.to_owned()));
        }
        if let Some(namespace) = namespace.filter(|namespace| !is_dns_label(namespace)) {
            return Err(NotAnObject::Namespace(namespace.to_owned()));
        }
        let id = ObjectRef { group, kind, namespace, name }.into();
        let version = version.to_owned();
        Ok(Self { id, version, value })
    }

    /// The kind that a `CustomResourceDefinition` defines; `None` for other objects.
    pub(crate) fn defines(&self) -> Option<GroupKind> {
        if self.id.kind.kind != "CustomResourceDefinition" || self.id.kind.group != "apiextensions.k8s.io" {
            return None;
        }
        let group = self.value.pointer("/spec/group")?.as_str()?;
        let kind = self.value.pointer("/spec/names/kind")?.as_str()?;
        Some(GroupKind::new(group, kind))
    }

    /// The group that an `APIService` serves through a server of its own; `None` for other objects.
    pub(crate) fn aggregates(&self) -> Option<&str> {
        if self.id.kind.kind != "APIService" || self.id.kind.group != "apiregistration.k8s.io" {
            return None;
        }
        self.value.pointer("/spec/service").filter(|service| !service.is_null())?;
        self.value.pointer("/spec/group")?.as_str()
    }
}

/// A field's text; `None` where there is none, or it is empty.
fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `apps/v1` of a group and a version; the core group is empty.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits `apps/v1` into group and version; the core group is empty.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(namespace: &str, name: &str) -> Result<String, String> {
        let metadata = json!({ "name": name, "namespace": namespace });
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
        Object::from_value(object).map(|object| object.id.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_no_way_to_another_place() {
        assert_eq!(named("n", "system:a b?#é"), Ok("ConfigMap n/system:a b?#é".to_owned()));
        for name in ["a/status", "../secrets/b", "a%2Fb", "..", "."] {
            let error = named("n", name).unwrap_err();
            assert!(error.starts_with(&format!("`metadata.name` is `{name}`")), "{error}");
        }
        for namespace in ["n/secrets/s", "..", "N", "a.b", "n%2F"] {
            let error = named(namespace, "a").unwrap_err();
            assert_eq!(
                error,
                format!("`metadata.namespace` is `{namespace}`, which is no name of a namespace")
            );
        }
    }
}
