//! A kind that a component says it brings: enough of it to know where its objects live, and to stand in for its CRD.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::json;

use super::kinds::{self, Scope};
use super::object::{GroupKind, Object};

/// A kind, written `[PLURAL/]KIND[.VERSION].GROUP`: `Certificate.v1.cert-manager.io`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ProvidedKind {
    /// Group and kind.
    pub(crate) kind: GroupKind,
    /// The version at which it is served; `v1` if none is written.
    pub(crate) version: String,
    /// The name of its resource; what API conventions make of the kind if none is written.
    pub(crate) plural: String,
}

/// Why a text names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind with its group, such as `Certificate.v1.cert-manager.io`")]
pub(crate) struct NotAKind(String);

impl FromStr for ProvidedKind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, NotAKind> {
        let (plural, name) = text.split_once('/').map_or((None, text), |(plural, name)| (Some(plural), name));
        let (kind, rest) = name.split_once('.').ok_or_else(|| NotAKind(text.to_owned()))?;
        let (version, group) = match rest.split_once('.') {
            Some((version, group)) if is_version(version) => (version, group),
            _ => ("v1", rest),
        };
        if kind.is_empty() || group.is_empty() || plural == Some("") {
            return Err(NotAKind(text.to_owned()));
        }
        Ok(Self {
            kind: GroupKind::new(group, kind),
            version: version.to_owned(),
            plural: plural.map_or_else(|| kinds::plural(kind), str::to_owned),
        })
    }
}

impl TryFrom<String> for ProvidedKind {
    type Error = NotAKind;

    fn try_from(text: String) -> Result<Self, NotAKind> {
        text.parse()
    }
}

/// Whether a text is an API version such as `v1` or `v2alpha1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

impl ProvidedKind {
    /// A CRD that takes whatever the real one might.
    pub(crate) fn definition(&self, scope: Scope) -> Object {
        let Self { kind: GroupKind { group, kind }, version, plural } = self;
        let value = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group,
                "names": {
                    "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
                },
                "scope": match scope {
                    Scope::Cluster => "Cluster",
                    Scope::Namespaced => "Namespaced",
                },
                "versions": [{
                    "name": version,
                    "served": true,
                    "storage": true,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }],
            },
        });
        Object::from_value(value).expect("an object with kind and name is one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_with_version_and_plural_or_without() {
        let read = |text: &str| {
            text.parse::<ProvidedKind>().map(|it| format!("{} {} {}", it.kind, it.version, it.plural))
        };
        for (text, expected) in [
            ("Certificate.v1.cert-manager.io", "Certificate.cert-manager.io v1 certificates"),
            ("VCluster.example.org", "VCluster.example.org v1 vclusters"),
            ("Policy.v2alpha1.example.org", "Policy.example.org v2alpha1 policies"),
            (
                "network-attachment-definitions/NetworkAttachmentDefinition.v1.k8s.cni.cncf.io",
                "NetworkAttachmentDefinition.k8s.cni.cncf.io v1 network-attachment-definitions",
            ),
        ] {
            assert_eq!(read(text).unwrap(), expected);
        }
        for wrong in ["Certificate", "", ".example.org", "/Thing.example.org", "Thing."] {
            assert_eq!(read(wrong).unwrap_err().to_string(), NotAKind(wrong.to_owned()).to_string());
        }
    }

    #[test]
    fn a_definition_says_where_objects_live() {
        let kind: ProvidedKind = "Node.v2.example.org".parse().unwrap();
        let definition = kind.definition(Scope::Cluster);
        assert_eq!(definition.id.name, "nodes.example.org");
        assert_eq!(definition.defines(), Some(kind.kind));
        assert_eq!(definition.value["spec"]["scope"], "Cluster");
    }
}
