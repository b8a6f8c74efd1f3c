//! Definitions of custom resources: names, versions, and schemas, which must be structural.

use serde_json::{Map, Value, json};

use crate::json as tree;
use crate::status::Cause;

/// Says what is wrong with a definition.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    let name = tree::text(object, &["metadata", "name"]);
    let wanted = format!("{}.{}", tree::text(spec, &["names", "plural"]), tree::text(spec, &["group"]));
    if name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    let scope = tree::text(spec, &["scope"]);
    let scopes = ["Cluster".to_owned(), "Namespaced".to_owned()];
    if !scopes.iter().any(|known| known == scope) {
        causes.push(Cause::unsupported("spec.scope", &json!(scope), &scopes));
    }
    let versions = tree::items(spec, "versions");
    for (index, version) in versions.iter().enumerate() {
        match tree::at(version, &["schema", "openAPIV3Schema"]) {
            None => {
                causes.push(Cause::required(format!("spec.versions[{index}].schema.openAPIV3Schema"), ""));
            }
            Some(schema) => {
                let path = if versions.len() == 1 {
                    "spec.validation.openAPIV3Schema".to_owned()
                } else {
                    format!("spec.versions[{index}].schema.openAPIV3Schema")
                };
                structural(schema, &path, &mut causes);
            }
        }
    }
    if versions.iter().filter(|version| version.get("storage").is_some_and(|it| it == true)).count() != 1 {
        let shown: Vec<_> = versions.iter().map(shown).collect();
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &json!(shown), why));
        let why = "must have at least one stored version";
        causes.push(Cause::invalid("status.storedVersions", &Value::Null, why));
    }
    causes
}

/// Shows a version as the server's own types are written. A schema that all versions share is shown apart.
fn shown(version: &Value) -> Value {
    let of = |field: &str| version.get(field).cloned().unwrap_or_default();
    let yes = |field: &str| version.get(field).is_some_and(|it| it == true);
    json!({
        "Name": of("name"), "Served": yes("served"), "Storage": yes("storage"), "Deprecated": yes("deprecated"),
        "DeprecationWarning": of("deprecationWarning"), "Schema": null, "Subresources": of("subresources"),
        "AdditionalPrinterColumns": of("additionalPrinterColumns"), "SelectableFields": of("selectableFields"),
    })
}

fn structural(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let yes = |field: &str| schema.get(field).is_some_and(|it| it == true);
    let typed = !tree::text(schema, &["type"]).is_empty();
    if !typed && !yes("x-kubernetes-int-or-string") && !yes("x-kubernetes-preserve-unknown-fields") {
        let what = if path.rsplit('.').next() == Some("items") { "array items" } else { "object fields" };
        let why = if path.ends_with("openAPIV3Schema") {
            "must not be empty at the root".to_owned()
        } else {
            format!("must not be empty for specified {what}")
        };
        causes.push(Cause::required(format!("{path}.type"), &why));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flat_map(Map::iter) {
        structural(inner, &format!("{path}.properties[{name}]"), causes);
    }
    if let Some(inner) = schema.get("additionalProperties").filter(|it| it.is_object()) {
        structural(inner, &format!("{path}.additionalProperties"), causes);
    }
    if let Some(items) = schema.get("items") {
        structural(items, &format!("{path}.items"), causes);
        let required = tree::items(items, "required");
        for key in tree::items(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str) {
            let default = tree::at(items, &["properties", key, "default"]).is_some();
            if !default && !required.iter().any(|it| it == key) {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                    required property";
                causes.push(Cause::required(format!("{path}.items.properties[{key}].default"), why));
            }
        }
    }
}
