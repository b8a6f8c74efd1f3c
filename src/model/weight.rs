//! What checking a value against a JSON schema may cost. References and alternatives multiply: forty short lines can
//! judge one value a million million times.

use std::collections::HashMap;

use serde_json::Value;

/// Keywords whose schemas judge the same value as the schema that they stand in.
const ALTERNATIVES: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

/// The most schemas that may judge one value. A large real one, of a Pod, has some dozens.
pub(super) const MOST: u64 = 1_000;

/// The longest chain of schemas that refer to each other.
const LONGEST: usize = 100;

/// The most schemas that judge one value anywhere in a schema; more than [`MOST`] are not counted exactly.
pub(super) fn weight(schema: &Value) -> u64 {
    let mut scale = Scale { root: schema, known: HashMap::new() };
    scale.anywhere(schema)
}

struct Scale<'a> {
    root: &'a Value,
    /// Weights by the address of a schema; `None`: it is being weighed.
    known: HashMap<*const Value, Option<u64>>,
}

impl<'a> Scale<'a> {
    fn anywhere(&mut self, value: &'a Value) -> u64 {
        let inner = match value {
            Value::Object(map) => map.values().map(|inner| self.anywhere(inner)).max(),
            Value::Array(items) => items.iter().map(|inner| self.anywhere(inner)).max(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        inner.unwrap_or_default().max(self.here(value, 0))
    }

    fn here(&mut self, schema: &'a Value, depth: usize) -> u64 {
        let Some(map) = schema.as_object() else { return 1 };
        if depth > LONGEST {
            return u64::MAX;
        }
        let key = std::ptr::from_ref(schema);
        match self.known.get(&key) {
            // A loop: it is followed once.
            Some(None) => return 1,
            Some(Some(weight)) => return *weight,
            None => self.known.insert(key, None),
        };
        let referred = map.get("$ref").and_then(Value::as_str).and_then(|reference| {
            let pointer = reference.strip_prefix('#')?;
            self.root.pointer(pointer)
        });
        let mut inner: Vec<&Value> = referred.into_iter().collect();
        for keyword in ALTERNATIVES {
            match map.get(keyword) {
                Some(Value::Array(several)) => inner.extend(several),
                Some(one) => inner.push(one),
                None => {}
            }
        }
        if let Some(Value::Object(dependent)) = map.get("dependentSchemas") {
            inner.extend(dependent.values());
        }
        let weight = inner.into_iter().map(|inner| self.here(inner, depth + 1)).fold(1, u64::saturating_add);
        self.known.insert(key, Some(weight));
        weight
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
        let tree = json!({ "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } });
        assert_eq!(weight(&tree), 2);
        assert_eq!(weight(&json!({ "items": { "anyOf": [{}, { "oneOf": [true, false] }] } })), 5);
    }
}
