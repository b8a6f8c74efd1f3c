//! Whose the fields of a live object are, by its managed fields (`FieldsV1`,
//! sigs.k8s.io/structured-merge-diff): the values of those that cozy owns,
//! their digest and their names, and who else is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::FIELD_MANAGER;
use crate::model::artefact::Digest;

/// The digest of a value. Keys are sorted first: two servers may order them differently.
pub(crate) fn digest(value: &Value) -> String {
    Part::Whole(value).digest()
}

/// The part of a live object that cozy applied.
pub(crate) fn owned(live: &Value) -> Option<Value> {
    Some(select(live, fields(live)?).to_value())
}

/// The digest of the part of a live object that cozy applied.
pub(crate) fn digest_of_owned(live: &Value) -> Option<String> {
    Some(select(live, fields(live)?).digest())
}

/// A part of a value, without a copy of it.
enum Part<'a> {
    Whole(&'a Value),
    Map(Vec<(&'a str, Self)>),
    List(Vec<Self>),
}

impl Part<'_> {
    fn to_value(&self) -> Value {
        match self {
            Self::Whole(value) => (*value).clone(),
            Self::Map(map) => map.iter().map(|(key, part)| ((*key).to_owned(), part.to_value())).collect(),
            Self::List(items) => items.iter().map(Self::to_value).collect(),
        }
    }

    fn digest(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text);
        Digest::of(&text).to_string()
    }

    /// Writes it as compact JSON with sorted keys.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(value) => write_value(value, out),
            Self::Map(map) => write_map(map.iter().map(|(key, part)| (*key, part)), Part::write, out),
            Self::List(items) => write_all(*b"[]", items, Part::write, out),
        }
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            write_map(map.iter().map(|(key, value)| (key.as_str(), value)), write_value, out);
        }
        Value::Array(items) => write_all(*b"[]", items, write_value, out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => write_scalar(value, out),
    }
}

fn write_map<'a, T>(
    entries: impl Iterator<Item = (&'a str, T)>,
    write: impl Fn(T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let mut sorted: Vec<(&str, T)> = entries.collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    let entry = |(key, value), out: &mut Vec<u8>| {
        write_scalar(key, out);
        out.push(b':');
        write(value, out);
    };
    write_all(*b"{}", sorted, entry, out);
}

fn write_all<T>(
    [begin, end]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    write: impl Fn(T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    out.push(begin);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(end);
}

fn write_scalar<T: Serialize + ?Sized>(scalar: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, scalar).expect("a vector takes every write, and scalars are JSON");
}

/// The entries of an object's managed fields that are not of a subresource.
fn entries(live: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        text("subresource").is_empty().then(|| (text("manager"), text("operation"), entry))
    })
}

/// The set of fields that cozy applied.
fn fields(live: &Value) -> Option<&Value> {
    let (.., entry) =
        entries(live).find(|(manager, operation, _)| (*manager, *operation) == (FIELD_MANAGER, "Apply"))?;
    entry.get("fieldsV1")
}

/// Who besides cozy has fields in an object, each once.
pub(crate) fn others(live: &Value) -> Vec<String> {
    let names: BTreeSet<&str> = entries(live).map(|(manager, ..)| manager).collect();
    names.into_iter().filter(|name| *name != FIELD_MANAGER).map(str::to_owned).collect()
}

/// A set of fields as `FieldsV1` writes it; clones share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fields(Arc<str>);

impl From<String> for Fields {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Fields {
    /// The fields that cozy applied; `None` where there are none.
    pub(crate) fn of(live: &Value) -> Option<Self> {
        fields(live).map(|fields| fields.to_string().into())
    }

    /// As it is stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the fields, as conflicts name them: `.spec.list[name="a"].x`.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        if let Ok(fields) = serde_json::from_str(&self.0) {
            collect("", &fields, &mut paths);
        }
        paths
    }
}

fn collect(path: &str, fields: &Value, paths: &mut BTreeSet<String>) {
    let inner = fields.as_object().into_iter().flatten();
    if inner.clone().all(|(key, _)| key == ".") || inner.clone().any(|(key, _)| key == ".") {
        paths.insert(path.to_owned());
    }
    for (key, fields) in inner {
        if let Some(element) = element(key) {
            collect(&format!("{path}{element}"), fields, paths);
        }
    }
}

/// A path element as structured-merge-diff prints it (`fieldpath.PathElement.String`).
fn element(key: &str) -> Option<String> {
    let (kind, rest) = key.split_once(':')?;
    Some(match kind {
        "f" => format!(".{rest}"),
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={rest}]"),
        "i" => format!("[{rest}]"),
        _ => return None,
    })
}

/// The part of `value` that `fields` names.
fn select<'a>(value: &'a Value, fields: &'a Value) -> Part<'a> {
    let Some(fields) = fields.as_object() else { return Part::Whole(value) };
    // A leaf, `{}`, and a set's or atomic field's own mark: the whole value.
    if fields.keys().all(|key| key == ".") {
        return Part::Whole(value);
    }
    match value {
        Value::Object(map) => {
            let entries = fields.iter().filter_map(|(key, inner)| {
                let name = key.strip_prefix("f:")?;
                Some((name, select(map.get(name)?, inner)))
            });
            Part::Map(entries.collect())
        }
        Value::Array(items) => {
            let items = fields.iter().filter_map(|(key, inner)| Some(select(find(items, key)?, inner)));
            Part::List(items.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Part::Whole(value),
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
        assert_eq!(digest_of_owned(&live(&fields)), Some(digest(&expected)));
        assert_eq!(owned(&live(&fields)), Some(expected));
        let without = json!({ "metadata": {} });
        assert_eq!((owned(&without), digest_of_owned(&without)), (None, None));
    }

    #[test]
    fn fields_are_named_as_conflicts_name_them() {
        let fields = json!({
            "f:metadata": { "f:labels": { "f:a.b/c": {} }, "f:finalizers": { ".": {}, "v:\"x\"": {} } },
            "f:spec": { "f:ports": { "k:{\"port\":53,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {} }, "i:3": {} } },
        });
        let paths = Fields::from(fields.to_string()).paths();
        assert_eq!(
            paths.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                ".metadata.finalizers",
                ".metadata.finalizers[=\"x\"]",
                ".metadata.labels.a.b/c",
                ".spec.ports[3]",
                ".spec.ports[port=53,protocol=\"TCP\"]",
                ".spec.ports[port=53,protocol=\"TCP\"].name",
            ]
        );
        assert_eq!(others(&live(&fields)), ["kubectl"]);
        assert!(Fields::from("damaged".to_owned()).paths().is_empty());
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_keys() {
        assert_eq!(
            digest(&json!({ "a": 1, "b": { "c": 2, "d": 3 } })),
            digest(&json!({ "b": { "d": 3, "c": 2 }, "a": 1 }))
        );
        // Inventories have it for years: it is that of the text that serde_json writes.
        let value = json!({ "b": [1, -2.5, true, null, { "z": "\u{1}\"ä", "y": {} }], "a": [], "é": "/" });
        let mut sorted = value.clone();
        sorted.sort_all_objects();
        assert_eq!(digest(&value), Digest::of(sorted.to_string().as_bytes()).to_string());
    }
}
