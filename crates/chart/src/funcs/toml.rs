//! TOML as BurntSushi/toml writes it, and read by the crate `toml`.

use std::fmt::Write as _;
use std::rc::Rc;

use ::toml::value::Offset;

use super::dates::{LOCAL_DATE, LOCAL_TIME, LOCAL_TIME_OF_DATE, to_toml};
use crate::format;
use crate::number;
use crate::object::Object;
use crate::value::{Entries, Value};

/// Writes a value.
pub(super) fn write(value: &Value) -> Result<String, String> {
    let mut writer = Writer { out: String::new() };
    writer.encode(&mut Vec::new(), value)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
}

type Key = Vec<Rc<str>>;

fn is_table(value: &Value) -> bool {
    matches!(value, Value::Map(_))
}

/// Whether a list is written as `[[tables]]`.
fn is_list_of_tables(value: &Value) -> Result<bool, String> {
    let Some(items) = value.elements() else { return Ok(false) };
    if items.iter().any(Value::is_nil) {
        return Err("toml: cannot encode array with nil element".to_owned());
    }
    for item in items.iter() {
        is_list_of_tables(item)?;
    }
    Ok(!items.is_empty() && items.iter().all(is_table))
}

impl Writer {
    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, key: &Key) {
        self.out.extend(std::iter::repeat_n("  ", key.len().saturating_sub(1)));
    }

    fn header(&mut self, key: &Key, open: &str, close: &str) {
        self.indent(key);
        let name = key.iter().map(|part| bare(part)).collect::<Vec<_>>().join(".");
        self.out.push_str(open);
        self.out.push_str(&name);
        self.out.push_str(close);
        self.new_line();
    }

    fn encode(&mut self, key: &mut Key, value: &Value) -> Result<(), String> {
        match value {
            Value::Nil | Value::Null => Ok(()),
            Value::Map(map) => {
                if key.len() == 1 {
                    self.new_line();
                }
                if !key.is_empty() {
                    self.header(key, "[", "]");
                }
                self.table(key, &map.entries())
            }
            list if is_list_of_tables(list)? => {
                if key.is_empty() {
                    return Err("toml: top-level values must be Go maps or structs".to_owned());
                }
                for item in list.elements().unwrap_or_default().iter() {
                    self.new_line();
                    self.header(key, "[[", "]]");
                    if let Value::Map(map) = item {
                        self.table(key, &map.entries())?;
                    }
                }
                Ok(())
            }
            scalar => {
                if let Some(last) = key.last().cloned() {
                    self.indent(key);
                    self.out.push_str(&bare(&last));
                    self.out.push_str(" = ");
                }
                self.element(scalar)?;
                if !key.is_empty() {
                    self.new_line();
                }
                Ok(())
            }
        }
    }

    fn table(&mut self, key: &mut Key, entries: &[(Rc<str>, Value)]) -> Result<(), String> {
        for tables in [false, true] {
            for (name, value) in entries {
                if (is_table(value) || is_list_of_tables(value)?) == tables {
                    key.push(Rc::clone(name));
                    let done = self.encode(key, value);
                    key.pop();
                    done?;
                }
            }
        }
        Ok(())
    }

    fn element(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Nil | Value::Null => return Err("toml: cannot encode nil".to_owned()),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(number) | Value::Int64(number) => self.out.push_str(&number.to_string()),
            Value::Uint(number, _) => self.out.push_str(&number.to_string()),
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::Text(_) | Value::Raw(_) => self.quoted(&value.string_text().unwrap_or_default()),
            Value::Bytes(_) | Value::List(_) => return self.list(&value.elements().unwrap_or_default()),
            Value::Map(map) => return self.inline_table(&map.entries()),
            Value::Object(object) => match object.as_ref() {
                Object::Time(time) => self.out.push_str(&to_toml(time)),
                _ => self.quoted(&format::text(value)),
            },
        }
        Ok(())
    }

    fn list(&mut self, items: &[Value]) -> Result<(), String> {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.element(item)?;
        }
        self.out.push(']');
        Ok(())
    }

    /// A table within a list, `{a = 1, b = 2}`.
    fn inline_table(&mut self, entries: &[(Rc<str>, Value)]) -> Result<(), String> {
        self.out.push('{');
        let mut ordered = Vec::new();
        for tables in [false, true] {
            for (name, value) in entries {
                if (is_table(value) || is_list_of_tables(value)?) == tables {
                    ordered.push((name, value));
                }
            }
        }
        let last = ordered.len().saturating_sub(1);
        for (index, (name, value)) in ordered.into_iter().enumerate() {
            if value.is_nil() {
                continue;
            }
            self.out.push_str(&bare(name));
            self.out.push_str(" = ");
            self.element(value)?;
            if index != last {
                self.out.push_str(", ");
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\x08' => self.out.push_str("\\b"),
                '\t' => self.out.push_str("\\t"),
                '\n' => self.out.push_str("\\n"),
                '\x0c' => self.out.push_str("\\f"),
                '\r' => self.out.push_str("\\r"),
                '\0'..='\x1f' | '\x7f' => {
                    // Writing to a string cannot fail.
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character));
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

/// A number that is read as a float again.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let shown = number::general(number);
    if shown.contains(['e', '.']) { shown } else { format!("{shown}.0") }
}

/// A key, quoted where it must be.
fn bare(key: &str) -> String {
    if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        return key.to_owned();
    }
    if key.is_empty() {
        return "\"\"".to_owned();
    }
    let mut writer = Writer { out: String::new() };
    writer.quoted(key);
    writer.out
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Value, String> {
    // The words are not those of BurntSushi/toml; the line is.
    let table: ::toml::Table = text.parse().map_err(|error: ::toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
        format!("toml: line {}: {}", before.matches('\n').count() + 1, error.message())
    })?;
    Ok(Value::map(table.into_iter().map(|(key, value)| (Rc::from(key), convert(value))).collect::<Entries>()))
}

fn convert(value: ::toml::Value) -> Value {
    match value {
        ::toml::Value::String(text) => Value::Text(Rc::from(text)),
        ::toml::Value::Integer(number) => Value::Int64(number),
        ::toml::Value::Float(number) => Value::Float(number),
        ::toml::Value::Boolean(value) => Value::Bool(value),
        ::toml::Value::Datetime(time) => {
            let date = time.date.map_or_else(|| "0000-01-01".to_owned(), |date| date.to_string());
            let clock = time.time.map_or_else(|| "00:00:00".to_owned(), |clock| clock.to_string());
            let zone = match (time.offset, time.date, time.time) {
                (Some(Offset::Z), ..) => Some(0),
                (Some(Offset::Custom { minutes }), ..) => Some(minutes),
                (None, ..) => None,
            };
            let local = match (time.date, time.time) {
                (Some(_), Some(_)) => LOCAL_TIME_OF_DATE,
                (Some(_), None) => LOCAL_DATE,
                (None, _) => LOCAL_TIME,
            };
            super::dates::from_toml(&format!("{date}T{clock}"), zone, local)
        }
        ::toml::Value::Array(items) => Value::list(items.into_iter().map(convert).collect()),
        ::toml::Value::Table(table) => {
            Value::map(table.into_iter().map(|(key, value)| (Rc::from(key), convert(value))).collect())
        }
    }
}
