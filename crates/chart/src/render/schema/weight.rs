//! What checking values against a schema may cost. References and alternatives
//! multiply: forty short lines can judge one value a million million times.

use std::collections::HashMap;

use serde_json::Value;

/// The longest schema, in bytes. The largest real ones have about 1 MB.
const LONGEST: usize = 4 << 20;

/// The most schemas that may judge all the values together.
const MOST: u64 = 20_000_000;

/// The most values that are judged.
const MOST_VALUES: u64 = 500_000;

/// The longest chain of schemas that refer to each other.
const DEEPEST: usize = 200;

/// Keywords whose schemas judge the same value as the schema that they stand in.
const ALTERNATIVES: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

/// Keywords that judge anew what those beside them have judged.
const AGAIN: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// The most schemas that judge one value anywhere in a JSON schema: references and alternatives multiply. `deepest` is
/// the longest chain of schemas that refer to each other, beyond which the weight is [`u64::MAX`]; `dependent` are the
/// keywords that hold schemas for values that have a property. Only references within the schema, `#/…`, are followed.
pub fn schema_weight(schema: &Value, deepest: usize, dependent: &[&str]) -> u64 {
    Scale { root: schema, deepest, dependent, known: HashMap::new() }.anywhere(schema)
}

/// Refuses schemas of too many bytes.
pub(super) fn check_length(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() <= LONGEST {
        return Ok(());
    }
    Err(format!("it has more than {} MiB", LONGEST >> 20))
}

/// Refuses a schema that takes too long for the values, or that judges one of
/// them with itself again.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let values = count(value);
    if values > MOST_VALUES {
        return Err(format!("there are more than {MOST_VALUES} values to check"));
    }
    let weight = schema_weight(schema, DEEPEST, &["dependentSchemas", "dependencies"]);
    if weight.saturating_mul(values.max(1_000)) > MOST {
        return Err("its references judge values too often: they multiply".to_owned());
    }
    match endless(schema, schema, value, &mut Vec::new()) {
        Some(reference) => Err(format!("`$ref: {reference}` leads back to itself without end")),
        None => Ok(()),
    }
}

/// A reference that leads back to a schema that judges the same value already.
/// Only what judges in any case counts: alternatives may end before.
fn endless<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    above: &mut Vec<*const Value>,
) -> Option<&'a str> {
    let map = schema.as_object()?;
    let reference = map.get("$ref").and_then(Value::as_str);
    above.push(std::ptr::from_ref(schema));
    let own = reference.and_then(|text| {
        let referred = root.pointer(text.strip_prefix('#')?)?;
        if above.contains(&std::ptr::from_ref(referred)) {
            return Some(text);
        }
        endless(root, referred, value, above)
    });
    let own = own.or_else(|| {
        let all = map.get("allOf")?.as_array()?;
        all.iter().find_map(|schema| endless(root, schema, value, above))
    });
    let own = own.or_else(|| {
        let dependent = map.get("dependentSchemas")?.as_object()?;
        let met = dependent.iter().filter(|(key, _)| value.get(key.as_str()).is_some());
        met.map(|(_, schema)| schema).find_map(|schema| endless(root, schema, value, above))
    });
    above.pop();
    own.or_else(|| {
        let properties = map.get("properties")?.as_object()?;
        let met = properties.iter().filter_map(|(key, schema)| Some((schema, value.get(key)?)));
        met.into_iter().find_map(|(schema, value)| endless(root, schema, value, &mut Vec::new()))
    })
}

/// How many values there are.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(count).fold(1, u64::saturating_add),
        Value::Object(map) => map.values().map(count).fold(1, u64::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

struct Scale<'a> {
    root: &'a Value,
    deepest: usize,
    dependent: &'a [&'a str],
    /// Weights by the address of a schema; `None`: it is being weighed.
    known: HashMap<*const Value, Option<u64>>,
}

impl<'a> Scale<'a> {
    /// The most schemas that judge one value anywhere in a schema.
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
        if depth > self.deepest {
            return u64::MAX;
        }
        let key = std::ptr::from_ref(schema);
        match self.known.get(&key) {
            // A loop: it is followed once.
            Some(None) => return 1,
            Some(Some(weight)) => return *weight,
            None => self.known.insert(key, None),
        };
        let reference = map.get("$ref").and_then(Value::as_str);
        let referred = reference.and_then(|text| self.root.pointer(text.strip_prefix('#')?));
        let mut inner: Vec<&Value> = referred.into_iter().collect();
        for keyword in ALTERNATIVES {
            match map.get(keyword) {
                Some(Value::Array(several)) => inner.extend(several),
                Some(one) => inner.push(one),
                None => {}
            }
        }
        for keyword in self.dependent {
            if let Some(Value::Object(dependent)) = map.get(*keyword) {
                inner.extend(dependent.values());
            }
        }
        let mut weight =
            inner.into_iter().map(|inner| self.here(inner, depth + 1)).fold(1, u64::saturating_add);
        if AGAIN.iter().any(|keyword| map.contains_key(*keyword)) {
            weight = weight.saturating_mul(2);
        }
        self.known.insert(key, Some(weight));
        weight
    }
}
