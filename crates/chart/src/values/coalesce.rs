//! A chart's own values beneath the given ones, globals down to its subcharts
//! (Helm's `chart/common/util/coalesce.go`). Given values win; null takes a
//! chart's own value away.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::chart::Chart;
use crate::error::Error;
use crate::value::{Entries, Map, Value};

/// The values of a chart and its subcharts. `merge` keeps nulls: it is used
/// where more values will follow.
pub(crate) fn values(chart: &Chart, given: &Value, merge: bool) -> Result<Value, Error> {
    let copy = if given.is_nil() { Value::map(Entries::new()) } else { given.deep_copy() };
    coalesce(chart, &copy, merge)?;
    Ok(copy)
}

fn is_table(value: &Value) -> bool {
    value.as_map().is_some()
}

fn coalesce(chart: &Chart, into: &Value, merge: bool) -> Result<(), Error> {
    let Some(map) = into.as_map() else { return Ok(()) };
    own_values(chart, map, merge);
    for subchart in &chart.dependencies {
        let name = subchart.name();
        match map.get(name) {
            None => map.set(name, Value::map(Entries::new())),
            Some(Value::Map(_)) => {}
            Some(other) => {
                return Err(Error::Values(format!(
                    "type mismatch on {name}: subchart {name} of chart {} takes a map of values, not {}",
                    chart.name(),
                    if other.is_nil() { "null" } else { other.kind() }
                )));
            }
        }
        if let Some(value @ Value::Map(inner)) = &map.get(name) {
            globals(inner, map);
            coalesce(subchart, value, merge)?;
        }
    }
    Ok(())
}

/// Hands `global` down.
fn globals(into: &Rc<Map>, from: &Rc<Map>) {
    let table = |map: &Rc<Map>| match map.get("global") {
        None => Some(Value::map(Entries::new())),
        Some(value) => is_table(&value).then_some(value),
    };
    let (Some(Value::Map(below)), Some(Value::Map(above))) = (table(into), table(from)) else { return };
    for (key, value) in above.entries() {
        let before = below.get(&key);
        match (&value, before) {
            (Value::Map(value), before) => {
                let copy = Value::map(value.entries().into_iter().collect());
                match before {
                    None => below.set(key, copy),
                    Some(before @ Value::Map(_)) => below.set(key, tables(copy, before, true)),
                    Some(_) => {}
                }
            }
            (_, Some(Value::Map(_))) => {}
            _ => below.set(key, value),
        }
    }
    into.set("global", Value::Map(below));
}

fn own_values(chart: &Chart, given: &Rc<Map>, merge: bool) {
    // What is put beneath may be changed, so it is a copy; what is not used is not copied.
    let own = chart.values.as_ref().and_then(Value::as_map).map(|map| map.entries()).unwrap_or_default();
    for (key, value) in own {
        match given.get(&key) {
            Some(before) if before.is_nil() && !merge => given.remove(&key),
            Some(before @ Value::Map(_)) => {
                if is_table(&value) {
                    let value = value.deep_copy();
                    // A subchart's values are still to be coalesced: its nulls are kept.
                    let merge = merge || chart.dependencies.iter().any(|subchart| subchart.name() == &*key);
                    if !merge {
                        without_nulls(&value);
                    }
                    tables(before, value, merge);
                }
            }
            Some(_) => {}
            None if !merge && value.is_nil() => {}
            None => {
                let value = value.deep_copy();
                if !merge {
                    without_nulls(&value);
                }
                given.set(key, value);
            }
        }
    }
}

/// Puts what `from` has beneath what `into` has, and answers `into`.
pub(crate) fn tables(into: Value, from: Value, merge: bool) -> Value {
    let (Value::Map(target), Value::Map(source)) = (&into, &from) else {
        return if into.is_nil() { from } else { into };
    };
    if target.is(source) {
        return into;
    }
    let set: BTreeSet<Rc<str>> =
        source.entries().into_iter().filter(|(_, value)| !value.is_nil()).map(|(key, _)| key).collect();
    for (key, value) in target.entries() {
        if value.is_nil() {
            source.set(key, Value::Nil);
        }
    }
    for (key, value) in source.entries() {
        match target.get(&key) {
            Some(before) if !merge && before.is_nil() && set.contains(&key) => target.remove(&key),
            None => target.set(key, value),
            Some(before @ Value::Map(_)) if is_table(&value) => {
                tables(before, value, merge);
            }
            Some(_) => {}
        }
    }
    into
}

/// Takes nulls out, in depth.
fn without_nulls(value: &Value) {
    let Some(map) = value.as_map() else { return };
    for (key, value) in map.entries() {
        if value.is_nil() {
            map.remove(&key);
        } else {
            without_nulls(&value);
        }
    }
}
