//! `metadata.managedFields`: who owns which fields, how writes move ownership, and when an apply conflicts.

use serde_json::{Value, json};

use super::fields::{Changes, FieldSet, all_fields, compare};
use crate::json as tree;
use crate::kinds::Kind;
use crate::status::{Answer, Failure};

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Who writes.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) now: String,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    operation: Operation,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managers {
    entries: Vec<Entry>,
}

/// Fields that the server itself sets, or that are no news: nobody owns them.
const NOBODYS: [&[&str]; 9] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];

impl Managers {
    /// Reads the managers of an object, and takes them out of it.
    pub(crate) fn take(object: &mut Value) -> Self {
        let entries = tree::object(object, "metadata").shift_remove("managedFields");
        let entries = entries.iter().filter_map(|entries| entries.as_array()).flatten().map(|entry| Entry {
            name: tree::text(entry, &["manager"]).to_owned(),
            operation: if entry.get("operation").is_some_and(|it| it == "Apply") {
                Operation::Apply
            } else {
                Operation::Update
            },
            api_version: tree::text(entry, &["apiVersion"]).to_owned(),
            subresource: tree::text(entry, &["subresource"]).to_owned(),
            time: tree::text(entry, &["time"]).to_owned(),
            fields: entry.get("fieldsV1").map(FieldSet::read).unwrap_or_default(),
        });
        Self { entries: entries.collect() }
    }

    /// Tells whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the managers into an object.
    pub(crate) fn put(&self, object: &mut Value) {
        let mut entries: Vec<_> = self.entries.iter().filter(|entry| !entry.fields.is_empty()).collect();
        entries.sort_by_key(|entry| {
            (entry.operation, &entry.time, &entry.name, &entry.api_version, &entry.subresource)
        });
        if entries.is_empty() {
            return;
        }
        let entries = entries.into_iter().map(Entry::write).collect();
        tree::object(object, "metadata").insert("managedFields".to_owned(), entries);
    }

    /// Notes a write that was no apply: its manager owns what it changed, and nobody what it removed.
    pub(crate) fn update(&mut self, old: &Value, new: &Value, kind: &Kind, manager: &Manager) {
        let Changes { written, removed } = changes(old, new, kind, manager);
        if written.is_empty() && removed.is_empty() {
            return;
        }
        let mine = self.find(manager);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            entry.fields.subtract(&removed);
            if Some(index) != mine {
                entry.fields.subtract(&written);
            }
        }
        match mine.and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => {
                let before = entry.fields.clone();
                entry.fields.union(&written);
                if before != entry.fields {
                    entry.time.clone_from(&manager.now);
                }
            }
            None => self.entries.push(Entry::new(manager, written)),
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Answers the fields that a configuration names, without those that nobody owns.
    pub(crate) fn applied(config: &Value, kind: &Kind, manager: &Manager) -> FieldSet {
        let mut fields = all_fields(config, &kind.shape);
        strip(&mut fields, kind, manager);
        fields
    }

    /// Gives a manager the fields that it applies, and answers those it had before, and those that all have now.
    pub(crate) fn own(&mut self, fields: FieldSet, manager: &Manager) -> (FieldSet, FieldSet) {
        let last = if let Some(entry) = self.find(manager).and_then(|index| self.entries.get_mut(index)) {
            entry.api_version.clone_from(&manager.api_version);
            if entry.fields != fields {
                entry.time.clone_from(&manager.now);
            }
            std::mem::replace(&mut entry.fields, fields)
        } else {
            self.entries.push(Entry::new(manager, fields));
            FieldSet::default()
        };
        let mut all = FieldSet::default();
        self.entries.iter().for_each(|entry| all.union(&entry.fields));
        (last, all)
    }

    /// Settles an apply: refuses it where it changes what others own, unless forced.
    pub(crate) fn settle(
        &mut self,
        old: &Value,
        new: &Value,
        kind: &Kind,
        by: (&Manager, bool),
    ) -> Answer<()> {
        let (manager, force) = by;
        let Changes { written, removed } = changes(old, new, kind, manager);
        let mine = self.find(manager);
        let mut conflicts = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if Some(index) == mine {
                if !written.is_empty() || !removed.is_empty() {
                    entry.time.clone_from(&manager.now);
                }
                continue;
            }
            let conflict = entry.fields.intersection(&written);
            if !conflict.is_empty() && !force {
                conflicts.push((entry.shown(), conflict.paths()));
            }
            entry.fields.subtract(&conflict);
            entry.fields.subtract(&removed);
        }
        if !conflicts.is_empty() {
            return Err(refused(conflicts));
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
        Ok(())
    }

    /// Tells whether two are the same but for their times.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(|entry| {
                other.entries.iter().any(|other| {
                    (entry.operation, &entry.name, &entry.api_version)
                        == (other.operation, &other.name, &other.api_version)
                        && entry.subresource == other.subresource
                        && entry.fields == other.fields
                })
            })
    }

    fn find(&self, manager: &Manager) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.name == manager.name
                && entry.operation == manager.operation
                && entry.subresource == manager.subresource
                && (entry.operation == Operation::Apply || entry.api_version == manager.api_version)
        })
    }
}

impl Entry {
    fn new(manager: &Manager, fields: FieldSet) -> Self {
        let Manager { name, operation, api_version, subresource, now } = manager.clone();
        Self { name, operation, api_version, subresource, time: now, fields }
    }

    fn write(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = json!({
            "manager": self.name, "operation": operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.write(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    /// Names the manager as conflict messages do.
    fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            shown = format!("{shown} with subresource {:?}", self.subresource);
        }
        match self.operation {
            Operation::Apply => shown,
            Operation::Update => format!("{shown} using {}", self.api_version),
        }
    }
}

fn changes(old: &Value, new: &Value, kind: &Kind, manager: &Manager) -> Changes {
    let mut changes = compare(old, new, &kind.shape, kind.custom);
    strip(&mut changes.written, kind, manager);
    strip(&mut changes.removed, kind, manager);
    changes
}

fn strip(fields: &mut FieldSet, kind: &Kind, manager: &Manager) {
    for path in NOBODYS {
        fields.remove(path);
    }
    fields.remove_member(&["f:metadata"]);
    fields.member = false;
    if manager.subresource == "status" {
        fields.children.retain(|field, _| field == "f:status");
    } else if kind.status {
        fields.remove(&["f:status"]);
    }
}

fn refused(mut conflicts: Vec<(String, Vec<String>)>) -> Box<Failure> {
    conflicts.sort();
    let causes: Vec<_> = conflicts
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
        .map(|(manager, path)| {
            json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path })
        })
        .collect();
    let message = match conflicts.as_slice() {
        [(manager, paths)] if paths.len() == 1 => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths.concat())
        }
        _ => {
            let mut lines = Vec::new();
            for (manager, paths) in &conflicts {
                lines.push(format!("conflicts with {manager}:"));
                lines.extend(paths.iter().map(|path| format!("- {path}")));
            }
            format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
        }
    };
    Failure::new(409, "Conflict", message).with(json!({ "causes": causes }))
}
