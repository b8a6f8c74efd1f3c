//! Go's `encoding/json`: writing values, and reading them with every number a
//! `float64`.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::number;
use crate::value::Value;

/// How JSON is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// `<`, `>` and `&` as `\u003c`, ….
    pub(crate) html: bool,
    /// Two spaces a level.
    pub(crate) pretty: bool,
}

/// Writes a value; an error where JSON has no such value.
pub(crate) fn write(value: &Value, style: Style) -> Result<String, String> {
    let mut out = String::new();
    put(value, style, 0, &mut out)?;
    Ok(out)
}

fn line(style: Style, depth: usize, out: &mut String) {
    if style.pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn put(value: &Value, style: Style, depth: usize, out: &mut String) -> Result<(), String> {
    match value {
        Value::Nil | Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) | Value::Int64(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Uint(number, _) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) if number.is_finite() => out.push_str(&number::json(*number)),
        Value::Float(number) => return Err(format!("json: unsupported value: {}", number::general(*number))),
        Value::Text(text) => string(text, style.html, out),
        Value::Raw(bytes) => {
            // Go writes one replacement character for each byte that is wrong.
            let mut text = String::new();
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
            }
            let mut escaped = String::new();
            string(&text, style.html, &mut escaped);
            out.push_str(&escaped.replace('\u{fffd}', "\\ufffd"));
        }
        Value::Bytes(bytes) => string(&crate::funcs::encoding::base64(bytes), style.html, out),
        Value::List(list) => {
            sequence(&list.items, style, depth, out)?;
        }
        Value::Map(map) => {
            let entries = map.entries();
            if entries.is_empty() {
                out.push_str("{}");
                return Ok(());
            }
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(style, depth + 1, out);
                string(key, style.html, out);
                out.push_str(if style.pretty { ": " } else { ":" });
                put(value, style, depth + 1, out)?;
            }
            line(style, depth, out);
            out.push('}');
        }
        Value::Object(object) => put(&object.as_json(), style, depth, out)?,
    }
    Ok(())
}

fn sequence(items: &[Value], style: Style, depth: usize, out: &mut String) -> Result<(), String> {
    if items.is_empty() {
        out.push_str("[]");
        return Ok(());
    }
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(style, depth + 1, out);
        put(item, style, depth + 1, out)?;
    }
    line(style, depth, out);
    out.push(']');
    Ok(())
}

/// Writes a string with Go's escapes.
pub(crate) fn string(text: &str, html: bool, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' if !html => out.push(character),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

/// Reads one JSON value, and nothing after it.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(sorted(value))
}

/// Values in maps are sorted by key anyway; only numbers need care.
fn sorted(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Array(items) => Value::list(items.into_iter().map(sorted).collect()),
        serde_json::Value::Object(map) => {
            Value::map(map.into_iter().map(|(key, value)| (Rc::from(key), sorted(value))).collect())
        }
        other => Value::from(other),
    }
}
