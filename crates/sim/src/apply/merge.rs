//! A configuration laid over an object, and removal of what its manager no longer asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{FieldSet, element};
use super::shape::{ListShape, Shape};

/// Lays a configuration over a live object.
pub(crate) fn merge(live: &Value, config: &Value, shape: &Shape) -> Value {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !shape.atomic => {
            let mut merged = live.clone();
            for (field, value) in config {
                let value = match live.get(field) {
                    Some(old) => merge(old, value, shape.field(field)),
                    None => value.clone(),
                };
                merged.insert(field.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(config)) if shape.list != ListShape::Atomic => {
            Value::Array(merge_lists(live, config, shape))
        }
        _ => config.clone(),
    }
}

/// Merges lists in the configuration's order; items of the live list alone keep their place before the next shared one.
fn merge_lists(live: &[Value], config: &[Value], shape: &Shape) -> Vec<Value> {
    let name = |item: &Value| element(&shape.list, item);
    let ours: BTreeMap<_, _> = live.iter().filter_map(|item| Some((name(item)?, item))).collect();
    let theirs: Vec<_> = config.iter().map(|item| (name(item), item)).collect();
    let theirs_has = |wanted: &Option<String>| theirs.iter().any(|(name, _)| name == wanted);
    let mut merged = Vec::new();
    let mut rest = live.iter().peekable();
    for (wanted, item) in &theirs {
        let shared = wanted.as_ref().and_then(|wanted| ours.get(wanted));
        if shared.is_some() {
            // Live items that are not in the configuration and stand before the shared one come first.
            while let Some(next) = rest.peek() {
                let next_name = name(next);
                if &next_name == wanted {
                    rest.next();
                    break;
                }
                if theirs_has(&next_name) && !theirs_before(&theirs, next_name.as_ref(), wanted.as_ref()) {
                    break;
                }
                if !theirs_has(&next_name) {
                    merged.push((*next).clone());
                }
                rest.next();
            }
        }
        merged.push(match shared {
            Some(old) => merge(old, item, shape.items()),
            None => (*item).clone(),
        });
    }
    merged.extend(rest.filter(|item| !theirs_has(&name(item))).cloned());
    merged
}

fn theirs_before(theirs: &[(Option<String>, &Value)], one: Option<&String>, other: Option<&String>) -> bool {
    let place = |wanted: Option<&String>| theirs.iter().position(|(name, _)| name.as_ref() == wanted);
    place(one) < place(other)
}

/// Removes what was in a manager's last set and nobody manages now.
pub(crate) fn prune(value: &mut Value, last: &FieldSet, managed: Option<&FieldSet>, shape: &Shape) {
    for (name, was) in &last.children {
        let kept = managed.and_then(|managed| managed.children.get(name));
        // A named field counts as owned when anything in it is; an item only when it is owned itself.
        let (was_owned, is_owned) = if name.starts_with("f:") {
            (true, kept.is_some())
        } else {
            (was.member, kept.is_some_and(|kept| kept.member))
        };
        if was_owned && !is_owned {
            remove(value, name, shape);
        } else if let Some((inner, shape)) = find(value, name, shape) {
            prune(inner, was, kept, shape);
        }
    }
}

fn remove(value: &mut Value, name: &str, shape: &Shape) {
    match value {
        Value::Object(map) => remove_field(map, name),
        Value::Array(items) => items.retain(|item| element(&shape.list, item).as_deref() != Some(name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn remove_field(map: &mut Map<String, Value>, name: &str) {
    if let Some(field) = name.strip_prefix("f:") {
        map.shift_remove(field);
    }
}

fn find<'a>(value: &'a mut Value, name: &str, shape: &'a Shape) -> Option<(&'a mut Value, &'a Shape)> {
    match value {
        Value::Object(map) => {
            let field = name.strip_prefix("f:")?;
            Some((map.get_mut(field)?, shape.field(field)))
        }
        Value::Array(items) => {
            let item = items.iter_mut().find(|item| element(&shape.list, item).as_deref() == Some(name))?;
            Some((item, shape.items()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
