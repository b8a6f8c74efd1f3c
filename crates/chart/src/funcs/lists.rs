//! sprig's functions on lists.

use super::Type::{Any, Int, Text};
use super::{Answer, Function, arg, fixed, int, is_empty, open, open_walking, text, walking};
use crate::exec::{Engine, Stop};
use crate::format;
use crate::value::{List, ListKind, Value, deep_equal};
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    open("list", &[], Any, |_, a| Ok(Value::list(a.to_vec()))),
    open("tuple", &[], Any, |_, a| Ok(Value::list(a.to_vec()))),
    fixed("append", &[Any, Any], push),
    fixed("mustAppend", &[Any, Any], push),
    fixed("push", &[Any, Any], push),
    fixed("mustPush", &[Any, Any], push),
    fixed("prepend", &[Any, Any], prepend),
    fixed("mustPrepend", &[Any, Any], prepend),
    fixed("first", &[Any], first),
    fixed("mustFirst", &[Any], first),
    fixed("last", &[Any], last),
    fixed("mustLast", &[Any], last),
    fixed("rest", &[Any], rest),
    fixed("mustRest", &[Any], rest),
    fixed("initial", &[Any], initial),
    fixed("mustInitial", &[Any], initial),
    fixed("reverse", &[Any], reverse),
    fixed("mustReverse", &[Any], reverse),
    fixed("compact", &[Any], compact),
    fixed("mustCompact", &[Any], compact),
    walking("uniq", &[Any], uniq),
    walking("mustUniq", &[Any], uniq),
    open_walking("without", &[Any], Any, without),
    open_walking("mustWithout", &[Any], Any, without),
    walking("has", &[Any, Any], has),
    walking("mustHas", &[Any, Any], has),
    open("slice", &[Any], Any, slice),
    open("mustSlice", &[Any], Any, slice),
    open("concat", &[], Any, concat),
    fixed("chunk", &[Int, Any], chunk),
    fixed("mustChunk", &[Int, Any], chunk),
    walking("sortAlpha", &[Any], |_, a| {
        let value = arg(a, 0);
        if value.elements().is_none() {
            return Ok(Value::texts([format::text(value)]));
        }
        let mut sorted = strings(value);
        sorted.sort_by(|a, b| a.string_bytes().cmp(&b.string_bytes()));
        Ok(texts(sorted))
    }),
    walking("toStrings", &[Any], |_, a| Ok(texts(strings(arg(a, 0))))),
    walking("join", &[Text, Any], |engine, a| {
        let separator = text(a, 0);
        let mut out = Vec::new();
        for (index, item) in strings(arg(a, 1)).iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            out.extend_from_slice(item.string_bytes().unwrap_or_default());
        }
        engine.spend(out.len())?;
        Ok(Value::from_bytes(out))
    }),
];

/// A `[]string` of values that are strings.
fn texts(items: Vec<Value>) -> Value {
    Value::List(Rc::new(List { kind: ListKind::Text, items }))
}

/// A slice's elements.
fn items(value: &Value, doing: &str) -> Result<Vec<Value>, Stop> {
    match value.elements() {
        Some(elements) => Ok(elements.into_owned()),
        None => Err(Stop::Failed(format!("Cannot {doing} type {}", value.kind()))),
    }
}

/// sprig's `strslice`: nil elements are left out.
pub(super) fn strings(value: &Value) -> Vec<Value> {
    match value.elements() {
        Some(elements) => elements.iter().filter(|item| !item.is_nil()).map(format::string).collect(),
        None if value.is_nil() => Vec::new(),
        None => vec![format::string(value)],
    }
}

fn push(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(arg(a, 0), "push on")?;
    engine.spend_values(list.len() / 4)?;
    list.push(arg(a, 1).clone());
    Ok(Value::list(list))
}

fn prepend(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = vec![arg(a, 1).clone()];
    list.extend(items(arg(a, 0), "prepend on")?);
    engine.spend_values(list.len() / 4)?;
    Ok(Value::list(list))
}

fn first(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(items(arg(a, 0), "find first on")?.first().cloned().unwrap_or(Value::Nil))
}

fn last(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(items(arg(a, 0), "find last on")?.last().cloned().unwrap_or(Value::Nil))
}

fn reverse(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(Value::list(items(arg(a, 0), "find reverse on")?.into_iter().rev().collect()))
}

fn rest(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let list = items(arg(a, 0), "find rest on")?;
    Ok(if list.is_empty() {
        Value::nil_list(ListKind::NilAny)
    } else {
        Value::list(list.into_iter().skip(1).collect())
    })
}

fn initial(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(arg(a, 0), "find initial on")?;
    Ok(if list.pop().is_some() { Value::list(list) } else { Value::nil_list(ListKind::NilAny) })
}

fn compact(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(Value::list(items(arg(a, 0), "compact on")?.into_iter().filter(|item| !is_empty(item)).collect()))
}

fn uniq(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(arg(a, 0), "find uniq on")? {
        engine.spend(kept.len() / 8)?;
        if !kept.iter().any(|known| deep_equal(known, &item)) {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn without(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let unwanted = a.get(1..).unwrap_or_default();
    let list = items(arg(a, 0), "find without on")?;
    Ok(Value::list(
        list.into_iter().filter(|item| !unwanted.iter().any(|other| deep_equal(other, item))).collect(),
    ))
}

fn has(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let (needle, haystack) = (arg(a, 0), arg(a, 1));
    if haystack.is_nil() {
        return Ok(Value::Bool(false));
    }
    Ok(Value::Bool(items(haystack, "find has on")?.iter().any(|item| deep_equal(needle, item))))
}

fn slice(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let value = arg(a, 0);
    let Some(elements) = value.elements() else {
        return Err(Stop::Failed(format!("list should be type of slice or array but {}", value.kind())));
    };
    if elements.is_empty() {
        return Ok(Value::Nil);
    }
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let start = a.get(1).map_or(0, super::math::to_int64);
    let end = a.get(2).map_or(length, super::math::to_int64);
    if start < 0 || end < start || end > length {
        return Err(Stop::Failed(format!("slice bounds out of range [{start}:{end}] of {length}")));
    }
    let cut = |at: i64| usize::try_from(at).unwrap_or(0);
    let items = elements.get(cut(start)..cut(end)).unwrap_or_default().to_vec();
    Ok(match value {
        Value::List(list) => Value::List(Rc::new(List { kind: list.kind, items })),
        Value::Bytes(bytes) => Value::Bytes(Rc::from(bytes.get(cut(start)..cut(end)).unwrap_or_default())),
        _ => Value::list(items),
    })
}

fn concat(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut all = Vec::new();
    for list in a {
        all.extend(
            items(list, "concat")
                .map_err(|_| Stop::Failed(format!("Cannot concat type {} as list", list.kind())))?,
        );
    }
    engine.spend_values(all.len() / 2)?;
    Ok(if all.is_empty() { Value::nil_list(ListKind::NilAny) } else { Value::list(all) })
}

fn chunk(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    let list = items(arg(a, 1), "chunk")?;
    let size = usize::try_from(int(a, 0)).unwrap_or(0);
    if list.is_empty() {
        return Ok(Value::list(Vec::new()));
    }
    if size == 0 {
        return Err("makeslice: len out of range".into());
    }
    Ok(Value::list(list.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect()))
}
