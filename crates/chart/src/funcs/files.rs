//! `.Files`: a chart's files that are not templates (Helm's `engine/files.go`).

use std::collections::BTreeMap;
use std::rc::Rc;

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
            let whole = String::from_utf8_lossy(&bytes);
            Value::texts(whole.strip_suffix('\n').unwrap_or(&whole).split('\n'))
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
            '{' => {
                alternatives += 1;
                out.push_str("(?:");
            }
            '}' => {
                alternatives = alternatives.checked_sub(1)?;
                out.push(')');
            }
            ',' if alternatives > 0 => out.push('|'),
            '[' => {
                out.push('[');
                if characters.next_if_eq(&'!').is_some() {
                    out.push('^');
                }
                let mut any = false;
                loop {
                    match characters.next()? {
                        ']' if any => break,
                        '-' if any && characters.peek() != Some(&']') => out.push('-'),
                        '\\' => out.push_str(&regex::escape(&characters.next()?.to_string())),
                        other => out.push_str(&regex::escape(&other.to_string())),
                    }
                    any = true;
                }
                out.push(']');
            }
            '\\' => out.push_str(&regex::escape(&characters.next()?.to_string())),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    if alternatives > 0 {
        // gobwas takes braces that do not end for a pattern of nothing.
        return Regex::new(r"[^\s\S]").ok();
    }
    out.push('$');
    Regex::new(&out).ok()
}
