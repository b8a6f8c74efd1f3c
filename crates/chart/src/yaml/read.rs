//! Reading: goyaml.v2's types, then JSON's, so that every number is a `float64`.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use cozy_yaml::{Alias, Builder, Values, is_float};

use super::words;
use crate::number;
use crate::value::Value;

/// The deepest nesting; goyaml's own limit is 10,000.
pub(crate) const DEEPEST: usize = 250;

/// How many nodes aliases may add to one document.
const MOST_ALIASED: usize = 200_000;

/// What a plain scalar is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A date, which stays text in JSON.
    Time,
    Text,
}

/// Reads the first document of a text; nothing is [`Value::Nil`].
pub(crate) fn read(text: &str) -> Result<Value, String> {
    read_typed(text, false)
}

/// Reads the first document, with errors in goyaml's words.
pub(crate) fn read_as_go(text: &str) -> Result<Value, String> {
    first(text, false).map_err(|wrong| match wrong {
        Wrong::Yaml(error) => words::of_go(&error),
        Wrong::Json(problem) => problem,
    })
}

/// Reads the first document; with `integers`, whole numbers stay `int`, as
/// goyaml has them before JSON.
pub(crate) fn read_typed(text: &str, integers: bool) -> Result<Value, String> {
    first(text, integers).map_err(|wrong| match wrong {
        Wrong::Yaml(error) => format!("yaml: {error}"),
        Wrong::Json(problem) => problem,
    })
}

/// Why a text cannot be read.
enum Wrong {
    /// It is not YAML.
    Yaml(cozy_yaml::Error),
    /// It has what JSON does not have.
    Json(String),
}

fn first(text: &str, integers: bool) -> Result<Value, Wrong> {
    let odd = Cell::new(false);
    let mut builder = Builder::new(Goyaml { integers, odd: &odd }, MOST_ALIASED);
    let read = cozy_yaml::read(text, DEEPEST, &mut builder);
    match read {
        // goyaml reads the first document only, and what follows may be broken.
        Err(error) if builder.ended == 0 => Err(Wrong::Yaml(error)),
        Ok(()) | Err(_) => {
            let first = builder.documents.into_iter().next();
            let value = first.and_then(|(_, value)| value).unwrap_or(Value::Nil);
            if odd.get() {
                check_numbers(&value).map_err(Wrong::Json)?;
            }
            Ok(value)
        }
    }
}

/// Refuses numbers that JSON does not have.
fn check_numbers(value: &Value) -> Result<(), String> {
    match value {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("json: unsupported value: {}", number::general(*number)))
        }
        Value::List(list) => list.items.iter().try_for_each(check_numbers),
        Value::Map(map) => map.with(|entries| entries.values().try_for_each(check_numbers)),
        _ => Ok(()),
    }
}

/// Go's values of YAML.
struct Goyaml<'a> {
    integers: bool,
    /// Whether there was a number that JSON does not have: as a key it is a text.
    odd: &'a Cell<bool>,
}

impl Values for Goyaml<'_> {
    type Value = Value;
    type Key = Rc<str>;

    fn scalar(&self, text: Cow<'_, str>, tag: Option<&str>, plain: bool) -> Result<Value, String> {
        let value = tagged(&text, tag, plain)?;
        if matches!(value, Value::Float(number) if !number.is_finite()) {
            self.odd.set(true);
        }
        Ok(value)
    }

    /// Whole numbers are `int` as keys, and `float64` where they are values of JSON.
    #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are float64 in Go")]
    fn settled(&self, value: Value) -> Value {
        match value {
            Value::Int(number) if !self.integers => Value::Float(number as f64),
            Value::Uint(number, _) if !self.integers => Value::Float(number as f64),
            other => other,
        }
    }

    fn list(items: impl ExactSizeIterator<Item = Value>) -> Value {
        Value::list(items.collect())
    }

    fn map(entries: impl ExactSizeIterator<Item = (Rc<str>, Value)>) -> Value {
        Value::map(entries.collect())
    }

    fn key(value: Value) -> Result<Rc<str>, String> {
        key_text(value)
    }

    fn merge(entries: &mut Vec<(Rc<str>, Value)>, value: Value) -> Result<(), String> {
        merge(entries, &value)
    }

    fn count(value: &Value) -> usize {
        count(value)
    }

    fn copy(value: &Value) -> Value {
        value.deep_copy()
    }

    fn refused(alias: Alias<'_>) -> String {
        match alias {
            Alias::Recursive(name) => format!("anchor '{name}' value contains itself"),
            Alias::Unknown(name) => format!("unknown anchor '{name}' referenced"),
            Alias::TooLarge => "document contains excessive aliasing".to_owned(),
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::List(list) => 1 + list.items.iter().map(count).sum::<usize>(),
        Value::Map(map) => 1 + map.with(|entries| entries.values().map(count).sum::<usize>()),
        _ => 1,
    }
}

fn key_text(value: Value) -> Result<Rc<str>, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Bool(value) => Ok(Rc::from(if value { "true" } else { "false" })),
        Value::Int(number) => Ok(Rc::from(number.to_string())),
        Value::Float(number) => Ok(Rc::from(key_of_float(number))),
        Value::Nil => Err("unsupported map key: null".to_owned()),
        Value::Uint(number, _) => Err(format!("unsupported map key of type: uint64, key: {number:#x}")),
        _ => Err("invalid map key".to_owned()),
    }
}

/// How goyaml writes the numbers that JSON does not have.
pub(super) fn not_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => ".inf",
        f64::NEG_INFINITY => "-.inf",
        _ => ".nan",
    }
}

/// A float is written as `float32`.
fn key_of_float(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "as sigs.k8s.io/yaml does")]
    let short = number as f32;
    if !short.is_finite() {
        return not_finite(short.into()).to_owned();
    }
    number::general(short.to_string().parse().unwrap_or(number))
}

/// Merges as goyaml.v2 does: what is merged replaces keys that stand before
/// it; of several sources the first wins.
fn merge(entries: &mut Vec<(Rc<str>, Value)>, value: &Value) -> Result<(), String> {
    const WRONG: &str = "map merge requires map or sequence of maps as the value";
    match value {
        Value::Map(map) => entries.extend(map.entries()),
        Value::List(list) => {
            for item in list.items.iter().rev() {
                let map = item.as_map().ok_or(WRONG)?;
                entries.extend(map.entries());
            }
        }
        _ => return Err(WRONG.to_owned()),
    }
    Ok(())
}

/// A scalar without a tag, whose whole numbers stay `int`.
pub(crate) fn scalar(text: &str, plain: bool) -> Result<Value, String> {
    match tagged(text, None, plain)? {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("json: unsupported value: {}", number::general(number)))
        }
        value => Ok(value),
    }
}

/// Whether a plain scalar is a string.
pub(crate) fn is_text(text: &str) -> bool {
    matches!(resolve(text), Resolved::Text | Resolved::Time)
}

/// Whether a plain scalar can be a key.
pub(crate) fn is_key(text: &str) -> bool {
    match resolve(text) {
        Resolved::Null | Resolved::Uint(_) => false,
        Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) | Resolved::Time | Resolved::Text => true,
    }
}

/// Whether a plain scalar is something that JSON has.
pub(crate) fn is_finite(text: &str) -> bool {
    !text.starts_with(['.', '+', '-'])
        || !matches!(resolve(text), Resolved::Float(number) if !number.is_finite())
}

fn tagged(text: &str, tag: Option<&str>, plain: bool) -> Result<Value, String> {
    let string = || Value::text(text);
    let number = |resolved: Resolved| -> Result<Value, String> {
        Ok(match resolved {
            Resolved::Null => Value::Nil,
            Resolved::Bool(value) => Value::Bool(value),
            Resolved::Int(number) => Value::Int(number),
            Resolved::Uint(number) => Value::Uint(number, 64),
            Resolved::Float(number) => Value::Float(number),
            Resolved::Time | Resolved::Text => string(),
        })
    };
    let Some(tag) = tag else { return if plain { number(resolve(text)) } else { Ok(string()) } };
    let Some(tag) = tag.strip_prefix("tag:yaml.org,2002:") else { return Ok(string()) };
    let wrong = || Err(format!("cannot decode `{text}` as a !!{tag}"));
    match (tag, resolve(text)) {
        ("binary", _) => match crate::funcs::encoding::from_base64(text.replace(' ', "").as_bytes()) {
            Ok(bytes) => Ok(Value::from_bytes(bytes)),
            Err(_) => wrong(),
        },
        ("int", resolved @ (Resolved::Int(_) | Resolved::Uint(_)))
        | ("float", resolved @ Resolved::Float(_))
        | ("bool", resolved @ Resolved::Bool(_))
        | ("null", resolved @ Resolved::Null) => number(resolved),
        #[expect(clippy::cast_precision_loss, reason = "as goyaml makes one of an int")]
        ("float", Resolved::Int(number)) => Ok(Value::Float(number as f64)),
        ("int" | "float" | "bool" | "null", _) => wrong(),
        _ => Ok(string()),
    }
}

/// The type of a plain scalar, after goyaml.v2's `resolve.go`.
pub(crate) fn resolve(text: &str) -> Resolved {
    let Some(first) = text.bytes().next() else { return Resolved::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => match text {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Resolved::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                Resolved::Bool(false)
            }
            "~" | "null" | "Null" | "NULL" => Resolved::Null,
            _ => Resolved::Text,
        },
        b'<' if text == "<<" => Resolved::Text,
        b'.' => match text {
            ".inf" | ".Inf" | ".INF" => Resolved::Float(f64::INFINITY),
            ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
            _ => float(text).map_or(Resolved::Text, Resolved::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => match text {
            "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
            _ if text.as_bytes().get(4) == Some(&b'-') && is_time(text) => Resolved::Time,
            _ => digits(text),
        },
        _ => Resolved::Text,
    }
}

/// A whole number as it is usually written: of few digits, and in base 10.
fn usual_number(text: &str) -> Option<i64> {
    let usual = text.len() <= 18 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    usual.then(|| text.bytes().fold(0, |number, byte| number * 10 + i64::from(byte - b'0')))
}

fn digits(text: &str) -> Resolved {
    if let Some(number) = usual_number(text) {
        return Resolved::Int(number);
    }
    let plain: Cow<'_, str> =
        if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    if let Some(number) = number::parse_int(&plain, 0) {
        return Resolved::Int(number);
    }
    if let Some(number) = number::parse_uint(&plain) {
        return Resolved::Uint(number);
    }
    if let Some(number) = float(&plain) {
        return Resolved::Float(number);
    }
    let binary = plain.strip_prefix("0b").map(|digits| (digits.to_owned(), false));
    let binary = binary.or_else(|| plain.strip_prefix("-0b").map(|digits| (digits.to_owned(), true)));
    if let Some((digits, negative)) = binary
        && let Some(number) = number::parse_int(&digits, 2)
    {
        return Resolved::Int(if negative { -number } else { number });
    }
    Resolved::Text
}

fn float(text: &str) -> Option<f64> {
    let number: f64 = is_float(text).then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}

/// goyaml's formats: `2001-1-2`, `2001-1-2T15:4:5.9Z`, `2001-1-2 15:4:5.9`.
fn is_time(text: &str) -> bool {
    time_parts(text).is_some()
}

fn time_parts(text: &str) -> Option<()> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, Some((text.as_bytes().get(at).copied()?, text.get(at + 1..)?))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let number = |text: &str, least: usize, most: usize| -> Option<u32> {
        let fits = (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { text.parse().ok() } else { None }
    };
    let year = number(parts.next()?, 4, 4)?;
    let month = number(parts.next()?, 1, 2)?;
    let day = number(parts.next()?, 1, 2)?;
    if parts.next().is_some() || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > longest {
        return None;
    }
    let Some((mark, time)) = time else { return Some(()) };
    let zone_at = time.find(['Z', '+', '-']);
    let (clock, zone) = match zone_at {
        Some(at) => (time.get(..at)?, Some(time.get(at..)?)),
        None => (time, None),
    };
    // With `T` there is a zone, with a space there is none.
    if (mark == b' ') == zone.is_some() {
        return None;
    }
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 1, 2)?;
    let minute = number(parts.next()?, 1, 2)?;
    let (seconds, fraction) = match parts.next()?.split_once('.') {
        Some((seconds, fraction)) => (seconds.to_owned(), Some(fraction.to_owned())),
        None => (clock.rsplit(':').next()?.to_owned(), None),
    };
    let second = number(&seconds, 1, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_some_and(|digits| digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    match zone {
        None | Some("Z") => Some(()),
        Some(zone) => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            number(hours, 2, 2)?;
            number(minutes, 2, 2)?;
            Some(())
        }
    }
}
