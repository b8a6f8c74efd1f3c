//! Helm's own functions: `include`, `tpl`, `required`, `lookup`, YAML, JSON, TOML.

use std::borrow::Cow;
use std::rc::Rc;

use super::Type::{Any, Text};
use super::{Answer, Function, arg, fixed, text, toml, walking};
use crate::exec::{Engine, Stop};
use crate::json::{self, Style};
use crate::value::{Entries, ListKind, MapKind, Value};
use crate::yaml;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("include", &[Text, Any], |engine, a| engine.include(&text(a, 0), arg(a, 1))),
    fixed("tpl", &[Text, Any], |engine, a| engine.tpl(&text(a, 0), arg(a, 1))).slow(4),
    fixed("required", &[Text, Any], |_, a| {
        let value = arg(a, 1);
        if value.is_nil() || value.string_bytes().is_some_and(<[u8]>::is_empty) {
            return Err(Stop::Failed(text(a, 0).into_owned()));
        }
        Ok(value.clone())
    }),
    fixed("fail", &[Text], |_, a| Err(Stop::Failed(text(a, 0).into_owned()))),
    fixed("lookup", &[Text, Text, Text, Text], |engine, a| {
        let found = engine.environment.lookup(&text(a, 0), &text(a, 1), &text(a, 2), &text(a, 3))?;
        Ok(found.map_or_else(|| Value::map(Entries::new()), from_cluster))
    }),
    // Helm looks no name up unless it is told to.
    fixed("getHostByName", &[Text], |_, _| Ok(Value::text(""))),
    fixed("toYaml", &[Any], |engine, a| written(engine, a, yaml::write, Must::No)),
    fixed("mustToYaml", &[Any], |engine, a| written(engine, a, yaml::write, Must::Yes)),
    walking("toYamlPretty", &[Any], |engine, a| {
        written(engine, a, |value, _| Ok(yaml::write_pretty(value)), Must::No)
    }),
    fixed("fromYaml", &[Text], |engine, a| {
        read(engine, a, |text| map_or_error(read_yaml(text), YAML_MISMATCH))
    }),
    fixed("fromYamlArray", &[Text], |engine, a| {
        read(engine, a, |text| list_or_error(read_yaml(text), YAML_MISMATCH))
    }),
    walking("toToml", &[Any], |engine, a| {
        let text = toml_of(arg(a, 0))?.unwrap_or_else(|problem| problem);
        engine.spend(text.len())?;
        Ok(Value::text(text))
    }),
    walking("mustToToml", &[Any], |engine, a| {
        let text = toml_of(arg(a, 0))??;
        engine.spend(text.len())?;
        Ok(Value::text(text))
    }),
    fixed("fromToml", &[Text], |engine, a| {
        read(engine, a, |text| {
            toml::read(text).unwrap_or_else(|problem| Value::map_from([("Error", Value::text(problem))]))
        })
    }),
    fixed("toJson", &[Any], |engine, a| json(engine, a, COMPACT, Must::No)),
    fixed("mustToJson", &[Any], |engine, a| json(engine, a, COMPACT, Must::Yes)),
    fixed("toPrettyJson", &[Any], |engine, a| json(engine, a, PRETTY, Must::No)),
    fixed("mustToPrettyJson", &[Any], |engine, a| json(engine, a, PRETTY, Must::Yes)),
    fixed("toRawJson", &[Any], |engine, a| json(engine, a, RAW, Must::Yes)),
    fixed("mustToRawJson", &[Any], |engine, a| json(engine, a, RAW, Must::Yes)),
    fixed("fromJson", &[Text], |engine, a| read(engine, a, |text| map_or_error(json::read(text), ""))),
    fixed("mustFromJson", &[Text], |engine, a| {
        let text = source(engine, a)?;
        let value = json::read(&text)?;
        made(engine, value)
    }),
    fixed("fromJsonArray", &[Text], |engine, a| read(engine, a, |text| list_or_error(json::read(text), ""))),
];

/// Go's `json.Marshal`.
const COMPACT: Style = Style { html: true, pretty: false };
/// Go's `json.MarshalIndent`.
const PRETTY: Style = Style { html: true, pretty: true };
/// Without escapes for HTML.
const RAW: Style = Style { html: false, pretty: false };

/// Go's words for a map that is within itself.
const CYCLE: &str = "json: unsupported value: encountered a cycle via map[string]interface {}";

/// TOML of a value, or why there is none; nil makes Go's encoder panic.
fn toml_of(value: &Value) -> Result<Result<String, String>, Stop> {
    if value.is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    Ok(toml::write(value))
}

/// Whether a failure is an error, or an empty text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    Yes,
    No,
}

fn written(
    engine: &mut Engine<'_>,
    arguments: &[Value],
    write: impl FnOnce(&Value, usize) -> Result<String, String>,
    must: Must,
) -> Answer {
    let value = arg(arguments, 0);
    let text = match engine.finite(value)? {
        Some(extent) => {
            engine.can_indent(extent)?;
            extent.with_stack(|| write(value, extent.written()))
        }
        None => Err(CYCLE.to_owned()),
    };
    let text = match text {
        Ok(text) => text,
        Err(problem) if must == Must::Yes => return Err(Stop::Failed(problem)),
        Err(_) => String::new(),
    };
    engine.spend(text.len())?;
    Ok(Value::text(text.strip_suffix('\n').unwrap_or(&text)))
}

fn json(engine: &mut Engine<'_>, arguments: &[Value], style: Style, must: Must) -> Answer {
    written(engine, arguments, |value, length| json::write(value, style, length), must)
}

/// The text to read values from. Refuses those that may hold more than there may be.
fn source<'a>(engine: &mut Engine<'_>, arguments: &'a [Value]) -> Result<Cow<'a, str>, Stop> {
    let text = text(arguments, 0);
    engine.go_through(text.len(), 8)?;
    // What begins a list or map, an element, an entry.
    let size = |byte: u8| match byte {
        b'[' | b'{' | b'-' => 160,
        b':' | b'=' | b'.' => 200,
        b',' => 64,
        _ => 0,
    };
    // Short texts cannot hold much.
    if text.len() > 64 << 10 {
        engine.can_make(text.bytes().map(size).sum())?;
    }
    Ok(text)
}

/// Reads values, and counts them.
fn read(engine: &mut Engine<'_>, arguments: &[Value], read: impl FnOnce(&str) -> Value) -> Answer {
    let value = read(&source(engine, arguments)?);
    made(engine, value)
}

/// Counts what was read.
fn made(engine: &mut Engine<'_>, value: Value) -> Answer {
    let extent = engine.extent(&value)?;
    engine.make_all(extent)?;
    Ok(value)
}

/// What sigs.k8s.io/yaml says before JSON's words.
const YAML_MISMATCH: &str = "error unmarshaling JSON: while decoding JSON: ";

fn read_yaml(text: &str) -> Result<Value, String> {
    yaml::read_as_go(text).map_err(|problem| format!("error converting YAML to JSON: {problem}"))
}

/// A map, or one with the key `Error`.
fn map_or_error(read: Result<Value, String>, before: &str) -> Value {
    let problem = match read {
        Ok(map @ Value::Map(_)) => return map,
        Ok(value) if value.is_nil() && before.is_empty() => {
            return Value::map_of(MapKind::NilAny, Entries::new());
        }
        Ok(value) if value.is_nil() => return Value::map(Entries::new()),
        Ok(other) => format!("{before}{}", mismatch(&other, "map[string]interface {}")),
        Err(problem) => problem,
    };
    Value::map_from([("Error", Value::text(problem))])
}

/// A list, or one of the error's words.
fn list_or_error(read: Result<Value, String>, before: &str) -> Value {
    let problem = match read {
        Ok(list) if list.elements().is_some() => return list,
        Ok(value) if value.is_nil() && before.is_empty() => return Value::nil_list(ListKind::NilAny),
        Ok(value) if value.is_nil() => return Value::list(Vec::new()),
        Ok(other) => format!("{before}{}", mismatch(&other, "[]interface {}")),
        Err(problem) => problem,
    };
    Value::list(vec![Value::text(problem)])
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::Bool(_) => "bool",
        Value::Text(_) | Value::Raw(_) => "string",
        _ => "number",
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

/// An object of the cluster: its whole numbers are `int64`.
fn from_cluster(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int64(whole),
            None => Value::Float(number.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::Array(items) => Value::list(items.into_iter().map(from_cluster).collect()),
        serde_json::Value::Object(map) => {
            Value::map(map.into_iter().map(|(key, value)| (Rc::from(key), from_cluster(value))).collect())
        }
        other => Value::from(other),
    }
}
