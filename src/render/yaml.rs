//! The reader for objects: YAML as kubectl and Helm read it, which is YAML 1.1
//! in goyaml.v2's way and then JSON, as sigs.k8s.io/yaml converts it (`yes` is
//! true, `0644` is 420, the last of two equal keys wins). Users' own files are
//! read by the strict reader in `model` instead.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cozy_yaml::{Alias, Builder, Values, is_float};
use serde_json::{Number, Value};

/// Nesting allowed in one document; deeper ones are mistakes or attacks.
const DEEPEST: usize = 200;

/// How many nodes aliases may add to one file; more is an alias bomb.
const MOST_ALIASED: usize = 100_000;

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct YamlError {
    /// The line, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// One document and the line on which it starts, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// The line of its first node.
    pub(crate) line: u64,
    /// Its value; `Null` where it is empty.
    pub(crate) value: Value,
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut builder = Builder::new(Json, MOST_ALIASED);
    cozy_yaml::read(text, DEEPEST, &mut builder)
        .map_err(|error| YamlError { line: error.line, problem: error.problem.into_owned() })?;
    let documents = builder.documents.into_iter();
    Ok(documents.map(|(line, value)| Document { line, value: value.unwrap_or(Value::Null) }).collect())
}

/// JSON's values of YAML.
struct Json;

impl Values for Json {
    type Value = Value;
    type Key = String;

    fn scalar(&self, text: Cow<'_, str>, tag: Option<&str>, plain: bool) -> Result<Value, String> {
        scalar(text, tag, plain)
    }

    fn list(items: impl ExactSizeIterator<Item = Value>) -> Value {
        Value::Array(items.collect())
    }

    fn map(entries: impl ExactSizeIterator<Item = (String, Value)>) -> Value {
        Value::Object(entries.collect())
    }

    fn key(value: Value) -> Result<String, String> {
        key_text(value)
    }

    fn merge(entries: &mut Vec<(String, Value)>, value: Value) -> Result<(), String> {
        merge(entries, value)
    }

    fn count(value: &Value) -> usize {
        count(value)
    }

    fn copy(value: &Value) -> Value {
        value.clone()
    }

    fn refused(alias: Alias<'_>) -> String {
        match alias {
            Alias::Recursive(name) => format!("anchor `{name}` contains itself"),
            Alias::Unknown(name) => format!("unknown anchor `{name}`"),
            Alias::TooLarge => "aliases make the document too large".to_owned(),
        }
    }
}

/// A key as sigs.k8s.io/yaml turns it into JSON: scalars become text.
fn key_text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Err("null cannot be a key".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a list or mapping cannot be a key".to_owned()),
    }
}

/// Merges as goyaml.v2 does: what is merged replaces keys that stand before
/// it; of several sources the first wins.
fn merge(entries: &mut Vec<(String, Value)>, value: Value) -> Result<(), String> {
    let sources = match value {
        Value::Array(sources) => sources,
        source => vec![source],
    };
    for source in sources.into_iter().rev() {
        let Value::Object(source) = source else { return Err("`<<` merges mappings only".to_owned()) };
        entries.extend(source);
    }
    Ok(())
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// A scalar's value, by its tag or its text (goyaml.v2's `resolve.go`).
fn scalar(text: Cow<'_, str>, tag: Option<&str>, plain: bool) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if plain { resolve(text) } else { Ok(Value::String(text.into_owned())) };
    };
    let Some(tag) = tag.strip_prefix("tag:yaml.org,2002:") else {
        return Ok(Value::String(text.into_owned()));
    };
    let wrong = |text: &str| Err(format!("cannot decode `{text}` as !!{tag}"));
    match tag {
        "int" | "float" | "bool" | "null" => {
            let value = resolve(Cow::Borrowed(&text))?;
            let agrees = match (&value, tag) {
                (Value::Null, "null") | (Value::Bool(_), "bool") | (Value::Number(_), "float") => true,
                (Value::Number(number), "int") => !number.is_f64() && !text.contains('.'),
                _ => false,
            };
            if agrees { Ok(value) } else { wrong(&text) }
        }
        "binary" => {
            let encoded: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(encoded).ok();
            let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.map_or_else(|| wrong(&text), |text| Ok(Value::String(text)))
        }
        _ => Ok(Value::String(text.into_owned())),
    }
}

/// The type of a plain scalar.
fn resolve(text: Cow<'_, str>) -> Result<Value, String> {
    let Some(&first) = text.as_bytes().first() else {
        return Ok(Value::Null);
    };
    Ok(match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => match text.as_ref() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Value::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                Value::Bool(false)
            }
            "~" | "null" | "Null" | "NULL" => Value::Null,
            _ => Value::String(text.into_owned()),
        },
        b'+' | b'-' | b'.' | b'0'..=b'9' => match text.trim_start_matches(['+', '-']) {
            ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => {
                return Err(format!("JSON has no number for `{text}`"));
            }
            _ => number(&text).unwrap_or_else(|| Value::String(text.into_owned())),
        },
        _ => Value::String(text.into_owned()),
    })
}

fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return i64::try_from(integer)
            .map(Number::from)
            .or_else(|_| u64::try_from(integer).map(Number::from))
            .ok()
            .map(Value::Number);
    }
    let float = is_float(&digits).then(|| digits.parse::<f64>().ok())??;
    // Go writes a whole number without a fraction, and the API server wants it so.
    if float.fract() == 0.0 && float.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^53")]
        return Some(Value::from(float as i64));
    }
    Number::from_f64(float).map(Value::Number)
}

/// Go's `strconv.ParseInt(text, 0, 64)`, without the underscores.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        read(text).unwrap().remove(0).value
    }

    #[test]
    fn scalars_resolve_as_goyaml_resolves_them() {
        assert_eq!(
            value(
                "a: yes\nb: 0644\nc: 1_000\nd: on\ne: ~\nf: 1e3\ng: 0x1f\nh: 2024-01-01\ni: 0o17\nj: '0644'\nk: 1.\nl: -0b11\nm: +5\np: 08\no: 1:30\n"
            ),
            json!({"a": true, "b": 420, "c": 1000, "d": true, "e": null, "f": 1000, "g": 31, "h": "2024-01-01",
                "i": 15, "j": "0644", "k": 1, "l": -3, "m": 5, "p": 8, "o": "1:30"})
        );
        assert_eq!(
            value("a: 18446744073709551615\nb: 99999999999999999999\n"),
            json!({"a": 18_446_744_073_709_551_615_u64, "b": 99_999_999_999_999_999_999.0_f64})
        );
    }

    #[test]
    fn merge_keys_aliases_and_duplicates_are_read() {
        assert_eq!(
            value("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n1: a\n1: b\ntrue: c\n"),
            json!({"base": {"x": 1, "true": 2}, "use": {"x": 1, "true": 3}, "1": "b", "true": "c"})
        );
    }

    #[test]
    fn a_block_scalar_without_a_last_newline_is_read() {
        assert_eq!(value("a: |\n  b"), json!({"a": "b"}));
    }

    #[test]
    fn several_documents_keep_their_lines() {
        let documents = read("---\na: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
        let lines: Vec<u64> = documents.iter().map(|document| document.line).collect();
        assert_eq!(documents.len(), 3);
        assert_eq!((lines[0], lines[2]), (2, 6));
        assert_eq!(documents[1].value, Value::Null);
    }

    #[test]
    fn attacks_are_errors() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(read(bomb).unwrap_err().problem.contains("too large"));
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read("a: \0").is_err());
        assert!(read("a: *x").unwrap_err().to_string().contains("unknown anchor"));
        assert!(read("a: b: c").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(?s).{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn json_is_read_as_itself(number in any::<i64>(), text in "[a-z \"\\\\\n\t]{0,12}") {
            let json = json!({"number": number, "text": text, "list": [1, {"a": null}]});
            prop_assert_eq!(value(&json.to_string()), json);
        }
    }
}
