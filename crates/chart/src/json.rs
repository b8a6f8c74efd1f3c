//! Go's `encoding/json`: writing values, and reading them with every number a
//! `float64`.

use std::borrow::Cow;
use std::fmt::Write as _;

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

/// Writes a value of about so many bytes; an error where JSON has no such value.
pub(crate) fn write(value: &Value, style: Style, length: usize) -> Result<String, String> {
    let mut out = String::with_capacity(length);
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
        value if value.is_nil_collection() => out.push_str("null"),
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
            let mut escaped = String::new();
            string(&replaced(bytes), style.html, &mut escaped);
            out.push_str(&escaped.replace('\u{fffd}', "\\ufffd"));
        }
        Value::Bytes(bytes) => string(&crate::funcs::encoding::base64(bytes), style.html, out),
        Value::List(list) => {
            sequence(&list.items, style, depth, out)?;
        }
        Value::Map(map) => {
            map.with(|all| entries(all.iter(), style, depth, out))?;
        }
        Value::Object(object) => match object.struct_fields() {
            Some(fields) => entries(fields.iter().map(|(key, value)| (key, value)), style, depth, out)?,
            None => put(&object.as_json(), style, depth, out)?,
        },
    }
    Ok(())
}

fn entries<'v, K: AsRef<str> + 'v>(
    all: impl ExactSizeIterator<Item = (&'v K, &'v Value)>,
    style: Style,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    if all.len() == 0 {
        out.push_str("{}");
        return Ok(());
    }
    out.push('{');
    for (index, (key, value)) in all.enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(style, depth + 1, out);
        string(key.as_ref(), style.html, out);
        out.push_str(if style.pretty { ": " } else { ":" });
        put(value, style, depth + 1, out)?;
    }
    line(style, depth, out);
    out.push('}');
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

/// Bytes as text; Go writes one replacement character for each byte that is wrong.
pub(crate) fn replaced(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

/// Writes a string with Go's escapes.
pub(crate) fn string(text: &str, html: bool, out: &mut String) {
    // U+2028 and U+2029 start with 0xe2.
    let plain = |byte: &u8| match byte {
        b'"' | b'\\' | 0..=0x1f | 0xe2 => false,
        b'<' | b'>' | b'&' => !html,
        _ => true,
    };
    out.push('"');
    let mut rest = text;
    loop {
        let end = rest.bytes().position(|byte| !plain(&byte)).unwrap_or(rest.len());
        let (before, after) = rest.split_at(end);
        out.push_str(before);
        let mut characters = after.chars();
        let Some(character) = characters.next() else { break };
        escaped(character, out);
        rest = characters.as_str();
    }
    out.push('"');
}

fn escaped(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        character => out.push(character),
    }
}

/// Reads one JSON value, and nothing after it.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let text = if text.contains("\\u") { with_replaced_surrogates(text) } else { Cow::Borrowed(text) };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        if error.is_eof() {
            let within_string = error.to_string().starts_with("EOF while parsing a string");
            return if within_string { ENDED.to_owned() } else { wrong_json(&text, text.len(), "") };
        }
        let before =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        wrong_json(&text, before + error.column().saturating_sub(1), &error.to_string())
    })?;
    Ok(Value::from(value))
}

/// What Go says of JSON that is not whole.
const ENDED: &str = "unexpected end of JSON input";

/// What Go says of wrong JSON, at a byte.
fn wrong_json(text: &str, at: usize, problem: &str) -> String {
    // A byte after a break, or in the middle of a character, may be meant.
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (before, rest) = text.split_at(at);
    // Go takes a space for what follows the end.
    let in_token = unfinished(before);
    let found = match (rest.chars().next(), in_token.is_empty()) {
        (Some(found), _) => found,
        (None, false) => ' ',
        (None, true) => return ENDED.to_owned(),
    };
    let found = match found {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        other if other.is_control() => format!("'\\x{:02x}'", u32::from(other)),
        other => format!("'{other}'"),
    };
    let context = match problem.split(" at line ").next().unwrap_or_default() {
        "trailing characters" => "after top-level value",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "key must be a string" | "trailing comma" if !before.trim_end().ends_with('[') => {
            "looking for beginning of object key string"
        }
        "invalid escape" => "in string escape code",
        "control character (\\u0000-\\u001F) found while parsing a string" => "in string literal",
        _ if !in_token.is_empty() => &in_token,
        _ => "looking for beginning of value",
    };
    format!("invalid character {found} {context}")
}

/// Where a literal or a number at the end of a text is not whole.
fn unfinished(text: &str) -> String {
    let start =
        text.rfind(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).map_or(0, |at| at + 1);
    let token = text.get(start..).unwrap_or_default();
    let literal = ["true", "false", "null"].into_iter().find_map(|word| {
        let rest = word.strip_prefix(token).filter(|_| !token.is_empty())?;
        Some((word, rest.chars().next()?))
    });
    match (literal, token.as_bytes()) {
        (Some((word, next)), _) => format!("in literal {word} (expecting '{next}')"),
        (None, [b'-']) => "in numeric literal".to_owned(),
        (None, [b'-' | b'0'..=b'9', .., b'.']) => "after decimal point in numeric literal".to_owned(),
        (None, [b'-' | b'0'..=b'9', .., b'e' | b'E' | b'+' | b'-']) => {
            "in exponent of numeric literal".to_owned()
        }
        _ => String::new(),
    }
}

/// Halves of surrogate pairs that are alone, as Go reads them.
fn with_replaced_surrogates(text: &str) -> Cow<'_, str> {
    let code = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut out, mut from, mut at) = (String::new(), 0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        match (code(at), code(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str(text.get(from..at).unwrap_or_default());
                out.push_str("\\ufffd");
                at += 6;
                from = at;
            }
            // An escaped character may be a backslash, and many bytes long.
            _ => {
                let escaped = text.get(at + 1..).and_then(|rest| rest.chars().next());
                at += 1 + escaped.map_or(0, char::len_utf8);
            }
        }
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(out)
}
