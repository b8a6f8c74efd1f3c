//! What works on any value: `len`, `index`, `default`, `coalesce`, `ternary`.

use super::Type::{Any, Bool};
use super::{Answer, Function, arg, fixed, is_empty, open};
use crate::exec::{Engine, Stop};
use crate::value::{MapKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("len", &[Any], |_, a| length(arg(a, 0))),
    open("index", &[Any], Any, |_, a| index(a)),
    open("default", &[Any], Any, |_, a| {
        Ok(if a.len() < 2 || is_empty(arg(a, 1)) { arg(a, 0).clone() } else { arg(a, 1).clone() })
    }),
    fixed("empty", &[Any], |_, a| Ok(Value::Bool(is_empty(arg(a, 0))))),
    open("coalesce", &[], Any, |_, a| {
        Ok(a.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
    }),
    open("all", &[], Any, |_, a| Ok(Value::Bool(!a.iter().any(is_empty)))),
    open("any", &[], Any, |_, a| Ok(Value::Bool(!a.iter().all(is_empty)))),
    fixed("ternary", &[Any, Any, Bool], |_, a| Ok(arg(a, usize::from(!arg(a, 2).truth())).clone())),
    fixed("deepCopy", &[Any], deep_copy),
    fixed("mustDeepCopy", &[Any], deep_copy),
];

fn deep_copy(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let value = arg(a, 0);
    if value.is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    let extent = engine.extent(value)?;
    engine.make_all(extent)?;
    Ok(extent.with_stack(|| value.deep_copy()))
}

fn count(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn length(value: &Value) -> Answer {
    match value {
        Value::Nil | Value::Null => Err("len of nil pointer".into()),
        Value::Text(text) => Ok(count(text.len())),
        Value::Raw(bytes) | Value::Bytes(bytes) => Ok(count(bytes.len())),
        Value::List(list) => Ok(count(list.items.len())),
        Value::Map(map) => Ok(count(map.len())),
        Value::Object(object) => match (object.as_ref(), object.elements()) {
            (crate::object::Object::Files(files), _) => Ok(count(files.len())),
            (_, Some(elements)) => Ok(count(elements.len())),
            _ => Err(Stop::Failed(format!("len of type {}", value.type_name()))),
        },
        _ => Err(Stop::Failed(format!("len of type {}", value.type_name()))),
    }
}

/// Go's `index`: lists by number, maps by key, one after the other.
fn index(arguments: &[Value]) -> Answer {
    let Some((first, indexes)) = arguments.split_first() else { return Ok(Value::Nil) };
    if first.is_nil() {
        return Err("index of untyped nil".into());
    }
    let mut item = first.clone();
    for index in indexes {
        item = match &item {
            Value::Nil | Value::Null => return Err("index of nil pointer".into()),
            Value::Map(map) => {
                let Some(key) = index.string_text() else {
                    return Err(if index.is_nil() {
                        "value is nil; should be of type string".into()
                    } else {
                        Stop::Failed(format!("value has type {}; should be string", index.type_name()))
                    });
                };
                let missing = if map.kind == MapKind::Text { Value::text("") } else { Value::Nil };
                map.get(&key).unwrap_or(missing)
            }
            Value::Text(_) | Value::Raw(_) => {
                let bytes = item.string_bytes().unwrap_or_default();
                let at = position(index, bytes.len())?;
                Value::Uint(bytes.get(at).copied().map_or(0, u64::from), 8)
            }
            Value::Object(object) if matches!(**object, crate::object::Object::Files(_)) => {
                match (object.as_ref(), index.string_text()) {
                    (crate::object::Object::Files(files), Some(name)) => {
                        Value::Bytes(files.get(name.as_ref()).cloned().unwrap_or_default())
                    }
                    _ => return Err("the files of a chart are found by name".into()),
                }
            }
            other => match other.elements() {
                Some(elements) => {
                    let at = position(index, elements.len())?;
                    elements.get(at).cloned().unwrap_or(Value::Nil)
                }
                None => return Err(Stop::Failed(format!("can't index item of type {}", other.type_name()))),
            },
        };
    }
    Ok(item)
}

fn position(index: &Value, length: usize) -> Result<usize, Stop> {
    let at = match index {
        Value::Int(number) | Value::Int64(number) => usize::try_from(*number).ok(),
        Value::Uint(number, _) => usize::try_from(*number).ok(),
        Value::Nil | Value::Null => return Err("cannot index slice/array with nil".into()),
        other => {
            return Err(Stop::Failed(format!("cannot index slice/array with type {}", other.type_name())));
        }
    };
    at.filter(|at| *at < length).ok_or_else(|| {
        Stop::Failed(format!("index out of range: {}, of {length}", crate::format::text(index)))
    })
}
