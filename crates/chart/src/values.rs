//! Values: value files, `--set` and its like, and a chart's own values beneath
//! them.

pub(crate) mod coalesce;
mod set;

use std::borrow::Cow;
use std::rc::Rc;

pub use set::{Lookup, Set};

use crate::error::Error;
use crate::json;
use crate::value::{Entries, Extent, Value};
use crate::yaml;

/// Where values come from, in any order: Helm reads files first, then
/// `--set-json`, `--set`, `--set-string`, `--set-file` and `--set-literal`.
#[derive(Debug, Clone, Copy)]
pub enum ValueSource<'a> {
    /// A value file: its name, for errors, and its content.
    File(&'a str, &'a [u8]),
    /// A flag.
    Set(Set<'a>),
}

/// The values that a user gives.
#[derive(Debug, Clone)]
pub struct Values(pub(crate) Value);

impl Default for Values {
    fn default() -> Self {
        Self(Value::map(Entries::new()))
    }
}

impl Values {
    /// Merges all sources as `helm template` does.
    ///
    /// # Errors
    /// Where a file is not YAML, or a flag cannot be read.
    pub fn read(sources: &[ValueSource<'_>]) -> Result<Self, Error> {
        let mut base = Value::map(Entries::new());
        for source in sources {
            if let ValueSource::File(name, content) = source {
                let read =
                    read_documents(content).map_err(|problem| Error::Values(format!("{name}: {problem}")))?;
                base = merge_maps(&base, &read);
            }
        }
        for rank in 0..Set::RANKS {
            for source in sources {
                if let ValueSource::Set(set) = source
                    && set.rank() == rank
                {
                    base = set.apply(&base).map_err(Error::Values)?;
                }
            }
        }
        Ok(Self(base))
    }

    /// The values as JSON, with sorted keys: equal values are equal texts.
    ///
    /// # Errors
    /// With words, where they hold what JSON cannot: not a number, infinity.
    pub fn to_json(&self) -> Result<String, String> {
        json::write(&self.0, json::Style { html: false, pretty: false }, 0)
    }

    /// The same values, with those of JSON, which is a map, over them.
    #[must_use]
    pub fn with_json(&self, json: serde_json::Map<String, serde_json::Value>) -> Self {
        Self(merge_maps(&self.0, &Value::from(serde_json::Value::Object(json))))
    }

    /// Values from JSON, which is a map.
    #[must_use]
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Object(_) => Self(Value::from(json)),
            _ => Self::default(),
        }
    }
}

/// Reads a value file: documents are merged, the later ones over the earlier.
pub(crate) fn read_documents(content: &[u8]) -> Result<Value, String> {
    let mut merged = Value::map(Entries::new());
    let text = if yaml::is_utf16(content) { one_document(content)?.into() } else { yaml::decoded(content)? };
    let documents = if yaml::is_utf16(content) { vec![text] } else { documents(&text)? };
    for document in documents {
        let read = yaml::read(&document)?;
        match read {
            Value::Map(_) => merged = merge_maps(&merged, &read),
            value if value.is_nil() => {}
            other => return Err(format!("values are to be a map, not {}", other.kind())),
        }
    }
    Ok(merged)
}

/// A file in UTF-16. apimachinery's `YAMLReader` knows bytes only: it finds no separators in it, but ends the last
/// line with one byte, so that goyaml reads half a character there. Only what is of the big end, and ends its last line
/// itself, can be read.
fn one_document(content: &[u8]) -> Result<String, String> {
    let mut lines = content.to_vec();
    if !lines.ends_with(b"\n") {
        lines.push(b'\n');
    }
    Ok(yaml::decoded(&lines)?.into_owned())
}

/// Splits documents as apimachinery's `YAMLReader` does: at lines that start
/// with `---`. The last line is ended, if it is not.
fn documents(text: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut all = Vec::new();
    // Where the document starts, and the line.
    let (mut from, mut at) = (0, 0);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix("---") {
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            let said = line.trim();
            if !said.is_empty() && !said.starts_with('#') {
                return Err(format!("invalid document separator: {said}"));
            }
            if at > from {
                all.push(Cow::Borrowed(text.get(from..at).unwrap_or_default()));
                from = at + "---".len() + line.len();
            }
        }
        match yaml::next_separator(rest) {
            Some(ahead) => at += ahead,
            None => break,
        }
    }
    match text.get(from..).unwrap_or_default() {
        "" => {}
        last if last.ends_with('\n') => all.push(Cow::Borrowed(last)),
        last => all.push(Cow::Owned(format!("{last}\n"))),
    }
    Ok(all)
}

/// Helm's `MergeMaps`: maps are merged, all else is replaced.
pub(crate) fn merge_maps(base: &Value, over: &Value) -> Value {
    let mut out: Entries = base.as_map().map(|map| map.entries().into_iter().collect()).unwrap_or_default();
    for (key, value) in over.as_map().map(|map| map.entries()).unwrap_or_default() {
        let merged = match (out.get(&key), &value) {
            (Some(before @ Value::Map(_)), Value::Map(_)) => merge_maps(before, &value),
            _ => value,
        };
        out.insert(key, merged);
    }
    Value::map(out)
}

/// The most nodes of values that `.Values.YAML` writes.
const LARGEST: u64 = 4_000_000;

/// What a method of `.Values` answers; `None`: there is no such method.
pub(crate) fn method(values: &Value, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let at = || match arguments {
        [one] => one
            .string_text()
            .ok_or_else(|| format!("wrong type for value; expected string; got {}", one.type_name())),
        _ => Err(format!("wrong number of args for {name}: want 1 got {}", arguments.len())),
    };
    let answer = match name {
        "AsMap" | "YAML" if !arguments.is_empty() => {
            Err(format!("wrong number of args for {name}: want 0 got {}", arguments.len()))
        }
        // It writes to what templates do not have, an `io.Writer`.
        "Encode" => Err(match arguments {
            [one] => format!("can't handle {} for arg of type io.Writer", one.type_name()),
            _ => format!("wrong number of args for Encode: want 1 got {}", arguments.len()),
        }),
        "AsMap" => Ok(Value::map(values.as_map()?.entries().into_iter().collect())),
        "YAML" => Extent::of(values, LARGEST)
            .map_err(|problem| problem.words().to_owned())
            .and_then(|extent| extent.with_stack(|| yaml::write(values, extent.written())))
            .map(Value::text),
        "Table" => at().and_then(|keys| match path(values, &keys) {
            Some(table @ Value::Map(_)) => Ok(table.as_values()),
            _ => Err(format!("{keys:?} is not a table")),
        }),
        "PathValue" => at().and_then(|keys| match path(values, &keys) {
            Some(value) if value.as_map().is_none() => Ok(value),
            _ => Err(format!("{keys:?} is not a value")),
        }),
        _ => return None,
    };
    Some(answer)
}

/// The value at a path of keys, `a.b.c`.
pub(crate) fn path(values: &Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(values.clone(), |value, key| value.get(key))
}

/// Reads `--set-json`'s value when it is a whole map.
fn json_map(text: &str) -> Result<Value, String> {
    match json::read(text)? {
        map @ Value::Map(_) => Ok(map),
        _ => Err("not a map".to_owned()),
    }
}

/// A key of a map.
fn key(text: &str) -> Rc<str> {
    Rc::from(text)
}
