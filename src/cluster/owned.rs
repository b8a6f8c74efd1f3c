//! The values of the fields that cozy owns in a live object, by its managed
//! fields (`FieldsV1`, sigs.k8s.io/structured-merge-diff), and their digest.

use serde_json::{Map, Value};

use super::FIELD_MANAGER;
use crate::model::artefact::Digest;

/// The digest of a value. Keys are sorted first: two servers may order them differently.
pub(crate) fn digest(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    Digest::of(sorted.to_string().as_bytes()).to_string()
}

/// The digest of what cozy owns in a live object; `None` where it owns nothing.
pub(crate) fn owned_digest(live: &Value) -> Option<String> {
    owned(live).map(|owned| digest(&owned))
}

/// The part of a live object that cozy applied.
pub(crate) fn owned(live: &Value) -> Option<Value> {
    let entry = live.pointer("/metadata/managedFields")?.as_array()?.iter().find(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        text("manager") == Some(FIELD_MANAGER)
            && text("operation") == Some("Apply")
            && text("subresource").is_none_or(str::is_empty)
    })?;
    Some(select(live, entry.get("fieldsV1")?))
}

/// The part of `value` that `fields` names.
fn select(value: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object() else { return value.clone() };
    // A leaf, `{}`, and a set's or atomic field's own mark: the whole value.
    if fields.keys().all(|key| key == ".") {
        return value.clone();
    }
    match value {
        Value::Object(map) => Value::Object(
            fields
                .iter()
                .filter_map(|(key, inner)| {
                    let name = key.strip_prefix("f:")?;
                    Some((name.to_owned(), select(map.get(name)?, inner)))
                })
                .collect::<Map<String, Value>>(),
        ),
        Value::Array(items) => Value::Array(
            fields.iter().filter_map(|(key, inner)| Some(select(find(items, key)?, inner))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The item of a list that a path element names: by keys, by value, or by index.
fn find<'a>(items: &'a [Value], element: &str) -> Option<&'a Value> {
    if let Some(keys) = element.strip_prefix("k:") {
        let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
        return items.iter().find(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)));
    }
    if let Some(wanted) = element.strip_prefix("v:") {
        let wanted: Value = serde_json::from_str(wanted).ok()?;
        return items.iter().find(|item| **item == wanted);
    }
    items.get(element.strip_prefix("i:")?.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(fields: &Value) -> Value {
        json!({
            "metadata": { "name": "x", "labels": { "ours": "1", "theirs": "2" }, "managedFields": [
                { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } },
                { "manager": "cozy", "operation": "Apply", "fieldsV1": fields },
            ] },
            "spec": { "replicas": 3, "list": [{ "name": "a", "x": 1, "y": 2 }, { "name": "b" }], "set": ["p", "q"] },
        })
    }

    #[test]
    fn only_our_fields_count() {
        let fields = json!({
            "f:metadata": { "f:labels": { "f:ours": {} } },
            "f:spec": {
                "f:replicas": {},
                "f:list": { "k:{\"name\":\"a\"}": { ".": {}, "f:name": {}, "f:x": {} } },
                "f:set": { "v:\"q\"": {} },
            },
        });
        let expected = json!({
            "metadata": { "labels": { "ours": "1" } },
            "spec": { "replicas": 3, "list": [{ "name": "a", "x": 1 }], "set": ["q"] },
        });
        assert_eq!(owned(&live(&fields)), Some(expected));
        assert_eq!(owned(&json!({ "metadata": {} })), None);
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_keys() {
        assert_eq!(
            digest(&json!({ "a": 1, "b": { "c": 2, "d": 3 } })),
            digest(&json!({ "b": { "d": 3, "c": 2 }, "a": 1 }))
        );
    }
}
