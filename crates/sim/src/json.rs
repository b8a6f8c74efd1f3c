//! Small helpers over `serde_json::Value` that the modules share: walking, creating on the way, stripping nulls.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Answers the value at a path of fields.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field))
}

/// Answers the text at a path, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// Answers the object at a field, made where it is missing or no object.
pub(crate) fn object<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(value).entry(field).or_insert_with(empty))
}

/// Answers a value as an object, made one where it is none.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = empty();
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("the value was made an object above"),
    }
}

/// Makes an empty object.
pub(crate) fn empty() -> Value {
    Value::Object(Map::new())
}

/// Sets a field unless it is there already.
pub(crate) fn default(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value.into());
    }
}

/// Answers the items of a list at a field, none where there is no list.
pub(crate) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Answers the items of a list at a field to change, none where there is no list.
pub(crate) fn items_mut<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut [Value] {
    map.get_mut(field).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Answers the labels of an object.
pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Removes every field that is null, as decoding into a type does.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
