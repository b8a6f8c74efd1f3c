//! `toYamlPretty`: goyaml.v3's encoder with an indent of two, which also
//! indents sequences in mappings, and quotes less.

use super::write::{Shape, Style, escape, literal, natural, wanted};
use crate::number;
use crate::value::Value;

/// Writes a value; with a line break at the end.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    node(value, 0, true, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn line(out: &mut String, indent: usize) {
    // A block of text may have ended its line itself.
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a value in a collection at a column; `first`: it starts on this line.
fn node(value: &Value, indent: usize, first: bool, out: &mut String) {
    match value {
        Value::Map(map) if map.len() > 0 => {
            map.with(|entries| {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| natural(a.0, b.0));
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 || !first {
                        line(out, indent);
                    }
                    text(key, indent, true, out);
                    out.push(':');
                    entry(value, indent, out);
                }
            });
        }
        Value::List(list) if !list.items.is_empty() => {
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 || !first {
                    line(out, indent);
                }
                out.push_str("- ");
                node(item, indent + 2, true, out);
            }
        }
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        scalar => self::scalar(scalar, indent, out),
    }
}

fn entry(value: &Value, indent: usize, out: &mut String) {
    let block = matches!(value, Value::Map(map) if map.len() > 0)
        || matches!(value, Value::List(list) if !list.items.is_empty());
    if block {
        node(value, indent + 2, false, out);
    } else {
        out.push(' ');
        node(value, indent + 2, true, out);
    }
}

fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Nil | Value::Null => out.push_str("null"),
        Value::Float(number) => out.push_str(&number::general(*number)),
        Value::Text(known) => text(known, indent, false, out),
        Value::Raw(_) => text(&value.string_text().unwrap_or_default(), indent, false, out),
        other => out.push_str(&crate::format::text(other)),
    }
}

fn text(text: &str, indent: usize, key: bool, out: &mut String) {
    match Shape::of(text).style(wanted(text), text, key) {
        Style::Plain => out.push_str(text),
        Style::Single => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        Style::Double => {
            out.push('"');
            for character in text.chars() {
                match escape(character) {
                    Some(escaped) => out.push_str(&escaped),
                    None => out.push(character),
                }
            }
            out.push('"');
        }
        Style::Literal => literal(text, indent, out),
    }
}
