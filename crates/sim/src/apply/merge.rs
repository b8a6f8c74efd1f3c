//! A configuration laid over an object, and removal of what its manager no longer asks for.

use std::collections::{BTreeMap, BTreeSet};

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

/// Merges lists: shared items in the configuration's order, items of the live list alone where they stood.
fn merge_lists(live: &[Value], config: &[Value], shape: &Shape) -> Vec<Value> {
    let name = |item: &Value| element(&shape.list, item);
    let lefts: Vec<_> = live.iter().map(|item| (name(item), item)).collect();
    let rights: Vec<_> = config.iter().map(|item| (name(item), item)).collect();
    let in_live: BTreeMap<_, _> = lefts.iter().map(|(name, item)| (name.clone(), *item)).collect();
    let in_config: BTreeSet<_> = rights.iter().map(|(name, _)| name.clone()).collect();
    let mut shared =
        rights.iter().map(|(name, _)| name).filter(|name| in_live.contains_key(*name)).peekable();
    let (mut left, mut right) = (lefts.iter().peekable(), rights.iter().peekable());
    let mut merged = Vec::new();
    loop {
        if let Some((ours, item)) = left.peek() {
            if !in_config.contains(ours) {
                merged.push((*item).clone());
                left.next();
                continue;
            }
            // A shared item whose turn came earlier, or comes later, is merged at its place in the configuration.
            if shared.peek().is_none_or(|next| *next != ours) {
                left.next();
                continue;
            }
        }
        let Some((theirs, item)) = right.next() else { break };
        match in_live.get(theirs) {
            Some(old) => {
                merged.push(merge(old, item, shape.items()));
                shared.next();
                left.next_if(|(ours, _)| ours == theirs);
            }
            None => merged.push((*item).clone()),
        }
    }
    merged
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
