//! `toYamlPretty`: goyaml.v3's encoder with an indent of two, which also
//! indents sequences in mappings, and quotes less.

use super::read::not_finite;
use super::shape::{Goyaml, Shape, Style, escape, is_break, is_plain, marked, wanted};
use super::write::{in_order, literal};
use crate::funcs::encoding::base64;
use crate::number;
use crate::value::Value;

/// Writes a value; with a line break at the end.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    node(value, 0, true, &mut out);
    if !out.ends_with(is_break) {
        out.push('\n');
    }
    out
}

fn line(out: &mut String, indent: usize) {
    // A block of text may have ended its line itself.
    if !out.ends_with(is_break) {
        out.push('\n');
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a value in a collection at a column; `first`: it starts on this line.
fn node(value: &Value, indent: usize, first: bool, out: &mut String) {
    match value {
        Value::Map(map) if map.len() > 0 => {
            map.with(|entries| {
                let sorted = in_order(entries.iter().collect(), Goyaml::V3);
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 || !first {
                        line(out, indent);
                    }
                    // goyaml writes keys of more than 128 bytes, or of several lines, with `? `.
                    let simple = key.len() <= 128 && !key.contains(is_break);
                    if !simple {
                        out.push_str("? ");
                    }
                    text(key, indent + 2, simple, out);
                    if !simple {
                        line(out, indent);
                    }
                    out.push(':');
                    entry(value, indent, simple, out);
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

/// Writes the value of a key; a collection after a key with `? ` begins on the same line.
fn entry(value: &Value, indent: usize, simple: bool, out: &mut String) {
    let block = matches!(value, Value::Map(map) if map.len() > 0)
        || matches!(value, Value::List(list) if !list.items.is_empty());
    if block && simple {
        node(value, indent + 2, false, out);
    } else {
        out.push(' ');
        node(value, indent + 2, true, out);
    }
}

fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Nil | Value::Null => out.push_str("null"),
        Value::Float(number) if number.is_finite() => out.push_str(&number::general(*number)),
        Value::Float(number) => out.push_str(not_finite(*number)),
        Value::Text(known) => text(known, indent, false, out),
        Value::Raw(bytes) => binary(bytes, indent, out),
        other => out.push_str(&crate::format::text(other)),
    }
}

/// Bytes that are not UTF-8, as goyaml writes them: base64, in lines of 70 where it is long.
fn binary(bytes: &[u8], indent: usize, out: &mut String) {
    const LINE: usize = 70;
    out.push_str("!!binary ");
    let encoded = base64(bytes);
    if encoded.len() < LINE {
        return out.push_str(&encoded);
    }
    let mut lines = String::new();
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines.push('\n');
    literal(&lines, indent, out);
}

fn text(text: &str, indent: usize, key: bool, out: &mut String) {
    match Shape::of(text, Goyaml::V3).style(wanted(text), text, key) {
        Style::Plain => out.push_str(text),
        Style::Single => single(text, indent, out),
        Style::Double => {
            out.push('"');
            match marked(text) {
                Some(escaped) => out.push_str(&escaped),
                None => text.chars().for_each(|character| {
                    if is_plain(character) {
                        out.push(character);
                    } else {
                        out.push_str(&escape(character));
                    }
                }),
            }
            out.push('"');
        }
        Style::Literal => literal(text, indent, out),
    }
}

fn single(text: &str, indent: usize, out: &mut String) {
    out.push('\'');
    let mut after_break = false;
    for character in text.chars() {
        // U+2028 or U+2029: goyaml takes it for the end of the line, and indents what follows.
        if std::mem::replace(&mut after_break, is_break(character)) && !is_break(character) {
            out.extend(std::iter::repeat_n(' ', indent.max(2)));
        }
        if character == '\'' {
            out.push('\'');
        }
        out.push(character);
    }
    out.push('\'');
}
