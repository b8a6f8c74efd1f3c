//! Go's `fmt`: `%v` of any value, and quoting. `Sprintf` is a module of its own.

mod sprintf;

pub(crate) use sprintf::sprintf;

use std::io::Write as _;

use crate::number;
use crate::object::Object;
use crate::value::Value;

/// Writes a value as Go's `%v` does.
pub(crate) fn print(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil | Value::Null => out.extend_from_slice(b"<nil>"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(number) | Value::Int64(number) => integer(number, out),
        Value::Uint(number, _) => integer(number, out),
        Value::Float(number) => out.extend_from_slice(number::general(*number).as_bytes()),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Raw(bytes) => out.extend_from_slice(bytes),
        Value::Bytes(bytes) => {
            out.push(b'[');
            for (index, byte) in bytes.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                integer(byte, out);
            }
            out.push(b']');
        }
        Value::List(list) => {
            out.push(b'[');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                print(item, out);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.extend_from_slice(b"map[");
            map.with(|entries| {
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(key.as_bytes());
                    out.push(b':');
                    match value {
                        // Go prints where it is, which is another place each time.
                        Value::Object(object) if matches!(**object, Object::Capabilities { .. }) => {
                            out.extend_from_slice(b"0xc000000000");
                        }
                        value => print(value, out),
                    }
                }
            });
            out.push(b']');
        }
        Value::Object(object) => out.extend_from_slice(object.print().as_bytes()),
    }
}

fn integer(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{number}");
}

/// A value as sprig's `strval` sees it: `[]byte` is its text.
pub(crate) fn string(value: &Value) -> Value {
    match value {
        Value::Text(_) | Value::Raw(_) => value.clone(),
        Value::Bytes(bytes) => Value::from_bytes(bytes),
        other => {
            let mut out = Vec::new();
            print(other, &mut out);
            Value::from_bytes(out)
        }
    }
}

/// A value as text, as [`string`] has it; bytes that are not UTF-8 are replaced.
pub(crate) fn text(value: &Value) -> String {
    string(value).string_text().unwrap_or_default().into_owned()
}

/// Go's `Sprint`: a space between operands of which neither is a string.
pub(crate) fn sprint(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before_is_text = true;
    for (index, value) in values.iter().enumerate() {
        let is_text = value.string_bytes().is_some();
        if index > 0 && !is_text && !before_is_text {
            out.push(b' ');
        }
        print(value, &mut out);
        before_is_text = is_text;
    }
    out
}

/// Go's `Sprintln`.
pub(crate) fn sprintln(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        print(value, &mut out);
    }
    out.push(b'\n');
    out
}

/// Go's `strconv.Quote`.
pub(crate) fn quote(value: &Value) -> String {
    quote_with(value.string_bytes().unwrap_or_default(), '"', false)
}

fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    let usual = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\' && char::from(byte) != mark;
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.bytes().all(usual)
    {
        out.push_str(text);
        out.push(mark);
        return out;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                character if character == mark => {
                    out.push('\\');
                    out.push(character);
                }
                '\x07' => out.push_str("\\a"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x0b' => out.push_str("\\v"),
                character if is_print(character) && (!ascii || character.is_ascii()) => out.push(character),
                character => {
                    let code = u32::from(character);
                    // Writing to a string cannot fail.
                    let _ = match code {
                        0..=0x7f => write!(out, "\\x{code:02x}"),
                        0x80..=0xffff => write!(out, "\\u{code:04x}"),
                        _ => write!(out, "\\U{code:08x}"),
                    };
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push(mark);
    out
}

/// Go's `unicode.IsPrint`, nearly: letters, marks, numbers, punctuation,
/// symbols, and the ASCII space.
pub(crate) fn is_print(character: char) -> bool {
    match character {
        ' ' => true,
        '\u{ad}' | '\u{feff}' => false,
        character if character.is_control() || character.is_whitespace() => false,
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}' => false,
        character => u32::from(character) < 0xe0000,
    }
}
