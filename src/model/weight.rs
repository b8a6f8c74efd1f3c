//! What checking a value against a JSON schema may cost. References and alternatives multiply: forty short lines can
//! judge one value a million million times.

use serde_json::Value;

/// The most schemas that may judge one value. A large real one, of a Pod, has some dozens.
pub(super) const MOST: u64 = 1_000;

/// The longest chain of schemas that refer to each other.
const LONGEST: usize = 100;

/// The most schemas that judge one value anywhere in a schema; more than [`MOST`] are not counted exactly.
pub(super) fn weight(schema: &Value) -> u64 {
    cozy_chart::schema_weight(schema, LONGEST, &["dependentSchemas"])
}

/// The first keyword that refers to a schema in another way than by its place in the file, `#/…`, as a pointer with
/// what is wrong. [`weight`] follows only those.
pub(super) fn reference(root: &Value) -> Option<(String, String)> {
    let draft = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let id = if draft.contains("draft-04") { "id" } else { "$id" };
    foreign(root, root, id, String::new())
}

fn foreign(root: &Value, value: &Value, id: &str, at: String) -> Option<(String, String)> {
    let own = value.as_object().and_then(|map| {
        map.iter().find_map(|(key, value)| {
            let text = value.as_str()?;
            let is_plain = match key.as_str() {
                "$ref" => text.strip_prefix('#').is_some_and(|pointer| root.pointer(pointer).is_some()),
                "$dynamicRef" | "$recursiveRef" => false,
                key => key != id || at.is_empty(),
            };
            (!is_plain).then(|| format!("`{key}: {text}` is no place in this file"))
        })
    });
    if let Some(own) = own {
        return Some((at, own));
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(key, inner)| {
            let key = super::schema::escaped(key);
            foreign(root, inner, id, format!("{at}/{key}"))
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, inner)| foreign(root, inner, id, format!("{at}/{index}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_multiply_and_loops_do_not() {
        let doubled: serde_json::Map<String, Value> = (0..40)
            .map(|level| {
                let next = json!({ "$ref": format!("#/$defs/a{}", level + 1) });
                (format!("a{level}"), json!({ "allOf": [next, next] }))
            })
            .collect();
        assert!(weight(&json!({ "$ref": "#/$defs/a0", "$defs": doubled })) > MOST);
        let chain: serde_json::Map<String, Value> = (0..10_000)
            .map(|level| (format!("a{level}"), json!({ "$ref": format!("#/$defs/a{}", level + 1) })))
            .collect();
        assert!(weight(&json!({ "$ref": "#/$defs/a0", "$defs": chain })) > MOST);
        assert_eq!(weight(&json!({ "$ref": "#" })), 2);
        assert_eq!(weight(&json!({ "allOf": [{}], "unevaluatedProperties": false })), 4);
        let tree = json!({ "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } });
        assert_eq!(weight(&tree), 2);
        assert_eq!(weight(&json!({ "items": { "anyOf": [{}, { "oneOf": [true, false] }] } })), 5);
    }

    #[test]
    fn references_are_places_in_the_same_file() {
        let old = "http://json-schema.org/draft-04/schema#";
        for plain in [
            json!({ "$id": "https://x/y", "$ref": "#/$defs/a~1b", "$defs": { "a/b": { "$ref": "#" } } }),
            json!({ "properties": { "$id": { "type": "string" }, "$ref": { "type": "string" } } }),
            json!({ "properties": { "a": { "default": { "id": "x" } } } }),
        ] {
            assert_eq!(reference(&plain), None, "{plain}");
        }
        for (other, at, said) in [
            (json!({ "items": { "$ref": "#a" } }), "/items", "$ref: #a"),
            (
                json!({ "items": { "$ref": "#/%24defs/a" }, "$defs": { "a": {} } }),
                "/items",
                "$ref: #/%24defs/a",
            ),
            (json!({ "not": [{ "$ref": "x.json" }] }), "/not/0", "$ref: x.json"),
            (json!({ "$dynamicRef": "#a" }), "", "$dynamicRef: #a"),
            (json!({ "$recursiveRef": "#" }), "", "$recursiveRef: #"),
            (json!({ "$defs": { "a/b": { "$id": "x" } } }), "/$defs/a~1b", "$id: x"),
            (json!({ "$schema": old, "items": { "id": "x" } }), "/items", "id: x"),
        ] {
            let said = format!("`{said}` is no place in this file");
            assert_eq!(reference(&other), Some((at.to_owned(), said)), "{other}");
        }
    }
}
