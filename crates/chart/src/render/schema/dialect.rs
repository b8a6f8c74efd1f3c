//! Schemas as Helm's validator (santhosh-tekuri/jsonschema) reads them, where
//! the crate `jsonschema` reads them otherwise: Go's expressions, formats.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::funcs::expression;

/// Keywords that hold schemas by name.
pub(super) const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Keywords that hold values, not schemas.
pub(super) const VALUES: [&str; 5] = ["const", "enum", "default", "examples", "required"];

/// The number of a draft before 2019-09, in which a schema is written; of others nothing.
fn old_draft(schema: &Value) -> Option<u8> {
    let draft = schema.get("$schema")?.as_str()?;
    let old = [("draft-04", 4), ("draft-06", 6), ("draft-07", 7)];
    old.into_iter().find(|(name, _)| draft.contains(name)).map(|(_, number)| number)
}

/// Writes a schema so that the crate `jsonschema` judges as Helm does, and refuses what Helm refuses in it.
pub(super) fn translate(schema: &mut Value) -> Result<(), String> {
    let draft = old_draft(schema);
    if let Some(draft) = draft {
        check(schema, draft)?;
    }
    rewrite(schema, draft)
}

/// Writes all expressions of a schema so that they mean what they mean in Go, and takes out what does not count.
fn rewrite(schema: &mut Value, draft: Option<u8>) -> Result<(), String> {
    let inner = |schema: &mut Value| rewrite(schema, draft);
    match schema {
        Value::Array(items) => items.iter_mut().try_for_each(inner),
        Value::Object(map) => {
            // Helm does not look into texts that hold something encoded (`Compiler.AssertContent`), and its schema of
            // draft 6 does not know `examples`.
            map.retain(|key, value| match key.as_str() {
                "contentEncoding" | "contentMediaType" => !value.is_string(),
                "examples" => draft != Some(6),
                _ => true,
            });
            map.iter_mut().try_for_each(|(key, value)| match (key.as_str(), value) {
                ("pattern", Value::String(pattern)) => {
                    *pattern = expression(pattern)?;
                    Ok(())
                }
                ("patternProperties", Value::Object(named)) => {
                    let before = std::mem::take(named);
                    for (pattern, mut schema) in before {
                        inner(&mut schema)?;
                        named.insert(expression(&pattern)?, schema);
                    }
                    Ok(())
                }
                (key, Value::Object(named)) if NAMED.contains(&key) => named.values_mut().try_for_each(inner),
                (key, _) if VALUES.contains(&key) => Ok(()),
                (_, value) => inner(value),
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Refuses what Helm's schemas of the older drafts refuse, and the crate's do not.
fn check(schema: &Value, draft: u8) -> Result<(), String> {
    let known = |key: &str| match key {
        "allOf" | "anyOf" | "oneOf" | "not" | "items" | "additionalItems" | "additionalProperties" => true,
        "contains" | "propertyNames" => draft >= 6,
        "if" | "then" | "else" => draft >= 7,
        _ => false,
    };
    let map = match schema {
        Value::Array(items) => return items.iter().try_for_each(|item| check(item, draft)),
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    for (key, value) in map {
        match (key.as_str(), value) {
            ("enum", Value::Array(values)) => {
                let different: HashSet<String> = values.iter().map(canonical).collect();
                if values.is_empty() || different.len() < values.len() {
                    return Err("an `enum` is to hold at least one value, and none twice".to_owned());
                }
            }
            ("$ref", value) if draft == 4 && !value.is_string() => {
                return Err("a `$ref` is to be a string".to_owned());
            }
            ("properties" | "patternProperties" | "definitions" | "dependencies", Value::Object(named)) => {
                named.values().try_for_each(|value| check(value, draft))?;
            }
            (key, value) if known(key) => check(value, draft)?,
            _ => {}
        }
    }
    Ok(())
}

/// A value as text; equal values, as JSON schema has it, are equal texts.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() && float.fract() == 0.0 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let entries: BTreeMap<&String, String> =
                map.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{entries:?}")
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

/// `01234567-89ab-cdef-0123-456789abcdef`
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    text.split('-').map(str::len).eq(lengths)
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// ISO 8601: `P1Y2M3DT4H5M6S`, or `P7W`.
pub(super) fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    if let Some(weeks) = rest.strip_suffix('W') {
        return !weeks.is_empty() && weeks.bytes().all(|byte| byte.is_ascii_digit());
    }
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    let date_is_right = date.is_empty() && time.is_some() || has_units(date, "YMD");
    date_is_right && time.is_none_or(|time| has_units(time, "HMS"))
}

/// One or more numbers, each with its unit, in their order.
fn has_units(text: &str, units: &str) -> bool {
    let mut left = units;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let Some(unit) = after.chars().next() else { return false };
        let Some(at) = left.find(unit) else { return false };
        if number.is_empty() {
            return false;
        }
        left = left.get(at + 1..).unwrap_or_default();
        rest = after.get(1..).unwrap_or_default();
    }
    !text.is_empty()
}

/// A semantic version, without `v`.
pub(super) fn is_semver(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre
            .is_none_or(|pre| pre.split('.').all(|part| is_name(part) && (!digits(part) || is_number(part))))
        && build.is_none_or(|build| build.split('.').all(is_name))
}
