//! What the server refuses of an object, in its words: bad names and metadata, bad specs, and changes of fields that
//! may not change. Custom resources are held against their schema (`schema`).
//!
//! - `specs`: new and changed specs of built-in kinds
//! - `workloads`, `cron`: those of workloads, and schedules
//! - `names`: names, labels, annotations
//! - `pods`, `containers`: pod specs; `services`: Services and Ingresses
//! - `crds`: definitions of custom resources
//! - `changes`: fields that may not change

mod changes;
mod containers;
mod crds;
mod cron;
mod names;
mod pods;
mod services;
mod specs;
mod workloads;

use serde_json::Value;

use self::names::labels;
use crate::json;
use crate::kinds::Kind;
use crate::schema;
use crate::status::Cause;

/// Says what is wrong with a new object.
pub(crate) fn new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let name = json::text(object, &["metadata", "name"]);
    if name.is_empty() {
        return vec![Cause::required("metadata.name", "name or generateName is required")];
    }
    let mut causes = named(kind, name);
    causes.extend(metadata(object));
    match &kind.schema {
        Some(schema) => causes.extend(schema::validate(object, schema)),
        None if kind.custom => {}
        None => causes.extend(specs::check(kind, object)),
    }
    causes
}

/// Says what is wrong with a change; `status`: of the status alone.
pub(crate) fn changed(kind: &Kind, old: &Value, new: &Value, status: bool) -> Vec<Cause> {
    if let Some(schema) = &kind.schema {
        let mut causes = finalizers(old, new);
        causes.extend(if status {
            schema::validate_status(new, schema)
        } else {
            schema::validate(new, schema)
        });
        return causes;
    }
    if status || kind.custom {
        return Vec::new();
    }
    let mut causes = metadata(new);
    causes.extend(finalizers(old, new));
    causes.extend(changes::check(kind, old, new));
    if causes.is_empty() && old.get("spec") != new.get("spec") {
        causes.extend(specs::check(kind, new));
    }
    causes
}

fn named(kind: &Kind, name: &str) -> Vec<Cause> {
    let label = kind.is("", "namespaces") || kind.is("", "services") || kind.is("apps", "statefulsets");
    let wrong = if kind.group() == "rbac.authorization.k8s.io" {
        names::segment(name)
    } else if label && name.contains('.') {
        vec!["must not contain dots".to_owned()]
    } else {
        let wrong = if label { names::label(name) } else { names::subdomain(name) };
        // The same rule in other words, from another place.
        wrong.into_iter().map(|why| why.replace(" bytes", " characters")).collect()
    };
    wrong.iter().map(|why| Cause::invalid("metadata.name", &Value::from(name), why)).collect()
}

/// Says what is wrong with the metadata that every object has.
fn metadata(object: &Value) -> Vec<Cause> {
    let mut causes = labels(object, "metadata.labels");
    causes.extend(names::annotations(object, "metadata.annotations"));
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    owners(json::items(metadata, "ownerReferences"), &mut causes);
    for (index, finalizer) in json::items(metadata, "finalizers").iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !name.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), finalizer, why));
        }
    }
    causes
}

fn owners(owners: &[Value], causes: &mut Vec<Cause>) {
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if json::text(owner, &[field]).is_empty() {
                let field = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(field, &Value::from(""), "must not be empty"));
            }
        }
    }
    let mut control = owners.iter().filter(|owner| owner.get("controller").is_some_and(|it| it == true));
    if let (Some(first), Some(second)) = (control.next(), control.next()) {
        let name =
            |owner: &Value| format!("{}/{}", json::text(owner, &["kind"]), json::text(owner, &["name"]));
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            name(first),
            name(second)
        );
        causes.push(Cause::invalid("metadata.ownerReferences", &Value::from(owners), &why));
    }
}

/// What goes away takes no new finalizers. The real server says so twice.
fn finalizers(old: &Value, new: &Value) -> Vec<Cause> {
    if json::at(old, &["metadata", "deletionTimestamp"]).is_none() {
        return Vec::new();
    }
    let list = |object: &Value| -> Vec<Value> {
        object.get("metadata").map(|it| json::items(it, "finalizers").to_vec()).unwrap_or_default()
    };
    let before = list(old);
    let added: Vec<_> =
        list(new).into_iter().filter(|it| !before.contains(it)).map(|it| it.to_string()).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    vec![Cause::forbidden("metadata.finalizers", &why); 2]
}
