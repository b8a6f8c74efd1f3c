//! `--set a.b[0]=c,d={1,2}` and its like (Helm's `strvals`).

use std::rc::Rc;

use super::{json_map, key, merge_maps};
use crate::value::{Entries, Map, Value};

/// A flag that sets values.
#[derive(Debug, Clone, Copy)]
pub enum Set<'a> {
    /// `--set-json`
    Json(&'a str),
    /// `--set`
    Typed(&'a str),
    /// `--set-string`
    Text(&'a str),
    /// `--set-file`: the flag with its paths, and what a path holds.
    File(&'a str, &'a dyn Lookup),
    /// `--set-literal`
    Literal(&'a str),
}

/// Reads the files of `--set-file`.
pub trait Lookup: std::fmt::Debug {
    /// A file's content, which may be any bytes.
    ///
    /// # Errors
    /// With words, where it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// The highest index of a list.
const HIGHEST_INDEX: i64 = 65_536;
/// The deepest nesting of names.
const DEEPEST: usize = 30;

impl Set<'_> {
    pub(super) const RANKS: u8 = 5;

    /// The order in which Helm applies flags.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Json(_) => 0,
            Self::Typed(_) => 1,
            Self::Text(_) => 2,
            Self::File(..) => 3,
            Self::Literal(_) => 4,
        }
    }

    pub(super) fn apply(&self, base: &Value) -> Result<Value, String> {
        let (flag, text) = match self {
            Self::Json(text) => ("--set-json", *text),
            Self::Typed(text) => ("--set", *text),
            Self::Text(text) => ("--set-string", *text),
            Self::File(text, _) => ("--set-file", *text),
            Self::Literal(text) => ("--set-literal", *text),
        };
        let wrong = |problem: String| format!("{flag} {text}: {problem}");
        if matches!(self, Self::Json(_)) && text.trim().starts_with('{') {
            return Ok(merge_maps(base, &json_map(text.trim()).map_err(wrong)?));
        }
        // What the flags share with values that were read stays as it was.
        let base = base.deep_copy();
        let Some(map) = base.as_map() else { return Ok(base) };
        let mut parser = Parser { rest: text, set: *self };
        loop {
            match parser.key(map, 0) {
                Ok(()) => {}
                Err(Stop::End) => break,
                Err(Stop::Wrong(problem)) => return Err(wrong(problem)),
            }
        }
        Ok(base)
    }
}

/// Why parsing stops.
enum Stop {
    /// The text ends.
    End,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(problem: String) -> Self {
        Self::Wrong(problem)
    }
}

struct Parser<'a> {
    rest: &'a str,
    set: Set<'a>,
}

impl Parser<'_> {
    fn is_literal(&self) -> bool {
        matches!(self.set, Set::Literal(_))
    }

    fn take(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
        Some(character)
    }

    /// Reads until one of some characters; `None` for it: the text ended.
    fn until(&mut self, stop: &[char]) -> (String, Option<char>) {
        let mut out = String::new();
        while let Some(character) = self.take() {
            if stop.contains(&character) {
                return (out, Some(character));
            }
            if character == '\\' && !self.is_literal() {
                match self.take() {
                    Some(escaped) => out.push(escaped),
                    None => return (out, None),
                }
            } else {
                out.push(character);
            }
        }
        (out, None)
    }

    fn key(&mut self, data: &Rc<Map>, depth: usize) -> Result<(), Stop> {
        let stops: &[char] = if self.is_literal() { &['=', '[', '.'] } else { &['=', '[', ',', '.'] };
        let (name, ended) = self.until(stops);
        match ended {
            None if name.is_empty() => Err(Stop::End),
            None => Err(format!("key {name:?} has no value").into()),
            Some('[') => {
                let index = self.index()?;
                let list = match data.get(&name) {
                    None => Vec::new(),
                    Some(value) => match value.elements() {
                        Some(items) => items.into_owned(),
                        None => return Err(format!("{name:?} is not a list").into()),
                    },
                };
                match self.item(list, index, depth) {
                    Ok(list) => {
                        put(data, &name, Value::list(list));
                        Ok(())
                    }
                    Err((list, stop)) => {
                        put(data, &name, Value::list(list));
                        Err(stop)
                    }
                }
            }
            Some('=') => self.value(|value| put(data, &name, value)),
            Some(',') => {
                put(data, &name, Value::text(""));
                Err(format!("key {name:?} has no value (cannot end with ,)").into())
            }
            Some(_) => {
                if depth >= DEEPEST {
                    return Err(format!("a name is nested more than {DEEPEST} deep").into());
                }
                let inner = match data.get(&name) {
                    None => Value::map(Entries::new()),
                    Some(map @ Value::Map(_)) => map,
                    Some(_) => return Err(format!("{name:?} is not a map").into()),
                };
                let Some(map) = inner.as_map() else { return Err(Stop::End) };
                let result = self.key(map, depth + 1);
                if result.is_ok() && map.len() == 0 {
                    return Err(format!("key map {name:?} has no value").into());
                }
                if map.len() > 0 {
                    put(data, &name, inner);
                }
                result
            }
        }
    }

    /// Reads what follows `=`, and gives it away.
    fn value(&mut self, give: impl FnOnce(Value)) -> Result<(), Stop> {
        match self.set {
            Set::Json(_) => {
                if self.is_empty_value() {
                    give(Value::Nil);
                    return Ok(());
                }
                // A word ends where it is complete, whatever follows.
                for (word, value) in
                    [("null", Value::Nil), ("true", Value::Bool(true)), ("false", Value::Bool(false))]
                {
                    if let Some(rest) = self.rest.strip_prefix(word) {
                        self.rest = rest;
                        give(value);
                        self.is_empty_value();
                        return Ok(());
                    }
                }
                let mut stream =
                    serde_json::Deserializer::from_str(self.rest).into_iter::<serde_json::Value>();
                let value = match stream.next() {
                    Some(Ok(value)) => value,
                    Some(Err(error)) => return Err(error.to_string().into()),
                    None => return Err(Stop::End),
                };
                let offset = stream.byte_offset();
                self.rest = self.rest.get(offset..).unwrap_or_default();
                give(Value::from(value));
                self.is_empty_value();
                Ok(())
            }
            Set::Literal(_) => {
                let (text, _) = self.until(&[]);
                give(Value::text(text));
                Ok(())
            }
            Set::Typed(_) | Set::Text(_) | Set::File(..) => {
                if self.rest.is_empty() {
                    give(Value::text(""));
                    return Err(Stop::End);
                }
                if let Some(rest) = self.rest.strip_prefix('{') {
                    self.rest = rest;
                    give(self.list()?);
                    return Ok(());
                }
                let (text, _) = self.until(&[',']);
                give(self.scalar(&text)?);
                Ok(())
            }
        }
    }

    fn list(&mut self) -> Result<Value, Stop> {
        let mut items = Vec::new();
        loop {
            let (text, last) = self.until(&[',', '}']);
            match last {
                None => return Err("list must terminate with '}'".to_owned().into()),
                Some('}') => {
                    if let Some(rest) = self.rest.strip_prefix(',') {
                        self.rest = rest;
                    }
                    items.push(self.scalar(&text)?);
                    return Ok(Value::list(items));
                }
                Some(_) => items.push(self.scalar(&text)?),
            }
        }
    }

    fn scalar(&self, text: &str) -> Result<Value, Stop> {
        match self.set {
            Set::Typed(_) => Ok(typed(text)),
            Set::File(_, files) => Ok(Value::from_bytes(files.read(text)?)),
            Set::Text(_) | Set::Json(_) | Set::Literal(_) => Ok(Value::text(text)),
        }
    }

    /// Whether nothing follows but white space, up to a comma, which is taken.
    fn is_empty_value(&mut self) -> bool {
        let trimmed = self.rest.trim_start();
        if let Some(rest) = trimmed.strip_prefix(',') {
            self.rest = rest;
            return true;
        }
        self.rest = trimmed;
        trimmed.is_empty()
    }

    fn index(&mut self) -> Result<i64, Stop> {
        match self.until(&[']']) {
            // Helm takes the end of the text for the end of the flag here, too.
            (_, None) => Err(Stop::End),
            (text, Some(_)) => text.parse().map_err(|_| Stop::Wrong(format!("error parsing index {text:?}"))),
        }
    }

    /// Reads what follows `[index]`.
    fn item(
        &mut self,
        mut list: Vec<Value>,
        index: i64,
        depth: usize,
    ) -> Result<Vec<Value>, (Vec<Value>, Stop)> {
        if !(0..=HIGHEST_INDEX).contains(&index) {
            return Err((list, format!("index {index} is not between 0 and {HIGHEST_INDEX}").into()));
        }
        let at = usize::try_from(index).unwrap_or(0);
        let (rest, ended) = self.until(&['[', '.', '=']);
        if !rest.is_empty() {
            return Err((list, format!("unexpected data at end of array index: {rest:?}").into()));
        }
        let before = list.get(at).cloned().unwrap_or(Value::Nil);
        let value = match ended {
            None => return Err((list, Stop::End)),
            Some('=') => {
                let mut value = None;
                match self.value(|given| value = Some(given)) {
                    Ok(()) | Err(Stop::End) => value.unwrap_or(Value::Nil),
                    Err(stop) => return Err((list, stop)),
                }
            }
            Some('[') => {
                let next = match self.index() {
                    Ok(next) => next,
                    Err(stop) => return Err((list, stop)),
                };
                let current = match before.elements() {
                    Some(items) => items.into_owned(),
                    None if before.is_nil() => Vec::new(),
                    None => return Err((list, format!("item {index} is not a list").into())),
                };
                match self.item(current, next, depth) {
                    Ok(inner) => Value::list(inner),
                    Err((_, stop)) => return Err((list, stop)),
                }
            }
            Some(_) => {
                let inner = if before.as_map().is_some() { before } else { Value::map(Entries::new()) };
                let Some(map) = inner.as_map() else { return Err((list, Stop::End)) };
                if let Err(stop) = self.key(map, depth) {
                    return Err((list, stop));
                }
                inner
            }
        };
        if list.len() <= at {
            list.resize(at + 1, Value::Nil);
        }
        if let Some(slot) = list.get_mut(at) {
            *slot = value;
        }
        Ok(list)
    }
}

fn put(data: &Rc<Map>, name: &str, value: Value) {
    if !name.is_empty() {
        data.set(key(name), value);
    }
}

/// What `--set` makes of a text.
fn typed(text: &str) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Nil;
    }
    if text == "0" {
        return Value::Int64(0);
    }
    if !text.starts_with('0')
        && let Ok(number) = text.parse()
    {
        return Value::Int64(number);
    }
    Value::text(text)
}
