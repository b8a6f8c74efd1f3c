//! Schemas as Helm's validator (santhosh-tekuri/jsonschema) reads them, where
//! the crate `jsonschema` reads them otherwise: Go's expressions, formats.

use serde_json::Value;

use crate::funcs::expression;

/// Keywords that hold schemas by name.
pub(super) const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Keywords that hold values, not schemas.
pub(super) const VALUES: [&str; 5] = ["const", "enum", "default", "examples", "required"];

/// Writes all expressions of a schema so that they mean what they mean in Go.
pub(super) fn translate(schema: &mut Value) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter_mut().try_for_each(translate),
        Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| match (key.as_str(), value) {
            ("pattern", Value::String(pattern)) => {
                *pattern = expression(pattern)?;
                Ok(())
            }
            ("patternProperties", Value::Object(named)) => {
                let before = std::mem::take(named);
                for (pattern, mut schema) in before {
                    translate(&mut schema)?;
                    named.insert(expression(&pattern)?, schema);
                }
                Ok(())
            }
            (key, Value::Object(named)) if NAMED.contains(&key) => named.values_mut().try_for_each(translate),
            (key, _) if VALUES.contains(&key) => Ok(()),
            (_, value) => translate(value),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
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
