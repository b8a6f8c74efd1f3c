//! JSON as TOML, for containerd's configuration.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Writes a map as a document: plain values first, then tables.
pub(super) fn document(map: &Map<String, Value>) -> String {
    let mut text = String::new();
    table(&mut text, "", map);
    text
}

fn table(text: &mut String, path: &str, map: &Map<String, Value>) {
    for (key, value) in map.iter().filter(|(_, value)| !value.is_object() && !value.is_null()) {
        let _ = writeln!(text, "{} = {}", quoted(key), inline(value));
    }
    for (key, value) in map {
        if let Value::Object(inner) = value {
            let path = if path.is_empty() { quoted(key) } else { format!("{path}.{}", quoted(key)) };
            let _ = write!(text, "\n[{path}]\n");
            table(text, &path, inner);
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // TOML's basic strings, numbers and booleans are written like JSON's.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { Value::from(key).to_string() }
}
