//! `.Files`: a chart's files that are not templates (Helm's `engine/files.go`).

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::rc::Rc;
use std::str::Chars;

use regex::Regex;

use super::encoding;
use crate::object::Object;
use crate::value::{MapKind, Value};

type Files = BTreeMap<Rc<str>, Rc<[u8]>>;

/// A method's answer; `None`: there is no such method.
pub(crate) fn method(
    all: &Files,
    name: &str,
    arguments: &[Value],
    text: &dyn Fn(usize) -> Result<String, String>,
) -> Result<Option<Value>, String> {
    let wanted = match name {
        "Get" | "GetBytes" | "Glob" | "Lines" => 1,
        "AsConfig" | "AsSecrets" => 0,
        // Files are a map in Go, and a name that is no method is a key.
        key => return Ok(Some(Value::Bytes(all.get(key).cloned().unwrap_or_default()))),
    };
    if arguments.len() != wanted {
        return Err(format!("wrong number of args for {name}: want {wanted} got {}", arguments.len()));
    }
    let file = |path: &str| all.get(path).cloned().unwrap_or_default();
    Ok(Some(match name {
        "Get" => Value::from_bytes(file(&text(0)?)),
        "GetBytes" => Value::Bytes(file(&text(0)?)),
        "Glob" => {
            let pattern = glob(&text(0)?);
            let matching =
                all.iter().filter(|(path, _)| pattern.as_ref().is_none_or(|glob| glob.is_match(path)));
            Value::Object(Rc::new(Object::Files(
                matching.map(|(path, bytes)| (Rc::clone(path), Rc::clone(bytes))).collect(),
            )))
        }
        "Lines" => {
            let bytes = file(&text(0)?);
            if bytes.is_empty() {
                return Ok(Some(Value::texts::<&str>([])));
            }
            Value::strings(bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n'))
        }
        "AsConfig" => Value::text(yaml(all, |bytes| Value::from_bytes(bytes))),
        _ => Value::text(yaml(all, |bytes| Value::text(encoding::base64(bytes)))),
    }))
}

fn yaml(all: &Files, value: fn(&[u8]) -> Value) -> String {
    let entries = all.iter().map(|(path, bytes)| (Rc::from(encoding::base(path)), value(bytes))).collect();
    let written = crate::yaml::write(&Value::map_of(MapKind::Text, entries), 0).unwrap_or_default();
    written.strip_suffix('\n').unwrap_or(&written).to_owned()
}

/// Braces without anything in them: gobwas finds them nowhere.
const NOTHING: &str = r"[^\s\S]";

/// gobwas/glob with `/` as separator; `None`: the pattern is wrong, and Helm
/// takes `**` for it.
fn glob(pattern: &str) -> Option<Regex> {
    let mut out = String::from("(?s)^");
    let mut alternatives = 0_usize;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' => {
                if characters.next_if_eq(&'*').is_some() {
                    while characters.next_if_eq(&'*').is_some() {}
                    out.push_str(".*");
                } else {
                    out.push_str("[^/]*");
                }
            }
            '?' => out.push_str("[^/]"),
            '{' if matches!(characters.peek(), None | Some('}')) => out.push_str(NOTHING),
            '{' => {
                alternatives += 1;
                out.push_str("(?:");
            }
            '}' if alternatives > 0 => {
                alternatives -= 1;
                out.push(')');
            }
            ',' if alternatives > 0 => out.push('|'),
            '[' => {
                out.push_str(&class(&mut characters)?);
            }
            // At the end it is nothing.
            '\\' => out.extend(characters.next().map(escaped)),
            other => out.push_str(&escaped(other)),
        }
    }
    // Braces that do not end do so here.
    out.extend(std::iter::repeat_n(')', alternatives));
    out.push('$');
    Regex::new(&out).ok()
}

fn escaped(character: char) -> String {
    regex::escape(character.encode_utf8(&mut [0; 4]))
}

/// Reads what follows `[`: characters up to `]`, or one range; all else is an error.
fn class(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut out = String::from(if characters.next_if_eq(&'!').is_some() { "[^" } else { "[" });
    let first = characters.next()?;
    if characters.next_if_eq(&'-').is_some() {
        let last = characters.next()?;
        if last < first || characters.next()? != ']' {
            return None;
        }
        return Some(format!("{out}{}-{}]", escaped(first), escaped(last)));
    }
    if first == ']' {
        return None;
    }
    let mut next = first;
    while next != ']' {
        out.push_str(&escaped(if next == '\\' { characters.next()? } else { next }));
        next = characters.next()?;
    }
    out.push(']');
    Some(out)
}
