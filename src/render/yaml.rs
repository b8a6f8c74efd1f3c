//! The reader for objects: YAML as kubectl and Helm read it, which is YAML 1.1
//! in goyaml.v2's way (`yes` is true, `0644` is 420, the last of two equal keys
//! wins). Users' own files are read by the strict reader in `model` instead.

use std::collections::HashMap;

use libyaml_safer::{EventData, Parser};
use serde_json::{Map, Number, Value};

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
    if let Some(position) = text.find('\0') {
        let line = text[..position].matches('\n').count() as u64 + 1;
        return Err(YamlError { line, problem: "a NUL byte".to_owned() });
    }
    // libyaml-safer 0.3 panics on a block scalar that ends without a newline.
    let terminated;
    let text = if text.ends_with('\n') {
        text
    } else {
        terminated = format!("{text}\n");
        &terminated
    };
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut reader = Reader { parser, line: 1, anchors: HashMap::new(), aliased: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            EventData::StreamEnd => return Ok(documents),
            EventData::DocumentStart { .. } => {
                reader.anchors.clear();
                let first = reader.next()?;
                let line = reader.line;
                let value = reader.node(first, 0)?.value;
                documents.push(Document { line, value });
            }
            _ => {}
        }
    }
}

struct Reader<'a, 'b> {
    parser: Parser<&'a mut &'b [u8]>,
    line: u64,
    anchors: HashMap<String, Value>,
    aliased: usize,
}

struct Node {
    value: Value,
    /// A plain `<<`: as a key it merges.
    merge: bool,
}

impl Reader<'_, '_> {
    fn next(&mut self) -> Result<EventData, YamlError> {
        match self.parser.parse() {
            Ok(event) => {
                self.line = event.start_mark.line + 1;
                Ok(event.data)
            }
            Err(error) => Err(YamlError {
                line: error.problem_mark().map_or(self.line, |mark| mark.line + 1),
                problem: error.problem().to_owned(),
            }),
        }
    }

    fn fail(&self, problem: impl Into<String>) -> YamlError {
        YamlError { line: self.line, problem: problem.into() }
    }

    fn node(&mut self, event: EventData, depth: usize) -> Result<Node, YamlError> {
        if depth > DEEPEST {
            return Err(self.fail(format!("nested deeper than {DEEPEST} levels")));
        }
        let plain = |value| Node { value, merge: false };
        match event {
            EventData::Scalar { anchor, tag, value, plain_implicit, .. } => {
                let merge = plain_implicit && value == "<<";
                let value = scalar(value, tag.as_deref(), plain_implicit);
                self.remember(anchor, &value);
                Ok(Node { value, merge })
            }
            EventData::SequenceStart { anchor, .. } => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        EventData::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?.value),
                    }
                }
                let value = Value::Array(items);
                self.remember(anchor, &value);
                Ok(plain(value))
            }
            EventData::MappingStart { anchor, .. } => {
                let value = Value::Object(self.mapping(depth)?);
                self.remember(anchor, &value);
                Ok(plain(value))
            }
            EventData::Alias { anchor } => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.fail(format!("unknown anchor `{anchor}`")));
                };
                self.aliased += count(&value);
                if self.aliased > MOST_ALIASED {
                    return Err(self.fail("aliases make the document too large"));
                }
                Ok(plain(value))
            }
            other => Err(self.fail(format!("unexpected {other:?}"))),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Map<String, Value>, YamlError> {
        let mut map = Map::new();
        let mut merges = Vec::new();
        loop {
            let event = match self.next()? {
                EventData::MappingEnd => break,
                event => event,
            };
            let key = self.node(event, depth + 1)?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?.value;
            if key.merge {
                merges.push(value);
            } else {
                let key = self.key(key.value)?;
                map.insert(key, value);
            }
        }
        for merge in merges {
            let sources = match merge {
                Value::Array(sources) => sources,
                source => vec![source],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(self.fail("`<<` merges mappings only"));
                };
                for (key, value) in source {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(map)
    }

    /// A key as sigs.k8s.io/yaml turns it into JSON: scalars become text.
    fn key(&self, value: Value) -> Result<String, YamlError> {
        match value {
            Value::String(text) => Ok(text),
            Value::Null => Ok("null".to_owned()),
            Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
            Value::Array(_) | Value::Object(_) => Err(self.fail("a list or mapping cannot be a key")),
        }
    }

    fn remember(&mut self, anchor: Option<String>, value: &Value) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, value.clone());
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn scalar(value: String, tag: Option<&str>, plain: bool) -> Value {
    match tag {
        None if plain => resolve(value),
        None | Some("tag:yaml.org,2002:str" | "tag:yaml.org,2002:binary" | "!") => Value::String(value),
        Some(_) => resolve(value),
    }
}

/// The type of a plain scalar, after goyaml.v2's `resolve.go`.
fn resolve(text: String) -> Value {
    let Some(&first) = text.as_bytes().first() else {
        return Value::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Value::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                Value::Bool(false)
            }
            "~" | "null" | "Null" | "NULL" => Value::Null,
            _ => Value::String(text),
        },
        b'+' | b'-' | b'.' | b'0'..=b'9' => number(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    }
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
    is_float(&digits).then(|| digits.parse().ok().and_then(Number::from_f64).map(Value::Number))?
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

/// goyaml's `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_holds = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_holds && exponent_holds
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
            json!({"a": true, "b": 420, "c": 1000, "d": true, "e": null, "f": 1000.0, "g": 31, "h": "2024-01-01",
                "i": 15, "j": "0644", "k": 1.0, "l": -3, "m": 5, "p": 8.0, "o": "1:30"})
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
        assert_eq!(value("a: |\n  b"), json!({"a": "b\n"}));
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
