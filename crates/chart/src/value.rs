//! The values that templates work on: Go's kinds, with maps that are shared by
//! reference as Go's are. Helm's values come from JSON, so their numbers are
//! `float64`; literals in templates are `int`.

mod entries;
mod nesting;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

pub(crate) use entries::Entries;
pub(crate) use nesting::{Endless, Extent};

use crate::object::Object;

/// A map's static type in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// `map[string]interface {}`
    Any,
    /// `common.Values`
    Values,
    /// `map[string]string`
    Text,
    /// `map[string]string(nil)`
    NilText,
    /// `map[string]interface {}(nil)`
    NilAny,
}

/// A map, shared by reference: `set` changes it for all who hold it.
#[derive(Debug)]
pub(crate) struct Map {
    /// Its type.
    pub(crate) kind: MapKind,
    /// Shared by the views of one map as `common.Values` and as a plain map.
    entries: Rc<RefCell<Entries>>,
}

/// A list's element type in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Text,
    /// `[]int`
    Int,
    /// `[]interface {}(nil)`
    NilAny,
    /// `[]string(nil)`
    NilText,
}

/// A list. It is not changed after it was made.
#[derive(Debug)]
pub(crate) struct List {
    /// Its type.
    pub(crate) kind: ListKind,
    /// Its elements.
    pub(crate) items: Vec<Value>,
}

impl Drop for List {
    fn drop(&mut self) {
        // Nearly all lists hold nothing that is nested.
        if self.items.iter().any(|item| matches!(item, Value::Map(_) | Value::List(_))) {
            nesting::dropped(std::mem::take(&mut self.items), |items| items);
        }
    }
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// No value, Go's untyped nil.
    Nil,
    /// An interface that holds nil: an element of a list or map under `range`.
    /// Other than [`Value::Nil`], a field of it is an error.
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `int64`
    Int64(i64),
    /// `uint64`, and with 8 bits `uint8`.
    Uint(u64, u8),
    /// `float64`
    Float(f64),
    /// `string`, where it is UTF-8.
    Text(Rc<str>),
    /// `string` of bytes that are not UTF-8.
    Raw(Rc<[u8]>),
    /// `[]uint8`
    Bytes(Rc<[u8]>),
    /// A slice.
    List(Rc<List>),
    /// A map.
    Map(Rc<Map>),
    /// A struct, or a type with methods.
    Object(Rc<Object>),
}

impl Map {
    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        self.entries.borrow().get(key).cloned()
    }

    /// Sets a key.
    pub(crate) fn set(&self, key: impl Into<Rc<str>>, value: Value) {
        self.entries.borrow_mut().insert(key.into(), value);
    }

    /// Whether both are one map, whatever their types.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.entries, &other.entries)
    }

    /// Tells maps apart: views of one map have one.
    fn address(&self) -> *const () {
        Rc::as_ptr(&self.entries).cast()
    }

    /// Takes a key out.
    pub(crate) fn remove(&self, key: &str) {
        self.entries.borrow_mut().remove(key);
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.borrow().contains_key(key)
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// A copy of the entries: the map may change while they are used.
    pub(crate) fn entries(&self) -> Vec<(Rc<str>, Value)> {
        self.entries.borrow().iter().map(|(key, value)| (Rc::clone(key), value.clone())).collect()
    }

    /// Looks at the entries, without a copy. The map must not be changed meanwhile.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.entries.borrow())
    }
}

impl Value {
    /// A string.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Rc::from(text.as_ref()))
    }

    /// A string of any bytes.
    pub(crate) fn from_bytes(bytes: impl AsRef<[u8]>) -> Self {
        match std::str::from_utf8(bytes.as_ref()) {
            Ok(text) => Self::text(text),
            Err(_) => Self::Raw(Rc::from(bytes.as_ref())),
        }
    }

    /// A `[]interface {}`.
    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(List { kind: ListKind::Any, items }))
    }

    /// A `[]string`.
    pub(crate) fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(Self::text).collect();
        Self::List(Rc::new(List { kind: ListKind::Text, items }))
    }

    /// A `[]string` of any bytes.
    pub(crate) fn strings<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(Self::from_bytes).collect();
        Self::List(Rc::new(List { kind: ListKind::Text, items }))
    }

    /// A slice that is nil: JSON writes `null`.
    pub(crate) fn nil_list(kind: ListKind) -> Self {
        Self::List(Rc::new(List { kind, items: Vec::new() }))
    }

    /// Whether JSON writes `null`, though it is a slice or map.
    pub(crate) fn is_nil_collection(&self) -> bool {
        match self {
            Self::List(list) => matches!(list.kind, ListKind::NilAny | ListKind::NilText),
            Self::Map(map) => matches!(map.kind, MapKind::NilText | MapKind::NilAny),
            _ => false,
        }
    }

    /// A `[]int`.
    pub(crate) fn ints(items: impl IntoIterator<Item = i64>) -> Self {
        let items = items.into_iter().map(Self::Int).collect();
        Self::List(Rc::new(List { kind: ListKind::Int, items }))
    }

    /// A map of a type.
    pub(crate) fn map_of(kind: MapKind, entries: Entries) -> Self {
        Self::Map(Rc::new(Map { kind, entries: Rc::new(RefCell::new(entries)) }))
    }

    /// A `map[string]interface {}`.
    pub(crate) fn map(entries: Entries) -> Self {
        Self::map_of(MapKind::Any, entries)
    }

    /// The same map as `common.Values`: what is set in one is seen in the other.
    pub(crate) fn as_values(&self) -> Self {
        match self {
            Self::Map(map) => {
                Self::Map(Rc::new(Map { kind: MapKind::Values, entries: Rc::clone(&map.entries) }))
            }
            other => other.clone(),
        }
    }

    /// The same map as `map[string]interface {}`: what a parameter of that type makes of `common.Values`.
    pub(crate) fn as_plain(&self) -> Self {
        match self {
            Self::Map(map) if map.kind == MapKind::Values => {
                Self::Map(Rc::new(Map { kind: MapKind::Any, entries: Rc::clone(&map.entries) }))
            }
            other => other.clone(),
        }
    }

    /// A `map[string]interface {}` from pairs.
    pub(crate) fn map_from<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::map(pairs.into_iter().map(|(key, value)| (Rc::from(key), value)).collect())
    }

    /// Whether it is no value.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::Null)
    }

    /// The map that it is.
    pub(crate) fn as_map(&self) -> Option<&Rc<Map>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value under a key, where it is a map.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        self.as_map()?.get(key)
    }

    /// The bytes of a string.
    pub(crate) fn string_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Raw(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn string_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Raw(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    /// The elements of a slice, `[]uint8` included.
    pub(crate) fn elements(&self) -> Option<Cow<'_, [Self]>> {
        match self {
            Self::List(list) => Some(Cow::Borrowed(&list.items)),
            Self::Bytes(bytes) => {
                Some(Cow::Owned(bytes.iter().map(|byte| Self::Uint(u64::from(*byte), 8)).collect()))
            }
            Self::Object(object) => object.elements().map(Cow::Owned),
            _ => None,
        }
    }

    /// Go's truth of templates: neither zero nor empty.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Nil | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(number) | Self::Int64(number) => *number != 0,
            Self::Uint(number, _) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Raw(bytes) | Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => map.len() > 0,
            Self::Object(object) => object.truth(),
        }
    }

    /// Go's `reflect.Kind`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil | Self::Null => "invalid",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint(_, 8) => "uint8",
            Self::Uint(..) => "uint64",
            Self::Float(_) => "float64",
            Self::Text(_) | Self::Raw(_) => "string",
            Self::Bytes(_) | Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Object(object) => object.kind(),
        }
    }

    /// Go's `%T`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil | Self::Null => "<nil>",
            Self::Bytes(_) => "[]uint8",
            Self::List(list) => match list.kind {
                ListKind::Any | ListKind::NilAny => "[]interface {}",
                ListKind::Text | ListKind::NilText => "[]string",
                ListKind::Int => "[]int",
            },
            Self::Map(map) => match map.kind {
                MapKind::Any | MapKind::NilAny => "map[string]interface {}",
                MapKind::Values => "common.Values",
                MapKind::Text | MapKind::NilText => "map[string]string",
            },
            Self::Object(object) => object.type_name(),
            _ => self.kind(),
        }
    }

    /// A copy in which nothing is shared.
    pub(crate) fn deep_copy(&self) -> Self {
        match self {
            Self::Map(map) => Self::map_of(
                map.kind,
                map.with(|entries| {
                    entries.iter().map(|(key, value)| (Rc::clone(key), value.deep_copy())).collect()
                }),
            ),
            // Lists are not changed: one without maps may be shared.
            Self::List(list)
                if list.items.iter().any(|item| matches!(item, Self::Map(_) | Self::List(_))) =>
            {
                Self::List(Rc::new(List {
                    kind: list.kind,
                    items: list.items.iter().map(Self::deep_copy).collect(),
                }))
            }
            other => other.clone(),
        }
    }
}

/// Go's `reflect.DeepEqual`.
pub(crate) fn deep_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Nil | Value::Null, Value::Nil | Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Int64(a), Value::Int64(b)) => a == b,
        (Value::Uint(a, bits_a), Value::Uint(b, bits_b)) => a == b && bits_a == bits_b,
        #[expect(clippy::float_cmp, reason = "as Go compares")]
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Raw(a), Value::Raw(b)) | (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.kind == b.kind
                && a.items.len() == b.items.len()
                && a.items.iter().zip(&b.items).all(|(a, b)| deep_equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            Rc::ptr_eq(a, b)
                || a.kind == b.kind
                    && a.len() == b.len()
                    && a.entries()
                        .iter()
                        .zip(b.entries())
                        .all(|((key, a), (other, b))| *key == other && deep_equal(a, &b))
        }
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or(0.0)),
            serde_json::Value::String(text) => Self::Text(Rc::from(text)),
            serde_json::Value::Array(items) => Self::list(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => {
                Self::map(map.into_iter().map(|(key, value)| (Rc::from(key), Self::from(value))).collect())
            }
        }
    }
}

impl Value {
    /// The value as JSON, for JSON schemas.
    pub(crate) fn to_json_value(&self) -> serde_json::Value {
        match self {
            Self::Nil | Self::Null | Self::Object(_) => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(number) | Self::Int64(number) => (*number).into(),
            Self::Uint(number, _) => (*number).into(),
            Self::Float(number) => match crate::number::whole(*number) {
                Some(whole) => whole.into(),
                None => (*number).into(),
            },
            Self::Text(_) | Self::Raw(_) => self.string_text().unwrap_or_default().into_owned().into(),
            Self::Bytes(_) | Self::List(_) => {
                self.elements().unwrap_or_default().iter().map(Self::to_json_value).collect()
            }
            Self::Map(map) => map.with(|entries| {
                entries.iter().map(|(key, value)| (key.to_string(), value.to_json_value())).collect()
            }),
        }
    }
}
