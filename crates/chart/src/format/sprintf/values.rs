//! `Sprintf` of values that are not numbers, and what is said of verbs that a value does not have.

use std::rc::Rc;

use super::numbers::{float, integer};
use super::{Flags, pad};
use crate::format::{print, quote_with};
use crate::object::Object;
use crate::value::Value;

/// Where pointers are; in Go they are in another place each time.
const ADDRESS: u64 = 0xc0_0000_0000;

/// Writes an argument (`printArg`).
pub(super) fn argument(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    match (verb, value) {
        ('T' | 'v', Value::Nil | Value::Null) => pad(out, b"<nil>", flags),
        (_, Value::Nil | Value::Null) => out.extend_from_slice(format!("%!{verb}(<nil>)").as_bytes()),
        ('T', value) => pad(out, cut(value.type_name().as_bytes(), flags), flags),
        ('p', Value::Map(_) | Value::List(_) | Value::Bytes(_)) => pointer(out, verb, value, flags),
        ('p', Value::Object(object)) if matches!(object.kind(), "ptr" | "map" | "slice") => {
            pointer(out, verb, value, flags);
        }
        ('p' | 'w', value) => complain(out, verb, value, flags),
        (_, value) => element(out, verb, value, flags),
    }
}

/// Writes a value (`printValue`); those in others are at a depth.
fn element(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    let done = match value {
        // Whatever the verb and its width.
        Value::Nil | Value::Null => {
            out.extend_from_slice(if flags.sharp_v { b"interface {}(nil)" } else { b"<nil>" });
            true
        }
        Value::Bool(value) => {
            let known = matches!(verb, 't' | 'v');
            if known {
                pad(out, value.to_string().as_bytes(), flags);
            }
            known
        }
        Value::Int(number) | Value::Int64(number) => integer(out, verb, number.cast_unsigned(), true, flags),
        Value::Uint(number, _) => integer(out, verb, *number, false, flags),
        Value::Float(number) => float(out, verb, *number, flags),
        Value::Text(text) => string(out, verb, text.as_bytes(), flags),
        Value::Raw(bytes) => string(out, verb, bytes, flags),
        Value::Bytes(bytes) if matches!(verb, 's' | 'q' | 'x' | 'X') => string(out, verb, bytes, flags),
        Value::Bytes(_) => {
            let name = if flags.depth == 0 { "[]byte" } else { "[]uint8" };
            list(out, verb, (name, value), flags);
            true
        }
        Value::List(_) => {
            list(out, verb, (value.type_name(), value), flags);
            true
        }
        Value::Map(map) => {
            let entries = map.entries();
            let entries = entries.iter().map(|(key, value)| (key.as_bytes(), value.clone()));
            mapping(out, verb, (value, entries.collect()), flags);
            true
        }
        Value::Object(object) => return self::object(out, verb, (value, object), flags),
    };
    if !done {
        complain(out, verb, value, flags);
    }
}

/// What is said of a verb that a value does not have (`badVerb`).
fn complain(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    out.extend_from_slice(format!("%!{verb}({}=", value.type_name()).as_bytes());
    element(out, 'v', value, Flags { erroring: true, depth: 0, ..flags });
    out.push(b')');
}

/// The elements of a slice, each with the same verb.
fn list(out: &mut Vec<u8>, verb: char, (name, value): (&str, &Value), flags: Flags) {
    let (items, within) = (value.elements().unwrap_or_default(), flags.deeper());
    if flags.sharp_v {
        out.extend_from_slice(name.as_bytes());
        if value.is_nil_collection() {
            return out.extend_from_slice(b"(nil)");
        }
    }
    out.push(if flags.sharp_v { b'{' } else { b'[' });
    for (index, item) in items.iter().enumerate() {
        separate(out, index, flags);
        element(out, verb, item, within);
    }
    out.push(if flags.sharp_v { b'}' } else { b']' });
}

/// The entries of a map, keys and values with the same verb.
fn mapping(out: &mut Vec<u8>, verb: char, (value, entries): (&Value, Vec<(&[u8], Value)>), flags: Flags) {
    if flags.sharp_v {
        out.extend_from_slice(value.type_name().as_bytes());
        if value.is_nil_collection() {
            return out.extend_from_slice(b"(nil)");
        }
    }
    out.extend_from_slice(if flags.sharp_v { b"{" } else { b"map[" });
    for (index, (key, value)) in entries.iter().enumerate() {
        separate(out, index, flags);
        element(out, verb, &Value::from_bytes(key), flags.deeper());
        out.push(b':');
        element(out, verb, value, flags.deeper());
    }
    out.push(if flags.sharp_v { b'}' } else { b']' });
}

fn separate(out: &mut Vec<u8>, index: usize, flags: Flags) {
    if index > 0 {
        out.extend_from_slice(if flags.sharp_v { b", " } else { b" " });
    }
}

/// A type with fields or methods.
fn object(out: &mut Vec<u8>, verb: char, (value, object): (&Value, &Object), flags: Flags) {
    let prints_itself = matches!(object, Object::Version(_) | Object::Time(_) | Object::Duration(_));
    if prints_itself && !flags.erroring && !flags.sharp_v && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
        string(out, verb, object.print().as_bytes(), flags);
        return;
    }
    match object {
        Object::Duration(nanoseconds) => {
            if !integer(out, verb, nanoseconds.cast_unsigned(), true, flags) {
                complain(out, verb, value, flags);
            }
        }
        Object::Versions(_) => list(out, verb, (value.type_name(), value), flags),
        Object::Files(files) => {
            let entries = files.iter().map(|(path, bytes)| (path.as_bytes(), Value::Bytes(Rc::clone(bytes))));
            mapping(out, verb, (value, entries.collect()), flags);
        }
        // The fields of a time are its own.
        Object::Time(_) if verb == 'v' => print(value, out),
        Object::Time(_) => complain(out, verb, value, flags),
        Object::Capabilities { .. } | Object::Version(_) if flags.depth > 0 => {
            pointer(out, verb, value, flags);
        }
        Object::Capabilities { .. }
        | Object::Version(_)
        | Object::Kube(_)
        | Object::Helm(_)
        | Object::Certificate { .. } => structure(out, verb, object, flags),
    }
}

/// The fields of a struct, each with the same verb.
fn structure(out: &mut Vec<u8>, verb: char, object: &Object, flags: Flags) {
    let name = object.type_name();
    if name.starts_with('*') {
        out.push(b'&');
    }
    if flags.sharp_v {
        out.extend_from_slice(name.trim_start_matches('*').as_bytes());
    }
    out.push(b'{');
    for (index, (field, value)) in object.own_fields().iter().enumerate() {
        separate(out, index, flags);
        if flags.sharp_v || flags.plus_v {
            out.extend_from_slice(field.as_bytes());
            out.push(b':');
        }
        element(out, verb, value, flags.deeper());
    }
    out.push(b'}');
}

/// Where something is (`fmtPointer`).
fn pointer(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    let hexadecimal = Flags { sharp: !flags.sharp, ..flags };
    let done = match verb {
        'v' if flags.sharp_v => {
            out.extend_from_slice(format!("({})(", value.type_name()).as_bytes());
            integer(out, 'x', ADDRESS, false, Flags { sharp: true, ..flags });
            out.push(b')');
            true
        }
        'v' | 'p' => integer(out, 'x', ADDRESS, false, hexadecimal),
        'b' | 'o' | 'd' | 'x' | 'X' => integer(out, verb, ADDRESS, false, flags),
        _ => false,
    };
    if !done {
        complain(out, verb, value, flags);
    }
}

/// Writes a string; `false`: it has no such verb.
fn string(out: &mut Vec<u8>, verb: char, bytes: &[u8], flags: Flags) -> bool {
    match verb {
        'v' if flags.sharp_v => quoted(out, bytes, flags),
        'v' | 's' => pad(out, cut(bytes, flags), flags),
        'q' => quoted(out, bytes, flags),
        'x' | 'X' => {
            let shown = bytes.get(..flags.precision.unwrap_or(bytes.len())).unwrap_or(bytes);
            let prefix = match (flags.sharp, verb) {
                (false, _) => "",
                (true, 'x') => "0x",
                (true, _) => "0X",
            };
            let digit = |byte: &u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
            let digits = shown.iter().map(digit);
            let text = match (shown.is_empty(), flags.space) {
                (true, _) => String::new(),
                (false, true) => {
                    digits.map(|digits| format!("{prefix}{digits}")).collect::<Vec<_>>().join(" ")
                }
                (false, false) => format!("{prefix}{}", digits.collect::<String>()),
            };
            pad(out, text.as_bytes(), flags);
        }
        _ => return false,
    }
    true
}

fn quoted(out: &mut Vec<u8>, bytes: &[u8], flags: Flags) {
    let shown = cut(bytes, flags);
    let raw = std::str::from_utf8(shown).ok().filter(|text| {
        let fits = |c: char| !c.is_ascii_control() && c != '`' && c != '\u{feff}' || c == '\t';
        flags.sharp && text.chars().all(fits)
    });
    let quoted = raw.map_or_else(|| quote_with(shown, '"', flags.plus), |text| format!("`{text}`"));
    pad(out, quoted.as_bytes(), flags);
}

/// As many characters as the precision says; each byte that is not UTF-8 is one.
fn cut(bytes: &[u8], flags: Flags) -> &[u8] {
    let Some(mut left) = flags.precision else { return bytes };
    let mut end = 0;
    for chunk in bytes.utf8_chunks() {
        let invalid = chunk.invalid().iter().map(|_| 1);
        for length in chunk.valid().chars().map(char::len_utf8).chain(invalid) {
            if left == 0 {
                return bytes.get(..end).unwrap_or(bytes);
            }
            left -= 1;
            end += length;
        }
    }
    bytes
}
