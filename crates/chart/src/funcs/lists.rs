//! sprig's functions on lists.

use super::Type::{Any, Int, Text};
use super::{Answer, Function, arg, fixed, int, is_empty, open, open_walking, text, walking};
use crate::exec::{ELEMENT, Engine, LIST, Stop, TEXT};
use crate::format;
use crate::value::{List, ListKind, Value, deep_equal};
use std::borrow::Cow;
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
    fixed("sortAlpha", &[Any], |engine, a| {
        let value = arg(a, 0);
        if value.elements().is_none() {
            return Ok(Value::texts([format::text(value)]));
        }
        let extent = engine.extent(value)?;
        let count = value.elements().map_or(0, |elements| elements.len());
        let rounds = usize::try_from(count.checked_ilog2().unwrap_or(0) + 1).unwrap_or(1);
        // Texts that begin alike are compared to their ends.
        engine.go_through((extent.bytes + 64 * count).saturating_mul(rounds), 1)?;
        engine.make_list(count)?;
        let mut sorted = strings(value);
        sorted.sort_by(|a, b| a.string_bytes().cmp(&b.string_bytes()));
        Ok(texts(sorted))
    }),
    walking("toStrings", &[Any], |engine, a| {
        let count = arg(a, 0).elements().map_or(0, |elements| elements.len());
        engine.make(count.saturating_mul(ELEMENT + TEXT))?;
        Ok(texts(strings(arg(a, 0))))
    }),
    walking("join", &[Text, Any], |engine, a| {
        let separator = text(a, 0);
        let items = strings(arg(a, 1));
        let separators = items.len().saturating_sub(1).saturating_mul(separator.len());
        engine.can_write(separators)?;
        let mut out = Vec::with_capacity(separators);
        for (index, item) in items.iter().enumerate() {
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
fn elements<'a>(value: &'a Value, doing: &str) -> Result<Cow<'a, [Value]>, Stop> {
    value.elements().ok_or_else(|| Stop::Failed(format!("Cannot {doing} type {}", value.kind())))
}

/// A copy of a slice's elements, which is counted before it is made.
fn items(engine: &mut Engine<'_>, value: &Value, doing: &str) -> Result<Vec<Value>, Stop> {
    let elements = elements(value, doing)?;
    engine.make_list(elements.len())?;
    Ok(elements.into_owned())
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
    let mut list = items(engine, arg(a, 0), "push on")?;
    list.push(arg(a, 1).clone());
    Ok(Value::list(list))
}

fn prepend(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(engine, arg(a, 0), "prepend on")?;
    list.insert(0, arg(a, 1).clone());
    Ok(Value::list(list))
}

fn first(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(elements(arg(a, 0), "find first on")?.first().cloned().unwrap_or(Value::Nil))
}

fn last(_: &mut Engine<'_>, a: &[Value]) -> Answer {
    Ok(elements(arg(a, 0), "find last on")?.last().cloned().unwrap_or(Value::Nil))
}

fn reverse(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(engine, arg(a, 0), "find reverse on")?;
    list.reverse();
    Ok(Value::list(list))
}

fn rest(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(engine, arg(a, 0), "find rest on")?;
    if list.is_empty() {
        return Ok(Value::nil_list(ListKind::NilAny));
    }
    list.remove(0);
    Ok(Value::list(list))
}

fn initial(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(engine, arg(a, 0), "find initial on")?;
    Ok(if list.pop().is_some() { Value::list(list) } else { Value::nil_list(ListKind::NilAny) })
}

fn compact(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut list = items(engine, arg(a, 0), "compact on")?;
    list.retain(|item| !is_empty(item));
    Ok(Value::list(list))
}

/// Counts the comparison of a value with so many others.
fn compare(engine: &mut Engine<'_>, value: &Value, others: usize) -> Result<(), Stop> {
    let cost = match value {
        Value::Map(_) | Value::List(_) => {
            let extent = engine.extent(value)?;
            extent.bytes + 64 * usize::try_from(extent.nodes).unwrap_or(usize::MAX / 64)
        }
        other => 4 + other.string_bytes().map_or(0, <[u8]>::len) / 4,
    };
    engine.go_through(cost.saturating_mul(others), 1)
}

fn uniq(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(engine, arg(a, 0), "find uniq on")? {
        compare(engine, &item, kept.len())?;
        if !kept.iter().any(|known| deep_equal(known, &item)) {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn without(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let unwanted = a.get(1..).unwrap_or_default();
    let mut list = items(engine, arg(a, 0), "find without on")?;
    for other in unwanted {
        compare(engine, other, list.len())?;
    }
    list.retain(|item| !unwanted.iter().any(|other| deep_equal(other, item)));
    Ok(Value::list(list))
}

fn has(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let (needle, haystack) = (arg(a, 0), arg(a, 1));
    if haystack.is_nil() {
        return Ok(Value::Bool(false));
    }
    let elements = elements(haystack, "find has on")?;
    compare(engine, needle, elements.len())?;
    Ok(Value::Bool(elements.iter().any(|item| deep_equal(needle, item))))
}

fn slice(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
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
    engine.make_list(cut(end - start))?;
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
        let elements = elements(list, "concat")
            .map_err(|_| Stop::Failed(format!("Cannot concat type {} as list", list.kind())))?;
        engine.make_list(elements.len())?;
        all.extend_from_slice(&elements);
    }
    Ok(if all.is_empty() { Value::nil_list(ListKind::NilAny) } else { Value::list(all) })
}

fn chunk(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let list = elements(arg(a, 1), "chunk")?;
    let size = usize::try_from(int(a, 0)).unwrap_or(0);
    if list.is_empty() {
        return Ok(Value::list(Vec::new()));
    }
    if size == 0 {
        return Err("makeslice: len out of range".into());
    }
    engine.make_list(list.len())?;
    engine.make(list.len().div_ceil(size).saturating_mul(ELEMENT + LIST))?;
    Ok(Value::list(list.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect()))
}
