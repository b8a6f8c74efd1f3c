//! sprig's functions on maps.

use std::rc::Rc;

use super::Type::{Any, Map, Text};
use super::{Answer, Function, arg, fixed, open, text};
use crate::exec::{Engine, Stop};
use crate::format;
use crate::value::{self, Entries, List, ListKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    open("dict", &[], Any, dict),
    fixed("get", &[Map, Text], |_, a| Ok(arg(a, 0).get(&text(a, 1)).unwrap_or(Value::text("")))),
    fixed("set", &[Map, Text, Any], |engine, a| {
        let key = text(a, 1);
        engine.make_entry(&key)?;
        map_of(arg(a, 0))?.set(key.as_ref(), arg(a, 2).clone());
        Ok(arg(a, 0).clone())
    }),
    fixed("unset", &[Map, Text], |_, a| {
        if let Some(map) = arg(a, 0).as_map() {
            map.remove(&text(a, 1));
        }
        Ok(arg(a, 0).clone())
    }),
    fixed("hasKey", &[Map, Text], |_, a| {
        Ok(Value::Bool(arg(a, 0).as_map().is_some_and(|map| map.has(&text(a, 1)))))
    }),
    open("pluck", &[Text], Map, |_, a| {
        let key = text(a, 0);
        Ok(Value::list(a.iter().skip(1).filter_map(|map| map.get(&key)).collect()))
    }),
    open("keys", &[], Map, |engine, a| {
        let maps = || a.iter().filter_map(Value::as_map);
        engine.make_list(maps().map(|map| map.len()).sum())?;
        let mut items = Vec::new();
        for map in maps() {
            map.with(|entries| items.extend(entries.iter().map(|(key, _)| Value::Text(Rc::clone(key)))));
        }
        Ok(Value::List(Rc::new(List { kind: ListKind::Text, items })))
    }),
    fixed("values", &[Map], |engine, a| {
        let Some(map) = arg(a, 0).as_map() else { return Ok(Value::list(Vec::new())) };
        engine.make_list(map.len())?;
        Ok(Value::list(map.with(|entries| entries.values().cloned().collect())))
    }),
    open("pick", &[Map], Text, |engine, a| chosen(engine, a, true)),
    open("omit", &[Map], Text, |engine, a| chosen(engine, a, false)),
    open("merge", &[Map], Map, |engine, a| merged(engine, a, false)),
    open("mustMerge", &[Map], Map, |engine, a| merged(engine, a, false)),
    open("mergeOverwrite", &[Map], Map, |engine, a| merged(engine, a, true)),
    open("mustMergeOverwrite", &[Map], Map, |engine, a| merged(engine, a, true)),
    open("dig", &[], Any, |_, a| dig(a)),
];

fn map_of(value: &Value) -> Result<&Rc<value::Map>, Stop> {
    value.as_map().ok_or_else(|| Stop::from("assignment to entry in nil map"))
}

fn dict(engine: &mut Engine<'_>, arguments: &[Value]) -> Answer {
    let mut entries = Entries::new();
    engine.make_map(0)?;
    for pair in arguments.chunks(2) {
        let extent = engine.extent(arg(pair, 0))?;
        let key = extent.with_stack(|| format::text(arg(pair, 0)));
        engine.make_entry(&key)?;
        entries.insert(Rc::from(key), pair.get(1).cloned().unwrap_or(Value::text("")));
    }
    Ok(Value::map(entries))
}

fn chosen(engine: &mut Engine<'_>, arguments: &[Value], named: bool) -> Answer {
    let Some((map, keys)) = arguments.split_first() else { return Ok(Value::map(Entries::new())) };
    let is_in = |key: &str| keys.iter().any(|name| name.string_bytes() == Some(key.as_bytes()));
    let Some(map) = map.as_map() else { return Ok(Value::map(Entries::new())) };
    let count = map.len();
    engine.make_map(if named { count.min(keys.len()) } else { count })?;
    engine.many_steps((count.saturating_mul(keys.len() + 1) / 4) as u64)?;
    Ok(Value::map(map.with(|entries| {
        let kept = entries.iter().filter(|(key, _)| is_in(key) == named);
        kept.map(|(key, value)| (Rc::clone(key), value.clone())).collect()
    })))
}

fn merged(engine: &mut Engine<'_>, arguments: &[Value], overwrite: bool) -> Answer {
    let Some((first, sources)) = arguments.split_first() else { return Ok(Value::Nil) };
    let destination = if first.is_nil() { Value::map(Entries::new()) } else { first.clone() };
    if let Some(map) = destination.as_map() {
        for source in sources {
            if let Some(source) = source.as_map() {
                merge(engine, map, source, overwrite, 0)?;
            }
        }
    }
    Ok(destination)
}

/// mergo's `Merge`: what is there and not empty stays, unless `overwrite`.
fn merge(
    engine: &mut Engine<'_>,
    into: &Rc<value::Map>,
    from: &Rc<value::Map>,
    overwrite: bool,
    depth: usize,
) -> Result<(), Stop> {
    if into.is(from) {
        return Ok(());
    }
    if depth > 1_000 {
        return Err("the maps to merge are nested too deeply".into());
    }
    for (key, source) in from.entries() {
        // What is shared is merged each time it is met.
        engine.many_steps(5)?;
        let before = into.get(&key);
        if source.is_nil() {
            if overwrite {
                into.set(key, Value::Nil);
            }
            continue;
        }
        if let (Value::Map(source), Some(Value::Map(before))) = (&source, &before) {
            merge(engine, before, source, overwrite, depth + 1)?;
        }
        let is_list = source.elements().is_some();
        if is_list && overwrite {
            engine.make_entry("")?;
            into.set(Rc::clone(&key), source.clone());
        }
        let filled = before.as_ref().is_some_and(Value::truth);
        let both_maps =
            source.as_map().is_some() && before.as_ref().is_some_and(|before| before.as_map().is_some());
        if filled && (is_list || both_maps) {
            continue;
        }
        if overwrite || !filled {
            if before.is_none() {
                engine.make_entry("")?;
            }
            into.set(key, source);
        }
    }
    Ok(())
}

/// `dig "a" "b" default map`
fn dig(arguments: &[Value]) -> Answer {
    let [keys @ .., default, map] = arguments else {
        return Err("dig needs at least three arguments".into());
    };
    if keys.is_empty() {
        return Err("dig needs at least three arguments".into());
    }
    let mut at = map.clone();
    for key in keys {
        let Some(key) = key.string_text() else {
            return Err(Stop::Failed(format!(
                "interface conversion: interface {{}} is {}, not string",
                key.type_name()
            )));
        };
        // A conversion in Go, which takes no other type of map.
        let map = match &at {
            Value::Map(map) if map.kind == value::MapKind::Any => map,
            other => {
                return Err(Stop::Failed(format!(
                    "interface conversion: interface {{}} is {}, not map[string]interface {{}}",
                    other.type_name()
                )));
            }
        };
        match map.get(&key) {
            Some(value) => at = value,
            None => return Ok(default.clone()),
        }
    }
    Ok(at)
}
