//! Sets of fields, in the form that `fieldsV1` has them, and what changed between two objects.
//! A path is a list of elements: `f:NAME` a field, `k:{…}` an item by its keys, `v:…` an item of a set.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::shape::{ListShape, Shape};

/// A set of fields, as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The field itself is in the set, not only fields in it.
    pub(crate) member: bool,
    /// Invariant: no child is empty.
    pub(crate) children: BTreeMap<String, Self>,
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub(crate) fn read(value: &Value) -> Self {
        let map = value.as_object();
        let mut set = Self::default();
        for (element, inner) in map.into_iter().flatten() {
            if element == "." {
                set.member = true;
            } else {
                let mut inner = Self::read(inner);
                inner.member |= inner.children.is_empty();
                set.children.insert(element.clone(), inner);
            }
        }
        set
    }

    /// Writes `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, inner) in &self.children {
            map.insert(element.clone(), inner.write());
        }
        Value::Object(map)
    }

    /// Tells whether nothing is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts one path in.
    pub(crate) fn insert(&mut self, path: &[String]) {
        let mut set = self;
        for element in path {
            if !set.children.contains_key(element) {
                set.children.insert(element.clone(), Self::default());
            }
            set = set.children.get_mut(element).expect("it was inserted above");
        }
        set.member = true;
    }

    /// Takes a field and all in it out.
    pub(crate) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(inner) = self.children.get_mut(*first) {
                    inner.remove(rest);
                    if inner.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// Takes one member out, and leaves what is in it.
    pub(crate) fn remove_member(&mut self, path: &[&str]) {
        match path {
            [] => self.member = false,
            [first, rest @ ..] => {
                if let Some(inner) = self.children.get_mut(*first) {
                    inner.remove_member(rest);
                    if inner.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// Puts all of another set in.
    pub(crate) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, theirs) in &other.children {
            match self.children.get_mut(element) {
                Some(ours) => ours.union(theirs),
                None => {
                    self.children.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// Takes all members of another set out.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (element, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(element) {
                ours.subtract(theirs);
                if ours.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// Answers the members that both have.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let inner = ours.intersection(theirs);
                if !inner.is_empty() {
                    both.children.insert(element.clone(), inner);
                }
            }
        }
        both
    }

    /// Answers the members as error messages name them: `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.to_owned());
        }
        for (element, inner) in &self.children {
            inner.collect(&format!("{path}{}", shown(element)), paths);
        }
    }
}

/// Shows an element as error messages do.
pub(crate) fn shown(element: &str) -> String {
    if let Some(field) = element.strip_prefix("f:") {
        return format!(".{field}");
    }
    if let Some(keys) = element.strip_prefix("k:") {
        let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return format!("[{}]", keys.join(","));
    }
    format!("[={}]", element.trim_start_matches("v:"))
}

/// Answers the element of a list's item, none where it lacks a key.
pub(crate) fn element(shape: &ListShape, item: &Value) -> Option<String> {
    match shape {
        ListShape::Atomic => None,
        ListShape::Set => Some(format!("v:{item}")),
        ListShape::Map(keys) => {
            let mut found = BTreeMap::new();
            for (key, default) in keys {
                if let Some(value) = item.get(key).or(default.as_ref()) {
                    found.insert(key, value);
                }
            }
            let keys = serde_json::to_string(&found).ok().filter(|_| !found.is_empty())?;
            Some(format!("k:{keys}"))
        }
    }
}

/// Answers all fields that an applied configuration names.
pub(crate) fn all_fields(config: &Value, shape: &Shape) -> FieldSet {
    let mut set = FieldSet::default();
    gather(config, shape, &mut set);
    set
}

fn gather(value: &Value, shape: &Shape, set: &mut FieldSet) {
    match value {
        Value::Object(map) if !shape.atomic && !map.is_empty() => {
            for (field, value) in map {
                let inner = set.children.entry(format!("f:{field}")).or_default();
                gather(value, shape.field(field), inner);
                inner.member |= shape.is_item(field);
            }
        }
        Value::Array(items) if shape.list != ListShape::Atomic => {
            for item in items {
                if let Some(element) = element(&shape.list, item) {
                    let inner = set.children.entry(element).or_default();
                    gather(item, shape.items(), inner);
                    inner.member = true;
                }
            }
            set.member |= items.is_empty();
        }
        _ => set.member = true,
    }
}

/// What differs between two objects.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Added or modified.
    pub(crate) written: FieldSet,
    pub(crate) removed: FieldSet,
}

/// Fields that a decoded built-in object always has, so that adding something in them is not adding them.
const ALWAYS: [&str; 8] = [
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:strategy",
    "f:updateStrategy",
    "f:jobTemplate",
    "f:containers",
];

/// Compares two objects.
pub(crate) fn compare(old: &Value, new: &Value, shape: &Shape, custom: bool) -> Changes {
    let mut walk = Walk { path: Vec::new(), custom, changes: Changes::default() };
    walk.values(Some(old), Some(new), shape);
    walk.changes
}

struct Walk {
    path: Vec<String>,
    custom: bool,
    changes: Changes,
}

impl Walk {
    fn values(&mut self, old: Option<&Value>, new: Option<&Value>, shape: &Shape) {
        if old == new {
            return;
        }
        match (old, new) {
            (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) if !shape.atomic => {
                self.maps(old.and_then(Value::as_object), new.and_then(Value::as_object), shape);
            }
            (Some(Value::Array(_)) | None, Some(Value::Array(_)) | None)
                if shape.list != ListShape::Atomic =>
            {
                self.lists(old, new, shape);
            }
            (_, Some(_)) => self.changes.written.insert(&self.path),
            (_, None) => self.changes.removed.insert(&self.path),
        }
    }

    fn maps(&mut self, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, shape: &Shape) {
        let fields: BTreeSet<_> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        for field in fields {
            let (before, after) = (old.and_then(|map| map.get(field)), new.and_then(|map| map.get(field)));
            self.inner(format!("f:{field}"), before, after, shape.field(field));
        }
        self.itself(old.is_some(), new.is_some());
    }

    fn lists(&mut self, old: Option<&Value>, new: Option<&Value>, shape: &Shape) {
        let index = |list: Option<&Value>| -> BTreeMap<String, Value> {
            let items = list.and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| Some((element(&shape.list, item)?, item.clone()))).collect()
        };
        let (before, after) = (index(old), index(new));
        let elements: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for element in elements {
            self.inner(element.clone(), before.get(element), after.get(element), shape.items());
        }
        self.itself(old.is_some(), new.is_some());
    }

    fn inner(&mut self, element: String, old: Option<&Value>, new: Option<&Value>, shape: &Shape) {
        self.path.push(element);
        self.values(old, new, shape);
        self.path.pop();
    }

    fn itself(&mut self, was: bool, is: bool) {
        let always =
            !self.custom || self.path.len() == 1 && self.path.iter().any(|element| element == "f:metadata");
        let always = always && self.path.last().is_none_or(|element| ALWAYS.contains(&element.as_str()));
        if was && !is {
            self.changes.removed.insert(&self.path);
        } else if !was && is && !always {
            self.changes.written.insert(&self.path);
        }
    }
}
