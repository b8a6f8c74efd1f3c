//! What the server refuses of an object, in its words: bad names and metadata, bad specs, and changes of fields that
//! may not change. Custom resources are held against their schema (`schema`).
//!
//! - `specs`: new and changed specs of built-in kinds
//! - `pods`: pod specs
//! - `crds`: definitions of custom resources
//! - `changes`: fields that may not change

mod changes;
mod crds;
mod pods;
mod specs;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json;
use crate::kinds::Kind;
use crate::schema;
use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Says what is wrong with a new object.
pub(crate) fn new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let name = json::text(object, &["metadata", "name"]);
    if name.is_empty() {
        return vec![Cause::required("metadata.name", "name or generateName is required")];
    }
    let mut causes = names(kind, name);
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

fn names(kind: &Kind, name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    // RBAC names may hold nearly anything.
    if kind.group() == "rbac.authorization.k8s.io" {
        return causes;
    }
    let namespace = kind.is("", "namespaces");
    let label = namespace || kind.is("", "services");
    let mut wrong = |why: &str| causes.push(Cause::invalid("metadata.name", &Value::from(name), why));
    let parts: Vec<_> = if label { vec![name] } else { name.split('.').collect() };
    if namespace && name.contains('.') {
        wrong("must not contain dots");
    } else if !parts.iter().all(|part| is_label(part)) {
        wrong(if label { LABEL } else { SUBDOMAIN });
    }
    let most = if label { 63 } else { 253 };
    if name.len() > most {
        wrong(&format!("must be no more than {most} bytes"));
    }
    causes
}

/// Tells whether a text is a DNS label, but for its length.
fn is_label(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || c == '-')
}

fn is_word(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || ['-', '_', '.'].contains(&c))
}

/// Says what is wrong with the metadata that every object has.
fn metadata(object: &Value) -> Vec<Cause> {
    let mut causes = labels(object, "metadata.labels");
    let annotations = json::at(object, &["metadata", "annotations"]).and_then(Value::as_object);
    for name in annotations.into_iter().flat_map(|map| map.keys()) {
        if !is_word(name.rsplit('/').next().unwrap_or_default()) {
            causes.push(Cause::invalid("metadata.annotations", &Value::from(name.as_str()), QUALIFIED));
        }
    }
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

fn labels(object: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let labels: BTreeMap<String, String> = json::labels(object);
    for (name, value) in labels {
        if !is_word(name.rsplit('/').next().unwrap_or_default()) {
            causes.push(Cause::invalid(field, &Value::from(name.as_str()), QUALIFIED));
        }
        if !value.is_empty() && !is_word(&value) {
            causes.push(Cause::invalid(field, &Value::from(value.as_str()), LABEL_VALUE));
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
