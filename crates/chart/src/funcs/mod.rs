//! The functions of templates: Go's own, sprig's and Helm's, each with the
//! types of its parameters, because Go refuses a call by them.

mod collections;
mod compare;
mod crypto;
pub(crate) mod dates;
mod decimal;
mod dicts;
pub(crate) mod encoding;
pub(crate) mod files;
mod helm;
mod lists;
mod math;
mod reflect;
mod regexes;
pub(crate) mod semver;
mod strings;
mod toml;
mod urls;
mod words;

pub(crate) use regexes::expression;

pub use crypto::validity;
pub use semver::{is_version, newest};

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::exec::{Engine, Stop};
use crate::format;
use crate::object::Object;
use crate::value::{ListKind, MapKind, Value};

/// What a function does.
pub(crate) type Body = fn(&mut Engine<'_>, &[Value]) -> Answer;

/// What a function answers.
pub(crate) type Answer = Result<Value, Stop>;

/// A parameter's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// `interface {}` or `reflect.Value`
    Any,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `uint32`
    Uint32,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `time.Time`
    Time,
    /// `sprig.certificate`
    Certificate,
}

impl Type {
    /// Go's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Int => "int",
            Self::Uint32 => "uint32",
            Self::Float => "float64",
            Self::Bool => "bool",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Time => "time.Time",
            Self::Certificate => "sprig.certificate",
        }
    }

    /// Go's assignability (`validateType` in `text/template/exec.go`).
    pub(crate) fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _)
            | (Self::Text, Value::Text(_) | Value::Raw(_))
            | (Self::Int, Value::Int(_))
            | (Self::Uint32, Value::Uint(_, 32))
            | (Self::Float, Value::Float(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Map | Self::List, Value::Nil) => true,
            (Self::Map, Value::Map(map)) => !matches!(map.kind, MapKind::Text | MapKind::NilText),
            (Self::List, Value::List(list)) => matches!(list.kind, ListKind::Any | ListKind::NilAny),
            (Self::Time, Value::Object(object)) => matches!(**object, Object::Time(_)),
            (Self::Certificate, Value::Object(object)) => matches!(**object, Object::Certificate { .. }),
            _ => false,
        }
    }
}

/// A function of templates.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    parameters: &'static [Type],
    /// The type of any further arguments.
    rest: Option<Type>,
    /// Whether it goes through its arguments to any depth.
    pub(crate) walks: bool,
    /// How many times as long it takes for a byte as one that only copies it.
    pub(crate) slow: usize,
    pub(crate) body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A function with fixed parameters.
const fn fixed(name: &'static str, parameters: &'static [Type], body: Body) -> Function {
    Function { name, parameters, rest: None, walks: false, slow: 1, body }
}

/// A function with further arguments of a type.
const fn open(name: &'static str, parameters: &'static [Type], rest: Type, body: Body) -> Function {
    Function { name, parameters, rest: Some(rest), walks: false, slow: 1, body }
}

/// A function that goes through its arguments to any depth: prints, copies or
/// compares them.
const fn walking(name: &'static str, parameters: &'static [Type], body: Body) -> Function {
    Function { walks: true, ..fixed(name, parameters, body) }
}

/// The same, with further arguments of a type.
const fn open_walking(name: &'static str, parameters: &'static [Type], rest: Type, body: Body) -> Function {
    Function { walks: true, ..open(name, parameters, rest, body) }
}

impl Function {
    /// The same function, which takes so many times as long for each byte.
    const fn slow(self, slow: usize) -> Self {
        Self { slow, ..self }
    }

    /// Whether it takes so many arguments.
    pub(crate) fn accepts(&self, count: usize) -> Result<(), Stop> {
        let least = self.parameters.len();
        if count < least && self.rest.is_some() {
            return Err(Stop::Failed(format!(
                "wrong number of args for {}: want at least {least} got {count}",
                self.name
            )));
        }
        if count != least && self.rest.is_none() {
            return Err(Stop::Failed(format!(
                "wrong number of args for {}: want {least} got {count}",
                self.name
            )));
        }
        Ok(())
    }

    /// The type of an argument.
    pub(crate) fn type_at(&self, index: usize) -> Type {
        self.parameters.get(index).copied().or(self.rest).unwrap_or(Type::Any)
    }

    /// Whether its errors are the chart author's own words.
    pub(crate) fn is_said_plainly(&self) -> bool {
        matches!(self.name, "fail" | "required")
    }
}

/// All functions, by what they work on.
const TABLES: &[&[Function]] = &[
    compare::FUNCTIONS,
    collections::FUNCTIONS,
    crypto::FUNCTIONS,
    dates::FUNCTIONS,
    dicts::FUNCTIONS,
    encoding::FUNCTIONS,
    helm::FUNCTIONS,
    lists::FUNCTIONS,
    math::FUNCTIONS,
    reflect::FUNCTIONS,
    regexes::FUNCTIONS,
    semver::FUNCTIONS,
    strings::FUNCTIONS,
    urls::FUNCTIONS,
    words::FUNCTIONS,
];

/// Finds a function.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Function>> = OnceLock::new();
    let by_name = BY_NAME
        .get_or_init(|| TABLES.iter().copied().flatten().map(|function| (function.name, function)).collect());
    by_name.get(name).copied()
}

const NIL: &Value = &Value::Nil;

/// An argument.
fn arg(arguments: &[Value], index: usize) -> &Value {
    arguments.get(index).unwrap_or(NIL)
}

/// A string argument as text; bytes that are not UTF-8 are replaced.
fn text(arguments: &[Value], index: usize) -> Cow<'_, str> {
    arg(arguments, index).string_text().unwrap_or_default()
}

/// A string argument's bytes.
fn bytes(arguments: &[Value], index: usize) -> &[u8] {
    arg(arguments, index).string_bytes().unwrap_or_default()
}

/// An `int` argument.
fn int(arguments: &[Value], index: usize) -> i64 {
    match arg(arguments, index) {
        Value::Int(number) => *number,
        _ => 0,
    }
}

/// sprig's `empty`.
fn is_empty(value: &Value) -> bool {
    !value.truth()
}

/// Arguments as Go prints them, to tell calls apart.
fn printed(arguments: &[Value]) -> String {
    arguments.iter().map(format::text).collect::<Vec<_>>().join("\u{1f}")
}
