//! Go's own functions: comparisons, logic, printing, escapes.

use std::borrow::Cow;

use super::Type::{Any, Text};
use super::{Function, arg, fixed, open, open_walking};
use crate::exec::Stop;
use crate::format;
use crate::value::{Value, deep_equal};

pub(super) const FUNCTIONS: &[Function] = &[
    // The first two are evaluated by the engine: they do not look at what they need not.
    open("and", &[Any], Any, |_, a| Ok(arg(a, 0).clone())),
    open("or", &[Any], Any, |_, a| Ok(arg(a, 0).clone())),
    fixed("not", &[Any], |_, a| Ok(Value::Bool(!arg(a, 0).truth()))),
    open("eq", &[Any], Any, |_, a| equal(a).map(Value::Bool)),
    fixed("ne", &[Any, Any], |_, a| equal(a).map(|equal| Value::Bool(!equal))),
    fixed("lt", &[Any, Any], |_, a| less(a).map(Value::Bool)),
    fixed("le", &[Any, Any], |_, a| less_or_equal(a).map(Value::Bool)),
    fixed("gt", &[Any, Any], |_, a| less_or_equal(a).map(|yes| Value::Bool(!yes))),
    fixed("ge", &[Any, Any], |_, a| less(a).map(|yes| Value::Bool(!yes))),
    open_walking("print", &[], Any, |_, a| Ok(Value::from_bytes(format::sprint(a)))),
    open_walking("println", &[], Any, |_, a| Ok(Value::from_bytes(format::sprintln(a)))),
    open_walking("printf", &[Text], Any, |engine, a| {
        let (first, rest) = a.split_first().ok_or("wrong number of args for printf")?;
        let out = format::sprintf(first.string_bytes().unwrap_or_default(), rest, engine.left());
        let out = out.ok_or_else(|| engine.too_long())?;
        engine.spend(out.len())?;
        Ok(Value::from_bytes(out))
    }),
    open_walking("html", &[], Any, |_, a| Ok(escaped(a, html, |bytes| Cow::Borrowed(bytes)))).slow(8),
    open_walking("js", &[], Any, |_, a| Ok(escaped(a, js, |bytes| Cow::Borrowed(bytes)))).slow(8),
    open_walking("urlquery", &[], Any, |_, a| {
        Ok(escaped(a, super::urls::query_escape, |bytes| Cow::Owned(percent(bytes))))
    })
    .slow(8),
    open("call", &[Any], Any, |_, a| {
        Err(Stop::Failed(format!("non-function of type {}", arg(a, 0).type_name())))
    }),
];

/// The kinds that Go compares.
#[derive(PartialEq)]
enum Basic<'a> {
    Bool(bool),
    Float(f64),
    Int(i64),
    Uint(u64),
    Text(&'a [u8]),
}

fn basic(value: &Value) -> Option<Basic<'_>> {
    Some(match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Float(number) => Basic::Float(*number),
        Value::Int(number) | Value::Int64(number) => Basic::Int(*number),
        Value::Uint(number, _) => Basic::Uint(*number),
        Value::Text(_) | Value::Raw(_) => Basic::Text(value.string_bytes().unwrap_or_default()),
        Value::Object(object) => match object.as_ref() {
            crate::object::Object::Duration(nanoseconds) => Basic::Int(*nanoseconds),
            _ => return None,
        },
        _ => return None,
    })
}

fn equal(arguments: &[Value]) -> Result<bool, Stop> {
    let Some((first, rest)) = arguments.split_first() else {
        return Err("missing argument for comparison".into());
    };
    if rest.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in rest {
        let truth = match (basic(first), basic(other)) {
            (Some(Basic::Int(a)), Some(Basic::Uint(b))) | (Some(Basic::Uint(b)), Some(Basic::Int(a))) => {
                u64::try_from(a) == Ok(b)
            }
            (Some(a), Some(b)) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => a == b,
            (None, None) => same_reference(first, other)?,
            _ if first.is_nil() || other.is_nil() => false,
            _ => return Err("incompatible types for comparison".into()),
        };
        if truth {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Values of kinds that are not basic.
fn same_reference(left: &Value, right: &Value) -> Result<bool, Stop> {
    if left.is_nil() || right.is_nil() {
        return Ok(left.is_nil() == right.is_nil());
    }
    match (left, right) {
        (Value::Object(_), Value::Object(_)) => Ok(deep_equal(left, right)),
        _ => Err(Stop::Failed(format!("non-comparable type {}", right.type_name()))),
    }
}

fn less(arguments: &[Value]) -> Result<bool, Stop> {
    let (left, right) = (basic(arg(arguments, 0)), basic(arg(arguments, 1)));
    match (left, right) {
        (Some(Basic::Int(a)), Some(Basic::Uint(b))) => Ok(u64::try_from(a).map_or(true, |a| a < b)),
        (Some(Basic::Uint(a)), Some(Basic::Int(b))) => Ok(u64::try_from(b).is_ok_and(|b| a < b)),
        (Some(Basic::Int(a)), Some(Basic::Int(b))) => Ok(a < b),
        (Some(Basic::Uint(a)), Some(Basic::Uint(b))) => Ok(a < b),
        (Some(Basic::Float(a)), Some(Basic::Float(b))) => Ok(a < b),
        (Some(Basic::Text(a)), Some(Basic::Text(b))) => Ok(a < b),
        (Some(Basic::Bool(_)), Some(Basic::Bool(_))) | (None, _) | (_, None) => {
            Err("invalid type for comparison".into())
        }
        _ => Err("incompatible types for comparison".into()),
    }
}

fn less_or_equal(arguments: &[Value]) -> Result<bool, Stop> {
    Ok(less(arguments)? || equal(arguments)?)
}

/// Escapes all arguments together: their characters, and what else there is of bytes.
fn escaped(arguments: &[Value], escape: fn(&str) -> String, rest: fn(&[u8]) -> Cow<'_, [u8]>) -> Value {
    let printed = match arguments {
        [one] if one.string_bytes().is_some() => Cow::Borrowed(one.string_bytes().unwrap_or_default()),
        all => {
            // Nil is a text here.
            let all: Vec<Value> = all
                .iter()
                .map(|value| if value.is_nil() { Value::text("<no value>") } else { value.clone() })
                .collect();
            Cow::Owned(format::sprint(&all))
        }
    };
    let mut out = Vec::with_capacity(printed.len());
    for chunk in printed.utf8_chunks() {
        out.extend_from_slice(escape(chunk.valid()).as_bytes());
        out.extend_from_slice(&rest(chunk.invalid()));
    }
    Value::from_bytes(out)
}

fn percent(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

fn js(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            character if character < ' ' || !character.is_ascii() && !format::is_print(character) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}
